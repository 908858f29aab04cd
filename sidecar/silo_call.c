#include "sidecar/silo_impl.h"

#include "sidecar/base/clock.h"
#include "sidecar/loop.h"
#include "sidecar/sock.h"

#include <assert.h>

enum { SILENT_CALLS = 8 }; /* so many running out of time without any answer: a dead session */

static uint32_t slot_take(struct sc_silo_conn *c)
{
    uint32_t slot = c->free_call;
    if (slot != SILO_NO_CALL)
        c->free_call = c->calls[slot].next_free;
    else if (c->calls_used < c->config.calls_max)
        slot = c->calls_used++;
    return slot;
}

static void slot_put(struct sc_silo_conn *c, uint32_t slot)
{
    c->calls[slot] = (struct pending){.next_free = c->free_call};
    c->free_call = slot;
}

static void call_over(struct sc_silo_conn *c, uint64_t slot, const struct sc_silo_answer *answer)
{
    assert(slot < c->calls_used);
    struct pending call = c->calls[slot];
    slot_put(c, (uint32_t)slot);
    c->stats.in_flight--;
    if (answer->status != SC_OK)
        c->stats.calls_failed++;
    if (call.done != NULL && !c->closed)
        call.done(call.user, answer);
}

void silo_call_failed(struct sc_silo_conn *c, uint64_t slot, enum sc_status st, const char *text)
{
    struct sc_silo_answer answer = {.status = st, .text = span_of_str(text)};
    call_over(c, slot, &answer);
}

void silo_call_answered(struct sc_silo_conn *c, uint64_t slot, const struct orl_response *r)
{
    struct sc_silo_answer answer = {.status = SC_OK, .response = r};
    switch (r->outcome) {
    case ORL_OUTCOME_COMPLETED:
    case ORL_OUTCOME_VALUE:
        break;
    case ORL_OUTCOME_EXCEPTION:
        answer.status = SC_ERR_EXCEPTION;
        answer.text = r->exception.message.len != 0 ? r->exception.message : r->exception.type;
        break;
    case ORL_OUTCOME_REJECTED:
        answer.status = SC_ERR_REJECTED;
        answer.text = r->info;
        break;
    case ORL_OUTCOME_STATUS:
    case ORL_OUTCOME_UNKNOWN:
        answer.status = SC_ERR_PROTOCOL;
        answer.response = NULL;
        answer.text = span_of_str("the answer is of an unknown kind");
        break;
    }
    call_over(c, slot, &answer);
}

static uint64_t ms_until(uint64_t then_ns, uint64_t now_ns)
{
    return then_ns <= now_ns ? 0 : (then_ns - now_ns + 999999) / 1000000;
}

static void arm_expiry(struct sc_silo_conn *c, uint64_t now_ns)
{
    uint64_t due_ns = orl_client_deadline_ns(c->session);
    if (due_ns >= c->expiry_ns)
        return;
    c->expiry_ns = due_ns;
    sc_timer_once(c->expiry, ms_until(due_ns, now_ns));
}

enum sc_status sc_silo_conn_call(struct sc_silo_conn *c, const struct sc_silo_call *call)
{
    if (!sc_silo_conn_up(c))
        return SC_ERR_UNAVAILABLE;
    bool one_way = call->method->one_way;
    uint32_t slot = one_way ? 0 : slot_take(c);
    if (slot == SILO_NO_CALL)
        return SC_ERR_BUSY;
    struct orl_client_call head = {.target = {call->grain_type, call->grain_key},
                                   .method = call->method,
                                   .timeout_ms = call->timeout_ms,
                                   .now_ns = sc_clock_mono_ns(),
                                   .user = slot};
    if (call->to_silo)
        head.target_silo = *orl_client_silo(c->session);
    struct orl_call_frame frame;
    enum sc_status st = orl_client_call_begin(c->session, sc_sock_out(c->sock), &head, &frame);
    if (st == SC_OK) {
        if (call->put != NULL)
            call->put(call->user, &frame.args);
        st = orl_client_call_end(c->session, &frame, NULL);
    }
    if (st != SC_OK) {
        if (!one_way)
            slot_put(c, slot);
        return st == SC_ERR_NO_MEMORY ? SC_ERR_BUSY : st;
    }
    c->stats.calls++;
    if (!one_way) {
        c->stats.in_flight++;
        c->calls[slot] = (struct pending){.done = call->done, .user = call->user};
        arm_expiry(c, head.now_ns);
    }
    sc_sock_flush(c->sock);
    return SC_OK;
}

void sc_silo_conn_forget(struct sc_silo_conn *c, const void *user)
{
    for (uint32_t i = 0; i < c->calls_used; i++)
        if (c->calls[i].user == user)
            c->calls[i].done = NULL;
}

void silo_calls_expire(void *user)
{
    struct sc_silo_conn *c = user;
    uint64_t now_ns = sc_clock_mono_ns();
    uint64_t id = 0, slot = 0;
    c->expiry_ns = UINT64_MAX;
    while (!c->closed && c->session != NULL && orl_client_expire(c->session, now_ns, &id, &slot)) {
        c->silent_calls++;
        silo_call_failed(c, slot, SC_ERR_DEADLINE, "no answer in time");
    }
    if (!c->closed && c->state == SILO_READY && c->silent_calls >= SILENT_CALLS)
        silo_give_up(c);
    if (!c->closed && c->session != NULL)
        arm_expiry(c, now_ns);
}
