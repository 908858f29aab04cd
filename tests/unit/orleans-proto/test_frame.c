#include "orleans-proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};

static void test_frame_round_trip_and_every_prefix_asks_for_more(void **state)
{
    (void)state;
    struct wbuf w;
    wbuf_init(&w, 1024);
    wb_u8(&w, 0xaa);
    size_t frame_at = orl_frame_begin(&w);
    wb_bytes(&w, "head", 4);
    size_t body_at = w.len;
    wb_bytes(&w, "body!", 5);
    assert_int_equal(orl_frame_end(&w, frame_at, body_at, &lim), SC_OK);
    struct span in = span_of(w.ptr + 1, w.len - 1);
    struct orl_frame f;
    size_t used = 0;
    for (size_t n = 0; n < in.len; n++) {
        struct span cut = span_of(in.ptr, n);
        assert_int_equal(orl_frame_decode(cut, &lim, &f, &used), SC_AGAIN);
        assert_int_equal(orl_frame_need(cut, &lim), n < 8 ? 8 : in.len);
    }
    assert_int_equal(orl_frame_decode(in, &lim, &f, &used), SC_OK);
    assert_int_equal(used, in.len);
    assert_true(span_eq_str(f.header, "head"));
    assert_true(span_eq_str(f.body, "body!"));
    wbuf_fini(&w);
}

static enum sc_status decode_lengths(uint32_t header_len, uint32_t body_len,
                                     const struct orl_limits *limits)
{
    struct wbuf w;
    wbuf_init(&w, 64);
    wb_u32le(&w, header_len);
    wb_u32le(&w, body_len);
    struct orl_frame f;
    size_t used = 0;
    enum sc_status st = orl_frame_decode(wbuf_span(&w), limits, &f, &used);
    wbuf_fini(&w);
    return st;
}

static void test_frame_refuses_lengths_before_the_bytes_are_there(void **state)
{
    (void)state;
    const struct orl_limits small = {100, 1000};
    assert_int_equal(decode_lengths(100, 1000, &small), SC_AGAIN);
    assert_int_equal(decode_lengths(101, 0, &small), SC_ERR_LIMIT);
    assert_int_equal(decode_lengths(1, 1001, &small), SC_ERR_LIMIT);
    assert_int_equal(decode_lengths(1, 100 << 20, &lim), SC_AGAIN);
    assert_int_equal(decode_lengths(1, (100 << 20) + 1, &lim), SC_ERR_LIMIT);
    assert_int_equal(decode_lengths(0, 5, &lim), SC_ERR_PROTOCOL);
    assert_int_equal(decode_lengths(UINT32_MAX, 5, &lim), SC_ERR_PROTOCOL);
    assert_int_equal(decode_lengths(1, UINT32_MAX, &lim), SC_ERR_PROTOCOL);
}

static void test_frame_end_takes_back_what_is_too_large(void **state)
{
    (void)state;
    const struct orl_limits small = {4, 4};
    struct wbuf w;
    wbuf_init(&w, 32);
    wb_bytes(&w, "keep", 4);
    size_t frame_at = orl_frame_begin(&w);
    wb_bytes(&w, "h", 1);
    size_t body_at = w.len;
    wb_bytes(&w, "bodyx", 5);
    assert_int_equal(orl_frame_end(&w, frame_at, body_at, &small), SC_ERR_TOO_LARGE);
    assert_true(span_eq_str(wbuf_span(&w), "keep"));

    frame_at = orl_frame_begin(&w);
    wb_bytes(&w, "h", 1);
    body_at = w.len;
    wb_bytes(&w, "0123456789012345678901234567890", 31);
    assert_int_equal(orl_frame_end(&w, frame_at, body_at, &lim), SC_ERR_NO_MEMORY);
    assert_true(span_eq_str(wbuf_span(&w), "keep"));
    assert_false(w.failed);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_round_trip_and_every_prefix_asks_for_more),
        cmocka_unit_test(test_frame_refuses_lengths_before_the_bytes_are_there),
        cmocka_unit_test(test_frame_end_takes_back_what_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
