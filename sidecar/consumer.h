/* A small Orleans client that blocks: calls K-Grains and listens to memory streams over any
 * gateway, ours or a silo's. Owns its loop, which turns only inside these functions: a program that
 * stays away for long is dropped by its gateway. For the demo command and for tests. One thread. */
#ifndef SIDECAR_CONSUMER_H
#define SIDECAR_CONSUMER_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_log;
struct sc_consumer;
struct wbuf;

/* Connects; waits until the gateway has answered. SC_ERR_UNAVAILABLE: not within timeout_ms, the
 * log says why. log is copied. */
SC_MUST_USE enum sc_status sc_consumer_open(const struct sc_log *log, const char *host,
                                            uint16_t port, const char *cluster_id,
                                            uint32_t timeout_ms, struct sc_consumer **consumer_out);
void sc_consumer_close(struct sc_consumer *consumer);

/* One event of a stream: a byte[] or a string. Borrowed for the callback, which must not call back
 * into the consumer. An event can come twice: see sequence, which grows from message to message. */
struct sc_consumer_event {
    struct span stream_namespace;
    struct span key;
    struct span payload;
    bool is_text;
    int64_t sequence;
    uint32_t index; /* of the event in its message */
};
typedef void (*sc_consumer_fn)(void *user, const struct sc_consumer_event *event);

/* Subscribes to a memory stream; fn runs in any of the functions below. Subscriptions are made
 * again by themselves when the client had to take a new id. */
SC_MUST_USE enum sc_status sc_consumer_subscribe(struct sc_consumer *consumer, const char *provider,
                                                 const char *stream_namespace, const char *key,
                                                 sc_consumer_fn fn, void *user,
                                                 uint32_t timeout_ms);

/* gpu.kgrain.call on the grain (kernel, key); the answer goes to the end of reply.
 * SC_ERR_EXCEPTION, SC_ERR_REJECTED, SC_ERR_DEADLINE, SC_ERR_CLOSED: sc_consumer_error says more.
 */
SC_MUST_USE enum sc_status sc_consumer_call(struct sc_consumer *consumer, const char *kernel,
                                            const char *key, int32_t type, struct span payload,
                                            uint32_t timeout_ms, struct wbuf *reply);

/* gpu.kgrain.send: no answer. */
SC_MUST_USE enum sc_status sc_consumer_send(struct sc_consumer *consumer, const char *kernel,
                                            const char *key, int32_t type, struct span payload);

/* Waits for events until at least one came (SC_OK) or the time is over (SC_AGAIN). */
SC_MUST_USE enum sc_status sc_consumer_wait(struct sc_consumer *consumer, uint32_t timeout_ms);

/* Why the last function failed, for people. */
const char *sc_consumer_error(const struct sc_consumer *consumer);

#endif
