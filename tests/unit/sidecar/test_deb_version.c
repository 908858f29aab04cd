#include "sidecar/deb_version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Each line: a, the order dpkg --compare-versions gives, b. */
static const struct {
    const char *a;
    int order;
    const char *b;
} rows[] = {
    {"1.0", 0, "1.0"},
    {"1.0", -1, "1.1"},
    {"1.9", -1, "1.10"},
    {"1.0~rc1", -1, "1.0"},
    {"1.0~~", -1, "1.0~"},
    {"1.0~", -1, "1.0"},
    {"1.0", -1, "1.0a"},
    {"1.0a", -1, "1.0+"},
    {"1.0+b1", 1, "1.0"},
    {"1:0.1", 1, "9"},
    {"0:1", 0, "1"},
    {"1.0-1", -1, "1.0-1.1"},
    {"1.0-1", -1, "1.0-2"},
    {"1.0-0", 0, "1.0"},
    {"1.0-1", 1, "1.0"},
    {"1.00", 0, "1.0"},
    {"1.001", 0, "1.1"},
    {"2a-1-1", 1, "2a-1"},
    {"1.0-1~bpo", -1, "1.0-1"},
    {"0.0.26-3", 1, "0.0.26"},
    {"12.2.0-14", 1, "12"},
    {"1.2.3", 1, "1.2"},
    {"a", -1, "a0a"},
    {"1.0.", 1, "1.0"},
    {"99999999999999999999999", 1, "99999999999999999999998"},
};

static void test_version_orders_as_dpkg_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span a = span_of_str(rows[i].a);
        struct span b = span_of_str(rows[i].b);
        int order = sc_deb_version_compare(a, b);
        if ((order > 0) - (order < 0) != rows[i].order)
            fail_msg("%s against %s gave %d", rows[i].a, rows[i].b, order);
        int back = sc_deb_version_compare(b, a);
        assert_int_equal((back > 0) - (back < 0), -rows[i].order);
    }
}

static void test_version_satisfies_relations(void **state)
{
    (void)state;
    struct span one = span_of_str("1");
    struct span two = span_of_str("2");
    assert_true(sc_deb_version_satisfies(one, SC_DEB_ANY, two));
    assert_true(sc_deb_version_satisfies(one, SC_DEB_BELOW, two));
    assert_false(sc_deb_version_satisfies(two, SC_DEB_BELOW, two));
    assert_true(sc_deb_version_satisfies(two, SC_DEB_AT_MOST, two));
    assert_true(sc_deb_version_satisfies(two, SC_DEB_EQUAL, two));
    assert_false(sc_deb_version_satisfies(one, SC_DEB_EQUAL, two));
    assert_true(sc_deb_version_satisfies(two, SC_DEB_AT_LEAST, two));
    assert_false(sc_deb_version_satisfies(one, SC_DEB_AT_LEAST, two));
    assert_true(sc_deb_version_satisfies(two, SC_DEB_ABOVE, one));
    assert_false(sc_deb_version_satisfies(two, SC_DEB_ABOVE, two));
}

static void test_version_orders_empty_texts(void **state)
{
    (void)state;
    struct span none = span_of(NULL, 0);
    assert_int_equal(sc_deb_version_compare(none, none), 0);
    assert_true(sc_deb_version_compare(none, span_of_str("1")) < 0);
    assert_true(sc_deb_version_compare(none, span_of_str("~")) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_orders_as_dpkg_does),
        cmocka_unit_test(test_version_satisfies_relations),
        cmocka_unit_test(test_version_orders_empty_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
