#include "sidecar/demo_pipe.h"

#include <stdio.h>

enum { FLUSH_BYTES = 64 * 1024 }; /* queued requests are written at so many bytes, or to wait */

void sc_demo_pipe_init(struct sc_demo_pipe *pipe, struct sc_client *client)
{
    *pipe = (struct sc_demo_pipe){.client = client, .epoch = client->epoch};
    for (uint32_t i = 0; i < SC_DEMO_IN_FLIGHT_MAX; i++)
        pipe->slots[i].next_free = i + 1;
}

static enum sc_status fail(struct sc_demo_pipe *pipe, enum sc_status st, const char *text)
{
    snprintf(pipe->client->error, sizeof pipe->client->error, "%s", text);
    return st;
}

static enum sc_status hand_on(struct sc_demo_pipe *pipe, const struct sc_shim_response *r)
{
    if (r->id == 0 || r->id > SC_DEMO_IN_FLIGHT_MAX || pipe->slots[r->id - 1].fn == NULL)
        return fail(pipe, SC_ERR_PROTOCOL, "the daemon answered a request that was never made");
    struct sc_demo_slot *slot = &pipe->slots[r->id - 1];
    sc_demo_answer_fn fn = slot->fn;
    slot->fn = NULL;
    slot->next_free = pipe->free_slot;
    pipe->free_slot = (uint32_t)r->id - 1;
    pipe->in_flight--;
    fn(slot->user, slot->tag, r);
    return SC_OK;
}

/* Takes one frame. */
static enum sc_status take(struct sc_demo_pipe *pipe)
{
    struct sc_shim_response r;
    enum sc_status st = sc_client_next(pipe->client, &r);
    if (st == SC_AGAIN)
        return fail(pipe, SC_ERR_DEADLINE, "the daemon does not answer");
    if (st != SC_OK)
        return st;
    if (pipe->client->epoch != pipe->epoch)
        return fail(pipe, SC_ERR_DEVICE, "the device was started anew, its grains are gone");
    return r.kind == SC_SHIM_STATE ? SC_OK : hand_on(pipe, &r);
}

static enum sc_status flush(struct sc_demo_pipe *pipe)
{
    if (pipe->status == SC_OK)
        pipe->status = sc_client_flush(pipe->client);
    return pipe->status;
}

/* Takes frames until at most `left` requests are in flight. */
static enum sc_status wait_for(struct sc_demo_pipe *pipe, uint32_t left)
{
    if (pipe->in_flight > left)
        (void)flush(pipe);
    while (pipe->status == SC_OK && pipe->in_flight > left)
        pipe->status = take(pipe);
    return pipe->status;
}

enum sc_status sc_demo_pipe_ask(struct sc_demo_pipe *pipe, const struct sc_shim_request *request,
                                sc_demo_answer_fn fn, void *user, uint64_t tag)
{
    uint32_t credits = pipe->client->credits;
    if (credits > SC_DEMO_IN_FLIGHT_MAX)
        credits = SC_DEMO_IN_FLIGHT_MAX;
    if (credits == 0)
        pipe->status = fail(pipe, SC_ERR_BUSY, "the daemon gives no credits");
    else
        (void)wait_for(pipe, credits - 1);
    if (pipe->status != SC_OK)
        return pipe->status;
    struct sc_demo_slot *slot = &pipe->slots[pipe->free_slot];
    struct sc_shim_request r = *request;
    r.id = (uint64_t)pipe->free_slot + 1;
    pipe->free_slot = slot->next_free;
    *slot = (struct sc_demo_slot){.fn = fn, .user = user, .tag = tag};
    pipe->in_flight++;
    sc_client_queue(pipe->client, &r);
    return pipe->client->out.len >= FLUSH_BYTES ? flush(pipe) : SC_OK;
}

enum sc_status sc_demo_pipe_drain(struct sc_demo_pipe *pipe)
{
    return wait_for(pipe, 0);
}
