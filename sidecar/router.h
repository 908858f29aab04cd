/* Grain names to devices: finds or creates the grain (kernel, key), passes calls on, gives replies
 * back. The one place that knows which grain lives where. Loop thread only. */
#ifndef SIDECAR_ROUTER_H
#define SIDECAR_ROUTER_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_router;

/* How a call ended; exactly once a call that was accepted. `id` is the caller's own. SC_OK: payload
 * is the reply (for an activation: value is the grain's address). Else text says why, for a person.
 * Spans are good for the callback only. */
struct sc_reply {
    uint64_t id;
    enum sc_status status;
    uint64_t value;
    bool created; /* of an activation: the grain is new */
    struct span payload;
    struct span text;
};
typedef void (*sc_reply_fn)(void *user, const struct sc_reply *reply);

/* Who asks, and where the answer goes. `user` must stay good until every call has been answered, or
 * until sc_router_forget(user). */
struct sc_caller {
    sc_reply_fn fn;
    void *user;
    uint64_t id;
    uint32_t deadline_ms; /* 0: the configuration's call.deadline_ms */
};

/* Finds or creates a grain. key: 1..256 bytes. An error return means: not accepted, no callback;
 * SC_AGAIN: the device's ring is full, stop reading and try again when sc_router_room says so. */
SC_MUST_USE enum sc_status sc_router_activate(struct sc_router *router, struct span kernel,
                                              struct span key, uint32_t state_bytes,
                                              struct span init, const struct sc_caller *caller);
SC_MUST_USE enum sc_status sc_router_deactivate(struct sc_router *router, uint64_t grain,
                                                const struct sc_caller *caller);
SC_MUST_USE enum sc_status sc_router_call(struct sc_router *router, uint64_t grain, uint16_t type,
                                          struct span payload, const struct sc_caller *caller);
SC_MUST_USE enum sc_status sc_router_send(struct sc_router *router, uint64_t grain, uint16_t type,
                                          struct span payload);

/* A call by name, as an Orleans client makes it: activates the grain (manifest's state size, empty
 * init) when it is not there. One callback, for the call. */
SC_MUST_USE enum sc_status sc_router_call_key(struct sc_router *router, struct span kernel,
                                              struct span key, uint16_t type, struct span payload,
                                              const struct sc_caller *caller);

/* The same without an answer. */
SC_MUST_USE enum sc_status sc_router_send_key(struct sc_router *router, struct span kernel,
                                              struct span key, uint16_t type, struct span payload);

/* Ends a call early with SC_ERR_CANCELLED; nothing when it is not in flight. */
void sc_router_cancel(struct sc_router *router, void *user, uint64_t id);

/* Drops every callback to `user`; what runs on the device runs on, its answers go nowhere. */
void sc_router_forget(struct sc_router *router, void *user);

/* True when the kernel id is in the catalog; usable or not. */
bool sc_router_has_kernel(const struct sc_router *router, struct span kernel);

#endif
