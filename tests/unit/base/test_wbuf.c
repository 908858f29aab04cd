#include "sidecar/base/wbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_wbuf_grows_and_keeps_bytes(void **state)
{
    (void)state;
    struct wbuf w;
    wbuf_init(&w, 1 << 20);
    for (uint32_t i = 0; i < 1000; i++)
        wb_u32le(&w, i);
    assert_false(w.failed);
    struct reader r = reader_of(wbuf_span(&w));
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(rd_u32le(&r), i);
    assert_int_equal(r.left, 0);
    wbuf_fini(&w);
}

static void test_wbuf_refuses_write_over_limit_whole(void **state)
{
    (void)state;
    struct wbuf w;
    wbuf_init(&w, 6);
    wb_u32le(&w, 7);
    wb_u32le(&w, 8);
    assert_true(w.failed);
    assert_int_equal(w.len, 4);
    wb_u8(&w, 1);
    assert_int_equal(w.len, 4);
    wbuf_clear(&w);
    wb_u32le(&w, 9);
    wb_u8(&w, 1);
    wb_u8(&w, 2);
    assert_false(w.failed);
    assert_int_equal(w.len, 6);
    wbuf_fini(&w);
}

static void test_wbuf_consume_moves_rest_to_front(void **state)
{
    (void)state;
    struct wbuf w;
    wbuf_init(&w, 64);
    wb_bytes(&w, "abcdef", 6);
    wbuf_consume(&w, 4);
    assert_true(span_eq_str(wbuf_span(&w), "ef"));
    wbuf_consume(&w, 2);
    assert_int_equal(w.len, 0);
    wbuf_fini(&w);
}

static void test_wbuf_printf_longer_than_its_stack_buffer(void **state)
{
    (void)state;
    struct wbuf w;
    wbuf_init(&w, 4096);
    wb_printf(&w, "%0300d|", 5);
    assert_int_equal(w.len, 301);
    assert_int_equal(w.ptr[299], '5');
    assert_int_equal(w.ptr[300], '|');
    wbuf_fini(&w);
}

static void test_reader_past_end_is_bad_and_stays_bad(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5};
    struct reader r = reader_of(span_of(bytes, sizeof bytes));
    assert_int_equal(rd_u32le(&r), 0x04030201);
    assert_int_equal(rd_u16le(&r), 0);
    assert_true(r.bad);
    assert_int_equal(rd_u8(&r), 0);
    assert_int_equal(r.left, 1);
    struct reader r2 = reader_of(span_of(bytes, sizeof bytes));
    assert_int_equal(rd_u64le(&r2), 0);
    assert_true(r2.bad);
    assert_int_equal(r2.left, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wbuf_grows_and_keeps_bytes),
        cmocka_unit_test(test_wbuf_refuses_write_over_limit_whole),
        cmocka_unit_test(test_wbuf_consume_moves_rest_to_front),
        cmocka_unit_test(test_wbuf_printf_longer_than_its_stack_buffer),
        cmocka_unit_test(test_reader_past_end_is_bad_and_stays_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
