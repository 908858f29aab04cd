#include "sidecar/broker_impl.h"

#include <stdlib.h>

enum { NAME_MAX_BYTES = 1024 }; /* provider, namespace, key, consumer: each */

static uint32_t stream_hash(const char *tag, struct orl_stream_id id)
{
    return orl_hash32(span_of(tag, BROKER_TAG_LEN)) ^ (orl_hash32(id.ns) * 31 + orl_hash32(id.key));
}

/* ---- queues ---- */

void message_release(struct sc_broker *b, struct message *m)
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

void queue_overflow(struct sc_broker *b, struct sub *sub)
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

bool queue_add(struct sc_broker *b, struct sub *sub, struct message *m)
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

void queue_take(struct sc_broker *b, struct sub *sub)
{
    queue_remove(b, sub, &sub->first);
}

/* ---- subscriptions ---- */

void sub_remove(struct sc_broker *b, struct sub *sub)
{
    struct sub **at = &b->buckets[sub->hash % BROKER_BUCKETS];
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

static enum sc_status tag_of(const struct orl_qualified_stream_id *stream,
                             char tag_out[BROKER_TAG_LEN])
{
    char queue[33];
    enum sc_status st =
        orl_memory_queue_key(stream->provider, 1, stream->id.ns, stream->id.key, queue);
    if (st == SC_OK)
        memcpy(tag_out, queue, BROKER_TAG_LEN);
    return st;
}

static bool sub_is_on(const struct sub *sub, uint32_t hash, const char *tag,
                      struct orl_stream_id id)
{
    return sub->hash == hash && memcmp(sub->tag, tag, BROKER_TAG_LEN) == 0 &&
           span_eq(sub->stream.id.ns, id.ns) && span_eq(sub->stream.id.key, id.key);
}

enum sc_status sc_broker_subscribe(struct sc_broker *b, const struct orl_subscription *s)
{
    char tag[BROKER_TAG_LEN];
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
    memcpy(sub->tag, tag, BROKER_TAG_LEN);
    sub->hash = stream_hash(tag, s->stream.id);
    sub->stream.provider = keep(&to, s->stream.provider);
    sub->stream.id.ns = keep(&to, s->stream.id.ns);
    sub->stream.id.key = keep(&to, s->stream.id.key);
    sub->consumer.type = keep(&to, s->consumer.type);
    sub->consumer.key = keep(&to, s->consumer.key);
    sub->next_in_bucket = b->buckets[sub->hash % BROKER_BUCKETS];
    b->buckets[sub->hash % BROKER_BUCKETS] = sub;
    b->slots[slot].sub = sub;
    if (slot == b->slots_used)
        b->slots_used++;
    b->stats.subscriptions++;
    return SC_OK;
}

struct sub *sub_next(const struct sc_broker *b, const struct sub *sub, const char *tag,
                     struct orl_stream_id id)
{
    uint32_t hash = sub != NULL ? sub->hash : stream_hash(tag, id);
    struct sub *next = sub == NULL ? b->buckets[hash % BROKER_BUCKETS] : sub->next_in_bucket;
    while (next != NULL && !sub_is_on(next, hash, tag, id))
        next = next->next_in_bucket;
    return next;
}

static bool is_wanted(const struct sub *sub, struct orl_grain_id consumer)
{
    return consumer.type.len == 0 || orl_grain_id_eq(sub->consumer, consumer);
}

/* List of StreamSubscription { 0 Guid, 1 provider, 2 StreamId, 3 GrainId }
 * (src/Orleans.Streaming/Core/StreamSubscription.cs). */
void sc_broker_put_subscriptions(const struct sc_broker *b,
                                 const struct orl_qualified_stream_id *stream,
                                 struct orl_grain_id consumer, struct wbuf *w)
{
    char tag[BROKER_TAG_LEN];
    const struct sub *first =
        tag_of(stream, tag) == SC_OK ? sub_next(b, NULL, tag, stream->id) : NULL;
    uint32_t count = 0;
    for (const struct sub *sub = first; sub != NULL; sub = sub_next(b, sub, tag, stream->id))
        count += is_wanted(sub, consumer);
    orl_put_tag_named(w, ORL_WIRE_OBJECT, 0,
                      span_of_str("System.Collections.Generic.List`1[[Orleans.Streams.Core."
                                  "StreamSubscription,Orleans.Streaming]]"));
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    orl_put_uint(w, 0, count);
    uint32_t delta = 1;
    for (const struct sub *sub = first; sub != NULL; sub = sub_next(b, sub, tag, stream->id)) {
        if (!is_wanted(sub, consumer))
            continue;
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
