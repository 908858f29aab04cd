/* What stream.c (publishing) and stream_lane.c (what waits) share. */
#ifndef SIDECAR_STREAM_IMPL_H
#define SIDECAR_STREAM_IMPL_H

#include "orleans-proto/invoke.h"
#include "sidecar/base/log.h"
#include "sidecar/silo_conn.h"
#include "sidecar/stream.h"

enum { STREAM_CAUSES_MAX = 8 }; /* causes of refusals that are remembered as reported */

struct event {
    struct event *next;
    enum sc_event_encoding encoding;
    uint32_t len;
    uint8_t payload[];
};

enum lane_place { LANE_READY, LANE_WAITING, LANE_SENT, LANE_PLACE_COUNT };

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
    struct lane_list lists[LANE_PLACE_COUNT];
    struct lane **buckets; /* owned */
    uint32_t bucket_mask;
    uint32_t batches;                   /* in flight */
    uint32_t causes[STREAM_CAUSES_MAX]; /* hashes of what was reported */
    uint32_t cause_next;
    struct span *spans;       /* owned; batch_max_events, for one batch */
    struct orl_value *values; /* the same */
    struct wbuf payload;      /* memory mode: the batch before it is put into a message */
    struct sc_stream_stats stats;
};

static inline struct span lane_ns(const struct lane *lane)
{
    return span_of(lane->name, lane->ns_len);
}

static inline struct span lane_key(const struct lane *lane)
{
    return span_of(lane->name + lane->ns_len, lane->key_len);
}

SC_MUST_USE enum sc_status lanes_init(struct sc_stream *s);

/* Ends every lane with what waits in it. */
void lanes_fini(struct sc_stream *s);

/* Bytes that an event, and its lane if it is the first, adds to the backlog. */
size_t lane_cost(const struct sc_stream *s, const struct sc_event *event);

/* Puts a copy of the event at the end of its stream's lane, made if need be and then READY.
 * SC_ERR_NO_MEMORY. */
SC_MUST_USE enum sc_status lane_put(struct sc_stream *s, const struct sc_event *event);

/* To the end, or the front, of the list of another place. */
void lane_move(struct lane *lane, enum lane_place place, bool front);

/* Drops the first count events; the lane goes with the last of them, else it is READY. */
void lane_drop(struct lane *lane, uint32_t count);

#endif
