/* Memory streams without a silo: stands for the queue grains, the rendezvous grain and the pulling
 * agents of Orleans. Takes messages, keeps subscriptions of clients, and delivers: one message at a
 * time to each subscription, in order, again after a failure. Producers are refused while the queue
 * of a consumer that keeps answering is full; from the full queue of one that is away or fails the
 * oldest is dropped. A message that nobody subscribed to is dropped, as with Orleans' own memory
 * streams.
 *
 * Knows no connection: it asks for calls through its ops and is told how they ended. Loop thread
 * only. */
#ifndef SIDECAR_BROKER_H
#define SIDECAR_BROKER_H

#include "orleans-proto/stream.h"

struct sc_broker;
struct sc_log;
struct sc_loop;

/* As in struct sc_gateway_config; every number is set. */
struct sc_broker_config {
    uint32_t client_drop_ms;
    uint32_t subscriptions_max;
    uint32_t queue_max_messages;
    uint64_t queue_max_bytes;
    uint32_t delivery_max_bytes; /* the longest call to a consumer that its connection takes */
    uint32_t deliver_ms;
    uint32_t deliver_retry_ms;
    uint32_t deliver_tries;
};

struct sc_broker_ops {
    /* Calls a consumer. Accepted (SC_OK): sc_broker_answered follows once, not before the return.
     * SC_ERR_UNAVAILABLE: its client is not connected; SC_ERR_BUSY, SC_ERR_NO_MEMORY: try again
     * later; other errors: this call cannot be made. */
    enum sc_status (*call)(void *user, struct orl_grain_id consumer,
                           const struct orl_method *method, uint32_t timeout_ms,
                           void (*put)(void *put_user, struct orl_args *args), void *put_user,
                           uint64_t token);
};

SC_MUST_USE enum sc_status sc_broker_open(struct sc_loop *loop, const struct sc_log *log,
                                          const struct sc_broker_config *config,
                                          const struct sc_broker_ops *ops, void *user,
                                          struct sc_broker **broker_out);
void sc_broker_close(struct sc_broker *broker);

/* Takes a message, copying it; queue is the key of the queue grain that it was sent to.
 * SC_ERR_BUSY: queue_max_bytes are waiting, or a subscription's queue is full: publish it again
 * later; SC_ERR_TOO_LARGE: over delivery_max_bytes when it is handed on; SC_ERR_ARGUMENT: not a
 * queue's key. */
SC_MUST_USE enum sc_status sc_broker_publish(struct sc_broker *broker, struct span queue,
                                             const struct orl_memory_message *message);

/* Adds, or replaces the one with the same id. SC_ERR_BUSY: subscriptions_max; SC_ERR_ARGUMENT: a
 * name that is too long or not UTF-8. */
SC_MUST_USE enum sc_status sc_broker_subscribe(struct sc_broker *broker,
                                               const struct orl_subscription *subscription);
/* By id; nothing when there is none. */
void sc_broker_unsubscribe(struct sc_broker *broker, const struct orl_guid *id);

/* The answer to GetAllSubscriptions as a response's body: those of a stream that belong to
 * consumer, or all when its type is empty. */
void sc_broker_put_subscriptions(const struct sc_broker *broker,
                                 const struct orl_qualified_stream_id *stream,
                                 struct orl_grain_id consumer, struct wbuf *w);

/* A call is over: SC_OK, SC_ERR_CLOSED (the client is gone), SC_ERR_DEADLINE or any other. */
void sc_broker_answered(struct sc_broker *broker, uint64_t token, enum sc_status st);

/* A client came, or went: its subscriptions go on, or end when it stays away too long. */
void sc_broker_client_up(struct sc_broker *broker, struct orl_grain_id client);
void sc_broker_client_down(struct sc_broker *broker, struct orl_grain_id client);

struct sc_broker_stats {
    uint32_t subscriptions;
    uint64_t published;
    uint64_t delivered;
    uint64_t unheard;
    uint64_t overflowed;
    uint64_t queued_bytes; /* of memory */
};
void sc_broker_stats(const struct sc_broker *broker, struct sc_broker_stats *stats_out);

#endif
