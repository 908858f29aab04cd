/* The built-in gateway: Orleans clients, a .NET client among them, call K-Grains and use memory
 * streams of this daemon with no silo at all. A kernel is a grain type, its id the type's name; its
 * grains implement the interface gpu.kgrain:
 *     call(int type, byte[] payload) -> byte[]        send(int type, byte[] payload), one-way
 * Memory streams are kept by broker.c. Loop thread only. */
#ifndef SIDECAR_GATEWAY_H
#define SIDECAR_GATEWAY_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_loop;
struct sc_log;
struct sc_router;
struct sc_gateway;

/* A zero number takes the default in brackets. Text is copied. */
struct sc_gateway_config {
    const char *listen; /* "host:port" or "[v6]:port", numeric; port 0 takes a free one */
    const char *cluster_id;
    uint32_t clients_max;        /* [256] */
    uint32_t calls_max;          /* in flight a client [1024] */
    uint32_t output_max_bytes;   /* not yet written a client; more and it is dropped [8 MiB] */
    uint32_t body_max_bytes;     /* of a message from a client [4 MiB] */
    uint32_t preamble_ms;        /* for a new connection to say who it is [5000] */
    uint32_t client_drop_ms;     /* subscriptions of a client that left are kept [60000] */
    uint32_t subscriptions_max;  /* over all clients [4096] */
    uint32_t queue_max_messages; /* a subscription; the oldest is dropped for a newer [1024] */
    uint64_t queue_max_bytes;    /* over all subscriptions [64 MiB] */
    uint32_t deliver_ms;         /* for a consumer to answer a delivery [30000] */
    uint32_t deliver_retry_ms;   /* after a consumer's failure [2000] */
    uint32_t deliver_tries;      /* then the message is dropped [8] */
};

/* Listens. router is borrowed until the close; NULL: memory streams only, no grains.
 * SC_ERR_CONFIG: listen does not parse; SC_ERR_IO: cannot listen there; SC_ERR_NO_MEMORY. */
SC_MUST_USE enum sc_status sc_gateway_open(struct sc_loop *loop, const struct sc_log *log,
                                           const struct sc_gateway_config *config,
                                           struct sc_router *router,
                                           struct sc_gateway **gateway_out);

/* Tells every client to go elsewhere, as far as that can be written at once, and closes. */
void sc_gateway_close(struct sc_gateway *gateway);

/* The port that it listens on. */
uint16_t sc_gateway_port(const struct sc_gateway *gateway);

/* The kernel ids that the cluster manifest lists, so that .NET clients find grain types by
 * interface; copied. Calls do not need it. */
SC_MUST_USE enum sc_status sc_gateway_set_kernels(struct sc_gateway *gateway,
                                                  const struct span *ids, size_t count);

struct sc_gateway_stats {
    uint32_t clients;
    uint32_t subscriptions;
    uint64_t accepted;     /* connections */
    uint64_t refused;      /* over clients_max, or a preamble that was no good */
    uint64_t dropped;      /* too slow, or broke the protocol */
    uint64_t calls;        /* to K-Grains */
    uint64_t calls_failed; /* answered by an exception or a rejection */
    uint64_t published;    /* stream messages taken */
    uint64_t delivered;    /* ... acknowledged by a consumer */
    uint64_t unheard;      /* ... nobody subscribed */
    uint64_t overflowed;   /* ... dropped from a full queue, or never acknowledged */
};
void sc_gateway_stats(const struct sc_gateway *gateway, struct sc_gateway_stats *stats_out);

#endif
