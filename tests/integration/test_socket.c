/* The local socket of a running daemon: its protocol, its limits, its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/daemon.h"

#define CHECKS(...) (printf("checks: " __VA_ARGS__), printf("\n"))

enum { ECHO = 1, TALLY_ADD = 1 };

static struct test_daemon d;
static struct sc_client c;

static int setup(void **state)
{
    (void)state;
    static const char *const flags[] = {"--shim.frame_max_bytes=64KiB", "--shim.credits=8",
                                        "--shim.output_max_bytes=1MiB", "--call.deadline_ms=5000",
                                        NULL};
    test_daemon_init(&d);
    test_daemon_start(&d, flags);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_daemon_fini(&d);
    return 0;
}

static int connect_client(void **state)
{
    (void)state;
    test_daemon_connect(&d, &c);
    return 0;
}

static int close_client(void **state)
{
    (void)state;
    sc_client_close(&c);
    return 0;
}

static uint64_t grain_of(const char *kernel, const char *key)
{
    uint64_t grain = 0;
    if (sc_client_activate(&c, span_of_str(kernel), span_of_str(key), 0, span_of(NULL, 0),
                           &grain) != SC_OK)
        fail_msg("%s", c.error);
    return grain;
}

static void send_raw(const void *bytes, size_t len)
{
    assert_int_equal(send(c.fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The next frame that is no STATE. */
static enum sc_status next(struct sc_shim_response *r)
{
    enum sc_status st;
    do
        st = sc_client_next(&c, r);
    while (st == SC_OK && r->kind == SC_SHIM_STATE);
    return st;
}

/* An ERROR with id 0, then the end of the stream. */
static void expect_thrown_out(enum sc_status code)
{
    struct sc_shim_response r;
    assert_int_equal(next(&r), SC_OK);
    assert_int_equal(r.kind, SC_SHIM_ERROR);
    assert_int_equal(r.id, 0);
    assert_int_equal(r.code, code);
    assert_int_equal(next(&r), SC_ERR_CLOSED);
}

static void test_grain_keeps_state_and_identity(void **state)
{
    (void)state;
    CHECKS("a grain keeps its state; the same name is the same grain for another connection");
    uint64_t grain = grain_of("tally", "one"), n = 41;
    struct span reply;
    assert_int_equal(sc_client_call(&c, grain, TALLY_ADD, span_of(&n, sizeof n), 0, &reply), SC_OK);
    sc_client_close(&c);
    test_daemon_connect(&d, &c);
    assert_true(grain_of("tally", "one") == grain);
    n = 1;
    assert_int_equal(sc_client_call(&c, grain, TALLY_ADD, span_of(&n, sizeof n), 0, &reply), SC_OK);
    struct reader r = reader_of(reply);
    assert_int_equal(rd_u64le(&r), 42);
    assert_int_equal(sc_client_deactivate(&c, grain), SC_OK);
    assert_int_equal(sc_client_call(&c, grain, TALLY_ADD, span_of(&n, sizeof n), 0, &reply),
                     SC_ERR_NOT_FOUND);
    assert_true(grain_of("tally", "one") != grain);
}

static void test_unknown_names_are_answered(void **state)
{
    (void)state;
    CHECKS("unknown kernel, grain and message are errors of the call, the connection goes on");
    uint64_t grain = 0;
    struct span reply;
    assert_int_equal(sc_client_activate(&c, span_of_str("nosuch"), span_of_str("k"), 0,
                                        span_of(NULL, 0), &grain),
                     SC_ERR_NOT_FOUND);
    assert_non_null(strstr(c.error, "no kernel nosuch"));
    assert_int_equal(
        sc_client_activate(&c, span_of_str("echo"), span_of_str(""), 0, span_of(NULL, 0), &grain),
        SC_ERR_ARGUMENT);
    assert_int_equal(sc_client_call(&c, 12345, ECHO, span_of(NULL, 0), 0, &reply),
                     SC_ERR_NOT_FOUND);
    assert_int_equal(sc_client_call(&c, UINT64_MAX, ECHO, span_of(NULL, 0), 0, &reply),
                     SC_ERR_NOT_FOUND);
    grain = grain_of("echo", "k");
    assert_int_equal(sc_client_call(&c, grain, 999, span_of(NULL, 0), 0, &reply), SC_ERR_ARGUMENT);
    assert_non_null(strstr(c.error, "999"));
    assert_int_equal(sc_client_call(&c, grain, ECHO, span_of_str("still"), 0, &reply), SC_OK);
    assert_true(span_eq_str(reply, "still"));
}

static void test_payload_over_limit_is_an_error_of_the_call(void **state)
{
    (void)state;
    CHECKS("a payload over the limit is too_large; a frame over it closes the connection");
    static uint8_t much[65536];
    struct span reply;
    uint64_t grain = grain_of("echo", "k");
    assert_int_equal(sc_client_call(&c, grain, 2, span_of(much, 65500), 0, &reply),
                     SC_ERR_TOO_LARGE);
    assert_int_equal(sc_client_call(&c, grain, 2, span_of(much, 65000), 0, &reply), SC_OK);
    assert_int_equal(reply.len, 65000);
    sc_client_queue_call(&c, 77, grain, 2, 0, span_of(much, 65536));
    assert_int_equal(sc_client_flush(&c), SC_OK);
    expect_thrown_out(SC_ERR_LIMIT);
}

static void test_garbage_is_thrown_out(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *bytes;
        size_t len;
    } cases[] = {
        {"an array count that lies", "\x05\0\0\0\xdd\xff\xff\xff\xff", 9},
        {"a payload length that lies", "\x0a\0\0\0\x94\x05\x01\x01\xc6\xff\xff\xff\xff\x00", 14},
        {"a map", "\x03\0\0\0\x81\x07\x01", 7},
        {"an unknown kind", "\x02\0\0\0\x91\x63", 6},
        {"an empty frame", "\0\0\0\0", 4},
        {"a second HELLO", "\x05\0\0\0\x94\x01\x01\xa0\xa0", 9},
        {"bytes after the array", "\x04\0\0\0\x92\x07\x01\x00", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECKS("%s is a protocol error, answered once, then closed", cases[i].what);
        send_raw(cases[i].bytes, cases[i].len);
        expect_thrown_out(SC_ERR_PROTOCOL);
        sc_client_close(&c);
        test_daemon_connect(&d, &c);
    }
}

/* A connection that has said nothing yet. */
static void open_raw(void)
{
    sc_client_close(&c);
    test_daemon_connect(&d, &c);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    assert_int_equal(getpeername(c.fd, (struct sockaddr *)&addr, &len), 0);
    close(c.fd);
    c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&addr, len), 0);
    wbuf_clear(&c.in);
    c.in_at = 0;
}

static void test_hello_comes_first_and_knows_its_version(void **state)
{
    (void)state;
    CHECKS("another version is refused by name");
    open_raw();
    send_raw("\x05\0\0\0\x94\x01\x09\xa0\xa0", 9);
    struct sc_shim_response r;
    assert_int_equal(next(&r), SC_OK);
    assert_int_equal(r.code, SC_ERR_VERSION);
    assert_non_null(memmem(r.text.ptr, r.text.len, "version 9", 9));
    assert_int_equal(next(&r), SC_ERR_CLOSED);
    CHECKS("a request before HELLO is a protocol error");
    open_raw();
    send_raw("\x03\0\0\0\x92\x07\x01", 7);
    expect_thrown_out(SC_ERR_PROTOCOL);
    CHECKS("before HELLO a frame is at most 64 KiB");
    open_raw();
    send_raw("\x01\0\x01\0", 4);
    expect_thrown_out(SC_ERR_LIMIT);
}

static void test_frames_may_come_byte_by_byte(void **state)
{
    (void)state;
    CHECKS("frames split at every byte are put together");
    uint64_t grain = grain_of("echo", "split");
    struct wbuf w;
    wbuf_init(&w, 1 << 16);
    for (uint64_t id = 500; id < 503; id++)
        sc_shim_call_encode(&w, id, grain, ECHO, 0, span_of_str("piecewise"));
    for (size_t i = 0; i < w.len; i++)
        send_raw(w.ptr + i, 1);
    wbuf_fini(&w);
    for (uint64_t id = 500; id < 503; id++) {
        struct sc_shim_response r;
        assert_int_equal(next(&r), SC_OK);
        assert_true(r.kind == SC_SHIM_REPLY && r.id == id);
        assert_true(span_eq_str(r.payload, "piecewise"));
    }
}

static void test_credits_deadline_and_cancel(void **state)
{
    (void)state;
    CHECKS("one request more than credits is busy; deadline and cancel end a call that waits");
    uint64_t grain = grain_of("countdown", "never");
    uint32_t endless = UINT32_MAX;
    struct span payload = span_of(&endless, sizeof endless);
    struct sc_shim_response r;
    assert_int_equal(c.credits, 8);
    for (uint64_t id = 1000; id < 1009; id++)
        sc_client_queue_call(&c, id, grain, 1, id == 1000 ? 50 : 0, payload);
    assert_int_equal(sc_client_flush(&c), SC_OK);
    assert_int_equal(next(&r), SC_OK);
    assert_true(r.kind == SC_SHIM_ERROR && r.id == 1008 && r.code == SC_ERR_BUSY);
    assert_true(span_eq_str(r.text, "8 requests are in flight, the bound is shim.credits"));
    assert_int_equal(next(&r), SC_OK);
    assert_true(r.id == 1000 && r.code == SC_ERR_DEADLINE);
    assert_non_null(memmem(r.text.ptr, r.text.len, "kernel countdown", 16));
    sc_client_queue(&c, &(struct sc_shim_request){.kind = SC_SHIM_CANCEL, .id = 1003});
    assert_int_equal(sc_client_flush(&c), SC_OK);
    assert_int_equal(next(&r), SC_OK);
    assert_true(r.id == 1003 && r.code == SC_ERR_CANCELLED);
}

static void test_reader_that_does_not_read_is_dropped(void **state)
{
    (void)state;
    CHECKS("a client that leaves more than shim.output_max_bytes unread is dropped");
    struct wbuf w;
    wbuf_init(&w, 1 << 20);
    for (unsigned i = 0; i < 1000; i++)
        sc_shim_request_encode(&w, &(struct sc_shim_request){.kind = SC_SHIM_KERNELS, .id = i});
    for (;;) {
        ssize_t n = send(c.fd, w.ptr, w.len, MSG_NOSIGNAL);
        if (n < 0)
            break;
    }
    wbuf_fini(&w);
    assert_true(test_daemon_logged(&d, "reason does_not_read", 10000));
}

static void test_goodbye_finishes_what_is_in_flight(void **state)
{
    (void)state;
    CHECKS("GOODBYE: the answer still comes, then the daemon closes");
    uint64_t grain = grain_of("countdown", "bye");
    uint32_t n = 1000;
    struct sc_shim_response r;
    sc_client_queue_call(&c, 2000, grain, 1, 0, span_of(&n, sizeof n));
    sc_client_queue(&c, &(struct sc_shim_request){.kind = SC_SHIM_GOODBYE});
    assert_int_equal(sc_client_flush(&c), SC_OK);
    assert_int_equal(next(&r), SC_OK);
    assert_true(r.kind == SC_SHIM_REPLY && r.id == 2000);
    assert_int_equal(next(&r), SC_ERR_CLOSED);
}

static void test_capacity_and_kernels(void **state)
{
    (void)state;
    CHECKS("CAPACITY and KERNELS answer what is there");
    struct sc_shim_response r;
    grain_of("echo", "k");
    assert_int_equal(
        sc_client_ask(&c, &(struct sc_shim_request){.kind = SC_SHIM_CAPACITY, .id = 1}, &r), SC_OK);
    assert_int_equal(r.kind, SC_SHIM_CAPACITY_REPORT);
    assert_true(r.capacity.ready && !r.capacity.draining && r.capacity.grains >= 1);
    assert_true(r.epoch == 1 && r.capacity.grains_max >= r.capacity.grains);
    assert_true(span_eq_str(r.capacity.device, "cpu0"));
    uint16_t type = 0;
    assert_int_equal(sc_client_message_type(&c, span_of_str("tally"), span_of_str("Get"), &type),
                     SC_OK);
    assert_int_equal(type, 2);
}

static void test_pipelined_calls_all_come_back(void **state)
{
    (void)state;
    CHECKS("200000 pipelined calls, 8 in flight, each answered once and in order of its grain");
    uint64_t grain = grain_of("echo", "pipe"), sent = 0, got = 0;
    while (got < 200000) {
        while (sent - got < 8 && sent < 200000) {
            sc_client_queue_call(&c, 10000 + sent, grain, ECHO, 0, span_of(&sent, sizeof sent));
            sent++;
        }
        assert_int_equal(sc_client_flush(&c), SC_OK);
        struct sc_shim_response r;
        assert_int_equal(next(&r), SC_OK);
        assert_int_equal(r.kind, SC_SHIM_REPLY);
        assert_int_equal(r.id, 10000 + got);
        assert_memory_equal(r.payload.ptr, &got, sizeof got);
        got++;
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
#define T(name) cmocka_unit_test_setup_teardown(name, connect_client, close_client)
    const struct CMUnitTest tests[] = {
        T(test_grain_keeps_state_and_identity),
        T(test_unknown_names_are_answered),
        T(test_payload_over_limit_is_an_error_of_the_call),
        T(test_garbage_is_thrown_out),
        T(test_hello_comes_first_and_knows_its_version),
        T(test_frames_may_come_byte_by_byte),
        T(test_reader_that_does_not_read_is_dropped),
        T(test_goodbye_finishes_what_is_in_flight),
        T(test_capacity_and_kernels),
        T(test_pipelined_calls_all_come_back),
        T(test_credits_deadline_and_cancel),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
