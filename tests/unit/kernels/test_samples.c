/* The small sample kernels: echo, tally, pair, crash. */
#include "tests/support/kernel_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

void k_handler_echo(void *state, const struct k_message *message, struct k_context *ctx);
void k_handler_tally(void *state, const struct k_message *message, struct k_context *ctx);
void k_handler_pair(void *state, const struct k_message *message, struct k_context *ctx);
void k_handler_crash(void *state, const struct k_message *message, struct k_context *ctx);

struct seen {
    uint32_t answers, events;
    bool failed;
    char text[80];
    uint8_t reply[65536];
    size_t reply_len;
    uint64_t event_value;
};

static struct seen seen;
static struct kernel_harness *harness;

static void on_answer(void *user, const struct kernel_answer *answer)
{
    (void)user;
    seen.answers++;
    seen.failed = answer->failed;
    seen.reply_len = answer->payload.len;
    if (answer->payload.len != 0)
        memcpy(seen.reply, answer->payload.ptr, answer->payload.len);
    strncpy(seen.text, answer->failed ? answer->text : "", sizeof seen.text - 1);
}

static void on_event(void *user, uint16_t event, uint64_t source, uint64_t stream,
                     struct span payload)
{
    (void)user;
    assert_int_equal(event, 1);
    assert_int_equal(source, stream);
    assert_int_equal(payload.len, 8);
    memcpy(&seen.event_value, payload.ptr, 8);
    seen.events++;
}

static void open_harness(kernel_handler_fn handler, uint32_t sends, uint32_t reply_max)
{
    struct kernel_harness_config config = {.handler = handler,
                                           .sends_max = sends,
                                           .emits_max = 1,
                                           .reply_max = reply_max,
                                           .on_answer = on_answer,
                                           .on_event = on_event};
    memset(&seen, 0, sizeof seen);
    harness = kernel_harness_open(&config);
}

static int teardown(void **state)
{
    (void)state;
    kernel_harness_close(harness);
    harness = NULL;
    return 0;
}

static void call(uint64_t grain, uint16_t type, const void *payload, size_t len)
{
    kernel_harness_send(harness, grain, type, span_of(payload, len), 1);
    assert_false(kernel_harness_run(harness, 1u << 20));
}

static void test_echo_replies_with_its_payload(void **state)
{
    (void)state;
    static uint8_t large[65536];
    memset(large, 0x5a, sizeof large);
    open_harness(k_handler_echo, 0, sizeof large);
    uint64_t grain = kernel_harness_activate(harness, 16, span_of(NULL, 0), 0);
    call(grain, 1, "hello", 5);
    assert_int_equal(seen.reply_len, 5);
    assert_memory_equal(seen.reply, "hello", 5);
    call(grain, 2, large, sizeof large);
    assert_memory_equal(seen.reply, large, sizeof large);
    call(grain, 1, NULL, 0);
    assert_int_equal(seen.reply_len, 0);
    assert_int_equal(seen.answers, 3);
}

static void test_echo_fails_what_is_too_large(void **state)
{
    (void)state;
    open_harness(k_handler_echo, 0, 80);
    uint64_t grain = kernel_harness_activate(harness, 16, span_of(NULL, 0), 0);
    uint8_t payload[81] = {0};
    call(grain, 1, payload, sizeof payload);
    assert_true(seen.failed);
}

static void test_tally_adds_and_tells_thresholds(void **state)
{
    (void)state;
    open_harness(k_handler_tally, 0, 8);
    uint64_t grain = kernel_harness_activate(harness, 16, span_of(NULL, 0), 0);
    uint64_t n = 999;
    call(grain, 1, &n, sizeof n);
    assert_int_equal(seen.events, 0);
    n = 1;
    call(grain, 1, &n, sizeof n);
    assert_int_equal(seen.events, 1);
    assert_int_equal(seen.event_value, 1000);
    n = 2500;
    call(grain, 1, &n, sizeof n);
    assert_int_equal(seen.event_value, 3500);
    call(grain, 2, NULL, 0);
    memcpy(&n, seen.reply, sizeof n);
    assert_int_equal(n, 3500);
    assert_int_equal(seen.events, 2);
    call(grain, 1, "abc", 3);
    assert_true(seen.failed);
    call(grain, 9, NULL, 0);
    assert_true(seen.failed);
}

static void test_pair_sends_as_many_as_asked(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 9; count++) {
        open_harness(k_handler_pair, 1, 8);
        uint64_t a = kernel_harness_activate(harness, 32, span_of(NULL, 0), 0);
        uint64_t b = kernel_harness_activate(harness, 32, span_of(NULL, 0), 0);
        uint64_t start[2] = {b, count};
        call(a, 1, start, sizeof start);
        assert_false(seen.failed);
        assert_int_equal(seen.answers, 1);
        memcpy(&start, seen.reply, 8);
        assert_int_equal(start[0], count);
        uint64_t sent = kernel_harness_stats(harness).sent;
        assert_true(sent == count || sent == count + 1);
        start[0] = 9999;
        call(a, 1, start, sizeof start);
        assert_true(seen.failed);
        kernel_harness_close(harness);
    }
    harness = NULL;
}

static void test_crash_shows_what_limits_do(void **state)
{
    (void)state;
    open_harness(k_handler_crash, 2, 80);
    uint64_t grain = kernel_harness_activate(harness, 16, span_of(NULL, 0), 0);
    uint32_t code = 0;
    call(grain, 3, NULL, 0);
    memcpy(&code, seen.reply, sizeof code);
    assert_int_equal(code, K_OVER_LIMIT);
    call(grain, 5, NULL, 0);
    memcpy(&code, seen.reply, sizeof code);
    assert_int_equal(code, K_TOO_LARGE);
    call(grain, 6, NULL, 0);
    assert_string_equal(seen.text, "crash: as asked");
    uint32_t before = seen.answers;
    call(grain, 4, NULL, 0);
    assert_int_equal(seen.answers, before);
}

#define CASE(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_echo_replies_with_its_payload),   CASE(test_echo_fails_what_is_too_large),
        CASE(test_tally_adds_and_tells_thresholds), CASE(test_pair_sends_as_many_as_asked),
        CASE(test_crash_shows_what_limits_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
