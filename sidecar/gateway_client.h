/* The inside of the gateway, shared by gateway.c (connections) and gateway_serve.c (what the
 * clients' messages ask for). */
#ifndef SIDECAR_GATEWAY_CLIENT_H
#define SIDECAR_GATEWAY_CLIENT_H

#include "orleans-proto/gateway.h"
#include "sidecar/base/log.h"
#include "sidecar/broker.h"
#include "sidecar/gateway.h"
#include "sidecar/net.h"
#include "sidecar/router.h"

struct sc_sock;
struct sc_timer;
struct sc_watch;

enum { GATEWAY_GRAIN_TEXT_MAX = 160 };

/* A call to a K-Grain that the router has. The router knows it by slot and generation. */
struct gateway_call {
    uint32_t generation;
    uint32_t next_free;
    bool used;
    struct orl_reply reply;
    char grain[GATEWAY_GRAIN_TEXT_MAX]; /* "type/key", for messages; cut */
};

struct gateway_client {
    struct sc_gateway *gateway;
    struct gateway_client *prev;
    struct gateway_client *next;
    struct sc_sock *sock;
    struct orl_gateway *session;
    struct sc_timer *timer;      /* preamble limit, then consumers' calls */
    uint64_t timer_ns;           /* UINT64_MAX: not armed for a call */
    struct sc_room room;         /* waits for the device's ring */
    struct gateway_call **calls; /* owned, of calls_cap; slots are kept for reuse */
    uint32_t calls_cap;
    uint32_t free_call; /* UINT32_MAX: none */
    uint32_t in_flight; /* calls that the router has */
    bool ready;
    bool slow; /* to be dropped when the timer fires */
    bool closed;
    char name[SC_ADDRESS_TEXT_MAX];
};

struct sc_gateway {
    struct sc_loop *loop;
    struct sc_log log;
    struct sc_gateway_config config;
    char *cluster_id; /* owned */
    struct sc_router *router;
    struct sc_broker *broker;
    struct orl_silo silo; /* what we say we are */
    int listen_fd;
    uint16_t port;
    struct sc_watch *watch;
    struct sc_timer *accept_timer; /* goes on after descriptors or places ran out */
    bool accept_warned;            /* since the last connection that was taken */
    struct gateway_client *clients;
    struct wbuf store;    /* unpacked payload of the message being served */
    char *kernel_text;    /* owned; the ids that kernels point into */
    struct span *kernels; /* owned */
    size_t kernel_count;
    int64_t manifest_version;
    struct sc_gateway_stats stats;
};

/* Serves one request or one-way message. SC_AGAIN: the device takes nothing now, the client is
 * paused and the same message is to be served again. SC_ERR_NO_MEMORY: the client's output is
 * full. */
SC_MUST_USE enum sc_status gateway_serve(struct gateway_client *client,
                                         const struct orl_gateway_event *event);

/* Writes what was put into the client's output at the end of the turn. */
void gateway_client_flush(struct gateway_client *client);

/* Drops a client whose output is full, soon: not before the return. */
void gateway_client_too_slow(struct gateway_client *client);

/* The device may have room again: goes on with the message that was not served. */
void gateway_client_resume(struct gateway_client *client);

#endif
