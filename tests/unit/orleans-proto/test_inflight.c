#include "orleans-proto/inflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_inflight_agrees_with_a_plain_list(void **state)
{
    (void)state;
    enum { MAX = 64, STEPS = 200000 };
    struct orl_inflight t;
    uint64_t ids[MAX];
    uint64_t users[MAX];
    uint32_t count = 0;
    uint32_t rng = 1;
    assert_int_equal(orl_inflight_init(&t, MAX), SC_OK);
    for (uint64_t step = 1; step <= STEPS; step++) {
        rng = rng * 1664525 + 1013904223;
        uint64_t user = 0;
        if ((rng >> 16) % 2 == 0 && count < MAX) {
            uint64_t id = step * ((rng >> 20) % 3 == 0 ? 0x100000000 : 1); /* clustered homes */
            assert_int_equal(orl_inflight_add(&t, id, step, step), SC_OK);
            assert_int_equal(orl_inflight_add(&t, id, step, step),
                             count + 1 == MAX ? SC_ERR_BUSY : SC_ERR_ARGUMENT);
            ids[count] = id;
            users[count++] = step;
        } else if (count > 0) {
            uint32_t i = (rng >> 8) % count;
            assert_true(orl_inflight_find(&t, ids[i], &user) && user == users[i]);
            assert_true(orl_inflight_take(&t, ids[i], &user) && user == users[i]);
            assert_false(orl_inflight_take(&t, ids[i], &user));
            ids[i] = ids[--count];
            users[i] = users[count];
        }
        assert_int_equal(t.count, count);
        for (uint32_t i = 0; i < count && step % 64 == 0; i++)
            assert_true(orl_inflight_find(&t, ids[i], &user) && user == users[i]);
    }
    orl_inflight_fini(&t);
}

static void test_inflight_expires_each_call_once_and_not_early(void **state)
{
    (void)state;
    enum { MAX = 1000 };
    struct orl_inflight t;
    uint64_t id = 0;
    uint64_t user = 0;
    assert_int_equal(orl_inflight_init(&t, MAX), SC_OK);
    for (uint64_t i = 0; i < MAX; i++)
        assert_int_equal(orl_inflight_add(&t, i, 1000 + i % 10, i), SC_OK);
    assert_int_equal(orl_inflight_add(&t, MAX, 1, 1), SC_ERR_BUSY);
    assert_false(orl_inflight_expire(&t, 999, &id, &user));
    for (uint64_t now = 1000; now < 1010; now++) {
        int expired = 0;
        while (orl_inflight_expire(&t, now, &id, &user)) {
            assert_true(user == id && 1000 + id % 10 == now);
            expired++;
        }
        assert_int_equal(expired, MAX / 10);
        assert_true(t.earliest_ns == (now < 1009 ? now + 1 : UINT64_MAX));
    }
    assert_int_equal(orl_inflight_add(&t, 5, UINT64_MAX, 5), SC_OK);
    assert_false(orl_inflight_expire(&t, UINT64_MAX - 1, &id, &user));
    assert_true(orl_inflight_expire(&t, UINT64_MAX, &id, &user));
    assert_int_equal(t.count, 0);
    orl_inflight_fini(&t);
    assert_int_equal(orl_inflight_init(&t, 0), SC_ERR_ARGUMENT);
    assert_int_equal(orl_inflight_init(&t, (1 << 20) + 1), SC_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inflight_agrees_with_a_plain_list),
        cmocka_unit_test(test_inflight_expires_each_call_once_and_not_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
