#include "tests/support/impact_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CREDITS = 64, SEED = 20 };

static struct sc_graph graph;
static struct impact_graph g;
static char error[256];

static void open_list(const char *list, uint64_t seed, uint32_t credits)
{
    if (sc_graph_build(span_of_str(list), &graph, error) != SC_OK)
        fail_msg("%s", error);
    impact_graph_open(&g, &graph, seed, credits, IMPACT_WAITING);
    assert_int_equal(g.failures, 0);
}

static void close_list(void)
{
    assert_int_equal(kernel_harness_stats(g.harness).over_limit, 0);
    assert_int_equal(kernel_harness_stats(g.harness).in_flight, 0);
    impact_graph_close(&g);
    sc_graph_free(&graph);
}

static uint32_t node(const char *name)
{
    int64_t at = sc_graph_find(&graph, span_of_str(name));
    assert_true(at >= 0);
    return (uint32_t)at;
}

/* The names that broke, sorted, with blanks between. */
static const char *broken_names(const struct impact_ask *a)
{
    static char text[1024];
    size_t n = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < graph.package_count; i++)
        if (a->broken[i])
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", n != 0 ? " " : "",
                                  SPAN_ARG(graph.nodes[i].name));
    return text;
}

static void assert_sound(const struct impact_ask *a)
{
    assert_true(a->ended);
    assert_false(a->failed);
    assert_int_equal(a->reply.packages, a->events);
    assert_int_equal(a->repeated, 0);
    assert_int_equal(a->foreign, 0);
}

/* Asks one package in several orders of running. */
static void breaks(const char *list, const char *package, const char *expected)
{
    for (uint64_t seed = 0; seed < SEED; seed++) {
        open_list(list, seed, seed % 3 == 0 ? 1 : CREDITS);
        uint32_t at = impact_graph_ask(&g, node(package));
        impact_graph_run(&g);
        assert_sound(&g.asks[at]);
        assert_string_equal(broken_names(&g.asks[at]), expected);
        close_list();
    }
}

#define PACKAGE(name, rest) "Package: " name "\nVersion: 1.0\n" rest "\n"

static void test_impact_spreads_along_a_chain(void **state)
{
    (void)state;
    const char *list =
        PACKAGE("a", "") PACKAGE("b", "Depends: a\n") PACKAGE("c", "Depends: b\n") PACKAGE("d", "");
    breaks(list, "a", "b c");
    breaks(list, "c", "");
}

static void test_impact_needs_every_alternative_gone(void **state)
{
    (void)state;
    const char *list = PACKAGE("a", "") PACKAGE("b", "") PACKAGE("one", "Depends: a | b\n")
        PACKAGE("two", "Depends: a | missing, b\n")
            PACKAGE("three", "Pre-Depends: a\nDepends: b | one\n") PACKAGE("base", "")
                PACKAGE("a2", "Depends: base\n");
    breaks(list, "a", "three two");
    breaks(list, "base", "a2");
}

static void test_impact_ignores_what_was_never_satisfied(void **state)
{
    (void)state;
    breaks(PACKAGE("a", "") PACKAGE("b", "Depends: missing, a (>= 9), a (<< 1.0)\n"), "a", "");
}

static void test_impact_of_virtual_names(void **state)
{
    (void)state;
    const char *list = PACKAGE("libc", "") PACKAGE("exim", "Provides: mta\nDepends: libc\n")
        PACKAGE("postfix", "Provides: mta\nDepends: libc\n") PACKAGE("mailx", "Depends: mta\n")
            PACKAGE("cron", "Depends: exim | mta\n") PACKAGE("pinned", "Depends: mta (>= 1)\n");
    breaks(list, "exim", "");
    breaks(list, "libc", "cron exim mailx postfix");
}

static void test_impact_of_a_name_both_real_and_provided(void **state)
{
    (void)state;
    const char *list = PACKAGE("awk", "") PACKAGE("gawk", "Provides: awk\nDepends: lib\n")
        PACKAGE("lib", "") PACKAGE("user", "Depends: awk\n")
            PACKAGE("exact", "Depends: awk (= 1.0)\n") PACKAGE("both", "Depends: awk, gawk\n");
    breaks(list, "awk", "exact");
    breaks(list, "gawk", "both");
    breaks(list, "lib", "both gawk");
}

static void test_impact_of_versioned_provides(void **state)
{
    (void)state;
    const char *list = PACKAGE("x", "Provides: api (= 3), api (= 4)\n")
        PACKAGE("y", "Provides: api (= 5)\n") PACKAGE("old", "Depends: api (<< 5)\n")
            PACKAGE("any", "Depends: api (>= 3)\n") PACKAGE("none", "Depends: api (>> 5)\n");
    breaks(list, "x", "old");
    breaks(list, "y", "");
}

static void test_impact_of_cycles(void **state)
{
    (void)state;
    const char *list = PACKAGE("a", "Depends: c, root\n") PACKAGE("b", "Depends: a\n")
        PACKAGE("c", "Depends: b\n") PACKAGE("root", "") PACKAGE("self", "Depends: self, root\n");
    breaks(list, "root", "a b c self");
    breaks(list, "a", "b c");
    breaks(list, "self", "");
}

static void test_impact_of_self_provides(void **state)
{
    (void)state;
    const char *list = PACKAGE("a", "Provides: v\nDepends: v, other\n") PACKAGE("other", "")
        PACKAGE("b", "Provides: v\n") PACKAGE("c", "Depends: v\n");
    breaks(list, "b", "");
    breaks(list, "other", "a");
    breaks(PACKAGE("a", "Provides: v\nDepends: v\n") PACKAGE("c", "Depends: v\n"), "a", "c");
}

static void test_impact_of_qualifiers_and_states(void **state)
{
    (void)state;
    breaks("Package: py\nStatus: install ok installed\nArchitecture: amd64\n\n"
           "Package: gone\nStatus: deinstall ok config-files\nDepends: py\n\n"
           "Package: any\nStatus: install ok installed\nDepends: py:any\n\n"
           "Package: here\nStatus: install ok installed\nDepends: py:amd64\n\n"
           "Package: there\nStatus: install ok installed\nDepends: py:arm64\n",
           "py", "any here");
}

static void test_impact_reports_depth_and_messages(void **state)
{
    (void)state;
    open_list(PACKAGE("a", "") PACKAGE("b", "Depends: a\n") PACKAGE("c", "Depends: b\n"), 0,
              CREDITS);
    uint32_t at = impact_graph_ask(&g, node("a"));
    impact_graph_run(&g);
    assert_int_equal(g.asks[at].reply.depth, 2);
    assert_int_equal(g.asks[at].reply.messages, 4);
    /* and #waves: Acquire, Grant, Release */
    assert_int_equal(kernel_harness_stats(g.harness).sent, 7);
    close_list();
}

/* A hub with far more dependants than a message may send, and chains behind them. */
static char *wide_list(uint32_t width)
{
    size_t cap = 256 + (size_t)width * 128;
    char *list = malloc(cap);
    size_t n = (size_t)snprintf(list, cap, "Package: hub\n\nPackage: twin\n\n");
    for (uint32_t i = 0; i < width; i++)
        n += (size_t)snprintf(list + n, cap - n,
                              "Package: d%u\nDepends: hub\n\nPackage: e%u\nDepends: d%u | twin\n\n",
                              i, i, i);
    return list;
}

static void test_impact_stays_within_sends_and_credits(void **state)
{
    (void)state;
    static const uint32_t credits[] = {1, 2, 63, 64, 1000, 100000};
    char *list = wide_list(5000);
    for (size_t i = 0; i < sizeof credits / sizeof credits[0]; i++) {
        open_list(list, i, credits[i]);
        uint32_t at = impact_graph_ask(&g, node("hub"));
        impact_graph_run(&g);
        assert_sound(&g.asks[at]);
        assert_int_equal(g.asks[at].events, 5000);
        assert_true(kernel_harness_stats(g.harness).in_flight_peak <= credits[i]);
        close_list();
    }
    free(list);
}

/* Eight dependants each, four levels deep: credits are split and come back at every level. */
static void test_impact_neither_makes_nor_loses_credits(void **state)
{
    (void)state;
    enum { FAN = 8, INNER = 1 + 8 + 64 + 512, ALL = INNER + 4096 };
    static const uint32_t credits[] = {1, 2, 3, 9, 100};
    size_t cap = ALL * 48;
    char *list = malloc(cap);
    size_t n = (size_t)snprintf(list, cap, "Package: n0\n\n");
    for (uint32_t i = 1; i < ALL; i++)
        n +=
            (size_t)snprintf(list + n, cap - n, "Package: n%u\nDepends: n%u\n\n", i, (i - 1) / FAN);
    for (size_t i = 0; i < sizeof credits / sizeof credits[0]; i++) {
        open_list(list, i, credits[i]);
        for (uint32_t round = 0; round < 3; round++) {
            uint32_t at = impact_graph_ask(&g, node("n0"));
            impact_graph_run(&g);
            assert_sound(&g.asks[at]);
            assert_int_equal(g.asks[at].events, ALL - 1);
            assert_true(kernel_harness_stats(g.harness).in_flight_peak <= credits[i]);
            impact_graph_clear(&g);
        }
        close_list();
    }
    free(list);
}

static void test_impact_runs_waves_at_once_and_queues_the_rest(void **state)
{
    (void)state;
    char *list = wide_list(300);
    for (uint64_t seed = 0; seed < SEED; seed++) {
        open_list(list, seed, CREDITS);
        for (uint32_t i = 0; i < IMPACT_ASKS_MAX - 2; i++) {
            char name[16];
            snprintf(name, sizeof name, "d%u", i);
            impact_graph_ask(&g, node(name));
        }
        uint32_t twin = impact_graph_ask(&g, node("twin"));
        uint32_t hub = impact_graph_ask(&g, node("hub"));
        impact_graph_run(&g);
        for (uint32_t i = 0; i < g.ask_count; i++)
            assert_sound(&g.asks[i]);
        assert_int_equal(g.asks[hub].events, 300);
        assert_int_equal(g.asks[twin].events, 0);
        assert_true(kernel_harness_stats(g.harness).in_flight_peak <= 4 * CREDITS + 64);
        close_list();
    }
    free(list);
}

static void test_impact_of_one_package_asked_twice_at_once(void **state)
{
    (void)state;
    open_list(PACKAGE("a", "") PACKAGE("b", "Depends: a\n"), 0, CREDITS);
    uint32_t first = impact_graph_ask(&g, node("a"));
    uint32_t second = impact_graph_ask(&g, node("a"));
    impact_graph_run(&g);
    assert_int_equal(g.asks[first].reply.packages, 1);
    assert_int_equal(g.asks[second].reply.packages, 1);
    assert_int_not_equal(g.asks[first].reply.wave, g.asks[second].reply.wave);
    close_list();
}

static void test_impact_refuses_when_too_many_wait(void **state)
{
    (void)state;
    char *list = wide_list(300);
    assert_int_equal(sc_graph_build(span_of_str(list), &graph, error), SC_OK);
    impact_graph_open(&g, &graph, 0, CREDITS, 2);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 12; i++)
        impact_graph_ask(&g, node("hub"));
    impact_graph_run(&g);
    for (uint32_t i = 0; i < g.ask_count; i++) {
        assert_true(g.asks[i].ended);
        refused += g.asks[i].failed;
        assert_true(!g.asks[i].failed || strstr(g.asks[i].text, "too many") != NULL);
    }
    assert_int_equal(refused, 12 - 4 - 2);
    close_list();
    free(list);
}

static void test_impact_refuses_grains_without_a_graph(void **state)
{
    (void)state;
    open_list(PACKAGE("a", "Provides: v\n") PACKAGE("b", "Depends: v\n"), 0, CREDITS);
    kernel_harness_activate(g.harness, 512, span_of(NULL, 0), 1);
    kernel_harness_send(g.harness, g.grains[2], SC_GRAPH_MSG_IMPACT, span_of(NULL, 0), 2);
    g.ask_count = 2;
    kernel_harness_drop(g.harness, g.waves);
    uint32_t lost = impact_graph_ask(&g, node("a"));
    impact_graph_run(&g);
    assert_non_null(strstr(g.asks[0].text, "not loaded"));
    assert_non_null(strstr(g.asks[1].text, "virtual name"));
    assert_non_null(strstr(g.asks[lost].text, "#waves is gone"));
    close_list();
}

static void test_impact_refuses_malformed_loading(void **state)
{
    (void)state;
    open_list(PACKAGE("a", "") PACKAGE("b", "Depends: a\n"), 0, CREDITS);
    uint8_t bytes[24] = {0};
    for (size_t n = 1; n < sizeof bytes; n++) {
        uint64_t fresh = kernel_harness_activate(g.harness, 512, span_of(bytes, n), 0);
        kernel_harness_send(g.harness, fresh, SC_GRAPH_MSG_LOAD, span_of(bytes, n), 0);
        kernel_harness_send(g.harness, g.grains[0], SC_GRAPH_MSG_LOAD, span_of(bytes, n), 0);
    }
    impact_graph_run(&g);
    uint32_t at = impact_graph_ask(&g, node("a"));
    impact_graph_run(&g);
    assert_sound(&g.asks[at]);
    close_list();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impact_spreads_along_a_chain),
        cmocka_unit_test(test_impact_needs_every_alternative_gone),
        cmocka_unit_test(test_impact_ignores_what_was_never_satisfied),
        cmocka_unit_test(test_impact_of_virtual_names),
        cmocka_unit_test(test_impact_of_a_name_both_real_and_provided),
        cmocka_unit_test(test_impact_of_versioned_provides),
        cmocka_unit_test(test_impact_of_cycles),
        cmocka_unit_test(test_impact_of_self_provides),
        cmocka_unit_test(test_impact_of_qualifiers_and_states),
        cmocka_unit_test(test_impact_reports_depth_and_messages),
        cmocka_unit_test(test_impact_stays_within_sends_and_credits),
        cmocka_unit_test(test_impact_neither_makes_nor_loses_credits),
        cmocka_unit_test(test_impact_runs_waves_at_once_and_queues_the_rest),
        cmocka_unit_test(test_impact_of_one_package_asked_twice_at_once),
        cmocka_unit_test(test_impact_refuses_when_too_many_wait),
        cmocka_unit_test(test_impact_refuses_grains_without_a_graph),
        cmocka_unit_test(test_impact_refuses_malformed_loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
