/* A router without devices: definitions, to be included by one file of a test program, which is
 * then linked without the real one. It knows the kernel "echo". */
#ifndef TESTS_SUPPORT_FAKE_ROUTER_H
#define TESTS_SUPPORT_FAKE_ROUTER_H

#include "sidecar/loop.h"
#include "sidecar/router.h"

#include <assert.h>
#include <stdlib.h>

enum fake_type {
    FAKE_ECHO = 1,    /* answers with the payload, one turn later */
    FAKE_SILENT = 2,  /* answers when fake_router_expire is called: SC_ERR_DEADLINE */
    FAKE_KERNEL = 3,  /* answers SC_ERR_KERNEL */
    FAKE_REFUSED = 4, /* is not accepted: SC_ERR_UNAVAILABLE */
    FAKE_FULL = 5     /* SC_AGAIN for full_left times, then as FAKE_ECHO */
};

struct fake_call {
    struct sc_router *router;
    struct fake_call *next;
    struct sc_caller caller;
    bool forgotten;
    uint16_t type;
    size_t len;
    uint8_t payload[];
};

struct sc_router {
    struct sc_loop *loop;
    struct fake_call *silent;
    struct sc_room *room;
    unsigned full_left;
    unsigned calls;
    unsigned sends;
    unsigned forgets;
    uint32_t last_deadline_ms;
};

static inline void fake_answer(struct fake_call *call, enum sc_status st)
{
    struct sc_reply reply = {.id = call->caller.id,
                             .status = st,
                             .payload = span_of(call->payload, call->len),
                             .text = span_of_str(st == SC_OK ? "" : "the handler said no")};
    if (!call->forgotten)
        call->caller.fn(call->caller.user, &reply);
    free(call);
}

static inline void fake_later(void *user)
{
    struct fake_call *call = user;
    struct sc_router *r = call->router;
    struct fake_call **at = &r->silent;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    fake_answer(call, call->type == FAKE_KERNEL ? SC_ERR_KERNEL : SC_OK);
}

static inline void fake_router_expire(struct sc_router *r)
{
    while (r->silent != NULL) {
        struct fake_call *call = r->silent;
        r->silent = call->next;
        fake_answer(call, SC_ERR_DEADLINE);
    }
}

bool sc_router_has_kernel(const struct sc_router *router, struct span kernel)
{
    (void)router;
    return span_eq_str(kernel, "echo");
}

const char *sc_router_why(const struct sc_router *router)
{
    (void)router;
    return "the device is starting";
}

static inline void fake_room(void *user)
{
    struct sc_router *r = user;
    struct sc_room *room = r->room;
    r->room = NULL;
    if (room != NULL)
        room->fn(room->user);
}

void sc_router_room(struct sc_router *router, struct sc_room *room)
{
    router->room = room;
    sc_loop_later(router->loop, fake_room, router);
}

void sc_router_room_cancel(struct sc_room *room)
{
    (void)room;
}

enum sc_status sc_router_call_key(struct sc_router *router, struct span kernel, struct span key,
                                  uint16_t type, struct span payload,
                                  const struct sc_caller *caller)
{
    (void)kernel;
    (void)key;
    if (type == FAKE_REFUSED)
        return SC_ERR_UNAVAILABLE;
    if (type == FAKE_FULL && router->full_left > 0) {
        router->full_left--;
        return SC_AGAIN;
    }
    struct fake_call *call = malloc(sizeof *call + payload.len);
    assert(call != NULL);
    *call = (struct fake_call){.router = router,
                               .next = router->silent,
                               .caller = *caller,
                               .type = type,
                               .len = payload.len};
    if (payload.len != 0)
        memcpy(call->payload, payload.ptr, payload.len);
    router->silent = call;
    router->calls++;
    router->last_deadline_ms = caller->deadline_ms;
    if (type != FAKE_SILENT)
        sc_loop_later(router->loop, fake_later, call);
    return SC_OK;
}

enum sc_status sc_router_send_key(struct sc_router *router, struct span kernel, struct span key,
                                  uint16_t type, struct span payload)
{
    (void)kernel;
    (void)key;
    (void)payload;
    if (type == FAKE_REFUSED)
        return SC_ERR_UNAVAILABLE;
    router->sends++;
    return SC_OK;
}

void sc_router_forget(struct sc_router *router, void *user)
{
    router->forgets++;
    for (struct fake_call *call = router->silent; call != NULL; call = call->next)
        if (call->caller.user == user)
            call->forgotten = true;
}

#endif
