/* What silo_conn.c (the session) and silo_call.c (its calls) share. */
#ifndef SIDECAR_SILO_IMPL_H
#define SIDECAR_SILO_IMPL_H

#include "orleans-proto/client.h"
#include "sidecar/base/log.h"
#include "sidecar/net.h"
#include "sidecar/silo_conn.h"

enum { SILO_CAUSE_MAX = 256, SILO_NO_CALL = UINT32_MAX };

enum silo_state {
    SILO_WAITING, /* for the backoff to pass */
    SILO_RESOLVING,
    SILO_CONNECTING,
    SILO_PREAMBLE,
    SILO_READY,
    SILO_LEAVING, /* the gateway shuts down: no new calls, answers still come */
    SILO_STATE_COUNT
};

/* A call in flight; its index is what the session gives back with the answer. */
struct pending {
    void (*done)(void *user, const struct sc_silo_answer *answer); /* NULL: forgotten */
    void *user;
    uint32_t next_free;
};

struct sc_silo_conn {
    struct sc_loop *loop;
    struct sc_log log;
    struct sc_silo_conn_config config; /* its text points at the copies below */
    char *endpoint;                    /* owned */
    char *cluster_id;                  /* owned */
    char host[SC_HOST_MAX];
    uint16_t port;

    enum silo_state state;
    struct sc_timer *timer; /* backoff, connect limit, leaving limit: one at a time */
    struct sc_resolve *resolve;
    struct sc_sock *sock;
    struct orl_client *session;
    struct orl_guid id;
    uint64_t id_changes;
    uint64_t ready_ns; /* this session */
    uint64_t lost_ns;  /* the last ready session; 0: none yet */
    uint32_t backoff_ms;
    uint32_t silent_calls;
    uint32_t attempts; /* since the last ready session */

    struct sc_timer *expiry;
    uint64_t expiry_ns; /* when it fires; UINT64_MAX: not armed */
    struct pending *calls;
    uint32_t calls_used; /* slots ever used */
    uint32_t free_call;

    struct sc_silo_watch *watches;
    sc_silo_request_fn request_fn;
    void *request_user;
    struct sc_silo_conn_stats stats; /* without the present socket's bytes */
    char cause[SILO_CAUSE_MAX];
    char logged_cause[SILO_CAUSE_MAX];
    bool closed;
};

/* silo_call.c: how a call ended; the slot is what the session gave back. */
void silo_call_answered(struct sc_silo_conn *c, uint64_t slot, const struct orl_response *response);
void silo_call_failed(struct sc_silo_conn *c, uint64_t slot, enum sc_status st, const char *text);

/* silo_call.c, timer: ends the calls whose time is over. */
void silo_calls_expire(void *user);

/* silo_conn.c: gives a session up that has answered nothing for so many calls. */
void silo_give_up(struct sc_silo_conn *c);

#endif
