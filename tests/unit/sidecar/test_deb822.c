#include "sidecar/deb822.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char error[SC_DEB822_ERROR_BYTES];
static struct sc_deb822_paragraph p;

static enum sc_status read_first(const char *text)
{
    struct sc_deb822 in = {span_of_str(text), 1};
    error[0] = 0;
    return sc_deb822_next(&in, &p, error);
}

static void refuses(const char *text, const char *said)
{
    assert_int_equal(read_first(text), SC_ERR_PROTOCOL);
    if (strstr(error, said) == NULL)
        fail_msg("'%s' does not say '%s'", error, said);
}

static void test_deb822_reads_paragraphs_fields_and_lines(void **state)
{
    (void)state;
    struct sc_deb822 in = {span_of_str("\n\nPackage: a\nDescription: short\n long\n .\n more\n"
                                       "Version:1\n \n\r\nPackage:  b \r\nEmpty:\n"),
                           1};
    assert_int_equal(sc_deb822_next(&in, &p, error), SC_OK);
    assert_int_equal(p.count, 3);
    assert_true(span_eq_str(sc_deb822_find(&p, "Package")->value, "a"));
    assert_true(span_eq_str(sc_deb822_find(&p, "description")->value, "short\n long\n .\n more"));
    assert_true(span_eq_str(sc_deb822_find(&p, "VERSION")->value, "1"));
    assert_int_equal(sc_deb822_find(&p, "Version")->line, 8);
    assert_null(sc_deb822_find(&p, "Depends"));
    assert_int_equal(sc_deb822_next(&in, &p, error), SC_OK);
    assert_true(span_eq_str(sc_deb822_find(&p, "Package")->value, "b"));
    assert_int_equal(sc_deb822_find(&p, "Empty")->value.len, 0);
    assert_int_equal(sc_deb822_next(&in, &p, error), SC_OK);
    assert_int_equal(p.count, 0);
}

static void test_deb822_names_the_line_that_is_wrong(void **state)
{
    (void)state;
    refuses("Package: a\nno colon here\n", "line 2: no 'Name: value': 'no colon here'");
    refuses("\n continuation\n", "line 2: a continuation line");
    refuses("Package: a\nPACKAGE: b\n", "line 2: a field is given twice");
    refuses("Pack age: a\n", "line 1: not a field's name");
    refuses(": a\n", "line 1: not a field's name");
    refuses("# Package: a\n", "line 1: not a field's name");
    refuses("P\x1b[31m: a\n", "'P?[31m'");
}

static void test_deb822_refuses_nul_bytes_and_too_many_fields(void **state)
{
    (void)state;
    struct sc_deb822 in = {span_of("A: b\0c\n", 7), 1};
    assert_int_equal(sc_deb822_next(&in, &p, error), SC_ERR_PROTOCOL);
    char text[4096];
    size_t n = 0;
    for (int i = 0; i <= SC_DEB822_FIELDS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "F%d: x\n", i);
    refuses(text, "line 129: too many fields");
}

static void test_deb822_reads_every_prefix_without_harm(void **state)
{
    (void)state;
    const char *text = "Package: a\nDepends: b (>= 1:2-3) | c:any, d\n more\n\nPackage: e\n";
    for (size_t n = 0; n <= strlen(text); n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, text, n);
        struct sc_deb822 in = {span_of(cut, n), 1};
        while (sc_deb822_next(&in, &p, error) == SC_OK && p.count != 0)
            continue;
        free(cut);
    }
}

/* "name[:qualifier][op version]" for each alternative, '|' within and ',' between clauses. */
static const char *relations(const char *text)
{
    static const char *const ops[] = {"", "<<", "<=", "=", ">=", ">>"};
    static char out[512];
    struct sc_deb_relations in = {span_of_str(text), 1, true};
    struct sc_deb_alternative a;
    size_t n = 0;
    out[0] = 0;
    error[0] = 0;
    for (;;) {
        if (sc_deb_relations_next(&in, &a, error) != SC_OK)
            return "refused";
        if (a.name.len == 0)
            return out;
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s%s%.*s%s%.*s",
                              n == 0 ? "" : (a.starts_clause ? "," : "|"), SPAN_ARG(a.name),
                              a.qualifier.len != 0 ? ":" : "", SPAN_ARG(a.qualifier),
                              ops[a.relation], SPAN_ARG(a.version));
    }
}

static void test_relations_read_what_debian_writes(void **state)
{
    (void)state;
    assert_string_equal(relations(""), "");
    assert_string_equal(relations("a"), "a");
    assert_string_equal(relations("a (>= 1:2~3-4), b | c:any (<<2),d(=1)|e"),
                        "a>=1:2~3-4,b|c:any<<2,d=1|e");
    assert_string_equal(relations("a (< 1), b (> 2), c (<= 3), d (>> 4)"), "a<=1,b>=2,c<=3,d>>4");
    assert_string_equal(relations("a,\n b,\n c,\n"), "a,b,c");
    assert_string_equal(relations(", a , , b ,"), "a,b");
}

static void test_relations_name_the_line_that_is_wrong(void **state)
{
    (void)state;
    static const char *const bad[] = {"a b",        "a (1)", "a (>= )", "a (>= 1", "| a",
                                      "a, | b",     "a |",   "a | , b", "a ()",    "(>= 1)",
                                      "a (>= 1 2)", "a )",   ":any"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_string_equal(relations(bad[i]), "refused");
        assert_non_null(strstr(error, "line 1: "));
    }
    assert_string_equal(relations("a,\n b,\n c d"), "refused");
    assert_non_null(strstr(error, "line 3: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deb822_reads_paragraphs_fields_and_lines),
        cmocka_unit_test(test_deb822_names_the_line_that_is_wrong),
        cmocka_unit_test(test_deb822_refuses_nul_bytes_and_too_many_fields),
        cmocka_unit_test(test_deb822_reads_every_prefix_without_harm),
        cmocka_unit_test(test_relations_read_what_debian_writes),
        cmocka_unit_test(test_relations_name_the_line_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
