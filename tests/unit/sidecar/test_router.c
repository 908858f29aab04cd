#include "sidecar/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/metrics.h"
#include "sidecar/stream.h"
#include "tests/support/fake_device.h"

enum { ANSWERS_MAX = 64 };

struct answer {
    uint64_t id;
    enum sc_status status;
    uint64_t value;
    bool created;
    char text[128];
};

struct fixture {
    struct sc_loop *loop;
    struct sc_timer *stop;
    struct sc_metrics metrics;
    struct sc_log log;
    struct sc_router *router;
    struct gpu_device device;
    struct answer answers[ANSWERS_MAX];
    unsigned count;
    bool within; /* a router function is running: no answer may come */
    unsigned states;
    enum sc_status offer_result;
    char offered[128];
    enum sc_event_encoding encoding;
    bool again; /* on_answer activates the same grain again */
    unsigned rooms;
};

static struct fixture f;

static void on_answer(void *user, const struct sc_reply *reply)
{
    assert_ptr_equal(user, &f);
    assert_false(f.within);
    struct answer *a = &f.answers[f.count++];
    *a = (struct answer){reply->id, reply->status, reply->value, reply->created, ""};
    struct span text = reply->status == SC_OK ? reply->payload : reply->text;
    size_t len = text.len < sizeof a->text - 1 ? text.len : sizeof a->text - 1;
    if (len != 0)
        memcpy(a->text, text.ptr, len);
    if (f.again) {
        f.again = false;
        struct sc_caller caller = {.fn = on_answer, .user = &f, .id = 99};
        assert_int_equal(sc_router_activate(f.router, span_of_str("alpha"), span_of_str("k"), 0,
                                            span_of(NULL, 0), &caller),
                         SC_OK);
    }
}

static enum sc_status on_offer(void *user, const struct sc_event *event)
{
    assert_ptr_equal(user, &f);
    snprintf(f.offered, sizeof f.offered, "%.*s/%.*s=%.*s", SPAN_ARG(event->stream_namespace),
             SPAN_ARG(event->key), SPAN_ARG(event->payload));
    f.encoding = event->encoding;
    return f.offer_result;
}

static void on_state(void *user)
{
    assert_ptr_equal(user, &f);
    f.states++;
}

static void stop_loop(void *user)
{
    sc_loop_stop(user);
}

/* Runs the loop for a moment of its own time. */
static void turn_for(uint64_t ms)
{
    sc_timer_once(f.stop, ms);
    sc_loop_run(f.loop);
}

static int setup(void **state)
{
    (void)state;
    f = (struct fixture){.log = {.fd = 2, .level = SC_LOG_ERROR}};
    const struct sc_router_config config = {
        .calls_max = 16, .grains_max = 16, .deadline_ms = 60000};
    const struct sc_router_ops ops = {.offer = on_offer, .on_state = on_state};
    assert_int_equal(sc_loop_open(&f.loop), SC_OK);
    assert_int_equal(sc_timer_open(f.loop, stop_loop, f.loop, &f.stop), SC_OK);
    assert_int_equal(sc_router_open(f.loop, &config, &ops, &f, &f.metrics, &f.log, &f.router),
                     SC_OK);
    fake_device_init(&f.device, sc_router_device_ops(), f.router);
    assert_int_equal(sc_router_attach(f.router, &f.device, 0), SC_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sc_router_close(f.router);
    sc_timer_close(f.stop);
    sc_loop_close(f.loop);
    fake_device_fini(&f.device);
    return 0;
}

static enum sc_status activate(const char *kernel, const char *key, uint64_t id)
{
    struct sc_caller caller = {.fn = on_answer, .user = &f, .id = id};
    f.within = true;
    enum sc_status st = sc_router_activate(f.router, span_of_str(kernel), span_of_str(key), 0,
                                           span_of(NULL, 0), &caller);
    f.within = false;
    return st;
}

static enum sc_status call(uint64_t grain, uint64_t id, uint32_t deadline_ms)
{
    struct sc_caller caller = {.fn = on_answer, .user = &f, .id = id, .deadline_ms = deadline_ms};
    f.within = true;
    enum sc_status st = sc_router_call(f.router, grain, 1, span_of_str("in"), &caller);
    f.within = false;
    return st;
}

/* A live grain. */
static uint64_t make_grain(const char *key)
{
    uint32_t at = f.device.count;
    assert_int_equal(activate("alpha", key, 1000), SC_OK);
    assert_int_equal(f.device.count, at + 1);
    fake_device_reply(&f.device, at, SC_OK, "");
    uint64_t grain = f.answers[f.count - 1].value;
    f.count = 0;
    return grain;
}

static void test_router_coalesces_activations_of_one_name(void **state)
{
    (void)state;
    assert_int_equal(activate("alpha", "k", 1), SC_OK);
    assert_int_equal(activate("alpha", "k", 2), SC_OK);
    assert_int_equal(activate("alpha", "other", 3), SC_OK);
    assert_int_equal(f.device.count, 2);
    fake_device_reply(&f.device, 0, SC_OK, "");
    assert_int_equal(f.count, 2);
    assert_true(f.answers[0].value == f.answers[1].value && f.answers[0].value != 0);
    assert_true(f.answers[0].created != f.answers[1].created);
    /* A third finds it there, and is told later. */
    assert_int_equal(activate("alpha", "k", 4), SC_OK);
    assert_int_equal(f.device.count, 2);
    assert_int_equal(f.count, 2);
    turn_for(0);
    assert_int_equal(f.count, 3);
    assert_true(f.answers[2].value == f.answers[0].value && !f.answers[2].created);
}

static void test_router_failed_activation_tells_all_and_frees_the_name(void **state)
{
    (void)state;
    assert_int_equal(activate("alpha", "k", 1), SC_OK);
    assert_int_equal(activate("alpha", "k", 2), SC_OK);
    fake_device_reply(&f.device, 0, SC_ERR_KERNEL, "alpha: no");
    assert_int_equal(f.count, 2);
    assert_int_equal(f.answers[0].status, SC_ERR_KERNEL);
    assert_string_equal(f.answers[1].text, "alpha: no");
    assert_int_equal(activate("alpha", "k", 3), SC_OK);
    assert_int_equal(f.device.count, 2);
}

static void assert_said(const char *text)
{
    assert_non_null(strstr(sc_router_why(f.router), text));
}

static void test_router_refuses_with_the_right_status(void **state)
{
    (void)state;
    char key[258];
    memset(key, 'k', sizeof key);
    key[257] = '\0';
    assert_int_equal(activate("nope", "k", 1), SC_ERR_NOT_FOUND);
    assert_said("no kernel nope");
    assert_int_equal(activate("broken", "k", 1), SC_ERR_KERNEL);
    assert_said("kernel broken is unusable: it does not compile");
    assert_int_equal(activate("alpha", "", 1), SC_ERR_ARGUMENT);
    assert_int_equal(activate("alpha", key, 1), SC_ERR_ARGUMENT);
    assert_said("1 to 256 bytes, this one 257");
    uint64_t grain = make_grain("k");
    assert_int_equal(call(grain, 1, 0), SC_OK);
    assert_int_equal(call(grain, 1, 0), SC_ERR_ARGUMENT);
    assert_said("id 1 is in flight");
    f.device.full = true;
    assert_int_equal(call(grain, 2, 0), SC_AGAIN);
    assert_int_equal(activate("alpha", "new", 2), SC_AGAIN);
    f.device.full = false;
    assert_int_equal(call(grain, 2, 0), SC_OK);
    struct sc_caller caller = {.fn = on_answer, .user = &f, .id = 90};
    assert_int_equal(sc_router_call(f.router, grain, 7, span_of(NULL, 0), &caller),
                     SC_ERR_ARGUMENT);
    assert_said("type 7 is no message of the kernel alpha");
    assert_int_equal(sc_router_deactivate(f.router, grain + 1, &caller), SC_ERR_NOT_FOUND);
    assert_said("no such grain");
    struct sc_router_view view;
    sc_router_view(f.router, &view);
    assert_int_equal(view.calls, 2);
    assert_int_equal(view.grains, 1);
    assert_int_equal(f.metrics.ring_full, 2);
    assert_true(sc_router_has_kernel(f.router, span_of_str("broken")));
    assert_false(sc_router_has_kernel(f.router, span_of_str("nope")));
    for (uint64_t id = 3; id <= 16; id++)
        assert_int_equal(call(grain, id, 0), SC_OK);
    assert_int_equal(call(grain, 17, 0), SC_ERR_BUSY);
    assert_said("the bound is 16 (device.reply_slots)");
}

static void test_router_gives_replies_to_their_callers(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    assert_int_equal(call(grain, 1, 0), SC_OK);
    assert_int_equal(call(grain, 2, 0), SC_OK);
    fake_device_reply(&f.device, 2, SC_OK, "two");
    fake_device_reply(&f.device, 1, SC_ERR_KERNEL, "one failed");
    assert_int_equal(f.count, 2);
    assert_int_equal(f.answers[0].id, 2);
    assert_string_equal(f.answers[0].text, "two");
    assert_int_equal(f.answers[1].status, SC_ERR_KERNEL);
    assert_int_equal(f.metrics.calls_ok, 1);
    assert_int_equal(f.metrics.calls_failed, 1);
    assert_int_equal(f.metrics.call_latency.total, 2);
}

static void test_router_deadline_ends_a_call_and_its_reply_is_late(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    assert_int_equal(call(grain, 1, 20), SC_OK);
    assert_int_equal(call(grain, 2, 60000), SC_OK);
    while (f.count == 0)
        turn_for(5);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.answers[0].status, SC_ERR_DEADLINE);
    assert_string_equal(f.answers[0].text, "kernel alpha did not answer within 20 ms");
    fake_device_reply(&f.device, 1, SC_OK, "too late");
    assert_int_equal(f.count, 1);
    assert_int_equal(f.metrics.replies_late, 1);
}

static void test_router_cancel_and_forget(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    assert_int_equal(call(grain, 1, 0), SC_OK);
    assert_int_equal(call(grain, 2, 0), SC_OK);
    assert_int_equal(activate("alpha", "k", 3), SC_OK);
    assert_int_equal(activate("alpha", "fresh", 4), SC_OK);
    sc_router_cancel(f.router, &f, 1);
    sc_router_cancel(f.router, &f, 77);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.answers[0].status, SC_ERR_CANCELLED);
    sc_router_forget(f.router, &f);
    fake_device_reply(&f.device, 2, SC_OK, "");
    turn_for(0);
    assert_int_equal(f.count, 1);
    /* The grain that was being made is there all the same. */
    fake_device_reply(&f.device, 3, SC_OK, "");
    assert_int_equal(activate("alpha", "fresh", 5), SC_OK);
    turn_for(0);
    assert_int_equal(f.count, 2);
    assert_false(f.answers[1].created);
}

static void test_router_call_by_name_makes_the_grain(void **state)
{
    (void)state;
    struct sc_caller caller = {.fn = on_answer, .user = &f, .id = 1};
    for (caller.id = 1; caller.id <= 2; caller.id++)
        assert_int_equal(sc_router_call_key(f.router, span_of_str("alpha"), span_of_str("k"), 1,
                                            span_of_str("x"), &caller),
                         SC_OK);
    assert_int_equal(
        sc_router_send_key(f.router, span_of_str("alpha"), span_of_str("k"), 1, span_of_str("x")),
        SC_OK);
    assert_int_equal(f.device.count, 4);
    assert_int_equal(f.device.requests[0].kind, FAKE_ACTIVATE);
    assert_int_equal(f.device.requests[1].kind, FAKE_CALL);
    assert_true(f.device.requests[3].handle == f.device.requests[0].handle);
    fake_device_reply(&f.device, 0, SC_OK, "");
    assert_int_equal(f.count, 0);
    fake_device_reply(&f.device, 1, SC_OK, "done");
    assert_int_equal(f.count, 1);
}

static void test_router_deactivated_name_is_free_at_once_address_later(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    struct sc_caller caller = {.fn = on_answer, .user = &f, .id = 1};
    assert_int_equal(sc_router_deactivate(f.router, grain, &caller), SC_OK);
    caller.id = 2;
    assert_int_equal(sc_router_deactivate(f.router, grain, &caller), SC_ERR_NOT_FOUND);
    /* Its last events still find their stream. */
    assert_int_equal(f.device.ops->on_event(f.router, grain, grain, 0, 1, span_of_str("last")),
                     SC_OK);
    assert_string_equal(f.offered, "alphas/k=last");
    assert_int_equal(activate("alpha", "k", 3), SC_OK);
    fake_device_reply(&f.device, 2, SC_OK, "");
    assert_true(f.answers[0].id == 3 && f.answers[0].value != grain);
    fake_device_reply(&f.device, 1, SC_OK, "");
    assert_int_equal(f.answers[1].id, 1);
    struct sc_router_view view;
    sc_router_view(f.router, &view);
    assert_int_equal(view.grains, 1);
}

static void test_router_waiter_may_ask_again_for_the_slot_just_freed(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    struct sc_caller caller = {.fn = on_answer, .user = &f, .id = 1};
    assert_int_equal(sc_router_deactivate(f.router, grain, &caller), SC_OK);
    f.again = true;
    f.device.slots = 0;
    f.device.generation++;
    fake_device_reply(&f.device, 1, SC_OK, "");
    assert_int_equal(f.count, 1);
    fake_device_reply(&f.device, 2, SC_OK, "");
    assert_int_equal(f.answers[1].id, 99);
    assert_true(f.answers[1].created);
}

static void test_router_crash_answers_all_and_clears_grains(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    assert_int_equal(call(grain, 1, 0), SC_OK);
    assert_int_equal(activate("alpha", "k", 2), SC_OK);   /* waits to be told */
    assert_int_equal(activate("alpha", "new", 3), SC_OK); /* waits for the device */
    fake_device_crash(&f.device, "worker crashed in kernel alpha");
    assert_int_equal(f.count, 3);
    struct sc_router_view view;
    sc_router_view(f.router, &view);
    assert_int_equal(view.calls, 0);
    assert_int_equal(view.grains, 0);
    assert_false(view.ready);
    assert_string_equal(view.cause, "the device is down: worker crashed in kernel alpha");
    assert_int_equal(call(grain, 4, 0), SC_ERR_UNAVAILABLE);
    fake_device_restart(&f.device);
    assert_int_equal(f.states, 2);
    sc_router_view(f.router, &view);
    assert_true(view.ready && view.epoch == 2);
    assert_int_equal(activate("alpha", "k", 5), SC_OK);
    fake_device_reply(&f.device, 0, SC_OK, "");
    assert_true(f.answers[3].created);
}

static void test_router_events_find_stream_or_are_counted(void **state)
{
    (void)state;
    uint64_t a = make_grain("a"), b = make_grain("b");
    const struct gpu_device_ops *ops = f.device.ops;
    assert_int_equal(ops->on_event(f.router, a, b, 0, 1, span_of_str("hello")), SC_OK);
    assert_string_equal(f.offered, "alphas/b=hello");
    assert_int_equal(f.encoding, SC_EVENT_UTF8);
    f.offer_result = SC_AGAIN;
    assert_int_equal(ops->on_event(f.router, a, b, 0, 1, span_of_str("x")), SC_AGAIN);
    f.offer_result = SC_ERR_ARGUMENT;
    assert_int_equal(ops->on_event(f.router, a, b, 0, 1, span_of_str("x")), SC_OK);
    assert_int_equal(ops->on_event(f.router, a, b, 0, 9, span_of_str("x")), SC_OK);
    assert_int_equal(ops->on_event(f.router, a, b + 5, 0, 1, span_of_str("x")), SC_OK);
    assert_int_equal(ops->on_event(f.router, a, b, 99, 1, span_of_str("x")), SC_OK);
    assert_int_equal(f.metrics.events_offered, 1);
    assert_int_equal(f.metrics.events_held, 1);
    assert_int_equal(f.metrics.events_dropped, 4);
}

static void test_router_drain_refuses_new_work_only(void **state)
{
    (void)state;
    uint64_t grain = make_grain("k");
    assert_int_equal(call(grain, 1, 0), SC_OK);
    sc_router_drain(f.router);
    assert_int_equal(f.states, 1);
    assert_int_equal(call(grain, 2, 0), SC_ERR_UNAVAILABLE);
    assert_int_equal(activate("alpha", "k", 3), SC_ERR_UNAVAILABLE);
    fake_device_reply(&f.device, 1, SC_OK, "done");
    assert_int_equal(f.count, 1);
    assert_int_equal(f.answers[0].status, SC_OK);
}

static void on_room(void *user)
{
    (void)user;
    if (++f.rooms == 2)
        sc_loop_stop(f.loop);
}

static void test_router_room_calls_each_waiter_once(void **state)
{
    (void)state;
    struct sc_room one = {.fn = on_room}, two = {.fn = on_room}, gone = {.fn = on_room};
    sc_router_room(f.router, &one);
    sc_router_room(f.router, &one);
    sc_router_room(f.router, &gone);
    sc_router_room(f.router, &two);
    sc_router_room_cancel(&gone);
    sc_loop_run(f.loop);
    turn_for(10);
    assert_int_equal(f.rooms, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_router_coalesces_activations_of_one_name),
        T(test_router_failed_activation_tells_all_and_frees_the_name),
        T(test_router_refuses_with_the_right_status),
        T(test_router_gives_replies_to_their_callers),
        T(test_router_deadline_ends_a_call_and_its_reply_is_late),
        T(test_router_cancel_and_forget),
        T(test_router_call_by_name_makes_the_grain),
        T(test_router_deactivated_name_is_free_at_once_address_later),
        T(test_router_waiter_may_ask_again_for_the_slot_just_freed),
        T(test_router_crash_answers_all_and_clears_grains),
        T(test_router_events_find_stream_or_are_counted),
        T(test_router_drain_refuses_new_work_only),
        T(test_router_room_calls_each_waiter_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
