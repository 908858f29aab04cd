#include "orleans-proto/invoke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_call_names_of_all_forms(void **state)
{
    (void)state;
    static const struct {
        const char *type, *interface, *assembly, *method, *generic;
        bool extension;
    } rows[] = {
        {"(\"inv\",[GrainRef],[Sample.IEchoGrain,Sample.Interfaces],\"A081B6BA\")",
         "Sample.IEchoGrain", "Sample.Interfaces", "A081B6BA", "", false},
        {"(\"inv\",[GrainRef],[sample.aliased],\"hello\")", "sample.aliased", "", "hello", "",
         false},
        {"(\"inv\",[GrainRef],[Sample.IEchoGrain,Sample.Interfaces],\"F8BC33AF\")`1[[int]]",
         "Sample.IEchoGrain", "Sample.Interfaces", "F8BC33AF", "`1[[int]]", false},
        {"(\"inv\",[GrainRef],\"Ext\",[A.IX,A],[A.IX,A],\"C265B3CB\")", "A.IX", "A", "C265B3CB", "",
         true},
        {"(\"inv\",[GrainRef],[P.IGen`1[[X.Y,Z]],P],\"1\")", "P.IGen`1[[X.Y,Z]]", "P", "1", "",
         false},
        {"(\"inv\",[GrainRef],[g`1[[X.Y,Z]]],\"1\")", "g`1[[X.Y,Z]]", "", "1", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct orl_call call;
        struct span type = span_of_str(rows[i].type);
        assert_int_equal(orl_call_parse(type, &call), SC_OK);
        assert_true(span_eq_str(call.interface, rows[i].interface));
        assert_true(span_eq_str(call.assembly, rows[i].assembly));
        assert_true(span_eq_str(call.method, rows[i].method));
        assert_true(span_eq_str(call.generic, rows[i].generic));
        assert_int_equal(call.extension, rows[i].extension);
        size_t closed = type.len - strlen(rows[i].generic);
        for (size_t cut = 0; cut < closed; cut++)
            assert_int_equal(orl_call_parse(span_of(type.ptr, cut), &call), SC_ERR_PROTOCOL);
    }
}

static void test_method_refuses_what_does_not_fit(void **state)
{
    (void)state;
    char text[ORL_METHOD_HEAD_MAX];
    struct orl_method m;
    struct orl_method_def def = {.interface = text};
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(orl_method_init(&m, &def), SC_ERR_ARGUMENT);
    def.id = "x";
    assert_int_equal(orl_method_init(&m, &def), SC_ERR_TOO_LARGE);
    text[ORL_INTERFACE_MAX] = '\0';
    assert_int_equal(orl_method_init(&m, &def), SC_OK);
    assert_true(span_eq_str(orl_method_interface(&m), text));
}

static void test_arguments_of_every_kind_round_trip(void **state)
{
    (void)state;
    const struct orl_method_def def = {.interface = "I", .id = "m"};
    const struct orl_reference ref = {{span_of_str("chat"), span_of_str("room")},
                                      span_of_str("Sample.IChatGrain")};
    const struct span list[] = {span_of_str("one"), span_of_str(""), {0}};
    const struct orl_value boxed = orl_value_long(1 << 30);
    const struct orl_guid guid = {{1, 2, 3}};
    struct orl_method m;
    struct orl_args a;
    struct orl_reader r;
    struct orl_field f;
    struct orl_field in;
    struct orl_call call;
    struct wbuf w;
    uint64_t count = 0;
    wbuf_init(&w, 4096);
    assert_int_equal(orl_method_init(&m, &def), SC_OK);
    orl_args_begin(&a, &w, &m);
    orl_args_string(&a, span_of_str("text"));
    orl_args_null(&a);
    orl_args_skip(&a);
    orl_args_bytes_list(&a, list, 3);
    orl_args_reference(&a, &ref);
    orl_args_object(&a, &boxed);
    orl_args_guid(&a, &guid);
    orl_args_bytes_list(&a, NULL, 0);
    orl_args_bool(&a, true);
    orl_args_int(&a, INT32_MIN);
    orl_args_double(&a, -0.5);
    orl_args_end(&a);
    assert_false(w.failed);
    const struct orl_message msg = {.direction = ORL_DIRECTION_REQUEST, .body = wbuf_span(&w)};
    assert_int_equal(orl_call_open(&msg, &r, &call), SC_OK);
    assert_true(orl_reader_next(&r, &f));
    assert_true(span_eq_str(orl_get_bytes(&r, &f), "text"));
    assert_true(orl_reader_next(&r, &f));
    assert_true(orl_field_is_null(&f));
    assert_int_equal(orl_value_get(&r, &f, ORL_KIND_STRING).kind, ORL_KIND_NULL);
    assert_true(orl_reader_next(&r, &f));
    assert_int_equal(f.id, 3); /* a skipped parameter keeps its position */
    assert_true(orl_list_enter(&r, &f, &count));
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(orl_list_next(&r, &in));
        struct span got = orl_get_bytes(&r, &in);
        assert_true(span_eq(got, list[i]));
        assert_int_equal(got.ptr == NULL, i == 2);
    }
    assert_false(orl_list_next(&r, &in));
    assert_true(orl_reader_next(&r, &f));
    struct orl_reference back = orl_get_reference(&r, &f);
    assert_true(orl_grain_id_eq(back.grain, ref.grain));
    assert_true(span_eq(back.interface, ref.interface));
    assert_true(orl_reader_next(&r, &f));
    struct orl_value v = orl_value_get(&r, &f, ORL_KIND_OTHER);
    assert_true(v.kind == ORL_KIND_LONG && v.i == 1 << 30);
    assert_true(orl_reader_next(&r, &f));
    assert_memory_equal(orl_get_guid(&r, &f).b, guid.b, 16);
    assert_true(orl_reader_next(&r, &f));
    assert_true(orl_list_enter(&r, &f, &count));
    assert_int_equal(count, 0);
    assert_false(orl_list_next(&r, &in));
    assert_true(orl_reader_next(&r, &f));
    assert_true(orl_get_bool(&r, &f));
    assert_true(orl_reader_next(&r, &f));
    assert_int_equal(orl_get_int(&r, &f, 32), INT32_MIN);
    assert_true(orl_reader_next(&r, &f));
    assert_true(orl_get_double(&r, &f) == -0.5);
    assert_false(orl_reader_next(&r, &f));
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_names_of_all_forms),
        cmocka_unit_test(test_method_refuses_what_does_not_fit),
        cmocka_unit_test(test_arguments_of_every_kind_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
