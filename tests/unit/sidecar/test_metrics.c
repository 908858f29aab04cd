#include "sidecar/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_hist_step_bounds_hold_each_duration(void **state)
{
    (void)state;
    for (uint64_t ns = 0; ns < 1ull << 39; ns = ns * 2 + ns / 3 + 1) {
        unsigned step = sc_hist_step(ns);
        assert_true(ns <= sc_hist_step_max_ns(step));
        if (step > 0)
            assert_true(ns > sc_hist_step_max_ns(step - 1));
        if (ns >= 8)
            assert_true(sc_hist_step_max_ns(step) - ns <= ns / 8);
    }
    assert_int_equal(sc_hist_step(UINT64_MAX), SC_HIST_STEPS - 1);
    assert_int_equal(sc_hist_step((1ull << 41) - 1), SC_HIST_STEPS - 1);
}

static void test_hist_quantile_of_a_window(void **state)
{
    (void)state;
    static struct sc_hist h, before;
    h = (struct sc_hist){0};
    assert_int_equal(sc_hist_quantile_ns(&h, NULL, 0.5), 0);
    for (int i = 0; i < 1000; i++)
        sc_hist_add(&h, 1000);
    before = h;
    for (int i = 0; i < 100; i++)
        sc_hist_add(&h, i < 95 ? 2000 : 1000000);
    uint64_t p50 = sc_hist_quantile_ns(&h, &before, 0.5);
    assert_true(p50 >= 2000 && p50 <= 2250);
    uint64_t p99 = sc_hist_quantile_ns(&h, &before, 0.99);
    assert_true(p99 >= 1000000 && p99 <= 1125000);
    assert_true(sc_hist_quantile_ns(&h, NULL, 0.5) < 1125);
}

static void test_metrics_p95_forgets_after_two_windows(void **state)
{
    (void)state;
    static struct sc_metrics m;
    m = (struct sc_metrics){0};
    sc_hist_add(&m.call_latency, 5000000);
    assert_true(sc_metrics_p95_us(&m) >= 5000);
    sc_metrics_turn_window(&m);
    assert_true(sc_metrics_p95_us(&m) >= 5000);
    sc_metrics_turn_window(&m);
    assert_int_equal(sc_metrics_p95_us(&m), 0);
}

static void test_metrics_text_has_cumulative_buckets(void **state)
{
    (void)state;
    static struct sc_metrics m;
    m = (struct sc_metrics){.calls_accepted = 7};
    sc_hist_add(&m.call_latency, 1023);
    sc_hist_add(&m.call_latency, 1024);
    sc_hist_add(&m.call_latency, UINT64_MAX / 2);
    struct wbuf out;
    wbuf_init(&out, 1 << 16);
    sc_metrics_write(&m, &out);
    wb_u8(&out, 0);
    assert_false(out.failed);
    const char *text = (const char *)out.ptr;
    assert_non_null(strstr(text, "\ngpu_sidecar_calls_total 7\n"));
    assert_non_null(strstr(text, "_bucket{le=\"1.024e-06\"} 1\n"));
    assert_non_null(strstr(text, "_bucket{le=\"2.048e-06\"} 2\n"));
    assert_non_null(strstr(text, "_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "_count 3\n"));
    wbuf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hist_step_bounds_hold_each_duration),
        cmocka_unit_test(test_hist_quantile_of_a_window),
        cmocka_unit_test(test_metrics_p95_forgets_after_two_windows),
        cmocka_unit_test(test_metrics_text_has_cumulative_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
