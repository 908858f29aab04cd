#include "sidecar/broker.h"

#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"

#include <assert.h>
#include <stdlib.h>

enum {
    NAME_MAX_BYTES = 1024, /* provider, namespace, key, consumer: each */
    TAG_LEN = 16,          /* of a queue's key: the digits that name the provider */
    CALL_BYTES = 8192,     /* of a delivery beside its message, at most: names go into it twice */
    BUCKETS = 1024,
    TICK_MS = 20
};

/* Shared by the queues it lies in. */
struct message {
    uint32_t holders;
    int64_t sequence;
    uint64_t enqueue_time;
    size_t len;
    uint8_t payload[];
};

struct queued {
    struct queued *next;
    struct message *message;
};

enum sub_state {
    SUB_IDLE,    /* nothing in flight */
    SUB_ASKED,   /* GetSequenceToken is in flight */
    SUB_SENT,    /* DeliverBatch with the queue's first message is in flight */
    SUB_WAITING, /* for retry_ns */
    SUB_AWAY     /* its client is not connected */
};

struct sub {
    struct sub *next_in_bucket;
    uint32_t slot;
    enum sub_state state;
    bool greeted; /* the consumer has answered GetSequenceToken */
    bool has_previous;
    int64_t previous;
    uint32_t tries; /* of what is in flight or waits */
    uint64_t retry_ns;
    uint64_t gone_ns; /* 0: its client is connected */
    uint64_t dropped; /* since last said */
    struct queued *first;
    struct queued **last;
    uint32_t count;
    uint32_t hash;
    struct orl_guid id;
    char tag[TAG_LEN];                     /* of its provider */
    struct orl_qualified_stream_id stream; /* in names */
    struct orl_grain_id consumer;          /* in names */
    uint8_t names[];
};

/* Subscriptions are named to the outside by slot and generation, never by pointer. */
struct slot {
    struct sub *sub;
    uint32_t generation;
};

struct sc_broker {
    struct sc_loop *loop;
    struct sc_log log;
    struct sc_broker_config config;
    const struct sc_broker_ops *ops;
    void *user;
    struct sc_timer *timer;
    bool timer_on;
    struct orl_method get_token;
    struct orl_method deliver;
    int64_t next_sequence;
    struct slot *slots; /* owned */
    uint32_t slots_used;
    struct sub *buckets[BUCKETS];
    struct sc_broker_stats stats;
};

static uint32_t stream_hash(const char *tag, struct orl_stream_id id)
{
    return orl_hash32(span_of(tag, TAG_LEN)) ^ (orl_hash32(id.ns) * 31 + orl_hash32(id.key));
}

/* ---- queues ---- */

static size_t message_bytes(size_t payload_len)
{
    return sizeof(struct message) + payload_len;
}

static void message_release(struct sc_broker *b, struct message *m)
{
    if (--m->holders != 0)
        return;
    b->stats.queued_bytes -= message_bytes(m->len);
    free(m);
}

/* Takes out the message behind *at. */
static void queue_remove(struct sc_broker *b, struct sub *sub, struct queued **at)
{
    struct queued *q = *at;
    *at = q->next;
    if (q->next == NULL)
        sub->last = at;
    sub->count--;
    b->stats.queued_bytes -= sizeof *q;
    message_release(b, q->message);
    free(q);
}

static void queue_overflow(struct sc_broker *b, struct sub *sub)
{
    bool first_is_out = sub->state == SUB_SENT && sub->count > 1;
    if (sub->dropped == 0)
        SC_WARN(&b->log, "broker stream %.*s/%.*s/%.*s queue full or consumer stuck, dropping",
                SPAN_ARG(sub->stream.provider), SPAN_ARG(sub->stream.id.ns),
                SPAN_ARG(sub->stream.id.key));
    sub->dropped++;
    b->stats.overflowed++;
    queue_remove(b, sub, first_is_out ? &sub->first->next : &sub->first);
}

static bool queue_add(struct sc_broker *b, struct sub *sub, struct message *m)
{
    struct queued *q = malloc(sizeof *q);
    if (q == NULL)
        return false;
    bool first_is_out = sub->state == SUB_SENT;
    if (sub->count >= b->config.queue_max_messages && !(first_is_out && sub->count == 1))
        queue_overflow(b, sub);
    *q = (struct queued){.message = m};
    m->holders++;
    b->stats.queued_bytes += sizeof *q;
    *sub->last = q;
    sub->last = &q->next;
    sub->count++;
    return true;
}

/* ---- delivery ---- */

static uint64_t token_of(const struct sc_broker *b, const struct sub *sub)
{
    return (uint64_t)b->slots[sub->slot].generation << 32 | sub->slot;
}

static void put_get_token(void *user, struct orl_args *args)
{
    const struct sub *sub = user;
    orl_args_get_token(args, &sub->id);
}

static void put_deliver(void *user, struct orl_args *args)
{
    const struct sub *sub = user;
    const struct message *m = sub->first->message;
    const struct orl_delivery d = {
        .subscription = sub->id,
        .stream = sub->stream,
        .sequence = m->sequence,
        .message = {.stream = sub->stream.id,
                    .sequence = m->sequence,
                    .enqueue_time = m->enqueue_time,
                    .payload = span_of(m->payload, m->len)},
        .has_previous = sub->has_previous,
        .previous_sequence = sub->previous,
    };
    orl_args_deliver(args, &d);
}

static void tick_on(struct sc_broker *b)
{
    if (b->timer_on)
        return;
    b->timer_on = true;
    sc_timer_every(b->timer, TICK_MS);
}

static void sub_wait(struct sc_broker *b, struct sub *sub, uint32_t delay_ms)
{
    sub->state = SUB_WAITING;
    sub->retry_ns = sc_loop_now_ns(b->loop) + (uint64_t)delay_ms * 1000000;
    tick_on(b);
}

static void failed(struct sc_broker *b, struct sub *sub, enum sc_status st);

static void kick(struct sc_broker *b, struct sub *sub)
{
    if (sub->state != SUB_IDLE || sub->first == NULL)
        return;
    bool greeted = sub->greeted;
    enum sc_status st = b->ops->call(b->user, sub->consumer, greeted ? &b->deliver : &b->get_token,
                                     b->config.deliver_ms, greeted ? put_deliver : put_get_token,
                                     sub, token_of(b, sub));
    if (st == SC_OK)
        sub->state = greeted ? SUB_SENT : SUB_ASKED;
    else if (st == SC_ERR_UNAVAILABLE)
        sub->state = SUB_AWAY;
    else if (st == SC_ERR_BUSY || st == SC_ERR_NO_MEMORY)
        sub_wait(b, sub, b->config.deliver_retry_ms);
    else
        failed(b, sub, st);
}

static void delivered(struct sc_broker *b, struct sub *sub)
{
    sub->has_previous = true;
    sub->previous = sub->first->message->sequence;
    queue_remove(b, sub, &sub->first);
    b->stats.delivered++;
    sub->dropped = 0;
}

/* Tried often enough: the message is dropped, the next one gets its tries. */
static void failed(struct sc_broker *b, struct sub *sub, enum sc_status st)
{
    sub->tries++;
    if (sub->tries >= b->config.deliver_tries) {
        sub->tries = 0;
        sub->state = SUB_IDLE;
        queue_overflow(b, sub);
    }
    sub_wait(b, sub, st == SC_ERR_DEADLINE ? 0 : b->config.deliver_retry_ms);
}

static struct sub *sub_of_token(const struct sc_broker *b, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    if (slot >= b->slots_used || b->slots[slot].generation != (uint32_t)(token >> 32))
        return NULL;
    return b->slots[slot].sub;
}

void sc_broker_answered(struct sc_broker *b, uint64_t token, enum sc_status st)
{
    struct sub *sub = sub_of_token(b, token);
    if (sub == NULL || (sub->state != SUB_ASKED && sub->state != SUB_SENT))
        return;
    if (st == SC_ERR_CLOSED) {
        sub->state = SUB_AWAY;
        sub->greeted = false;
        return;
    }
    if (st != SC_OK) {
        failed(b, sub, st);
        return;
    }
    if (sub->state == SUB_SENT)
        delivered(b, sub);
    sub->greeted = true;
    sub->tries = 0;
    sub->state = SUB_IDLE;
    kick(b, sub);
}

/* ---- subscriptions ---- */

static void sub_remove(struct sc_broker *b, struct sub *sub)
{
    struct sub **at = &b->buckets[sub->hash % BUCKETS];
    while (*at != sub)
        at = &(*at)->next_in_bucket;
    *at = sub->next_in_bucket;
    while (sub->first != NULL)
        queue_remove(b, sub, &sub->first);
    b->slots[sub->slot].sub = NULL;
    b->slots[sub->slot].generation++;
    b->stats.subscriptions--;
    free(sub);
}

static struct sub *sub_find(const struct sc_broker *b, const struct orl_guid *id)
{
    for (uint32_t i = 0; i < b->slots_used; i++)
        if (b->slots[i].sub != NULL && memcmp(&b->slots[i].sub->id, id, sizeof *id) == 0)
            return b->slots[i].sub;
    return NULL;
}

void sc_broker_unsubscribe(struct sc_broker *b, const struct orl_guid *id)
{
    struct sub *sub = sub_find(b, id);
    if (sub != NULL)
        sub_remove(b, sub);
}

static uint32_t slot_free(const struct sc_broker *b)
{
    uint32_t i = 0;
    while (i < b->slots_used && b->slots[i].sub != NULL)
        i++;
    return i;
}

static struct span keep(uint8_t **to, struct span s)
{
    struct span kept = span_of(*to, s.len);
    if (s.len != 0)
        memcpy(*to, s.ptr, s.len);
    *to += s.len;
    return kept;
}

static bool names_fit(const struct orl_subscription *s)
{
    return s->stream.provider.len <= NAME_MAX_BYTES && s->stream.id.ns.len <= NAME_MAX_BYTES &&
           s->stream.id.key.len <= NAME_MAX_BYTES && s->consumer.type.len <= NAME_MAX_BYTES &&
           s->consumer.key.len <= NAME_MAX_BYTES;
}

static enum sc_status tag_of(const struct orl_qualified_stream_id *stream, char tag_out[TAG_LEN])
{
    char queue[33];
    enum sc_status st =
        orl_memory_queue_key(stream->provider, 1, stream->id.ns, stream->id.key, queue);
    if (st == SC_OK)
        memcpy(tag_out, queue, TAG_LEN);
    return st;
}

static bool sub_is_on(const struct sub *sub, uint32_t hash, const char *tag,
                      struct orl_stream_id id)
{
    return sub->hash == hash && memcmp(sub->tag, tag, TAG_LEN) == 0 &&
           span_eq(sub->stream.id.ns, id.ns) && span_eq(sub->stream.id.key, id.key);
}

enum sc_status sc_broker_subscribe(struct sc_broker *b, const struct orl_subscription *s)
{
    char tag[TAG_LEN];
    if (!names_fit(s) || tag_of(&s->stream, tag) != SC_OK)
        return SC_ERR_ARGUMENT;
    struct sub *old = sub_find(b, &s->id);
    if (old != NULL && orl_grain_id_eq(old->consumer, s->consumer) &&
        sub_is_on(old, stream_hash(tag, s->stream.id), tag, s->stream.id))
        return SC_OK; /* said again after a reconnect: what is queued stays */
    if (old != NULL)
        sub_remove(b, old);
    uint32_t slot = slot_free(b);
    if (slot == b->config.subscriptions_max)
        return SC_ERR_BUSY;
    size_t names = s->stream.provider.len + s->stream.id.ns.len + s->stream.id.key.len +
                   s->consumer.type.len + s->consumer.key.len;
    struct sub *sub = calloc(1, sizeof *sub + names);
    if (sub == NULL)
        return SC_ERR_NO_MEMORY;
    uint8_t *to = sub->names;
    sub->slot = slot;
    sub->id = s->id;
    sub->last = &sub->first;
    memcpy(sub->tag, tag, TAG_LEN);
    sub->hash = stream_hash(tag, s->stream.id);
    sub->stream.provider = keep(&to, s->stream.provider);
    sub->stream.id.ns = keep(&to, s->stream.id.ns);
    sub->stream.id.key = keep(&to, s->stream.id.key);
    sub->consumer.type = keep(&to, s->consumer.type);
    sub->consumer.key = keep(&to, s->consumer.key);
    sub->next_in_bucket = b->buckets[sub->hash % BUCKETS];
    b->buckets[sub->hash % BUCKETS] = sub;
    b->slots[slot].sub = sub;
    if (slot == b->slots_used)
        b->slots_used++;
    b->stats.subscriptions++;
    return SC_OK;
}

static const struct sub *next_match(const struct sub *sub, uint32_t hash, const char *tag,
                                    struct orl_stream_id id, struct orl_grain_id consumer)
{
    while (sub != NULL && !(sub_is_on(sub, hash, tag, id) &&
                            (consumer.type.len == 0 || orl_grain_id_eq(sub->consumer, consumer))))
        sub = sub->next_in_bucket;
    return sub;
}

/* List of StreamSubscription { 0 Guid, 1 provider, 2 StreamId, 3 GrainId }
 * (src/Orleans.Streaming/Core/StreamSubscription.cs). */
void sc_broker_put_subscriptions(const struct sc_broker *b,
                                 const struct orl_qualified_stream_id *stream,
                                 struct orl_grain_id consumer, struct wbuf *w)
{
    char tag[TAG_LEN];
    bool known = tag_of(stream, tag) == SC_OK;
    uint32_t hash = known ? stream_hash(tag, stream->id) : 0;
    const struct sub *first =
        known ? next_match(b->buckets[hash % BUCKETS], hash, tag, stream->id, consumer) : NULL;
    uint32_t count = 0;
    for (const struct sub *sub = first; sub != NULL;
         sub = next_match(sub->next_in_bucket, hash, tag, stream->id, consumer))
        count++;
    orl_put_tag_named(w, ORL_WIRE_OBJECT, 0,
                      span_of_str("System.Collections.Generic.List`1[[Orleans.Streams.Core."
                                  "StreamSubscription,Orleans.Streaming]]"));
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    orl_put_uint(w, 0, count);
    uint32_t delta = 1;
    for (const struct sub *sub = first; sub != NULL;
         sub = next_match(sub->next_in_bucket, hash, tag, stream->id, consumer)) {
        orl_put_tag(w, ORL_WIRE_OBJECT, delta);
        orl_put_guid(w, 0, &sub->id);
        orl_put_bytes(w, 1, sub->stream.provider);
        orl_put_stream_id(w, 1, sub->stream.id);
        orl_put_grain_id(w, 1, sub->consumer);
        orl_put_end(w);
        delta = 0;
    }
    orl_put_end(w);
    orl_put_end(w);
}

/* ---- publishing ---- */

/* One message may always wait, whatever its size. */
static bool has_room(const struct sc_broker *b, size_t bytes)
{
    uint64_t used = b->stats.queued_bytes;
    uint64_t max = b->config.queue_max_bytes;
    return used == 0 || (used <= max && bytes <= max - used);
}

/* A consumer that is there and keeps answering is waited for; one that is away or has failed is
 * not. */
static bool must_wait_for(const struct sc_broker *b, const struct sub *sub)
{
    return sub->count >= b->config.queue_max_messages && sub->gone_ns == 0 && sub->tries == 0;
}

enum sc_status sc_broker_publish(struct sc_broker *b, struct span queue,
                                 const struct orl_memory_message *message)
{
    if (queue.len != 2 * TAG_LEN)
        return SC_ERR_ARGUMENT;
    size_t len = message->payload.len;
    /* Else it would hold up every subscription of its stream, or cost a consumer its connection. */
    if (orl_memory_message_bytes(message) + CALL_BYTES > b->config.delivery_max_bytes)
        return SC_ERR_TOO_LARGE;
    if (!has_room(b, message_bytes(len)))
        return SC_ERR_BUSY;
    const char *tag = (const char *)queue.ptr;
    uint32_t hash = stream_hash(tag, message->stream);
    for (const struct sub *sub = b->buckets[hash % BUCKETS]; sub != NULL; sub = sub->next_in_bucket)
        if (sub_is_on(sub, hash, tag, message->stream) && must_wait_for(b, sub))
            return SC_ERR_BUSY;
    struct message *m = malloc(sizeof *m + len);
    if (m == NULL)
        return SC_ERR_BUSY;
    *m = (struct message){.holders = 1,
                          .sequence = b->next_sequence++,
                          .enqueue_time = message->enqueue_time,
                          .len = len};
    if (len != 0)
        memcpy(m->payload, message->payload.ptr, len);
    b->stats.queued_bytes += message_bytes(len);
    b->stats.published++;
    bool heard = false;
    for (struct sub *sub = b->buckets[hash % BUCKETS]; sub != NULL; sub = sub->next_in_bucket) {
        if (sub_is_on(sub, hash, tag, message->stream) && queue_add(b, sub, m)) {
            heard = true;
            kick(b, sub);
        }
    }
    if (!heard)
        b->stats.unheard++;
    message_release(b, m);
    return SC_OK;
}

/* ---- clients ---- */

void sc_broker_client_up(struct sc_broker *b, struct orl_grain_id client)
{
    for (uint32_t i = 0; i < b->slots_used; i++) {
        struct sub *sub = b->slots[i].sub;
        if (sub == NULL || !orl_is_observer_of(sub->consumer, client))
            continue;
        sub->gone_ns = 0;
        if (sub->state == SUB_AWAY)
            sub->state = SUB_IDLE;
        kick(b, sub);
    }
}

void sc_broker_client_down(struct sc_broker *b, struct orl_grain_id client)
{
    for (uint32_t i = 0; i < b->slots_used; i++) {
        struct sub *sub = b->slots[i].sub;
        if (sub == NULL || !orl_is_observer_of(sub->consumer, client))
            continue;
        sub->gone_ns = sc_loop_now_ns(b->loop);
        sub->state = SUB_AWAY;
        sub->greeted = false;
        tick_on(b);
    }
}

static void on_tick(void *user)
{
    struct sc_broker *b = user;
    uint64_t now_ns = sc_loop_now_ns(b->loop);
    uint64_t drop_ns = (uint64_t)b->config.client_drop_ms * 1000000;
    bool more = false;
    for (uint32_t i = 0; i < b->slots_used; i++) {
        struct sub *sub = b->slots[i].sub;
        if (sub == NULL)
            continue;
        if (sub->gone_ns != 0 && now_ns - sub->gone_ns >= drop_ns) {
            SC_INFO(&b->log, "broker stream %.*s/%.*s/%.*s subscription ended, its client left",
                    SPAN_ARG(sub->stream.provider), SPAN_ARG(sub->stream.id.ns),
                    SPAN_ARG(sub->stream.id.key));
            sub_remove(b, sub);
            continue;
        }
        if (sub->state == SUB_WAITING && sub->retry_ns <= now_ns) {
            sub->state = SUB_IDLE;
            kick(b, sub);
        }
        more = more || sub->gone_ns != 0 || sub->state == SUB_WAITING;
    }
    if (!more) {
        b->timer_on = false;
        sc_timer_cancel(b->timer);
    }
}

/* ---- opening, closing, looking ---- */

enum sc_status sc_broker_open(struct sc_loop *loop, const struct sc_log *log,
                              const struct sc_broker_config *config,
                              const struct sc_broker_ops *ops, void *user,
                              struct sc_broker **broker_out)
{
    struct sc_broker *b = calloc(1, sizeof *b);
    if (b == NULL)
        return SC_ERR_NO_MEMORY;
    b->loop = loop;
    b->log = *log;
    b->config = *config;
    b->ops = ops;
    b->user = user;
    b->next_sequence = (int64_t)(orl_datetime_utc(sc_clock_wall_ns()) & INT64_MAX >> 2);
    enum sc_status st = SC_ERR_NO_MEMORY;
    b->slots = calloc(config->subscriptions_max, sizeof *b->slots);
    if (b->slots == NULL)
        goto err_free;
    st = orl_stream_method_init(&b->get_token, ORL_STREAM_GET_TOKEN);
    if (st == SC_OK)
        st = orl_stream_method_init(&b->deliver, ORL_STREAM_DELIVER);
    if (st == SC_OK)
        st = sc_timer_open(loop, on_tick, b, &b->timer);
    if (st != SC_OK)
        goto err_free;
    *broker_out = b;
    return SC_OK;
err_free:
    free(b->slots);
    free(b);
    return st;
}

void sc_broker_close(struct sc_broker *b)
{
    if (b == NULL)
        return;
    for (uint32_t i = 0; i < b->slots_used; i++)
        if (b->slots[i].sub != NULL)
            sub_remove(b, b->slots[i].sub);
    sc_timer_close(b->timer);
    free(b->slots);
    free(b);
}

void sc_broker_stats(const struct sc_broker *b, struct sc_broker_stats *stats_out)
{
    *stats_out = b->stats;
}
