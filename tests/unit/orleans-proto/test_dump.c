#include "orleans-proto/dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/orleans-proto/captures.h"

static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};
static size_t dumped;

static void dump_file(const char *path, struct span in)
{
    struct span rest;
    struct wbuf w;
    wbuf_init(&w, 16 << 20);
    dumped += orl_dump_stream(&w, in, true, &lim, &rest);
    assert_false(w.failed);
    assert_int_equal(rest.len, 0);
    assert_null(memmem(w.ptr, w.len, "!!", 2));
    for (size_t i = 0; i < w.len; i++) {
        if (w.ptr[i] != '\n' && (w.ptr[i] < 0x20 || w.ptr[i] > 0x7e))
            fail_msg("%s: byte %02x in a dump", path, w.ptr[i]);
    }
    wbuf_fini(&w);
}

static void test_dump_reads_every_recording_and_is_printable(void **state)
{
    (void)state;
    dumped = 0;
    captures_each(dump_file);
    assert_true(dumped > 400);
}

static void test_dump_of_a_recorded_call(void **state)
{
    (void)state;
    struct span all = capture_read("v10.3.0/echo/c2s.bin");
    struct span rest;
    struct wbuf w;
    wbuf_init(&w, 1 << 20);
    orl_dump_stream(&w, all, true, &lim, &rest);
    static const char *const parts[] = {
        "preamble version 1 cluster dev node sys.client/",
        "to echo/k1 at 127.0.0.1:30001@0 interface Sample.IEchoGrain ttl_ms ",
        "  [0] <(\"inv\",[GrainRef],[Sample.IEchoGrain,Sample.Interfaces],\"A081B6BA\")> {\n"
        "    [0] \"x\"\n"
        "  }\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(memmem(w.ptr, w.len, parts[i], strlen(parts[i])));
    wbuf_fini(&w);
    free((void *)(uintptr_t)all.ptr);
}

static void test_dump_tells_where_bytes_stop_making_sense(void **state)
{
    (void)state;
    struct orl_reader r;
    struct wbuf w;
    wbuf_init(&w, 1024);
    orl_reader_init(&r, span_of_str("\x20\x40\x07"
                                    "abc"
                                    "\xa0"));
    orl_dump_fields(&w, &r);
    wb_u8(&w, '\0');
    assert_string_equal((char *)w.ptr, "  [0] {\n    [0] \"abc\"\n"
                                       "  !! does not decode from byte 6 on: protocol\n");
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dump_reads_every_recording_and_is_printable),
        cmocka_unit_test(test_dump_of_a_recorded_call),
        cmocka_unit_test(test_dump_tells_where_bytes_stop_making_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
