/* The router's other side: what the device tells. */
#include <stdio.h>

#include "gpu/catalog.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/metrics.h"
#include "sidecar/pump.h"
#include "sidecar/router_impl.h"
#include "sidecar/stream.h"

/* Out of the tables first: a waiter that asks again at once gets a new grain, maybe in the slot of
 * this one. */
static void bury(struct sc_router *router, struct sc_grain *grain, const struct sc_reply *result)
{
    sc_grains_remove(&router->grains, grain);
    router_finish_waiters(router, grain, result);
    sc_grain_free(grain);
}

/* An activation ended: its grain is there, or it never was. */
static void end_activation(struct sc_router *router, uint64_t handle, const struct sc_reply *result)
{
    struct sc_grain *grain = sc_grains_by_handle(&router->grains, handle);
    if (grain == NULL)
        return;
    struct sc_reply reply = *result;
    if (result->status == SC_OK) {
        grain->state = SC_GRAIN_LIVE;
        reply.value = handle;
        reply.payload = span_of(NULL, 0);
        router_finish_waiters(router, grain, &reply);
        return;
    }
    bury(router, grain, &reply);
}

static void end_deactivation(struct sc_router *router, uint64_t handle,
                             const struct sc_reply *result)
{
    struct sc_grain *grain = sc_grains_by_handle(&router->grains, handle);
    if (grain == NULL)
        return;
    struct sc_reply reply = *result;
    reply.payload = span_of(NULL, 0);
    bury(router, grain, &reply);
}

static void on_reply(void *user, uint64_t token, enum sc_status status, struct span payload,
                     struct span text)
{
    struct sc_router *router = user;
    struct sc_call *call = sc_calls_by_token(&router->calls, token);
    if (call == NULL) {
        router->metrics->replies_late++;
        return;
    }
    struct sc_reply reply = {.status = status, .payload = payload, .text = text};
    uint64_t handle = call->grain;
    enum sc_call_kind kind = (enum sc_call_kind)call->kind;
    router_finish(router, call, &reply);
    if (kind == SC_CALL_ACTIVATE)
        end_activation(router, handle, &reply);
    else if (kind == SC_CALL_DEACTIVATE)
        end_deactivation(router, handle, &reply);
}

static enum sc_status on_event(void *user, uint64_t source, uint64_t stream, uint32_t kernel,
                               uint16_t type, struct span payload)
{
    (void)source;
    struct sc_router *router = user;
    struct sc_metrics *m = router->metrics;
    const struct gpu_catalog *catalog = gpu_device_catalog(router->device);
    const struct sc_grain *grain = sc_grains_by_handle(&router->grains, stream);
    const struct gpu_event_type *event =
        kernel < catalog->count ? gpu_manifest_event(&catalog->entries[kernel].manifest, type)
                                : NULL;
    if (router->ops.offer == NULL || grain == NULL || event == NULL) {
        m->events_dropped++;
        SC_DEBUG(router->log, "event %u of kernel %u dropped %s", type, kernel,
                 grain == NULL   ? "no such grain"
                 : event == NULL ? "not in the manifest"
                                 : "streams are off");
        return SC_OK;
    }
    struct sc_event offer = {.stream_namespace = span_of_str(event->stream_namespace),
                             .key = sc_grain_key(grain),
                             .encoding =
                                 event->encoding == GPU_EVENT_UTF8 ? SC_EVENT_UTF8 : SC_EVENT_BYTES,
                             .payload = payload};
    enum sc_status st = router->ops.offer(router->user, &offer);
    if (st == SC_AGAIN)
        m->events_held++;
    else if (st == SC_OK)
        m->events_offered++;
    else
        m->events_dropped++;
    return st == SC_AGAIN ? SC_AGAIN : SC_OK;
}

/* The device answered every call it had; what is left are callers who were about to be told of a
 * grain that is gone now. */
static void forget_grains(struct sc_router *router, const char *cause)
{
    uint32_t index = 0;
    struct sc_call *call;
    while ((call = sc_calls_next(&router->calls, &index)) != NULL)
        router_finish(router, call,
                      &(struct sc_reply){.status = SC_ERR_UNAVAILABLE, .text = span_of_str(cause)});
    sc_grains_clear(&router->grains);
}

static void on_state(void *user, enum gpu_device_state state, const char *cause)
{
    struct sc_router *router = user;
    snprintf(router->cause, sizeof router->cause, "the device %s%s%s",
             state == GPU_DEVICE_STARTING  ? "is starting"
             : state == GPU_DEVICE_READY   ? "is ready"
             : state == GPU_DEVICE_STOPPED ? "has stopped"
                                           : "is down",
             cause[0] != '\0' ? ": " : "", cause);
    if (state == GPU_DEVICE_DOWN || state == GPU_DEVICE_STOPPED)
        forget_grains(router, router->cause);
    router->ops.on_state(router->user);
}

/* Room may have come: everyone who waits tries again, and may wait again. */
static void after_poll(void *user)
{
    struct sc_router *router = user;
    struct sc_room *list = router->rooms;
    if (list == NULL)
        return;
    router->rooms = NULL;
    list->link = &list;
    while (list != NULL) {
        struct sc_room *room = list;
        sc_router_room_cancel(room);
        room->fn(room->user);
    }
}

static bool busy(void *user)
{
    const struct sc_router *router = user;
    return router->calls.count != 0 || router->rooms != NULL;
}

static const struct sc_pump_ops pump_ops = {.after_poll = after_poll, .busy = busy};

const struct gpu_device_ops *sc_router_device_ops(void)
{
    static const struct gpu_device_ops ops = {
        .on_reply = on_reply, .on_event = on_event, .on_state = on_state};
    return &ops;
}

enum sc_status sc_router_attach(struct sc_router *router, struct gpu_device *device,
                                uint32_t spin_us)
{
    router->device = device;
    return sc_pump_open(router->loop, device, spin_us, &pump_ops, router, &router->pump);
}
