#include "sidecar/calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ull

static struct sc_calls calls;

static int setup(void **state)
{
    (void)state;
    return sc_calls_init(&calls, 8, 0) == SC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sc_calls_fini(&calls);
    return 0;
}

static void on_reply(void *user, const struct sc_reply *reply)
{
    (void)user;
    (void)reply;
}

static struct sc_call *add(uint64_t id, uint64_t deadline_ns)
{
    struct sc_call *call = NULL;
    struct sc_caller caller = {.fn = on_reply, .user = &calls, .id = id};
    assert_int_equal(sc_calls_add(&calls, &caller, SC_CALL_MESSAGE, 0, deadline_ns, &call), SC_OK);
    return call;
}

static void test_calls_token_of_an_old_call_finds_nothing(void **state)
{
    (void)state;
    struct sc_call *a = add(1, MS);
    uint64_t old = sc_calls_token(&calls, a);
    assert_true(old != 0 && sc_calls_by_token(&calls, old) == a);
    sc_calls_remove(&calls, a);
    assert_null(sc_calls_by_token(&calls, old));
    struct sc_call *b = add(2, MS);
    assert_ptr_equal(a, b); /* the slot is used again */
    assert_null(sc_calls_by_token(&calls, old));
    assert_null(sc_calls_by_token(&calls, UINT64_MAX));
    assert_null(sc_calls_by_token(&calls, 0));
}

static void test_calls_are_found_by_caller_and_id(void **state)
{
    (void)state;
    struct sc_call *list[8];
    struct sc_call *extra;
    for (uint64_t i = 0; i < 8; i++)
        list[i] = add(i, MS);
    for (uint64_t i = 0; i < 8; i++)
        assert_ptr_equal(sc_calls_find(&calls, &calls, i), list[i]);
    assert_null(sc_calls_find(&calls, &extra, 3));
    struct sc_caller caller = {.fn = on_reply, .user = &calls, .id = 9};
    assert_int_equal(sc_calls_add(&calls, &caller, SC_CALL_MESSAGE, 0, MS, &extra), SC_ERR_BUSY);
    caller.id = 3;
    assert_int_equal(sc_calls_add(&calls, &caller, SC_CALL_MESSAGE, 0, MS, &extra),
                     SC_ERR_ARGUMENT);
    for (uint64_t i = 0; i < 8; i += 2)
        sc_calls_remove(&calls, list[i]);
    for (uint64_t i = 0; i < 8; i++)
        assert_true((sc_calls_find(&calls, &calls, i) != NULL) == (i % 2 == 1));
    assert_int_equal(calls.count, 4);
}

static void test_calls_fall_due_in_time_not_before(void **state)
{
    (void)state;
    struct sc_call *soon = add(1, 10 * MS);
    struct sc_call *later = add(2, 100 * MS);
    /* Two rounds of the wheel away, in the slot of `soon`. */
    struct sc_call *far = add(3, 10 * MS + 2ull * SC_WHEEL_SLOTS * SC_WHEEL_TICK_NS);
    for (uint64_t t = 0; t < 10; t++)
        assert_null(sc_calls_due(&calls, t * MS));
    assert_ptr_equal(sc_calls_due(&calls, 16 * MS), soon);
    sc_calls_remove(&calls, soon);
    assert_null(sc_calls_due(&calls, 99 * MS));
    assert_ptr_equal(sc_calls_due(&calls, 110 * MS), later);
    sc_calls_remove(&calls, later);
    assert_null(sc_calls_due(&calls, far->deadline_ns - MS));
    assert_ptr_equal(sc_calls_due(&calls, far->deadline_ns + 8 * MS), far);
}

static void test_calls_due_after_a_long_pause_are_all_found(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 8; i++)
        add(i, (i + 1) * 3000 * MS);
    unsigned found = 0;
    struct sc_call *call;
    while ((call = sc_calls_due(&calls, 3600000 * MS)) != NULL) {
        sc_calls_remove(&calls, call);
        found++;
    }
    assert_int_equal(found, 8);
    assert_int_equal(calls.count, 0);
    /* A deadline that has passed when it is added falls due with the next turn. */
    call = add(9, MS);
    assert_ptr_equal(sc_calls_due(&calls, 3600008 * MS), call);
}

static void test_calls_lists_survive_removal_in_the_middle(void **state)
{
    (void)state;
    uint32_t head = (uint32_t)SC_CALL_NONE;
    struct sc_call *a = add(1, MS), *b = add(2, MS), *c = add(3, MS);
    sc_calls_push(&calls, &head, a);
    sc_calls_push(&calls, &head, b);
    sc_calls_push(&calls, &head, c);
    sc_calls_remove(&calls, b);
    assert_ptr_equal(sc_calls_first(&calls, &head), c);
    sc_calls_remove(&calls, c);
    assert_ptr_equal(sc_calls_first(&calls, &head), a);
    sc_calls_remove(&calls, a);
    assert_null(sc_calls_first(&calls, &head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls_token_of_an_old_call_finds_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_calls_are_found_by_caller_and_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calls_fall_due_in_time_not_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calls_due_after_a_long_pause_are_all_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_calls_lists_survive_removal_in_the_middle, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
