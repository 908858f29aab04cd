#include "sidecar/stream_impl.h"

#include "orleans-proto/reply.h"
#include "orleans-proto/stream.h"
#include "sidecar/base/clock.h"
#include "sidecar/loop.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    NAME_MAX_BYTES = 1024,
    TICK_MS = 25, /* how exactly a retry's time is kept */
    CAUSE_MAX = 256
};

static uint64_t or_default(uint64_t v, uint64_t standard)
{
    return v != 0 ? v : standard;
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
    for (uint32_t i = 0; i < STREAM_CAUSES_MAX; i++)
        if (s->causes[i] == hash)
            return false;
    s->causes[s->cause_next] = hash;
    s->cause_next = (s->cause_next + 1) % STREAM_CAUSES_MAX;
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
    uint32_t count = lane->sent_count;
    lane->sent_count = 0;
    lane->tries = 0;
    lane->backoff_ms = s->config.retry_min_ms;
    lane_drop(lane, count);
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

/* One event fits when nothing waits, whatever its size. */
static bool has_room(const struct sc_stream *s, size_t bytes)
{
    uint64_t used = s->stats.backlog_bytes;
    uint64_t max = s->config.backlog_bytes;
    return s->stats.backlog_events == 0 || (used <= max && bytes <= max - used);
}

enum sc_status sc_stream_offer(struct sc_stream *s, const struct sc_event *event)
{
    if (!event_is_good(event))
        return SC_ERR_ARGUMENT;
    if (event->payload.len > s->config.event_max_bytes)
        return SC_ERR_TOO_LARGE;
    if (!has_room(s, lane_cost(s, event))) {
        s->stats.held++;
        return SC_AGAIN;
    }
    enum sc_status st = lane_put(s, event);
    if (st != SC_OK)
        return st;
    s->stats.accepted++;
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
    s->spans = calloc(s->config.batch_max_events, sizeof *s->spans);
    s->values = calloc(s->config.batch_max_events, sizeof *s->values);
    enum sc_status st = SC_ERR_NO_MEMORY;
    if (s->provider == NULL || s->spans == NULL || s->values == NULL)
        goto err_free;
    st = lanes_init(s);
    if (st == SC_OK)
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
    for (struct lane *lane = s->lists[LANE_SENT].first; lane != NULL; lane = lane->next)
        sc_silo_conn_forget(s->conn, lane);
    lanes_fini(s);
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
