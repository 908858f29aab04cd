#include "gpu/engine/k_grain.h"
#include "sidecar/base/clock.h"
#include "tests/support/engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STATE_BYTES = 64, SENDS = 4, EMITS = 4 };

static struct engine_rig_config small_rig(uint32_t blocks)
{
    return (struct engine_rig_config){.blocks = blocks,
                                      .grains_max = 4096,
                                      .messages_max = 65536,
                                      .submit_slots = 64,
                                      .reply_slots = 64,
                                      .event_slots = 64 * 8,
                                      .spin_us = 20,
                                      .heap_bytes = 4096 * STATE_BYTES};
}

static void submit(struct engine_rig *rig, struct gpu_envelope *m)
{
    uint64_t end = sc_clock_mono_ns() + 20000000000ull;
    while (!engine_rig_submit(rig, m))
        assert_true(sc_clock_mono_ns() < end);
}

static void activate(struct engine_rig *rig, uint32_t first, uint32_t count)
{
    struct gpu_envelope r;
    for (uint32_t i = first; i < first + count; i++) {
        assert_true(engine_rig_activate(rig, i, 0, STATE_BYTES, i + 1));
        engine_rig_wait_reply(rig, &r);
        assert_int_equal(r.kind, GPU_KIND_REPLY);
        assert_int_equal(r.call, i + 1);
    }
}

static void call(struct engine_rig *rig, uint32_t slot, uint16_t type, const void *payload,
                 uint32_t len, struct gpu_envelope *reply)
{
    struct gpu_envelope m = {
        .kind = GPU_KIND_CALL, .type = type, .dst = GPU_HANDLE(1, slot), .call = 77, .len = len};
    if (len != 0)
        memcpy(m.payload.bytes, payload, len);
    submit(rig, &m);
    engine_rig_wait_reply(rig, reply);
    assert_int_equal(reply->call, 77);
}

/* One kernel for all tests; the type says what to do. */
enum {
    DO_ADD = 1,   /* {u32}: must be the next number; counts and keeps what was out of order */
    DO_READ,      /* replies the state */
    DO_EMIT,      /* emits n events, replies the last result */
    DO_FORWARD,   /* {u64 grain, u32 value}: sends DO_ADD to it */
    DO_FLOOD,     /* sends until refused, replies how many */
    DO_FAIL,      /* k_fail */
    DO_DEFER,     /* keeps the call */
    DO_FINISH,    /* answers the kept call */
    DO_SCATTER,   /* {u32 depth, u32 grains}: sends two DO_SCATTERs on, until depth 0 */
    DO_REPLY_LONG /* replies more than fits */
};

struct grain {
    uint64_t count;
    uint32_t next;
    uint32_t disorder;
    uint32_t activations;
    uint32_t scattered;
    struct k_call kept;
};

struct forward {
    uint64_t grain;
    uint32_t value;
    uint32_t reserved;
};

static void scatter(const struct k_message *message, struct k_context *ctx)
{
    uint32_t in[2];
    memcpy(in, message->payload, sizeof in);
    if (in[0] == 0)
        return;
    uint32_t slot = (uint32_t)k_self(ctx);
    uint32_t out[2] = {in[0] - 1, in[1]};
    k_send(ctx, GPU_HANDLE(1, (slot * 2 + 1) % in[1]), DO_SCATTER, out, sizeof out);
    k_send(ctx, GPU_HANDLE(1, (slot * 2 + 2) % in[1]), DO_SCATTER, out, sizeof out);
}

static void on_message(void *state, const struct k_message *message, struct k_context *ctx)
{
    struct grain *g = state;
    uint32_t n = 0;
    if (message->len >= 4)
        memcpy(&n, message->payload, 4);
    switch (message->type) {
    case K_ACTIVATE:
        g->activations++;
        if (message->len != 0)
            k_fail(ctx, &message->call, "no init wanted");
        break;
    case DO_ADD:
        g->count++;
        g->disorder += n != g->next;
        g->next = n + 1;
        break;
    case DO_READ:
        k_reply(ctx, &message->call, g, sizeof *g);
        break;
    case DO_EMIT: {
        int result = K_OK;
        for (uint32_t i = 0; i < n; i++)
            result = k_emit(ctx, 9, 0, &i, sizeof i);
        k_reply(ctx, &message->call, &result, sizeof result);
        break;
    }
    case DO_FORWARD: {
        struct forward f;
        memcpy(&f, message->payload, sizeof f);
        int result = k_send(ctx, f.grain, DO_ADD, &f.value, sizeof f.value);
        k_reply(ctx, &message->call, &result, sizeof result);
        break;
    }
    case DO_FLOOD: {
        uint32_t sent = 0;
        while (k_send(ctx, k_self(ctx), DO_ADD, &sent, sizeof sent) == K_OK)
            sent++;
        k_reply(ctx, &message->call, &sent, sizeof sent);
        break;
    }
    case DO_FAIL:
        k_fail(ctx, &message->call, "told to fail");
        break;
    case DO_DEFER:
        g->kept = message->call;
        k_defer(ctx);
        break;
    case DO_FINISH:
        k_reply(ctx, &g->kept, "late", 4);
        break;
    case DO_SCATTER:
        g->scattered++;
        scatter(message, ctx);
        break;
    case DO_REPLY_LONG: {
        static const char zeros[200];
        int result = k_reply(ctx, &message->call, zeros, sizeof zeros);
        k_reply(ctx, &message->call, &result, sizeof result);
        break;
    }
    default:
        break;
    }
}

static const struct gpu_cpu_kernel kernel = {(void (*)(void))on_message, SENDS, EMITS};

static struct grain read_grain(struct engine_rig *rig, uint32_t slot)
{
    struct gpu_envelope r;
    call(rig, slot, DO_READ, NULL, 0, &r);
    assert_int_equal(r.kind, GPU_KIND_REPLY);
    assert_int_equal(r.len, sizeof(struct grain));
    struct grain g;
    memcpy(&g, r.payload.bytes, sizeof g);
    return g;
}

static void test_resident_keeps_order_over_many_ring_turns(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    activate(&rig, 0, 3);
    for (uint32_t i = 0; i < 100000; i++) {
        struct gpu_envelope m = {
            .kind = GPU_KIND_SEND, .type = DO_ADD, .dst = GPU_HANDLE(1, i % 3), .len = 4};
        uint32_t n = i / 3;
        memcpy(m.payload.bytes, &n, 4);
        submit(&rig, &m);
    }
    uint64_t total = 0;
    for (uint32_t slot = 0; slot < 3; slot++) {
        struct grain g = read_grain(&rig, slot);
        assert_int_equal(g.disorder, 0);
        assert_int_equal(g.activations, 1);
        total += g.count;
    }
    assert_int_equal(total, 100000);
    engine_rig_close(&rig);
}

static void test_resident_answers_for_gone_grains(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    struct gpu_envelope r;
    call(&rig, 5, DO_READ, NULL, 0, &r); /* never activated */
    assert_int_equal(r.kind, GPU_KIND_FAULT);
    activate(&rig, 5, 1);
    struct gpu_envelope end = {.kind = GPU_KIND_DEACTIVATE, .dst = GPU_HANDLE(1, 5), .call = 3};
    submit(&rig, &end);
    engine_rig_wait_reply(&rig, &r);
    assert_int_equal(r.kind, GPU_KIND_REPLY);
    call(&rig, 5, DO_READ, NULL, 0, &r);
    assert_int_equal(r.kind, GPU_KIND_FAULT);
    uint32_t code;
    memcpy(&code, r.payload.bytes, 4);
    assert_int_equal(code, SC_ERR_NOT_FOUND);
    /* The slot's next grain does not get messages for the one before. */
    struct gpu_activate a = {.state_offset = 5 * STATE_BYTES, .state_bytes = STATE_BYTES};
    struct gpu_envelope again = {
        .kind = GPU_KIND_ACTIVATE, .dst = GPU_HANDLE(2, 5), .call = 4, .len = sizeof a};
    memcpy(again.payload.bytes, &a, sizeof a);
    submit(&rig, &again);
    engine_rig_wait_reply(&rig, &r);
    assert_int_equal(r.kind, GPU_KIND_REPLY);
    call(&rig, 5, DO_READ, NULL, 0, &r);
    assert_int_equal(r.kind, GPU_KIND_FAULT);
    engine_rig_close(&rig);
}

static void test_resident_activation_may_be_refused_by_its_handler(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    struct gpu_activate a = {.state_bytes = STATE_BYTES, .init_len = 4};
    struct gpu_envelope m = {
        .kind = GPU_KIND_ACTIVATE, .dst = GPU_HANDLE(1, 0), .call = 4, .len = sizeof a + 4};
    memcpy(m.payload.bytes, &a, sizeof a);
    submit(&rig, &m);
    struct gpu_envelope r;
    engine_rig_wait_reply(&rig, &r);
    assert_int_equal(r.kind, GPU_KIND_FAULT);
    assert_memory_equal(r.payload.bytes + 4, "no init wanted", r.len - 4);
    call(&rig, 0, DO_READ, NULL, 0, &r);
    assert_int_equal(r.kind, GPU_KIND_FAULT);
    engine_rig_close(&rig);
}

static void test_resident_refuses_activation_outside_the_heap(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    const struct gpu_activate bad[] = {
        {.state_offset = 4096 * STATE_BYTES, .state_bytes = 16},
        {.state_offset = UINT64_MAX - 8, .state_bytes = 64},
        {.state_bytes = STATE_BYTES, .kernel = 1},
        {.state_bytes = STATE_BYTES, .init_len = 4096, .init_slab = UINT64_MAX - 100},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gpu_envelope m = {
            .kind = GPU_KIND_ACTIVATE, .dst = GPU_HANDLE(1, 1), .call = 4, .len = sizeof bad[i]};
        memcpy(m.payload.bytes, &bad[i], sizeof bad[i]);
        submit(&rig, &m);
        struct gpu_envelope r;
        engine_rig_wait_reply(&rig, &r);
        assert_int_equal(r.kind, GPU_KIND_FAULT);
    }
    engine_rig_close(&rig);
}

static void test_resident_holds_handlers_to_their_limits(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    activate(&rig, 0, 2);
    struct gpu_envelope r;
    uint32_t n;
    int result;
    call(&rig, 0, DO_FLOOD, NULL, 0, &r);
    memcpy(&n, r.payload.bytes, 4);
    assert_int_equal(n, SENDS);
    n = EMITS + 1;
    call(&rig, 0, DO_EMIT, &n, 4, &r);
    memcpy(&result, r.payload.bytes, 4);
    assert_int_equal(result, K_OVER_LIMIT);
    struct forward f = {.grain = GPU_HANDLE(1, 4096)};
    call(&rig, 0, DO_FORWARD, &f, sizeof f, &r);
    memcpy(&result, r.payload.bytes, 4);
    assert_int_equal(result, K_NO_GRAIN);
    call(&rig, 0, DO_REPLY_LONG, NULL, 0, &r);
    memcpy(&result, r.payload.bytes, 4);
    assert_int_equal(result, K_TOO_LARGE);
    call(&rig, 0, DO_FAIL, NULL, 0, &r);
    assert_int_equal(r.kind, GPU_KIND_FAULT);
    assert_memory_equal(r.payload.bytes + 4, "told to fail", r.len - 4);
    engine_rig_close(&rig);
}

static void test_resident_deferred_call_is_answered_once_later(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    activate(&rig, 0, 1);
    struct gpu_envelope defer = {
        .kind = GPU_KIND_CALL, .type = DO_DEFER, .dst = GPU_HANDLE(1, 0), .call = 500};
    submit(&rig, &defer);
    struct gpu_envelope finish = {
        .kind = GPU_KIND_SEND, .type = DO_FINISH, .dst = GPU_HANDLE(1, 0)};
    submit(&rig, &finish);
    struct gpu_envelope r;
    engine_rig_wait_reply(&rig, &r);
    assert_int_equal(r.call, 500);
    assert_memory_equal(r.payload.bytes, "late", 4);
    read_grain(&rig, 0);
    assert_false(engine_rig_reply(&rig, &r));
    engine_rig_close(&rig);
}

/* The event ring has 512 slots; the host takes none until the grain has been asked for 4000 events.
 * The grain is held back, not its events lost, and another grain that emits nothing is served
 * meanwhile. */
static void test_resident_full_event_ring_holds_back_only_who_emits(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(1);
    static const struct gpu_cpu_kernel two[] = {
        {(void (*)(void))on_message, SENDS, EMITS},
        {(void (*)(void))on_message, SENDS, 0},
    };
    struct engine_rig rig;
    engine_rig_open(&rig, &c, two, 2);
    activate(&rig, 0, 1);
    assert_true(engine_rig_activate(&rig, 1, 1, STATE_BYTES, 1));
    struct gpu_envelope r, ev;
    engine_rig_wait_reply(&rig, &r);
    enum { ASKED = 1000 };
    for (int i = 0; i < ASKED; i++) {
        struct gpu_envelope m = {
            .kind = GPU_KIND_SEND, .type = DO_EMIT, .dst = GPU_HANDLE(1, 0), .len = 4};
        uint32_t n = EMITS;
        memcpy(m.payload.bytes, &n, 4);
        submit(&rig, &m);
    }
    read_grain(&rig, 1);
    uint64_t end = sc_clock_mono_ns() + 20000000000ull;
    while (__atomic_load_n(&rig.lines[0].event_waits, __ATOMIC_RELAXED) == 0)
        assert_true(sc_clock_mono_ns() < end);
    uint32_t got = 0;
    while (got < ASKED * EMITS) {
        assert_true(sc_clock_mono_ns() < end);
        if (!engine_rig_event(&rig, &ev))
            continue;
        uint32_t i;
        memcpy(&i, ev.payload.bytes, 4);
        assert_int_equal(i, got % EMITS);
        assert_int_equal(ev.dst, GPU_HANDLE(1, 0));
        got++;
    }
    engine_rig_close(&rig);
}

/* 2^14 messages spread over 1000 grains by four blocks that steal from each other: each arrives
 * once. */
static void test_resident_blocks_share_grains_without_loss(void **state)
{
    (void)state;
    enum { GRAINS = 1000, DEPTH = 13, WAVES = 4 };
    struct engine_rig_config c = small_rig(4);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    activate(&rig, 0, GRAINS);
    for (int w = 0; w < WAVES; w++) {
        struct gpu_envelope m = {
            .kind = GPU_KIND_SEND, .type = DO_SCATTER, .dst = GPU_HANDLE(1, 0), .len = 8};
        uint32_t in[2] = {DEPTH, GRAINS};
        memcpy(m.payload.bytes, in, sizeof in);
        submit(&rig, &m);
    }
    uint64_t expect = (uint64_t)WAVES * ((1u << (DEPTH + 1)) - 1);
    uint64_t end = sc_clock_mono_ns() + 60000000000ull;
    for (;;) {
        uint64_t handled = 0;
        for (int i = 0; i < 4; i++)
            handled += __atomic_load_n(&rig.lines[i].messages_handled, __ATOMIC_RELAXED);
        if (handled == expect + GRAINS)
            break;
        assert_true(sc_clock_mono_ns() < end);
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < GRAINS; i++)
        total += read_grain(&rig, i).scattered;
    assert_int_equal(total, expect);
    engine_rig_close(&rig);
}

static void test_resident_parks_and_wakes(void **state)
{
    (void)state;
    struct engine_rig_config c = small_rig(2);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    activate(&rig, 0, 1);
    for (int i = 0; i < 20; i++) {
        uint64_t end = sc_clock_mono_ns() + 20000000000ull;
        while (__atomic_load_n(&rig.control->wait.parked, __ATOMIC_RELAXED) == 0)
            assert_true(sc_clock_mono_ns() < end);
        read_grain(&rig, 0);
    }
    engine_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resident_keeps_order_over_many_ring_turns),
        cmocka_unit_test(test_resident_answers_for_gone_grains),
        cmocka_unit_test(test_resident_activation_may_be_refused_by_its_handler),
        cmocka_unit_test(test_resident_refuses_activation_outside_the_heap),
        cmocka_unit_test(test_resident_holds_handlers_to_their_limits),
        cmocka_unit_test(test_resident_deferred_call_is_answered_once_later),
        cmocka_unit_test(test_resident_full_event_ring_holds_back_only_who_emits),
        cmocka_unit_test(test_resident_blocks_share_grains_without_loss),
        cmocka_unit_test(test_resident_parks_and_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
