/* What bounds a connection: identity, counts, sizes, a full ring. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sidecar/base/clock.h"
#include "tests/support/daemon.h"

#define CHECKS(...) (printf("checks: " __VA_ARGS__), printf("\n"))

enum { ECHO = 1, ECHO_LARGE = 2, ADD = 1, GET = 2, WAIT_MS = 20000 };

static struct test_daemon d;

static int setup(void **state)
{
    (void)state;
    test_daemon_init(&d);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_daemon_fini(&d);
    return 0;
}

static uint64_t grain_of(struct sc_client *c, const char *kernel, const char *key)
{
    uint64_t grain = 0;
    if (sc_client_activate(c, span_of_str(kernel), span_of_str(key), 0, span_of(NULL, 0), &grain) !=
        SC_OK)
        fail_msg("%s", c->error);
    return grain;
}

static void test_stranger_is_refused(void **state)
{
    (void)state;
    struct sc_client c;
    CHECKS("a peer whose user and group are not on the lists is refused");
    test_daemon_start(&d, (const char *const[]){"--socket.allow_uids=54321",
                                                "--socket.allow_gids=54321,54322", NULL});
    uint64_t until = sc_clock_mono_ns() + WAIT_MS * (uint64_t)1000000;
    enum sc_status st;
    while ((st = sc_client_open(&c, d.socket, "stranger", WAIT_MS)) == SC_ERR_IO &&
           sc_clock_mono_ns() < until)
        test_pause();
    assert_int_equal(st, SC_ERR_REFUSED);
    assert_string_equal(c.error, "not allowed");
    assert_true(test_daemon_logged(&d, "reason not_allowed", WAIT_MS));
}

static void test_connections_are_bounded(void **state)
{
    (void)state;
    struct sc_client a, b;
    CHECKS("one connection more than shim.connections_max is refused, the others go on");
    test_daemon_start(&d, (const char *const[]){"--shim.connections_max=1", NULL});
    test_daemon_connect(&d, &a);
    assert_int_equal(sc_client_open(&b, d.socket, "second", WAIT_MS), SC_ERR_BUSY);
    grain_of(&a, "echo", "k");
    sc_client_close(&a);
    CHECKS("the place of one that left is free again");
    uint64_t until = sc_clock_mono_ns() + WAIT_MS * (uint64_t)1000000;
    while (sc_client_open(&b, d.socket, "second", WAIT_MS) != SC_OK) {
        assert_true(sc_clock_mono_ns() < until);
        test_pause();
    }
    sc_client_close(&b);
}

static void test_large_frames_pass(void **state)
{
    (void)state;
    struct sc_client c;
    struct span reply;
    size_t len = (16 << 20) - 2048;
    uint8_t *much = calloc(1, len);
    CHECKS("payloads of 64 KiB, 1 MiB and nearly 16 MiB come back whole");
    test_daemon_start(&d, NULL);
    test_daemon_connect(&d, &c);
    uint64_t grain = grain_of(&c, "echo", "large");
    for (size_t i = 0; i < len; i++)
        much[i] = (uint8_t)(i * 31 >> 3);
    static const size_t sizes[] = {65536, 1 << 20, (16 << 20) - 2048};
    for (size_t i = 0; i < 3; i++) {
        if (sc_client_call(&c, grain, ECHO_LARGE, span_of(much, sizes[i]), 0, &reply) != SC_OK)
            fail_msg("%s", c.error);
        assert_true(span_eq(reply, span_of(much, sizes[i])));
    }
    free(much);
    CHECKS("and the frames after them");
    assert_int_equal(sc_client_call(&c, grain, ECHO, span_of_str("after"), 0, &reply), SC_OK);
    assert_true(span_eq_str(reply, "after"));
    sc_client_close(&c);
}

static void test_full_ring_holds_back_and_loses_nothing(void **state)
{
    (void)state;
    enum { SENDS = 200000, BATCH = 1000 };
    struct sc_client c;
    struct span reply;
    uint64_t one = 1;
    CHECKS("with a ring of 64 slots, %d one-way messages in a row all arrive", SENDS);
    test_daemon_start(&d, (const char *const[]){"--device.submit_slots=64", NULL});
    test_daemon_connect(&d, &c);
    uint64_t grain = grain_of(&c, "tally", "flood");
    for (unsigned i = 0; i < SENDS; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++)
            sc_client_queue(&c, &(struct sc_shim_request){.kind = SC_SHIM_SEND,
                                                          .grain = grain,
                                                          .type = ADD,
                                                          .payload = span_of(&one, sizeof one)});
        assert_int_equal(sc_client_flush(&c), SC_OK);
    }
    assert_int_equal(sc_client_call(&c, grain, GET, span_of(NULL, 0), 0, &reply), SC_OK);
    struct reader r = reader_of(reply);
    assert_int_equal(rd_u64le(&r), SENDS);
    CHECKS("and calls beyond the ring are answered in order");
    for (uint64_t id = 1; id <= 4000; id++)
        sc_client_queue_call(&c, 1000000 + id, grain, ADD, 0, span_of(&one, sizeof one));
    assert_int_equal(sc_client_flush(&c), SC_OK);
    for (uint64_t id = 1; id <= 4000;) {
        struct sc_shim_response got;
        assert_int_equal(sc_client_next(&c, &got), SC_OK);
        if (got.kind == SC_SHIM_STATE)
            continue;
        assert_int_equal(got.kind, SC_SHIM_REPLY);
        assert_int_equal(got.id, 1000000 + id);
        r = reader_of(got.payload);
        assert_int_equal(rd_u64le(&r), SENDS + id);
        id++;
    }
    sc_client_close(&c);
}

static void test_calls_of_a_client_that_left_are_forgotten(void **state)
{
    (void)state;
    struct sc_client a, b;
    struct sc_shim_response r;
    uint32_t endless = UINT32_MAX;
    CHECKS("a client that leaves with calls in flight takes its call slots with it");
    test_daemon_start(&d, (const char *const[]){"--call.deadline_ms=3600000", NULL});
    test_daemon_connect(&d, &a);
    test_daemon_connect(&d, &b);
    uint64_t grain = grain_of(&a, "countdown", "left");
    for (uint64_t id = 1000; id < 1050; id++)
        sc_client_queue_call(&a, id, grain, 1, 0, span_of(&endless, sizeof endless));
    assert_int_equal(sc_client_flush(&a), SC_OK);
    uint64_t until = sc_clock_mono_ns() + WAIT_MS * (uint64_t)1000000;
    uint32_t want = 50;
    while (sc_clock_mono_ns() < until) {
        struct sc_shim_request q = {.kind = SC_SHIM_CAPACITY, .id = sc_client_id(&b)};
        assert_int_equal(sc_client_ask(&b, &q, &r), SC_OK);
        if (r.capacity.calls == want && want == 0)
            break;
        if (r.capacity.calls == want) {
            sc_client_close(&a);
            want = 0;
        }
        test_pause();
    }
    assert_int_equal(want, 0);
    assert_int_equal(r.capacity.calls, 0);
    sc_client_close(&b);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_stranger_is_refused),
        T(test_connections_are_bounded),
        T(test_large_frames_pass),
        T(test_full_ring_holds_back_and_loses_nothing),
        T(test_calls_of_a_client_that_left_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
