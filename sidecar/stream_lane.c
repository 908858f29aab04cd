#include "sidecar/stream_impl.h"

#include <stdlib.h>

enum { BUCKETS_MIN = 64 };

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

void lane_move(struct lane *lane, enum lane_place place, bool front)
{
    list_remove(&lane->stream->lists[lane->place], lane);
    lane->place = place;
    list_add(&lane->stream->lists[place], lane, front);
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

static struct lane *lane_add(struct sc_stream *s, struct span ns, struct span key)
{
    uint32_t hash = name_hash(ns, key);
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

static struct lane *find(const struct sc_stream *s, const struct sc_event *event)
{
    return lane_find(s, event->stream_namespace, event->key,
                     name_hash(event->stream_namespace, event->key));
}

size_t lane_cost(const struct sc_stream *s, const struct sc_event *event)
{
    size_t bytes = sizeof(struct event) + event->payload.len;
    if (find(s, event) == NULL)
        bytes += sizeof(struct lane) + event->stream_namespace.len + event->key.len;
    return bytes;
}

enum sc_status lane_put(struct sc_stream *s, const struct sc_event *event)
{
    struct event *e = malloc(sizeof *e + event->payload.len);
    if (e == NULL)
        return SC_ERR_NO_MEMORY;
    struct lane *lane = find(s, event);
    if (lane == NULL)
        lane = lane_add(s, event->stream_namespace, event->key);
    if (lane == NULL) {
        free(e);
        return SC_ERR_NO_MEMORY;
    }
    *e = (struct event){.encoding = event->encoding, .len = (uint32_t)event->payload.len};
    if (e->len != 0)
        memcpy(e->payload, event->payload.ptr, e->len);
    *lane->last = e;
    lane->last = &e->next;
    s->stats.backlog_events++;
    s->stats.backlog_bytes += event_bytes(e);
    return SC_OK;
}

void lane_drop(struct lane *lane, uint32_t count)
{
    for (; count != 0; count--)
        drop_first(lane);
    if (lane->first == NULL)
        lane_remove(lane);
    else
        lane_move(lane, LANE_READY, false);
}

enum sc_status lanes_init(struct sc_stream *s)
{
    s->buckets = calloc(BUCKETS_MIN, sizeof(struct lane *));
    s->bucket_mask = BUCKETS_MIN - 1;
    return s->buckets != NULL ? SC_OK : SC_ERR_NO_MEMORY;
}

void lanes_fini(struct sc_stream *s)
{
    for (size_t i = 0; i < LANE_PLACE_COUNT; i++) {
        while (s->lists[i].first != NULL) {
            struct lane *lane = s->lists[i].first;
            while (lane->first != NULL)
                drop_first(lane);
            lane_remove(lane);
        }
    }
    free(s->buckets);
    s->buckets = NULL;
}
