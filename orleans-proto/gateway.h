#ifndef ORLEANS_PROTO_GATEWAY_H
#define ORLEANS_PROTO_GATEWAY_H

#include "orleans-proto/invoke.h"
#include "orleans-proto/reply.h"

/* The gateway's side of one client connection: bytes in, events out, bytes to send into the
 * caller's buffer. Not shared between threads. */

struct orl_gateway;

struct orl_gateway_config {
    struct span cluster_id; /* copied */
    struct orl_silo silo;   /* what we say we are; not null */
    uint64_t first_call_id; /* any number; ids of calls to observers count up from it */
    uint32_t calls_max;     /* calls to observers in flight at once */
    struct orl_limits limits;
};

SC_MUST_USE enum sc_status orl_gateway_open(const struct orl_gateway_config *config,
                                            struct orl_gateway **gateway_out);
void orl_gateway_close(struct orl_gateway *g);

enum orl_gateway_event_kind {
    ORL_GATEWAY_READY,    /* the client's preamble is good: client */
    ORL_GATEWAY_REQUEST,  /* message, call, reply: answer it, or the client's call times out */
    ORL_GATEWAY_ONE_WAY,  /* message, call */
    ORL_GATEWAY_RESPONSE, /* an observer answered: id, user, response */
    ORL_GATEWAY_GARBLED,  /* an observer's answer does not decode: id, user */
    ORL_GATEWAY_STATUS,   /* an observer's call still runs: id, user */
    ORL_GATEWAY_STRAY,    /* an answer to no call in flight; to be ignored */
    ORL_GATEWAY_REFUSED,  /* a request whose body is no call; an error answer was written */
    ORL_GATEWAY_EXPIRED,  /* a message whose time was over; dropped, as a silo does */
    ORL_GATEWAY_SKIPPED   /* a frame that does not decode; the connection goes on */
};

/* Borrows from the bytes given to orl_gateway_next. */
struct orl_gateway_event {
    enum orl_gateway_event_kind kind;
    struct orl_grain_id client; /* READY: its grain id, the target of calls to it */
    uint64_t id;
    uint64_t user;
    struct orl_message message; /* all but READY and SKIPPED; target: grain type and key */
    struct orl_call call;       /* REQUEST, ONE_WAY */
    struct orl_reader args;     /* ... at its first argument; orl_call_open starts once more */
    struct orl_reply reply;     /* REQUEST: where its answer goes; copy it to answer later */
    struct orl_response response;
};

/* Takes one event from the front of in; call again with the rest until SC_AGAIN. On the client's
 * preamble our own is always written to w first, then it is checked: SC_ERR_REFUSED (another
 * cluster, or no client) means send what is in w, then close. SC_ERR_LIMIT, SC_ERR_PROTOCOL,
 * SC_ERR_VERSION: close. used_out is set on success only. */
SC_MUST_USE enum sc_status orl_gateway_next(struct orl_gateway *g, struct span in, size_t *used_out,
                                            struct wbuf *w, struct orl_gateway_event *event_out);

/* Bytes that in must have before orl_gateway_next can yield; for sizing reads. */
size_t orl_gateway_need(const struct orl_gateway *g, struct span in);

bool orl_gateway_ready(const struct orl_gateway *g);

/* The client's grain id; borrowed, empty before the session is ready. */
struct orl_grain_id orl_gateway_client(const struct orl_gateway *g);

/* A call from us to an observer of this client. */
struct orl_gateway_call {
    struct orl_grain_id sender; /* who calls: a grain, or a system target such as a stream agent */
    struct orl_grain_id target; /* sys.client/<client key>+<scope> */
    const struct orl_method *method;
    uint32_t timeout_ms; /* 0: none */
    uint64_t now_ns;
    uint64_t user;
};

/* As orl_client_call_begin and orl_client_call_end. SC_ERR_ARGUMENT: the target is no observer of
 * this client. */
SC_MUST_USE enum sc_status orl_gateway_call_begin(struct orl_gateway *g, struct wbuf *w,
                                                  const struct orl_gateway_call *call,
                                                  struct orl_call_frame *frame_out);
SC_MUST_USE enum sc_status orl_gateway_call_end(struct orl_gateway *g, struct orl_call_frame *frame,
                                                uint64_t *id_out);

/* Tells the client to send new calls elsewhere; the next thing is to close
 * (src/Orleans.Core/ClientObservers/ClientGatewayObserver.cs). address is the gateway's. */
SC_MUST_USE enum sc_status orl_gateway_put_stop(struct orl_gateway *g, struct wbuf *w,
                                                const struct orl_silo *address);

/* As orl_client_expire and its kin. */
bool orl_gateway_expire(struct orl_gateway *g, uint64_t now_ns, uint64_t *id_out,
                        uint64_t *user_out);
uint64_t orl_gateway_deadline_ns(const struct orl_gateway *g);
bool orl_gateway_abandon(struct orl_gateway *g, uint64_t *id_out, uint64_t *user_out);

#endif
