#ifndef ORLEANS_PROTO_CLIENT_H
#define ORLEANS_PROTO_CLIENT_H

#include "orleans-proto/invoke.h"
#include "orleans-proto/reply.h"

/* One connection to an Orleans gateway as a client: bytes and time in, events out, bytes to send
 * into the caller's buffer. No socket and no clock. Not shared between threads.
 *
 *     orl_client_open -> orl_client_start -> bytes received: orl_client_next until SC_AGAIN
 *                                         -> orl_client_call_begin, arguments, orl_client_call_end
 *                                         -> orl_client_expire by time
 *     stream ended: orl_client_ended, orl_client_abandon until false, orl_client_close
 */

struct orl_client;

struct orl_client_config {
    struct span cluster_id; /* copied */
    struct orl_guid id;     /* this process; keep it for reconnects within a minute, then renew */
    uint64_t first_call_id; /* any number; ids count up from it */
    uint32_t calls_max;     /* in flight at once */
    struct orl_limits limits;
};

/* SC_ERR_ARGUMENT: a value out of range; SC_ERR_NO_MEMORY. */
SC_MUST_USE enum sc_status orl_client_open(const struct orl_client_config *config,
                                           struct orl_client **client_out);
void orl_client_close(struct orl_client *c);

/* Writes our preamble. Calls may follow at once, but see orl_client_ready: only then is it known
 * that this is the right cluster. */
SC_MUST_USE enum sc_status orl_client_start(struct orl_client *c, struct wbuf *w);

bool orl_client_ready(const struct orl_client *c);

/* The silo behind the gateway, from its preamble: the target silo of its system targets. Null
 * before the session is ready. */
const struct orl_silo *orl_client_silo(const struct orl_client *c);

/* Our own grain id, sys.client/<32 hex>; borrowed, lives as long as the session. */
struct orl_grain_id orl_client_grain_id(const struct orl_client *c);

/* The id of an observer that this client hosts, sys.client/<32 hex>+<scope>; scope e.g. another
 * guid. The key is written to the end of w. */
void orl_client_put_observer_key(const struct orl_client *c, struct wbuf *w, struct span scope);

/* One call. Borrowed until call_begin returns. */
struct orl_client_call {
    struct orl_grain_id target;
    struct orl_silo target_silo; /* needed for system targets, otherwise without influence */
    const struct orl_method *method;
    uint32_t timeout_ms; /* 0: none, and no TTL in the message */
    uint64_t now_ns;
    uint64_t user;          /* comes back with the answer */
    uint32_t context_count; /* request context entries in */
    struct span context;    /* ... these bytes; see orl_context_put_string */
};

/* Writes the frame up to the first argument; the caller writes the arguments through *args_out,
 * then calls orl_client_call_end, with nothing else written to w in between. SC_ERR_BUSY: calls_max
 * in flight; SC_ERR_ARGUMENT: a system target without silo, which would kill it; SC_ERR_NO_MEMORY:
 * w is full. On failure w is as before. */
SC_MUST_USE enum sc_status orl_client_call_begin(struct orl_client *c, struct wbuf *w,
                                                 const struct orl_client_call *call,
                                                 struct orl_call_frame *frame_out);

/* Completes the frame and remembers the call (one-way methods are not remembered). On failure the
 * frame is taken out of w again: SC_ERR_NO_MEMORY, SC_ERR_TOO_LARGE. *id_out may be NULL. */
SC_MUST_USE enum sc_status orl_client_call_end(struct orl_client *c, struct orl_call_frame *frame,
                                               uint64_t *id_out);

/* Forgets a call; its answer will be a stray. False: not in flight. */
bool orl_client_forget(struct orl_client *c, uint64_t id, uint64_t *user_out);

enum orl_client_event_kind {
    ORL_CLIENT_READY,    /* the gateway's preamble is good */
    ORL_CLIENT_RESPONSE, /* a call is over: id, user, response */
    ORL_CLIENT_GARBLED,  /* a call is over, but its answer does not decode: id, user */
    ORL_CLIENT_STATUS,   /* a call is still running: id, user */
    ORL_CLIENT_REQUEST,  /* for an observer hosted here: message, call, reply; answer it */
    ORL_CLIENT_ONE_WAY,  /* the same without answer */
    ORL_CLIENT_STOP,     /* the gateway shuts down: new calls elsewhere, keep reading */
    ORL_CLIENT_STRAY,    /* an answer to no call in flight, or to one of our answers; ignore it */
    ORL_CLIENT_SKIPPED   /* a frame that does not decode; the connection goes on */
};

/* Borrows from the bytes given to orl_client_next. */
struct orl_client_event {
    enum orl_client_event_kind kind;
    uint64_t id;
    uint64_t user;
    struct orl_message message; /* all but READY and SKIPPED */
    struct orl_response response;
    struct orl_call call;     /* REQUEST, ONE_WAY; type empty when the body is no call */
    struct orl_reader args;   /* ... at its first argument; orl_call_open starts once more */
    struct orl_reply reply;   /* REQUEST, when can_reply */
    bool can_reply;           /* false: the request's ids are too long; it runs into its time-out */
    struct orl_silo stopping; /* STOP: the gateway's address */
};

/* Takes one event from the front of in and says how many bytes it was; call again with the rest
 * until SC_AGAIN. used_out is set on success only. Failures end the connection; orl_client_why says
 * more: SC_ERR_REFUSED (another cluster), SC_ERR_PROTOCOL, SC_ERR_LIMIT, SC_ERR_VERSION. */
SC_MUST_USE enum sc_status orl_client_next(struct orl_client *c, struct span in, size_t *used_out,
                                           struct orl_client_event *event_out);

/* Bytes that in must have before orl_client_next can yield; for sizing reads. */
size_t orl_client_need(const struct orl_client *c, struct span in);

/* Takes one call whose time is over; call until false. The earliest time at which this can yield:
 * orl_client_deadline_ns, UINT64_MAX for never. A silo that dies sends no answer at all, so this is
 * the only end of such calls. */
bool orl_client_expire(struct orl_client *c, uint64_t now_ns, uint64_t *id_out, uint64_t *user_out);
uint64_t orl_client_deadline_ns(const struct orl_client *c);

/* Takes one call of a connection that ended, its outcome unknown; call until false. */
bool orl_client_abandon(struct orl_client *c, uint64_t *id_out, uint64_t *user_out);

uint32_t orl_client_calls(const struct orl_client *c); /* in flight */

/* Why a session ended. */
enum orl_client_why {
    ORL_WHY_NONE,
    ORL_WHY_NO_PREAMBLE,      /* closed before a byte: silo not ready; TLS: certificate refused */
    ORL_WHY_PARTIAL_PREAMBLE, /* closed within the preamble */
    ORL_WHY_BAD_PREAMBLE,     /* not an Orleans gateway, or TLS expected */
    ORL_WHY_CLUSTER,          /* the gateway belongs to another cluster */
    ORL_WHY_IDENTITY,      /* closed right behind its preamble: our identity or cluster refused */
    ORL_WHY_CLOSED,        /* closed at a frame border */
    ORL_WHY_STOPPED,       /* closed after it said it would */
    ORL_WHY_PARTIAL_FRAME, /* closed within a frame */
    ORL_WHY_BAD_FRAME,     /* frame lengths that are not the protocol's */
    ORL_WHY_LIMIT,         /* a frame over our limits */
    ORL_WHY_VERSION,       /* a message header of a version that we do not know */
    ORL_WHY_COUNT
};

/* Tells the session that the stream ended with left bytes not yet consumed, and returns why. */
enum orl_client_why orl_client_ended(struct orl_client *c, size_t left);
enum orl_client_why orl_client_why(const struct orl_client *c);

/* A sentence for people, lower case. */
const char *orl_client_why_text(enum orl_client_why why);

#endif
