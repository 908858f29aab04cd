#include "sidecar/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(const struct sc_health *h, bool good, const char *text)
{
    struct wbuf body;
    wbuf_init(&body, 4096);
    assert_true(sc_health_ready(h, &body) == good);
    wb_u8(&body, 0);
    assert_string_equal((const char *)body.ptr, text);
    wbuf_fini(&body);
}

static void test_health_names_each_cause(void **state)
{
    (void)state;
    struct sc_health h = {.was_ready = true,
                          .device_ready = true,
                          .device_cause = "",
                          .heartbeat_age_ms = 5,
                          .heartbeat_max_ms = 100,
                          .silo_cause = ""};
    expect(&h, true, "ok drain\nok device\n");
    h.silo_wanted = true;
    h.silo_cause = "connection refused";
    expect(&h, false, "ok drain\nok device\nnot ok silo: connection refused\n");
    h.silo_up = true;
    h.heartbeat_age_ms = 101;
    expect(&h, false,
           "ok drain\nok device\nnot ok heartbeat: the device was last heard 101 ms ago\n"
           "ok silo\n");
    h.device_ready = false;
    h.device_cause = "the device is down";
    expect(&h, false, "ok drain\nnot ok device: the device is down\nok silo\n");
    h.draining = true;
    expect(&h, false,
           "not ok drain: the daemon is draining\nnot ok device: the device is down\nok silo\n");
}

static void test_health_started_once_stays_started(void **state)
{
    (void)state;
    struct wbuf body;
    wbuf_init(&body, 4096);
    struct sc_health h = {.device_cause = "the device is starting"};
    assert_false(sc_health_started(&h, &body));
    h.was_ready = true;
    assert_true(sc_health_started(&h, &body));
    wbuf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health_names_each_cause),
        cmocka_unit_test(test_health_started_once_stays_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
