#include "sidecar/base/wbuf.h"
#include "sidecar/deb822.h"
#include "sidecar/demo_expect.h"
#include "sidecar/demo_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sc_graph g;
static char error[SC_DEB822_ERROR_BYTES];

static int teardown(void **state)
{
    (void)state;
    sc_graph_free(&g);
    return 0;
}

static enum sc_status build(const char *text)
{
    error[0] = 0;
    return sc_graph_build(span_of_str(text), &g, error);
}

static void refuses(const char *text, const char *said)
{
    assert_int_not_equal(build(text), SC_OK);
    if (strstr(error, said) == NULL)
        fail_msg("'%s' does not say '%s'", error, said);
}

static void test_graph_puts_packages_first_by_name(void **state)
{
    (void)state;
    assert_int_equal(build("Package: c\nDepends: v\n\nPackage: a\nProvides: v\n\n"
                           "Package: b\nDepends: a, v | c\n"),
                     SC_OK);
    assert_int_equal(g.package_count, 3);
    assert_int_equal(g.node_count, 4);
    assert_int_equal(sc_graph_find(&g, span_of_str("b")), 1);
    assert_int_equal(sc_graph_find(&g, span_of_str("v")), -1);
    assert_true(g.nodes[3].is_virtual && span_eq_str(g.nodes[3].name, "v"));
    assert_int_equal(g.nodes[1].clause_count, 2);
    assert_int_equal(g.alternatives[g.nodes[1].first_clause + 1], 2);
    assert_int_equal(g.edge_count, 5);
}

static void test_graph_keeps_the_highest_version_of_a_name(void **state)
{
    (void)state;
    assert_int_equal(build("Package: a\nVersion: 1.9\nDepends: b\n\nPackage: b\n\n"
                           "Package: a\nVersion: 1.10\n\nPackage: a\nVersion: 1.2\nDepends: b\n"),
                     SC_OK);
    assert_int_equal(g.package_count, 2);
    assert_int_equal(g.edge_count, 0);
}

static void test_graph_of_nothing_is_empty(void **state)
{
    (void)state;
    assert_int_equal(build("\n\n"), SC_OK);
    assert_int_equal(g.node_count, 0);
}

static void test_graph_names_the_line_that_is_wrong(void **state)
{
    (void)state;
    refuses("Package: a\nDepends: b c\n", "line 2: ");
    refuses("Package: a\n\nVersion: 1\n", "line 3: a paragraph without a Package");
    refuses("Package: a\nPre-Depends: b,\n c (1)\n", "line 3: ");
    refuses("Package: a\nProvides: (= 1)\n", "line 2: ");
    refuses("Package: a\nrubbish\n", "line 2: ");
}

static void test_graph_writes_payloads_as_the_kernel_reads_them(void **state)
{
    (void)state;
    assert_int_equal(build("Package: a\n\nPackage: b\nDepends: a | c\n\nPackage: c\n"), SC_OK);
    struct wbuf w;
    wbuf_init(&w, 4096);
    sc_graph_write_start(&g, 1, 0x1122, &w);
    const uint8_t start[] = {1, 0, 0,    0,    1, 0, 0, 0, 1, 0, 0, 0, 0,  0,
                             0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 2, 0, 'b'};
    assert_int_equal(w.len, sizeof start);
    assert_memory_equal(w.ptr, start, sizeof start);
    assert_int_equal(sc_graph_state_bytes(&g, 1), 512 + 16);
    assert_int_equal(sc_graph_state_bytes(&g, 0), 512 + 16);
    wbuf_clear(&w);
    const uint64_t grains[] = {7, 8, 9};
    sc_graph_write_edges(&g, 0, 0, 1, grains, &w);
    const uint8_t edges[] = {0, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0,
                             0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(w.len, sizeof edges);
    assert_memory_equal(w.ptr, edges, sizeof edges);
    wbuf_fini(&w);
}

static void test_graph_reads_replies_only_whole(void **state)
{
    (void)state;
    uint8_t bytes[24] = {3, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1};
    struct sc_graph_reply r;
    for (size_t n = 0; n < sizeof bytes; n++)
        assert_int_equal(sc_graph_read_reply(span_of(bytes, n), &r), SC_ERR_PROTOCOL);
    assert_int_equal(sc_graph_read_reply(span_of(bytes, sizeof bytes), &r), SC_OK);
    assert_int_equal(r.packages, 3);
    assert_int_equal(r.depth, 2);
    assert_int_equal(r.messages, 9);
    assert_int_equal(r.wave, 5);
    assert_int_equal(r.lane, 1);
}

static struct sc_expect compare(const char *expected)
{
    assert_int_equal(build("Package: a\n\nPackage: b\nDepends: a\n\nPackage: c\nDepends: b\n"),
                     SC_OK);
    uint8_t broken[3];
    assert_int_equal(sc_graph_impact(&g, 0, broken), 2);
    struct sc_expect e = sc_expect_compare(span_of_str(expected), &g, 0, broken);
    sc_graph_free(&g);
    return e;
}

static void test_expect_finds_every_difference(void **state)
{
    (void)state;
    struct sc_expect e = compare("impact aa 0\nimpact a 2\n b\n c\nimpact b 1\n c\n");
    assert_true(sc_expect_equal(&e));
    e = compare("impact a 1\n b\n");
    assert_int_equal(e.extra, 1);
    assert_false(sc_expect_equal(&e));
    e = compare("impact a 3\n a\n b\n c\n");
    assert_int_equal(e.missing, 1);
    assert_true(span_eq(e.first, span_of_str("a")) || e.first.len == 1);
    e = compare("impact a 2\n b\n unknown\n");
    assert_false(e.whole);
    e = compare("impact a 3\n b\n c\n");
    assert_false(e.whole);
    e = compare("impact a 2\n b\n b\n");
    assert_false(e.whole);
    e = compare("impact b 2\n b\n c\n");
    assert_false(e.found);
    e = compare("impact a 99999999999\n");
    assert_false(e.found);
    e = compare("");
    assert_false(e.found);
}

#define CASE(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_graph_puts_packages_first_by_name),
        CASE(test_graph_keeps_the_highest_version_of_a_name),
        CASE(test_graph_of_nothing_is_empty),
        CASE(test_graph_names_the_line_that_is_wrong),
        CASE(test_graph_writes_payloads_as_the_kernel_reads_them),
        CASE(test_graph_reads_replies_only_whole),
        CASE(test_expect_finds_every_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
