#include "orleans-proto/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct orl_value samples[] = {
    {.kind = ORL_KIND_NULL},
    {.kind = ORL_KIND_BOOL, .b = true},
    {.kind = ORL_KIND_INT, .i = INT32_MIN},
    {.kind = ORL_KIND_LONG, .i = INT64_MAX},
    {.kind = ORL_KIND_ULONG, .u = UINT64_MAX},
    {.kind = ORL_KIND_DOUBLE, .d = -2.25},
    {.kind = ORL_KIND_STRING, .bytes = {(const uint8_t *)"text", 4}},
    {.kind = ORL_KIND_BYTES, .bytes = {(const uint8_t *)"", 0}},
    {.kind = ORL_KIND_GUID, .guid = {{1, 2, 3}}},
};

enum { SAMPLES = sizeof samples / sizeof samples[0] };

static void assert_value(const struct orl_value *got, const struct orl_value *want)
{
    assert_int_equal(got->kind, want->kind);
    if (want->kind == ORL_KIND_STRING || want->kind == ORL_KIND_BYTES)
        assert_true(got->bytes.ptr != NULL && span_eq(got->bytes, want->bytes));
    else if (want->kind == ORL_KIND_GUID)
        assert_memory_equal(got->guid.b, want->guid.b, 16);
    else if (want->kind == ORL_KIND_BOOL)
        assert_int_equal(got->b, want->b);
    else if (want->kind != ORL_KIND_NULL)
        assert_true(got->u == want->u);
}

static struct orl_message response_of(struct wbuf *w, enum orl_response_type type)
{
    return (struct orl_message){
        .direction = ORL_DIRECTION_RESPONSE, .response_type = type, .body = wbuf_span(w)};
}

static void test_raw_values_round_trip_as_responses(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLES; i++) {
        struct orl_response response;
        struct wbuf w;
        wbuf_init(&w, 64);
        orl_put_raw_value(&w, &samples[i], ORL_KIND_LONG);
        struct orl_message m = response_of(&w, ORL_RESPONSE_SUCCESS);
        assert_int_equal(orl_response_decode(&m, &response), SC_OK);
        assert_int_equal(response.outcome, ORL_OUTCOME_VALUE);
        assert_value(&response.value, &samples[i]);
        size_t whole = m.body.len;
        for (size_t cut = 0; cut < whole; cut++) {
            m.body.len = cut;
            assert_int_equal(orl_response_decode(&m, &response), SC_ERR_PROTOCOL);
        }
        wbuf_fini(&w);
    }
    struct wbuf w;
    wbuf_init(&w, 64);
    orl_put_raw_value(&w, &samples[0], ORL_KIND_OTHER);
    assert_true(w.failed);
    wbuf_fini(&w);
}

static void test_responses_without_value(void **state)
{
    (void)state;
    const struct orl_exception e = {span_of_str("System.Exception"), span_of_str("boom")};
    struct orl_response response;
    struct wbuf w;
    wbuf_init(&w, 512);
    orl_put_exception_response(&w, &e);
    static const uint8_t head[] = {0x28, 0x47, 0x28, 0x2b, 0x40, 0x21};
    static const uint8_t tail[] = {0xc1, 0x01, 0xc1, 0x01, 0x61, 0x00,
                                   0x15, 0x13, 0x80, 0xe0, 0xe0};
    assert_memory_equal(w.ptr, head, sizeof head);
    assert_memory_equal(w.ptr + w.len - sizeof tail, tail, sizeof tail);
    struct orl_message m = response_of(&w, ORL_RESPONSE_NONE);
    assert_int_equal(orl_response_decode(&m, &response), SC_OK);
    assert_int_equal(response.outcome, ORL_OUTCOME_EXCEPTION);
    assert_true(span_eq(response.exception.type, e.type));
    assert_true(span_eq(response.exception.message, e.message));

    /* As recorded from a silo that sheds load. */
    static const uint8_t busy[] = {0x28, 0xcd, 0x40, 0x1b, 'S', 'h', 'e',  'd',  'd',  'i',  'n',
                                   'g',  ' ',  'l',  'o',  'a', 'd', 0x01, 0x09, 0xc1, 0x01, 0xe0};
    wbuf_clear(&w);
    orl_put_rejection(&w, ORL_REJECTION_GATEWAY_TOO_BUSY, span_of_str("Shedding load"));
    assert_int_equal(w.len, sizeof busy);
    assert_memory_equal(w.ptr, busy, sizeof busy);
    m = response_of(&w, ORL_RESPONSE_REJECTION);
    assert_int_equal(orl_response_decode(&m, &response), SC_OK);
    assert_int_equal(response.rejection, ORL_REJECTION_GATEWAY_TOO_BUSY);
    assert_string_equal(orl_rejection_name(response.rejection), "gateway_too_busy");

    /* StatusResponse { 0: 1, 1: list of one } */
    wbuf_clear(&w);
    wb_bytes(&w, "\x28\xcf\x00\x03\x21\x00\x03\x41\x03z\xe0\xe0", 12);
    m = response_of(&w, ORL_RESPONSE_STATUS);
    assert_int_equal(orl_response_decode(&m, &response), SC_OK);
    assert_int_equal(response.outcome, ORL_OUTCOME_STATUS);

    wbuf_clear(&w);
    orl_put_tag_named(&w, ORL_WIRE_OBJECT, 0, span_of_str("App.Strange,App"));
    orl_put_end(&w);
    m = response_of(&w, ORL_RESPONSE_NONE);
    assert_int_equal(orl_response_decode(&m, &response), SC_OK);
    assert_int_equal(response.outcome, ORL_OUTCOME_UNKNOWN);
    m = response_of(&w, ORL_RESPONSE_SUCCESS);
    assert_int_equal(orl_response_decode(&m, &response), SC_OK);
    assert_int_equal(response.outcome, ORL_OUTCOME_VALUE);
    assert_int_equal(response.value.kind, ORL_KIND_NULL);
    assert_true(span_eq_str(response.type.name, "App.Strange,App"));
    wbuf_fini(&w);
}

static void test_generated_exceptions_have_their_message_in_the_base_part(void **state)
{
    (void)state;
    struct orl_reader r;
    struct orl_field f;
    struct wbuf w;
    wbuf_init(&w, 256);
    orl_put_tag_named(&w, ORL_WIRE_OBJECT, 0, span_of_str("App.CustomException,App"));
    orl_put_bytes(&w, 0, span_of_str("custom boom"));
    orl_put_null(&w, 1);
    orl_put_end_base(&w);
    orl_put_bytes(&w, 0, span_of_str("a field of its own"));
    orl_put_end(&w);
    orl_reader_init(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f));
    struct orl_exception e = orl_get_exception(&r, &f);
    assert_true(span_eq_str(e.type, "App.CustomException,App"));
    assert_true(span_eq_str(e.message, "custom boom"));
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_values_round_trip_as_responses),
        cmocka_unit_test(test_responses_without_value),
        cmocka_unit_test(test_generated_exceptions_have_their_message_in_the_base_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
