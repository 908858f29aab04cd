#include "sidecar/router.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/catalog.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/metrics.h"
#include "sidecar/pump.h"
#include "sidecar/router_impl.h"

enum { KEY_MAX_BYTES = 256, CLOCK_MS = 4 };

#define NONE ((uint32_t)SC_CALL_NONE)

/* -- endings */

static void count_ending(struct sc_router *router, const struct sc_call *call, enum sc_status st)
{
    struct sc_metrics *m = router->metrics;
    if (call->kind != SC_CALL_MESSAGE)
        return;
    if (st == SC_OK)
        m->calls_ok++;
    else
        m->calls_failed++;
    uint64_t now = sc_loop_now_ns(router->loop);
    sc_hist_add(&m->call_latency, now - call->started_ns);
}

void router_finish(struct sc_router *router, struct sc_call *call, const struct sc_reply *result)
{
    sc_reply_fn fn = call->fn;
    void *user = call->user;
    struct sc_reply reply = *result;
    reply.id = call->id;
    reply.created = call->created;
    count_ending(router, call, result->status);
    sc_calls_remove(&router->calls, call);
    if (fn != NULL)
        fn(user, &reply);
}

void router_finish_waiters(struct sc_router *router, struct sc_grain *grain,
                           const struct sc_reply *result)
{
    struct sc_call *call;
    while ((call = sc_calls_first(&router->calls, &grain->waiters)) != NULL)
        router_finish(router, call, result);
}

/* Callers whose grain was there already are told here, never within the function they called. */
static void tell_answered(void *user)
{
    struct sc_router *router = user;
    router->telling = false;
    if (router->closed) {
        free(router);
        return;
    }
    struct sc_call *call;
    while ((call = sc_calls_first(&router->calls, &router->answered)) != NULL)
        router_finish(router, call, &(struct sc_reply){.status = SC_OK, .value = call->grain});
}

static void answer_soon(struct sc_router *router, struct sc_call *call, uint64_t grain)
{
    call->grain = grain;
    sc_calls_push(&router->calls, &router->answered, call);
    if (!router->telling) {
        router->telling = true;
        sc_loop_later(router->loop, tell_answered, router);
    }
}

/* Of a grain's kernel; -1 when there is no such grain. */
static int kernel_index(const struct sc_router *router, uint64_t handle)
{
    const struct sc_grain *grain = sc_grains_by_handle(&router->grains, handle);
    return grain != NULL ? (int)grain->kernel : -1;
}

static const char *kernel_name(const struct sc_router *router, int index)
{
    return index < 0 ? "unknown" : gpu_device_catalog(router->device)->entries[index].manifest.id;
}

static void on_clock(void *user)
{
    struct sc_router *router = user;
    uint64_t now = sc_loop_now_ns(router->loop);
    struct sc_call *call;
    while ((call = sc_calls_due(&router->calls, now)) != NULL) {
        char text[192];
        int n = snprintf(text, sizeof text, "kernel %s did not answer within %llu ms",
                         kernel_name(router, kernel_index(router, call->grain)),
                         (unsigned long long)((call->deadline_ns - call->started_ns) / 1000000));
        router->metrics->calls_deadline++;
        router_finish(
            router, call,
            &(struct sc_reply){.status = SC_ERR_DEADLINE, .text = span_of(text, (size_t)n)});
    }
    if (router->calls.count == 0) {
        router->clock_runs = false;
        sc_timer_cancel(router->clock);
    }
}

/* -- acceptance */

static enum sc_status refuse(struct sc_router *router, enum sc_status st, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum sc_status refuse(struct sc_router *router, enum sc_status st, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(router->why, sizeof router->why, format, args);
    va_end(args);
    return st;
}

/* Says why the device did not take a request; index is the kernel's or -1. */
static enum sc_status refused_by_device(struct sc_router *router, enum sc_status st, int index,
                                        uint16_t type)
{
    const char *id = kernel_name(router, index);
    switch (st) {
    case SC_OK:
    case SC_AGAIN:
        return st;
    case SC_ERR_NOT_FOUND:
        return refuse(router, st,
                      "no such grain; it ended, or the device was restarted: activate it again");
    case SC_ERR_ARGUMENT:
        return refuse(router, st, "type %u is no message of the kernel %s", type, id);
    case SC_ERR_KERNEL:
        return refuse(router, st, "kernel %s is unusable: %.300s", id,
                      index >= 0 ? gpu_device_kernel_error(router->device, (uint32_t)index) : "");
    case SC_ERR_TOO_LARGE:
    case SC_ERR_BUSY:
        return refuse(router, st, "%s", gpu_device_limit(router->device));
    default:
        return refuse(router, st, "%s", router->cause);
    }
}

const char *sc_router_why(const struct sc_router *router)
{
    return router->why;
}

static enum sc_status calls_full(struct sc_router *router)
{
    return refuse(router, SC_ERR_BUSY,
                  "too many calls in flight, the bound is %u (device.reply_slots)",
                  router->calls.max);
}

/* Adds the caller's call; its deadline runs from now. */
static enum sc_status add_call(struct sc_router *router, const struct sc_caller *caller,
                               enum sc_call_kind kind, struct sc_call **call_out)
{
    uint32_t ms = caller->deadline_ms != 0 ? caller->deadline_ms : router->config.deadline_ms;
    uint64_t now = sc_loop_now_ns(router->loop);
    enum sc_status st =
        sc_calls_add(&router->calls, caller, kind, now, now + (uint64_t)ms * 1000000, call_out);
    if (st == SC_ERR_BUSY)
        return calls_full(router);
    if (st != SC_OK)
        return refuse(router, st, "id %llu is in flight already", (unsigned long long)caller->id);
    if (!router->clock_runs) {
        router->clock_runs = true;
        sc_timer_every(router->clock, CLOCK_MS);
    }
    return SC_OK;
}

/* Counts what was not accepted. */
static enum sc_status refused(struct sc_router *router, enum sc_status st)
{
    if (st == SC_AGAIN)
        router->metrics->ring_full++;
    else
        router->metrics->calls_refused++;
    return st;
}

static enum sc_status check_open(struct sc_router *router)
{
    if (router->draining || router->device == NULL)
        return refuse(router, SC_ERR_UNAVAILABLE, "%s",
                      router->draining ? "draining" : router->cause);
    return SC_OK;
}

static enum sc_status find_kernel(struct sc_router *router, struct span kernel, struct span key,
                                  uint32_t *kernel_out)
{
    if (key.len == 0 || key.len > KEY_MAX_BYTES)
        return refuse(router, SC_ERR_ARGUMENT, "a key has 1 to %d bytes, this one %zu",
                      KEY_MAX_BYTES, key.len);
    int index = gpu_catalog_find(gpu_device_catalog(router->device), kernel);
    if (index < 0)
        return refuse(router, SC_ERR_NOT_FOUND, "no kernel %.*s",
                      kernel.len < 64 ? (int)kernel.len : 64, (const char *)kernel.ptr);
    *kernel_out = (uint32_t)index;
    return SC_OK;
}

/* Has the device create a grain that is not there. */
static enum sc_status create(struct sc_router *router, uint32_t kernel, struct span key,
                             uint32_t state_bytes, struct span init, struct sc_grain **grain_out)
{
    struct sc_grain *grain = sc_grain_new(kernel, key);
    if (grain == NULL)
        return refuse(router, SC_ERR_BUSY, "no memory for a grain");
    enum sc_status st = SC_OK;
    struct sc_call *own = sc_calls_add_own(&router->calls, SC_CALL_ACTIVATE, 0);
    if (own == NULL) {
        st = calls_full(router);
        goto err_grain;
    }
    st = gpu_device_activate(router->device, kernel, state_bytes, init,
                             sc_calls_token(&router->calls, own), &own->grain);
    if (refused_by_device(router, st, (int)kernel, 0) != SC_OK)
        goto err_own;
    grain->state = SC_GRAIN_COMING;
    bool added = sc_grains_add(&router->grains, grain, own->grain);
    assert(added); /* the device gives out a slot once, and we know when it takes it back */
    (void)added;
    router->metrics->activations++;
    sc_pump_kick(router->pump);
    *grain_out = grain;
    return SC_OK;
err_own:
    sc_calls_remove(&router->calls, own);
err_grain:
    sc_grain_free(grain);
    return st;
}

static enum sc_status find_or_create(struct sc_router *router, struct span kernel, struct span key,
                                     struct sc_grain **grain_out)
{
    uint32_t index = 0;
    enum sc_status st = find_kernel(router, kernel, key, &index);
    if (st != SC_OK)
        return st;
    *grain_out = sc_grains_find(&router->grains, index, key);
    if (*grain_out != NULL)
        return SC_OK;
    return create(router, index, key, 0, span_of(NULL, 0), grain_out);
}

/* -- what callers ask */

enum sc_status sc_router_activate(struct sc_router *router, struct span kernel, struct span key,
                                  uint32_t state_bytes, struct span init,
                                  const struct sc_caller *caller)
{
    uint32_t index = 0;
    struct sc_call *call;
    enum sc_status st = check_open(router);
    if (st == SC_OK)
        st = find_kernel(router, kernel, key, &index);
    if (st == SC_OK)
        st = add_call(router, caller, SC_CALL_WAIT, &call);
    if (st != SC_OK)
        return refused(router, st);
    struct sc_grain *grain = sc_grains_find(&router->grains, index, key);
    if (grain == NULL) {
        st = create(router, index, key, state_bytes, init, &grain);
        if (st != SC_OK) {
            sc_calls_remove(&router->calls, call);
            return refused(router, st);
        }
        call->created = true;
    }
    call->grain = grain->handle;
    if (grain->state == SC_GRAIN_LIVE)
        answer_soon(router, call, grain->handle);
    else
        sc_calls_push(&router->calls, &grain->waiters, call);
    return SC_OK;
}

enum sc_status sc_router_deactivate(struct sc_router *router, uint64_t handle,
                                    const struct sc_caller *caller)
{
    struct sc_call *call;
    struct sc_grain *grain = sc_grains_by_handle(&router->grains, handle);
    /* An address is given out when the grain is live: before that nobody can mean this one. */
    if (grain == NULL || grain->state != SC_GRAIN_LIVE)
        return refused(router, refused_by_device(router, SC_ERR_NOT_FOUND, -1, 0));
    enum sc_status st = add_call(router, caller, SC_CALL_WAIT, &call);
    if (st != SC_OK)
        return refused(router, st);
    struct sc_call *own = sc_calls_add_own(&router->calls, SC_CALL_DEACTIVATE, handle);
    if (own == NULL) {
        st = calls_full(router);
        goto err_call;
    }
    st = gpu_device_deactivate(router->device, handle, sc_calls_token(&router->calls, own));
    if (refused_by_device(router, st, (int)grain->kernel, 0) != SC_OK)
        goto err_own;
    call->grain = handle;
    sc_grains_unname(&router->grains, grain);
    grain->state = SC_GRAIN_GOING;
    sc_calls_push(&router->calls, &grain->waiters, call);
    router->metrics->deactivations++;
    sc_pump_kick(router->pump);
    return SC_OK;
err_own:
    sc_calls_remove(&router->calls, own);
err_call:
    sc_calls_remove(&router->calls, call);
    return refused(router, st);
}

enum sc_status sc_router_call(struct sc_router *router, uint64_t handle, uint16_t type,
                              struct span payload, const struct sc_caller *caller)
{
    struct sc_call *call;
    enum sc_status st = check_open(router);
    if (st == SC_OK)
        st = add_call(router, caller, SC_CALL_MESSAGE, &call);
    if (st != SC_OK)
        return refused(router, st);
    st = gpu_device_call(router->device, handle, type, payload,
                         sc_calls_token(&router->calls, call));
    if (st != SC_OK) {
        sc_calls_remove(&router->calls, call);
        return refused(router, refused_by_device(router, st, kernel_index(router, handle), type));
    }
    call->grain = handle;
    router->metrics->calls_accepted++;
    sc_pump_kick(router->pump);
    return SC_OK;
}

enum sc_status sc_router_send(struct sc_router *router, uint64_t handle, uint16_t type,
                              struct span payload)
{
    enum sc_status st = check_open(router);
    if (st == SC_OK) {
        st = gpu_device_send(router->device, handle, type, payload);
        (void)refused_by_device(router, st, kernel_index(router, handle), type);
    }
    if (st == SC_OK) {
        router->metrics->sends++;
        /* Nobody waits for an answer, but somebody may for room in the ring. */
        sc_pump_kick(router->pump);
    } else if (st == SC_AGAIN) {
        router->metrics->ring_full++;
    } else {
        router->metrics->sends_dropped++;
    }
    return st;
}

enum sc_status sc_router_call_key(struct sc_router *router, struct span kernel, struct span key,
                                  uint16_t type, struct span payload,
                                  const struct sc_caller *caller)
{
    struct sc_grain *grain;
    enum sc_status st = check_open(router);
    if (st == SC_OK)
        st = find_or_create(router, kernel, key, &grain);
    return st == SC_OK ? sc_router_call(router, grain->handle, type, payload, caller)
                       : refused(router, st);
}

enum sc_status sc_router_send_key(struct sc_router *router, struct span kernel, struct span key,
                                  uint16_t type, struct span payload)
{
    struct sc_grain *grain;
    enum sc_status st = check_open(router);
    if (st == SC_OK)
        st = find_or_create(router, kernel, key, &grain);
    return st == SC_OK ? sc_router_send(router, grain->handle, type, payload) : refused(router, st);
}

void sc_router_cancel(struct sc_router *router, void *user, uint64_t id)
{
    struct sc_call *call = sc_calls_find(&router->calls, user, id);
    if (call == NULL)
        return;
    router->metrics->calls_cancelled++;
    router_finish(router, call,
                  &(struct sc_reply){.status = SC_ERR_CANCELLED,
                                     .text = span_of_str("cancelled by its caller")});
}

void sc_router_forget(struct sc_router *router, void *user)
{
    uint32_t index = 0;
    struct sc_call *call;
    while ((call = sc_calls_next(&router->calls, &index)) != NULL)
        if (call->fn != NULL && call->user == user)
            sc_calls_remove(&router->calls, call);
}

bool sc_router_has_kernel(const struct sc_router *router, struct span kernel)
{
    return router->device != NULL &&
           gpu_catalog_find(gpu_device_catalog(router->device), kernel) >= 0;
}

/* -- waiting for room */

void sc_router_room(struct sc_router *router, struct sc_room *room)
{
    if (room->link != NULL)
        return;
    room->next = router->rooms;
    room->link = &router->rooms;
    if (room->next != NULL)
        room->next->link = &room->next;
    router->rooms = room;
    sc_pump_want_room(router->pump);
}

void sc_router_room_cancel(struct sc_room *room)
{
    if (room->link == NULL)
        return;
    *room->link = room->next;
    if (room->next != NULL)
        room->next->link = room->link;
    room->link = NULL;
}

/* -- life */

void sc_router_set_deadline(struct sc_router *router, uint32_t deadline_ms)
{
    router->config.deadline_ms = deadline_ms;
}

void sc_router_drain(struct sc_router *router)
{
    if (router->draining)
        return;
    router->draining = true;
    router->ops.on_state(router->user);
}

void sc_router_view(const struct sc_router *router, struct sc_router_view *out)
{
    bool serves = router->device != NULL && gpu_device_state(router->device) == GPU_DEVICE_READY;
    *out = (struct sc_router_view){
        .epoch = router->device != NULL ? gpu_device_epoch(router->device) : 0,
        .ready = serves && !router->draining,
        .draining = router->draining,
        .grains = router->grains.count,
        .calls = router->calls.count,
        .calls_max = router->calls.max,
        .cause = router->draining ? "draining"
                 : serves         ? ""
                                  : router->cause};
}

enum sc_status sc_router_open(struct sc_loop *loop, const struct sc_router_config *config,
                              const struct sc_router_ops *ops, void *user,
                              struct sc_metrics *metrics, const struct sc_log *log,
                              struct sc_router **router_out)
{
    struct sc_router *router = calloc(1, sizeof *router);
    if (router == NULL)
        return SC_ERR_NO_MEMORY;
    *router = (struct sc_router){.loop = loop,
                                 .config = *config,
                                 .ops = *ops,
                                 .user = user,
                                 .metrics = metrics,
                                 .log = log,
                                 .answered = NONE,
                                 .cause = "the device is starting"};
    enum sc_status st = sc_calls_init(&router->calls, config->calls_max, sc_loop_now_ns(loop));
    if (st != SC_OK)
        goto err_free;
    st = sc_grains_init(&router->grains, config->grains_max);
    if (st != SC_OK)
        goto err_calls;
    st = sc_timer_open(loop, on_clock, router, &router->clock);
    if (st != SC_OK)
        goto err_grains;
    *router_out = router;
    return SC_OK;
err_grains:
    sc_grains_fini(&router->grains);
err_calls:
    sc_calls_fini(&router->calls);
err_free:
    free(router);
    return st;
}

void sc_router_close(struct sc_router *router)
{
    if (router == NULL)
        return;
    while (router->rooms != NULL)
        sc_router_room_cancel(router->rooms);
    sc_pump_close(router->pump);
    sc_timer_close(router->clock);
    sc_calls_fini(&router->calls);
    sc_grains_fini(&router->grains);
    router->closed = true;
    if (!router->telling)
        free(router);
}
