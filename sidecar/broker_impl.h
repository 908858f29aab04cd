/* What broker.c (publishing and delivery) and broker_sub.c (subscriptions and their queues) share.
 */
#ifndef SIDECAR_BROKER_IMPL_H
#define SIDECAR_BROKER_IMPL_H

#include "sidecar/base/log.h"
#include "sidecar/broker.h"

enum {
    BROKER_TAG_LEN = 16, /* of a queue's key: the digits that name the provider */
    BROKER_BUCKETS = 1024
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
    char tag[BROKER_TAG_LEN];              /* of its provider */
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
    struct sub *buckets[BROKER_BUCKETS];
    struct sc_broker_stats stats;
};

/* Memory that a message of so many bytes takes, beside the queues it lies in. */
static inline size_t message_bytes(size_t payload_len)
{
    return sizeof(struct message) + payload_len;
}

/* Lets go of a message: the last one frees it. */
void message_release(struct sc_broker *b, struct message *m);

/* Goes over the subscriptions of a stream: start with NULL, NULL at the end. */
struct sub *sub_next(const struct sc_broker *b, const struct sub *sub, const char *tag,
                     struct orl_stream_id id);

/* Ends a subscription, and with it its queue. */
void sub_remove(struct sc_broker *b, struct sub *sub);

/* Adds to the end; from a full queue the oldest is dropped that is not in flight. False: no memory.
 */
bool queue_add(struct sc_broker *b, struct sub *sub, struct message *m);

/* Takes the first message out. */
void queue_take(struct sc_broker *b, struct sub *sub);

/* Drops the oldest message that is not in flight, counted. */
void queue_overflow(struct sc_broker *b, struct sub *sub);

#endif
