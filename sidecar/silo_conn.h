/* The link to one Orleans gateway, as its client: connects, speaks the preamble, makes calls, and
 * comes back by itself with jittered backoff when the silo goes away. A reconnect within a minute
 * keeps the client id, so that observers stay known to the silo; a later one takes a new id.
 *
 * Never waits and never stops reading: a silo's output to a slow client grows in the silo. Loop
 * thread only. */
#ifndef SIDECAR_SILO_CONN_H
#define SIDECAR_SILO_CONN_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_loop;
struct sc_log;
struct sc_silo_conn;
struct orl_args;
struct orl_client_event;
struct orl_grain_id;
struct orl_method;
struct orl_response;
struct wbuf;

/* A zero number takes the default in brackets. Text is copied. */
struct sc_silo_conn_config {
    const char *endpoint; /* "host:port" or "[v6]:port" */
    const char *cluster_id;
    uint32_t connect_ms;       /* TCP connect and preamble [5000] */
    uint32_t backoff_min_ms;   /* [100] */
    uint32_t backoff_max_ms;   /* [5000] */
    uint32_t id_keep_ms;       /* reconnects within this keep the client id [60000] */
    uint32_t calls_max;        /* in flight at once [4096] */
    uint32_t output_max_bytes; /* not yet written; more and calls get SC_ERR_BUSY [16 MiB] */
    uint32_t body_max_bytes;   /* of a message from the silo [16 MiB] */
};

/* Starts to connect. SC_ERR_CONFIG: the endpoint does not parse (logged);
 * SC_ERR_NO_MEMORY. */
SC_MUST_USE enum sc_status sc_silo_conn_open(struct sc_loop *loop, const struct sc_log *log,
                                             const struct sc_silo_conn_config *config,
                                             struct sc_silo_conn **conn_out);

/* Calls in flight get no callback any more. */
void sc_silo_conn_close(struct sc_silo_conn *conn);

/* True while calls can be made: the gateway's preamble was good and it is not shutting down. */
bool sc_silo_conn_up(const struct sc_silo_conn *conn);

/* Why it is not up, for /readyz and people, e.g. "the gateway belongs to another cluster"; "" when
 * it is up. Good until the next turn of the loop. */
const char *sc_silo_conn_cause(const struct sc_silo_conn *conn);

/* Tells when the link comes up or goes down; several may watch. `watch` is the caller's and stays
 * in place until sc_silo_conn_unwatch, or until the link is closed. */
struct sc_silo_watch {
    void (*fn)(void *user, bool up);
    void *user;
    struct sc_silo_watch *next; /* the link's own */
};
void sc_silo_conn_watch(struct sc_silo_conn *conn, struct sc_silo_watch *watch);
void sc_silo_conn_unwatch(struct sc_silo_conn *conn, struct sc_silo_watch *watch);

/* How a call ended; exactly once for each that was accepted. Borrowed for the callback.
 *   SC_OK            response: completed, or a value
 *   SC_ERR_EXCEPTION the method threw: response->exception
 *   SC_ERR_REJECTED  response->rejection and ->info
 *   SC_ERR_DEADLINE, SC_ERR_CLOSED, SC_ERR_PROTOCOL (its answer does not decode): response NULL;
 *                    whether the call ran is unknown */
struct sc_silo_answer {
    enum sc_status status;
    const struct orl_response *response;
    struct span text; /* why not, for people */
};

struct sc_silo_call {
    struct span grain_type;
    struct span grain_key;
    const struct orl_method *method;
    uint32_t timeout_ms; /* 1 or more, unless the method is one-way */
    bool to_silo;        /* a system target: of the silo behind the gateway */
    /* Writes the arguments; NULL for none. Called before sc_silo_conn_call returns. */
    void (*put)(void *user, struct orl_args *args);
    /* May make further calls and close the link. Not called for one-way methods. */
    void (*done)(void *user, const struct sc_silo_answer *answer);
    void *user;
};

/* Makes a call; what it points at is borrowed until the return. No callback after an error return:
 * SC_ERR_UNAVAILABLE: not up; SC_ERR_BUSY: calls_max or output_max_bytes; SC_ERR_TOO_LARGE: the
 * message is over the protocol's limits; SC_ERR_ARGUMENT: a system target without to_silo. */
SC_MUST_USE enum sc_status sc_silo_conn_call(struct sc_silo_conn *conn,
                                             const struct sc_silo_call *call);

/* Drops the callbacks of every call made with this user. */
void sc_silo_conn_forget(struct sc_silo_conn *conn, const void *user);

/* Observers that this client hosts: fn gets requests and one-way calls for them and answers with
 * orl_reply_* into w. Without fn each request is answered by an exception. */
typedef void (*sc_silo_request_fn)(void *user, const struct orl_client_event *event,
                                   struct wbuf *w);
void sc_silo_conn_on_request(struct sc_silo_conn *conn, sc_silo_request_fn fn, void *user);

/* The grain key of such an observer, <client id>+<scope>, to the end of w; its type is sys.client.
 * It changes with the client id: see sc_silo_conn_id_changes. */
void sc_silo_conn_put_observer_key(const struct sc_silo_conn *conn, struct wbuf *w,
                                   struct span scope);

/* Counts the client ids so far; when it changes, observers must be registered anew. */
uint64_t sc_silo_conn_id_changes(const struct sc_silo_conn *conn);

struct sc_silo_conn_stats {
    uint64_t connects; /* sessions that became ready */
    uint64_t failures; /* attempts and sessions that ended */
    uint64_t calls;
    uint64_t calls_failed;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint32_t in_flight;
};
void sc_silo_conn_stats(const struct sc_silo_conn *conn, struct sc_silo_conn_stats *stats_out);

#endif
