#include "sidecar/stream.h"

#include "orleans-proto/invoke.h"
#include "orleans-proto/reply.h"
#include "orleans-proto/stream.h"
#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/silo_conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    NAME_MAX_BYTES = 1024,
    BUCKETS_MIN = 64,
    TICK_MS = 25,   /* how exactly a retry's time is kept */
    CAUSES_MAX = 8, /* causes of refusals that are remembered as reported */
    CAUSE_MAX = 256
};

struct event {
    struct event *next;
    enum sc_event_encoding encoding;
    uint32_t len;
    uint8_t payload[];
};

enum lane_place { LANE_READY, LANE_WAITING, LANE_SENT };

/* One stream with something to publish; gone when it has nothing left. */
struct lane {
    struct sc_stream *stream;
    struct lane *next_in_bucket;
    struct lane *prev; /* in the list of its place */
    struct lane *next;
    enum lane_place place;
    uint32_t hash;
    struct event *first;
    struct event **last;
    uint32_t sent_count; /* of the batch in flight: so many from the front */
    uint32_t backoff_ms;
    uint64_t retry_ns; /* LANE_WAITING */
    uint32_t tries;    /* of the batch at the front */
    bool troubled;     /* refused at the last try */
    uint16_t ns_len;
    uint16_t key_len;
    uint8_t name[]; /* namespace, then key */
};

struct lane_list {
    struct lane *first;
    struct lane *last;
};

struct sc_stream {
    struct sc_loop *loop;
    struct sc_log log;
    struct sc_stream_config config;
    char *provider; /* owned; config.provider */
    struct sc_silo_conn *conn;
    struct sc_silo_watch watch;
    struct sc_timer *timer; /* runs while lanes wait */
    bool timer_on;
    bool pump_queued;
    bool closed;
    struct orl_method publish;
    struct orl_method enqueue;
    struct lane_list lists[LANE_SENT + 1];
    struct lane **buckets; /* owned */
    uint32_t bucket_mask;
    uint32_t batches;            /* in flight */
    uint32_t causes[CAUSES_MAX]; /* hashes of what was reported */
    uint32_t cause_next;
    struct span *spans;       /* owned; batch_max_events, for one batch */
    struct orl_value *values; /* the same */
    struct wbuf payload;      /* memory mode: the batch before it is put into a message */
    struct sc_stream_stats stats;
};

static uint64_t or_default(uint64_t v, uint64_t standard)
{
    return v != 0 ? v : standard;
}

/* ---- lanes ---- */

static void list_add(struct lane_list *list, struct lane *lane, bool front)
{
    lane->prev = front ? NULL : list->last;
    lane->next = front ? list->first : NULL;
    if (lane->prev != NULL)
        lane->prev->next = lane;
    else
        list->first = lane;
    if (lane->next != NULL)
        lane->next->prev = lane;
    else
        list->last = lane;
}

static void list_remove(struct lane_list *list, struct lane *lane)
{
    if (lane->prev != NULL)
        lane->prev->next = lane->next;
    else
        list->first = lane->next;
    if (lane->next != NULL)
        lane->next->prev = lane->prev;
    else
        list->last = lane->prev;
}

static void lane_move(struct lane *lane, enum lane_place place, bool front)
{
    list_remove(&lane->stream->lists[lane->place], lane);
    lane->place = place;
    list_add(&lane->stream->lists[place], lane, front);
}

static struct span lane_ns(const struct lane *lane)
{
    return span_of(lane->name, lane->ns_len);
}

static struct span lane_key(const struct lane *lane)
{
    return span_of(lane->name + lane->ns_len, lane->key_len);
}

static uint32_t name_hash(struct span ns, struct span key)
{
    return orl_hash32(ns) * 31 + orl_hash32(key);
}

static size_t lane_bytes(const struct lane *lane)
{
    return sizeof *lane + lane->ns_len + lane->key_len;
}

static size_t event_bytes(const struct event *e)
{
    return sizeof *e + e->len;
}

static struct lane *lane_find(const struct sc_stream *s, struct span ns, struct span key,
                              uint32_t hash)
{
    struct lane *lane = s->buckets[hash & s->bucket_mask];
    while (lane != NULL &&
           !(lane->hash == hash && span_eq(lane_ns(lane), ns) && span_eq(lane_key(lane), key)))
        lane = lane->next_in_bucket;
    return lane;
}

/* Doubles the buckets when there are as many lanes; without memory chains just get longer. */
static void buckets_grow(struct sc_stream *s)
{
    uint32_t count = s->bucket_mask + 1;
    if (s->stats.streams < count || count > UINT32_MAX / 4)
        return;
    struct lane **grown = calloc((size_t)count * 2, sizeof(struct lane *));
    if (grown == NULL)
        return;
    uint32_t mask = count * 2 - 1;
    for (uint32_t i = 0; i < count; i++) {
        struct lane *next = NULL;
        for (struct lane *lane = s->buckets[i]; lane != NULL; lane = next) {
            next = lane->next_in_bucket;
            lane->next_in_bucket = grown[lane->hash & mask];
            grown[lane->hash & mask] = lane;
        }
    }
    free(s->buckets);
    s->buckets = grown;
    s->bucket_mask = mask;
}

static struct lane *lane_add(struct sc_stream *s, struct span ns, struct span key, uint32_t hash)
{
    struct lane *lane = malloc(sizeof *lane + ns.len + key.len);
    if (lane == NULL)
        return NULL;
    buckets_grow(s);
    *lane = (struct lane){.stream = s,
                          .hash = hash,
                          .place = LANE_READY,
                          .backoff_ms = s->config.retry_min_ms,
                          .ns_len = (uint16_t)ns.len,
                          .key_len = (uint16_t)key.len};
    if (ns.len != 0)
        memcpy(lane->name, ns.ptr, ns.len);
    memcpy(lane->name + ns.len, key.ptr, key.len);
    lane->last = &lane->first;
    lane->next_in_bucket = s->buckets[hash & s->bucket_mask];
    s->buckets[hash & s->bucket_mask] = lane;
    list_add(&s->lists[LANE_READY], lane, false);
    s->stats.streams++;
    s->stats.backlog_bytes += lane_bytes(lane);
    return lane;
}

static void lane_remove(struct lane *lane)
{
    struct sc_stream *s = lane->stream;
    struct lane **at = &s->buckets[lane->hash & s->bucket_mask];
    while (*at != lane)
        at = &(*at)->next_in_bucket;
    *at = lane->next_in_bucket;
    list_remove(&s->lists[lane->place], lane);
    s->stats.streams--;
    s->stats.backlog_bytes -= lane_bytes(lane);
    free(lane);
}

static void drop_first(struct lane *lane)
{
    struct event *e = lane->first;
    lane->first = e->next;
    if (lane->first == NULL)
        lane->last = &lane->first;
    lane->stream->stats.backlog_events--;
    lane->stream->stats.backlog_bytes -= event_bytes(e);
    free(e);
}

/* ---- one batch ---- */

/* As many events from the front as go into one message: of one encoding, within the limits, at
 * least one. */
static uint32_t batch_count(const struct lane *lane)
{
    const struct sc_stream_config *config = &lane->stream->config;
    uint32_t count = 0;
    size_t bytes = 0;
    for (const struct event *e = lane->first; e != NULL; e = e->next) {
        bytes += e->len;
        if (count != 0 && (e->encoding != lane->first->encoding ||
                           count == config->batch_max_events || bytes > config->batch_max_bytes))
            break;
        count++;
    }
    return count;
}

static void put_publish(void *user, struct orl_args *args)
{
    const struct lane *lane = user;
    struct sc_stream *s = lane->stream;
    const struct event *e = lane->first;
    for (uint32_t i = 0; i < lane->sent_count; i++, e = e->next)
        s->spans[i] = span_of(e->payload, e->len);
    orl_args_string(args, span_of_str(s->provider));
    orl_args_string(args, lane_ns(lane));
    orl_args_string(args, lane_key(lane));
    orl_args_int(args, lane->first->encoding == SC_EVENT_UTF8 ? 1 : 0);
    orl_args_bytes_list(args, s->spans, lane->sent_count);
}

static void put_enqueue(void *user, struct orl_args *args)
{
    const struct lane *lane = user;
    struct sc_stream *s = lane->stream;
    struct orl_memory_message m = {.stream = {lane_ns(lane), lane_key(lane)},
                                   .enqueue_time = orl_datetime_utc(sc_clock_wall_ns()),
                                   .payload = wbuf_span(&s->payload)};
    orl_args_enqueue(args, &m);
}

static bool payload_build(struct lane *lane)
{
    struct sc_stream *s = lane->stream;
    const struct event *e = lane->first;
    for (uint32_t i = 0; i < lane->sent_count; i++, e = e->next) {
        struct span payload = span_of(e->payload, e->len);
        s->values[i] =
            e->encoding == SC_EVENT_UTF8 ? orl_value_string(payload) : orl_value_bytes(payload);
    }
    wbuf_clear(&s->payload);
    orl_put_stream_payload(&s->payload, s->values, lane->sent_count);
    return !s->payload.failed;
}

static void on_done(void *user, const struct sc_silo_answer *answer);

static enum sc_status lane_call(struct lane *lane)
{
    struct sc_stream *s = lane->stream;
    struct sc_silo_call call = {.timeout_ms = s->config.timeout_ms, .done = on_done, .user = lane};
    if (s->config.mode == SC_STREAM_BRIDGE) {
        call.grain_type = span_of_str("gpu-publisher");
        call.grain_key = span_of_str("0");
        call.method = &s->publish;
        call.put = put_publish;
        return sc_silo_conn_call(s->conn, &call);
    }
    char queue[33];
    enum sc_status st = orl_memory_queue_key(span_of_str(s->provider), s->config.queue_count,
                                             lane_ns(lane), lane_key(lane), queue);
    if (st != SC_OK)
        return st;
    if (!payload_build(lane))
        return SC_ERR_NO_MEMORY;
    call.grain_type = span_of_str(ORL_QUEUE_GRAIN_TYPE);
    call.grain_key = span_of_str(queue);
    call.method = &s->enqueue;
    call.put = put_enqueue;
    return sc_silo_conn_call(s->conn, &call);
}

/* ---- trouble ---- */

static void set_troubled(struct lane *lane, bool troubled)
{
    if (lane->troubled == troubled)
        return;
    lane->troubled = troubled;
    if (troubled)
        lane->stream->stats.troubled++;
    else
        lane->stream->stats.troubled--;
}

/* True once for each cause, until it is pushed out by others or all trouble is over. */
static bool cause_is_new(struct sc_stream *s, struct span text)
{
    uint32_t hash = orl_hash32(text) | 1;
    for (uint32_t i = 0; i < CAUSES_MAX; i++)
        if (s->causes[i] == hash)
            return false;
    s->causes[s->cause_next] = hash;
    s->cause_next = (s->cause_next + 1) % CAUSES_MAX;
    return true;
}

static void report(struct lane *lane, enum sc_status st, struct span text)
{
    struct sc_stream *s = lane->stream;
    if (text.len > CAUSE_MAX)
        text.len = CAUSE_MAX;
    if (!cause_is_new(s, text))
        return;
    SC_ERROR(&s->log,
             "stream %s/%.*s/%.*s not published status %s cause \"%.*s\" tries %u, trying on",
             s->provider, SPAN_ARG(lane_ns(lane)), SPAN_ARG(lane_key(lane)), sc_status_name(st),
             SPAN_ARG(text), lane->tries);
}

static void tick_on(struct sc_stream *s)
{
    if (s->timer_on || s->closed)
        return;
    s->timer_on = true;
    sc_timer_every(s->timer, TICK_MS);
}

static void lane_wait(struct lane *lane)
{
    struct sc_stream *s = lane->stream;
    lane->retry_ns = sc_loop_now_ns(s->loop) + (uint64_t)lane->backoff_ms * 1000000;
    lane->backoff_ms = lane->backoff_ms >= s->config.retry_max_ms / 2 ? s->config.retry_max_ms
                                                                      : 2 * lane->backoff_ms;
    lane_move(lane, LANE_WAITING, false);
    tick_on(s);
}

/* ---- the pump ---- */

static void pump_soon(struct sc_stream *s);

static void lane_published(struct lane *lane)
{
    struct sc_stream *s = lane->stream;
    s->stats.published += lane->sent_count;
    s->stats.batches++;
    if (lane->troubled)
        SC_INFO(&s->log, "stream %s/%.*s/%.*s published again tries %u", s->provider,
                SPAN_ARG(lane_ns(lane)), SPAN_ARG(lane_key(lane)), lane->tries);
    set_troubled(lane, false);
    if (s->stats.troubled == 0)
        memset(s->causes, 0, sizeof s->causes);
    for (; lane->sent_count != 0; lane->sent_count--)
        drop_first(lane);
    lane->tries = 0;
    lane->backoff_ms = s->config.retry_min_ms;
    if (lane->first == NULL)
        lane_remove(lane);
    else
        lane_move(lane, LANE_READY, false);
}

static void on_done(void *user, const struct sc_silo_answer *answer)
{
    struct lane *lane = user;
    struct sc_stream *s = lane->stream;
    s->batches--;
    if (answer->status == SC_OK) {
        lane_published(lane);
    } else {
        s->stats.retries++;
        lane->sent_count = 0;
        if (answer->status == SC_ERR_CLOSED) {
            lane_move(lane, LANE_READY, true);
        } else {
            report(lane, answer->status, answer->text);
            set_troubled(lane, true);
            lane_wait(lane);
        }
    }
    pump_soon(s);
}

/* False: nothing more can be sent just now. */
static bool lane_send(struct lane *lane)
{
    struct sc_stream *s = lane->stream;
    lane->sent_count = batch_count(lane);
    enum sc_status st = lane_call(lane);
    if (st == SC_OK) {
        lane->tries++;
        s->batches++;
        lane_move(lane, LANE_SENT, false);
        return true;
    }
    lane->sent_count = 0;
    if (st == SC_ERR_UNAVAILABLE)
        return false;
    if (st != SC_ERR_BUSY && st != SC_ERR_NO_MEMORY) {
        report(lane, st, span_of_str(sc_status_name(st)));
        set_troubled(lane, true);
    }
    lane_wait(lane);
    return st != SC_ERR_BUSY && st != SC_ERR_NO_MEMORY;
}

static void pump(struct sc_stream *s)
{
    struct lane_list *ready = &s->lists[LANE_READY];
    while (ready->first != NULL && s->batches < s->config.batches_max && sc_silo_conn_up(s->conn) &&
           lane_send(ready->first))
        continue;
}

static void stream_free(struct sc_stream *s)
{
    free(s->buckets);
    free(s->spans);
    free(s->values);
    free(s->provider);
    wbuf_fini(&s->payload);
    free(s);
}

static void on_pump(void *user)
{
    struct sc_stream *s = user;
    s->pump_queued = false;
    if (s->closed)
        stream_free(s);
    else
        pump(s);
}

/* At the end of the turn, so that events offered in one turn go out together. */
static void pump_soon(struct sc_stream *s)
{
    if (s->pump_queued || s->closed)
        return;
    s->pump_queued = true;
    sc_loop_later(s->loop, on_pump, s);
}

static void on_tick(void *user)
{
    struct sc_stream *s = user;
    uint64_t now_ns = sc_loop_now_ns(s->loop);
    struct lane *next = NULL;
    for (struct lane *lane = s->lists[LANE_WAITING].first; lane != NULL; lane = next) {
        next = lane->next;
        if (lane->retry_ns <= now_ns)
            lane_move(lane, LANE_READY, false);
    }
    if (s->lists[LANE_WAITING].first == NULL) {
        s->timer_on = false;
        sc_timer_cancel(s->timer);
    }
    pump_soon(s);
}

static void on_link(void *user, bool up)
{
    if (up)
        pump_soon(user);
}

/* ---- offering ---- */

static bool event_is_good(const struct sc_event *e)
{
    return e->key.len != 0 && e->key.len <= NAME_MAX_BYTES &&
           e->stream_namespace.len <= NAME_MAX_BYTES && orl_is_utf8(e->key) &&
           orl_is_utf8(e->stream_namespace) &&
           (e->encoding != SC_EVENT_UTF8 || orl_is_utf8(e->payload));
}

enum sc_status sc_stream_offer(struct sc_stream *s, const struct sc_event *event)
{
    if (!event_is_good(event))
        return SC_ERR_ARGUMENT;
    if (event->payload.len > s->config.event_max_bytes)
        return SC_ERR_TOO_LARGE;
    struct span ns = event->stream_namespace;
    struct span key = event->key;
    uint32_t hash = name_hash(ns, key);
    struct lane *lane = lane_find(s, ns, key, hash);
    size_t bytes = sizeof(struct event) + event->payload.len;
    if (lane == NULL)
        bytes += sizeof *lane + ns.len + key.len;
    bool empty = s->stats.backlog_events == 0; /* then it fits, whatever its size */
    if (!empty &&
        bytes > s->config.backlog_bytes - (s->stats.backlog_bytes < s->config.backlog_bytes
                                               ? s->stats.backlog_bytes
                                               : s->config.backlog_bytes)) {
        s->stats.held++;
        return SC_AGAIN;
    }
    struct event *e = malloc(sizeof *e + event->payload.len);
    if (e == NULL)
        return SC_ERR_NO_MEMORY;
    if (lane == NULL)
        lane = lane_add(s, ns, key, hash);
    if (lane == NULL) {
        free(e);
        return SC_ERR_NO_MEMORY;
    }
    *e = (struct event){.encoding = event->encoding, .len = (uint32_t)event->payload.len};
    if (e->len != 0)
        memcpy(e->payload, event->payload.ptr, e->len);
    *lane->last = e;
    lane->last = &e->next;
    s->stats.accepted++;
    s->stats.backlog_events++;
    s->stats.backlog_bytes += event_bytes(e);
    pump_soon(s);
    return SC_OK;
}

/* ---- opening, closing, looking ---- */

static enum sc_status methods_init(struct sc_stream *s)
{
    struct orl_method_def def = {.interface = "gpu.publisher", .id = "publish"};
    enum sc_status st = orl_method_init(&s->publish, &def);
    if (st == SC_OK)
        st = orl_stream_method_init(&s->enqueue, ORL_STREAM_ENQUEUE);
    return st;
}

static void take_config(struct sc_stream *s, const struct sc_stream_config *config)
{
    s->config = *config;
    struct sc_stream_config *own = &s->config;
    own->provider = s->provider;
    own->queue_count = (uint32_t)or_default(own->queue_count, 8);
    own->backlog_bytes = or_default(own->backlog_bytes, 64 << 20);
    own->event_max_bytes = (uint32_t)or_default(own->event_max_bytes, 1 << 20);
    own->batch_max_bytes = (uint32_t)or_default(own->batch_max_bytes, 256 << 10);
    own->batch_max_events = (uint32_t)or_default(own->batch_max_events, 256);
    own->batches_max = (uint32_t)or_default(own->batches_max, 64);
    own->timeout_ms = (uint32_t)or_default(own->timeout_ms, 10000);
    own->retry_min_ms = (uint32_t)or_default(own->retry_min_ms, 100);
    own->retry_max_ms = (uint32_t)or_default(own->retry_max_ms, 10000);
}

enum sc_status sc_stream_open(struct sc_loop *loop, const struct sc_log *log,
                              const struct sc_stream_config *config, struct sc_silo_conn *conn,
                              struct sc_stream **stream_out)
{
    if (config->provider == NULL || !orl_is_utf8(span_of_str(config->provider))) {
        SC_ERROR(log, "stream provider is missing or not UTF-8: stream.provider");
        return SC_ERR_CONFIG;
    }
    struct sc_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SC_ERR_NO_MEMORY;
    s->loop = loop;
    s->log = *log;
    s->conn = conn;
    s->watch = (struct sc_silo_watch){.fn = on_link, .user = s};
    s->provider = strdup(config->provider);
    take_config(s, config);
    wbuf_init(&s->payload, (size_t)s->config.event_max_bytes + s->config.batch_max_bytes +
                               (size_t)s->config.batch_max_events * 16 + 256);
    s->buckets = calloc(BUCKETS_MIN, sizeof(struct lane *));
    s->bucket_mask = BUCKETS_MIN - 1;
    s->spans = calloc(s->config.batch_max_events, sizeof *s->spans);
    s->values = calloc(s->config.batch_max_events, sizeof *s->values);
    enum sc_status st = SC_ERR_NO_MEMORY;
    if (s->provider == NULL || s->buckets == NULL || s->spans == NULL || s->values == NULL)
        goto err_free;
    st = methods_init(s);
    if (st == SC_OK)
        st = sc_timer_open(loop, on_tick, s, &s->timer);
    if (st != SC_OK)
        goto err_free;
    sc_silo_conn_watch(conn, &s->watch);
    *stream_out = s;
    return SC_OK;
err_free:
    stream_free(s);
    return st;
}

void sc_stream_close(struct sc_stream *s)
{
    if (s == NULL || s->closed)
        return;
    s->stats.lost += s->stats.backlog_events;
    if (s->stats.lost != 0)
        SC_ERROR(&s->log, "stream lost events %llu streams %u, they were waiting at the stop",
                 (unsigned long long)s->stats.lost, s->stats.streams);
    for (size_t i = 0; i <= LANE_SENT; i++) {
        while (s->lists[i].first != NULL) {
            struct lane *lane = s->lists[i].first;
            sc_silo_conn_forget(s->conn, lane);
            while (lane->first != NULL)
                drop_first(lane);
            lane_remove(lane);
        }
    }
    sc_silo_conn_unwatch(s->conn, &s->watch);
    sc_timer_close(s->timer);
    s->closed = true;
    if (!s->pump_queued)
        sc_loop_later(s->loop, on_pump, s);
}

bool sc_stream_idle(const struct sc_stream *s)
{
    return s->stats.backlog_events == 0;
}

void sc_stream_stats(const struct sc_stream *s, struct sc_stream_stats *stats_out)
{
    *stats_out = s->stats;
}
