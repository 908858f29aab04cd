/* What router.c (what callers ask) and router_device.c (what the device tells) share. */
#ifndef SIDECAR_ROUTER_IMPL_H
#define SIDECAR_ROUTER_IMPL_H

#include "gpu/gpu.h"
#include "sidecar/calls.h"
#include "sidecar/grains.h"
#include "sidecar/router.h"

struct sc_pump;

enum { ROUTER_CAUSE_BYTES = 512, ROUTER_WHY_BYTES = 448 };

struct sc_router {
    struct sc_loop *loop;
    struct sc_router_config config;
    struct sc_router_ops ops;
    void *user;
    struct sc_metrics *metrics;
    const struct sc_log *log;
    struct gpu_device *device;
    struct sc_pump *pump;
    struct sc_timer *clock;
    struct sc_calls calls;
    struct sc_grains grains;
    struct sc_room *rooms;
    uint32_t answered; /* list of calls whose grain is there already: told when the turn ends */
    bool clock_runs, telling, draining, closed;
    char cause[ROUTER_CAUSE_BYTES]; /* why the device does not serve */
    char why[ROUTER_WHY_BYTES];     /* sc_router_why */
};

/* Ends a call: out of the table first, so that the callback may ask for anything. */
void router_finish(struct sc_router *router, struct sc_call *call, const struct sc_reply *result);

/* The same for all who wait for a grain's present step. */
void router_finish_waiters(struct sc_router *router, struct sc_grain *grain,
                           const struct sc_reply *result);

#endif
