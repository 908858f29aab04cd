#include "sidecar/pump.h"

#include <sched.h>
#include <stdlib.h>

#include "gpu/gpu.h"
#include "sidecar/loop.h"

enum {
    POLL_MAX = 1024, /* completions taken in one turn */
    TICK_MS = 20,
    RETRY_MS = 1 /* for a full ring, and for an event nobody takes yet */
};

struct sc_pump {
    struct sc_loop *loop;
    struct gpu_device *device;
    const struct sc_pump_ops *ops;
    void *user;
    struct sc_watch *watch;
    struct sc_timer *tick, *retry;
    uint64_t spin_ns, spin_until_ns;
    bool queued; /* turn() is among the loop's later functions */
    bool closed; /* freed by the next turn() */
};

static void turn(void *user);

static void queue(struct sc_pump *pump)
{
    if (pump->queued)
        return;
    pump->queued = true;
    sc_loop_later(pump->loop, turn, pump);
}

static void look(struct sc_pump *pump)
{
    enum sc_status st = gpu_device_poll(pump->device, POLL_MAX);
    if (st == SC_AGAIN)
        queue(pump);
    else if (st != SC_OK)
        sc_timer_once(pump->retry, RETRY_MS);
    pump->ops->after_poll(pump->user);
}

/* While an answer may come soon it runs every turn of the loop, which then does not sleep. */
static void turn(void *user)
{
    struct sc_pump *pump = user;
    pump->queued = false;
    if (pump->closed) {
        free(pump);
        return;
    }
    look(pump);
    if (pump->ops->busy(pump->user) && sc_loop_now_ns(pump->loop) < pump->spin_until_ns) {
        queue(pump);
        /* The device's thread, or the client's, may be waiting for this very core. */
        sched_yield();
    }
}

static void on_notify(void *user, unsigned what)
{
    (void)what;
    struct sc_pump *pump = user;
    look(pump);
}

static void on_retry(void *user)
{
    struct sc_pump *pump = user;
    look(pump);
}

static void on_tick(void *user)
{
    struct sc_pump *pump = user;
    gpu_device_tick(pump->device, sc_loop_now_ns(pump->loop));
    look(pump);
}

void sc_pump_kick(struct sc_pump *pump)
{
    if (pump->spin_ns == 0)
        return;
    pump->spin_until_ns = sc_loop_now_ns(pump->loop) + pump->spin_ns;
    queue(pump);
}

void sc_pump_want_room(struct sc_pump *pump)
{
    sc_timer_once(pump->retry, RETRY_MS);
}

enum sc_status sc_pump_open(struct sc_loop *loop, struct gpu_device *device, uint32_t spin_us,
                            const struct sc_pump_ops *ops, void *user, struct sc_pump **pump_out)
{
    struct sc_pump *pump = calloc(1, sizeof *pump);
    if (pump == NULL)
        return SC_ERR_NO_MEMORY;
    *pump = (struct sc_pump){.loop = loop,
                             .device = device,
                             .ops = ops,
                             .user = user,
                             .spin_ns = (uint64_t)spin_us * 1000};
    enum sc_status st = sc_timer_open(loop, on_tick, pump, &pump->tick);
    if (st == SC_OK)
        st = sc_timer_open(loop, on_retry, pump, &pump->retry);
    if (st == SC_OK)
        st = sc_watch_open(loop, gpu_device_notify_fd(device), SC_WATCH_READ, on_notify, pump,
                           &pump->watch);
    if (st != SC_OK) {
        sc_pump_close(pump);
        return st;
    }
    sc_timer_every(pump->tick, TICK_MS);
    /* The first look asks the worker for notifications. */
    queue(pump);
    *pump_out = pump;
    return SC_OK;
}

void sc_pump_close(struct sc_pump *pump)
{
    if (pump == NULL)
        return;
    sc_watch_close(pump->watch);
    sc_timer_close(pump->retry);
    sc_timer_close(pump->tick);
    pump->closed = true;
    if (!pump->queued)
        free(pump);
}
