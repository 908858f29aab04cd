/* Calls in flight: a table of fixed size with three ways in. A token (generation and slot) names a
 * call to the device, so a late answer never meets a newer call; (user, id) names it to its caller;
 * a timer wheel knows when its time runs out. No allocation after init. Loop thread only. */
#ifndef SIDECAR_CALLS_H
#define SIDECAR_CALLS_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/router.h"

enum sc_call_kind {
    SC_CALL_MESSAGE,   /* a caller waits for the kernel's reply */
    SC_CALL_WAIT,      /* a caller waits for a grain to come or go */
    SC_CALL_ACTIVATE,  /* the router's own: the device creates a grain */
    SC_CALL_DEACTIVATE /* the router's own: the device ends a grain */
};

/* Place in a doubly linked list of table indices. head NULL: in no list. */
struct sc_call_link {
    uint32_t *head;
    uint32_t next, prev;
};

struct sc_call {
    sc_reply_fn fn; /* NULL: nobody is told */
    void *user;
    uint64_t id;
    uint64_t grain;
    uint64_t started_ns, deadline_ns;
    struct sc_call_link due;  /* the wheel's */
    struct sc_call_link wait; /* a grain's waiters, or the router's answered ones */
    uint32_t generation;      /* odd while in use */
    uint32_t hash_next;       /* also the free list's */
    uint32_t bucket;
    uint8_t kind;
    bool created;
};

enum { SC_CALL_NONE = -1 }; /* as uint32_t: no index */

enum { SC_WHEEL_SLOTS = 4096, SC_WHEEL_TICK_NS = 4000000 };

struct sc_calls {
    struct sc_call *calls; /* owned */
    uint32_t *buckets;     /* owned */
    uint32_t max, count;   /* max: a power of two */
    uint32_t fresh, free;
    uint64_t seed;
    uint64_t tick;                      /* the wheel has been turned up to here */
    uint32_t wheel[SC_WHEEL_SLOTS + 1]; /* the last one: calls that are due */
};

/* max is rounded up to a power of two. */
SC_MUST_USE enum sc_status sc_calls_init(struct sc_calls *calls, uint32_t max, uint64_t now_ns);
void sc_calls_fini(struct sc_calls *calls);

/* Adds a caller's call. SC_ERR_BUSY: the table is full. SC_ERR_ARGUMENT: the caller has a call with
 * this id in flight. */
SC_MUST_USE enum sc_status sc_calls_add(struct sc_calls *calls, const struct sc_caller *caller,
                                        enum sc_call_kind kind, uint64_t now_ns,
                                        uint64_t deadline_ns, struct sc_call **call_out);

/* Adds a call of the router's own: no caller, no deadline. NULL when the table is full. */
struct sc_call *sc_calls_add_own(struct sc_calls *calls, enum sc_call_kind kind, uint64_t grain);

/* Takes a call out of the table and of every list; the pointer is void. */
void sc_calls_remove(struct sc_calls *calls, struct sc_call *call);

/* Never 0. */
static inline uint64_t sc_calls_token(const struct sc_calls *calls, const struct sc_call *call)
{
    return (uint64_t)call->generation << 32 | (uint32_t)(call - calls->calls);
}

/* NULL when the call is gone. */
static inline struct sc_call *sc_calls_by_token(struct sc_calls *calls, uint64_t token)
{
    uint32_t index = (uint32_t)token;
    if (index >= calls->fresh)
        return NULL;
    struct sc_call *call = &calls->calls[index];
    return call->generation == (uint32_t)(token >> 32) ? call : NULL;
}

struct sc_call *sc_calls_find(struct sc_calls *calls, const void *user, uint64_t id);

/* Puts a call into a list (through its `wait` link), at the front. */
void sc_calls_push(struct sc_calls *calls, uint32_t *head, struct sc_call *call);

/* First of a list, still in it; NULL when it is empty. */
static inline struct sc_call *sc_calls_first(struct sc_calls *calls, const uint32_t *head)
{
    return *head != (uint32_t)SC_CALL_NONE ? &calls->calls[*head] : NULL;
}

/* Turns the wheel to now_ns and gives one call whose deadline has passed, still in the table; the
 * owner removes it. NULL when there is none (left). */
struct sc_call *sc_calls_due(struct sc_calls *calls, uint64_t now_ns);

/* Goes over all calls in use: start with index 0, NULL at the end. Calls may be removed on the way.
 */
struct sc_call *sc_calls_next(struct sc_calls *calls, uint32_t *index);

#endif
