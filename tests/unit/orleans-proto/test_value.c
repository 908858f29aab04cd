#include "orleans-proto/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct orl_value samples[] = {
    {.kind = ORL_KIND_NULL},
    {.kind = ORL_KIND_BOOL, .b = true},
    {.kind = ORL_KIND_SBYTE, .i = -128},
    {.kind = ORL_KIND_SHORT, .i = -300},
    {.kind = ORL_KIND_INT, .i = INT32_MIN},
    {.kind = ORL_KIND_LONG, .i = INT64_MAX},
    {.kind = ORL_KIND_BYTE, .u = 255},
    {.kind = ORL_KIND_USHORT, .u = 65535},
    {.kind = ORL_KIND_CHAR, .u = 'A'},
    {.kind = ORL_KIND_UINT, .u = UINT32_MAX},
    {.kind = ORL_KIND_ULONG, .u = UINT64_MAX},
    {.kind = ORL_KIND_FLOAT, .f = 1.5f},
    {.kind = ORL_KIND_DOUBLE, .d = -2.25},
    {.kind = ORL_KIND_STRING, .bytes = {(const uint8_t *)"text", 4}},
    {.kind = ORL_KIND_BYTES, .bytes = {(const uint8_t *)"", 0}},
    {.kind = ORL_KIND_GUID, .guid = {{1, 2, 3}}},
};

enum { SAMPLES = sizeof samples / sizeof samples[0] };

static void assert_value(const struct orl_value *got, const struct orl_value *want)
{
    assert_int_equal(got->kind, want->kind);
    if (want->kind == ORL_KIND_BOOL)
        assert_int_equal(got->b, want->b);
    else if (want->kind == ORL_KIND_FLOAT)
        assert_true(got->f == want->f);
    else if (want->kind == ORL_KIND_STRING || want->kind == ORL_KIND_BYTES)
        assert_true(got->bytes.ptr != NULL && span_eq(got->bytes, want->bytes));
    else if (want->kind == ORL_KIND_GUID)
        assert_memory_equal(got->guid.b, want->guid.b, 16);
    else if (want->kind != ORL_KIND_NULL)
        assert_true(got->u == want->u);
}

static void test_values_of_every_kind_round_trip_typed_and_expected(void **state)
{
    (void)state;
    bool seen[ORL_KIND_COUNT] = {false};
    for (int i = 0; i < SAMPLES; i++) {
        const struct orl_value *v = &samples[i];
        seen[v->kind] = true;
        for (int typed = 0; typed < 2; typed++) {
            struct orl_reader r;
            struct orl_field f;
            struct wbuf w;
            wbuf_init(&w, 64);
            if (typed)
                orl_put_value_typed(&w, 9, v);
            else
                orl_put_value(&w, 9, v);
            orl_reader_init(&r, wbuf_span(&w));
            assert_true(orl_reader_next(&r, &f));
            assert_int_equal(f.id, 9);
            struct orl_value got = orl_value_get(&r, &f, typed ? ORL_KIND_OTHER : v->kind);
            assert_int_equal(r.status, SC_OK);
            assert_value(&got, v);
            for (size_t cut = 1; cut < w.len; cut++) {
                orl_reader_init(&r, span_of(w.ptr, cut));
                assert_false(orl_reader_next(&r, &f));
                assert_int_equal(r.status, SC_ERR_PROTOCOL);
            }
            wbuf_fini(&w);
        }
        if (v->kind != ORL_KIND_NULL)
            assert_int_equal(orl_kind_of_known(orl_kind_known(v->kind)), v->kind);
    }
    for (int k = 0; k < ORL_KIND_OTHER; k++)
        assert_true(seen[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_of_every_kind_round_trip_typed_and_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
