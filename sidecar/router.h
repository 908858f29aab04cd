/* Grain names to devices: finds or creates the grain (kernel, key), passes calls on, gives replies
 * back. The one place that knows which grain lives where. Loop thread only. */
#ifndef SIDECAR_ROUTER_H
#define SIDECAR_ROUTER_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct gpu_device;
struct gpu_device_ops;
struct sc_event;
struct sc_log;
struct sc_loop;
struct sc_metrics;
struct sc_router;

struct sc_router_config {
    uint32_t calls_max;   /* calls in flight, all callers together; rounded up to a power of two */
    uint32_t grains_max;  /* as the device's */
    uint32_t deadline_ms; /* for callers that state none */
};

/* What the router tells the daemon. */
struct sc_router_ops {
    /* Takes an event of a kernel, as sc_stream_offer does. NULL: events are counted and dropped. */
    enum sc_status (*offer)(void *user, const struct sc_event *event);
    /* The device's state, the epoch or the draining flag changed. */
    void (*on_state)(void *user);
};

/* Keeps loop, metrics, log and *ops's functions, which must outlive it. */
SC_MUST_USE enum sc_status sc_router_open(struct sc_loop *loop,
                                          const struct sc_router_config *config,
                                          const struct sc_router_ops *ops, void *user,
                                          struct sc_metrics *metrics, const struct sc_log *log,
                                          struct sc_router **router_out);

/* Calls nobody back. Accepts NULL. */
void sc_router_close(struct sc_router *router);

/* The device is opened with these callbacks and the router as their user, then attached before
 * anything else is asked of the router. The device stays the caller's; it is closed after the
 * router. From here on the router polls and ticks the device; spin_us: how long it polls for an
 * answer before the loop sleeps. */
const struct gpu_device_ops *sc_router_device_ops(void);
SC_MUST_USE enum sc_status sc_router_attach(struct sc_router *router, struct gpu_device *device,
                                            uint32_t spin_us);

/* Reloadable part of the configuration. */
void sc_router_set_deadline(struct sc_router *router, uint32_t deadline_ms);

/* From now on new calls, sends and activations end with SC_ERR_UNAVAILABLE; calls in flight go on.
 */
void sc_router_drain(struct sc_router *router);

/* What there is, for probes, metrics and the capacity report. */
struct sc_router_view {
    uint64_t epoch;
    bool ready; /* the device serves; false while draining */
    bool draining;
    uint32_t grains, calls, calls_max;
    const char *cause; /* why it is not ready, else "" */
};
void sc_router_view(const struct sc_router *router, struct sc_router_view *out);

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

/* Who asks, and where the answer goes. No callback runs within the function that accepts the call.
 * `user` and `id` together name a call in flight: a second one is SC_ERR_ARGUMENT. `user` must stay
 * good until every call has been answered, or until sc_router_forget(user). */
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

/* Why the last of these functions did not accept what it was asked, for people: names the object
 * and the limit. Good until the next of them is called. */
const char *sc_router_why(const struct sc_router *router);

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

/* One who got SC_AGAIN and waits. The storage is the waiter's; zero it before first use. */
struct sc_room {
    void (*fn)(void *user);
    void *user;
    struct sc_room *next, **link; /* the router's */
};

/* Calls room->fn once, soon after the device may have taken something from its ring; fn may ask
 * again. Does nothing for one that already waits. */
void sc_router_room(struct sc_router *router, struct sc_room *room);
void sc_router_room_cancel(struct sc_room *room);

/* True when the kernel id is in the catalog; usable or not. */
bool sc_router_has_kernel(const struct sc_router *router, struct span kernel);

#endif
