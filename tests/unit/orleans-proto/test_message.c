#include "orleans-proto/message.h"
#include "orleans-proto/preamble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/orleans-proto/captures.h"

static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};

static struct orl_message full_message(struct span context)
{
    struct orl_message m = {
        .flags = ORL_FLAG_TTL | ORL_FLAG_INTERFACE_TYPE | ORL_FLAG_INTERFACE_VERSION |
                 ORL_FLAG_CONTEXT | ORL_FLAG_CACHE_INVALIDATION | ORL_FLAG_READ_ONLY | 0x0800,
        .direction = ORL_DIRECTION_REQUEST,
        .forward_count = 2,
        .id = 0x1122334455667788,
        .sender = {span_of_str("sys.client"), span_of_str("abc")},
        .target = {span_of_str("echo"), span_of_str("k")},
        .ttl_ms = -5,
        .interface = span_of_str("Sample.IEchoGrain"),
        .interface_version = 300,
        .context_count = 2,
        .context = context,
    };
    assert_int_equal(orl_silo_parse(span_of_str("10.0.0.1:30000@7"), &m.target_silo), SC_OK);
    return m;
}

static void test_message_round_trip_and_no_prefix_decodes(void **state)
{
    (void)state;
    struct wbuf context;
    struct wbuf w;
    struct wbuf again;
    wbuf_init(&context, 256);
    wbuf_init(&w, 1024);
    wbuf_init(&again, 1024);
    orl_context_put_string(&context, span_of_str("who"), span_of_str("me"));
    orl_context_put_string(&context, span_of_str(""), span_of_str(""));
    struct orl_message m = full_message(wbuf_span(&context));
    struct orl_message back;
    assert_int_equal(orl_message_encode(&w, &m), SC_OK);
    for (size_t cut = 0; cut < w.len; cut++)
        assert_int_equal(orl_message_decode(span_of(w.ptr, cut), &back), SC_ERR_PROTOCOL);
    assert_int_equal(orl_message_decode(wbuf_span(&w), &back), SC_OK);
    assert_int_equal(back.flags, m.flags);
    assert_true(back.id == m.id);
    assert_int_equal(back.ttl_ms, -5);
    assert_int_equal(back.forward_count, 2);
    assert_int_equal(back.interface_version, 300);
    assert_int_equal(back.context_count, 2);
    assert_true(orl_grain_id_eq(back.target, m.target));
    assert_true(orl_silo_eq(&back.target_silo, &m.target_silo));
    assert_true(orl_silo_is_null(&back.sender_silo));
    assert_int_equal(orl_message_encode(&again, &back), SC_OK);
    assert_true(span_eq(wbuf_span(&again), wbuf_span(&w)));

    wb_u8(&w, 0);
    assert_int_equal(orl_message_decode(wbuf_span(&w), &back), SC_ERR_PROTOCOL);
    wbuf_fini(&context);
    wbuf_fini(&w);
    wbuf_fini(&again);
}

static void test_message_refuses_the_reserved_flag_by_version(void **state)
{
    (void)state;
    struct orl_message m = full_message((struct span){0});
    m.flags = ORL_FLAG_RESERVED;
    struct orl_message back;
    struct wbuf w;
    wbuf_init(&w, 1024);
    assert_int_equal(orl_message_encode(&w, &m), SC_OK);
    assert_int_equal(orl_message_decode(wbuf_span(&w), &back), SC_ERR_VERSION);
    w.ptr[1] = 0x7a; /* all other bits without a field of their own */
    assert_int_equal(orl_message_decode(wbuf_span(&w), &back), SC_OK);
    assert_int_equal(back.flags, 0x7a00);
    w.ptr[2] = 0x04; /* direction 4 */
    assert_int_equal(orl_message_decode(wbuf_span(&w), &back), SC_ERR_PROTOCOL);
    w.ptr[2] = 0x51; /* response type 5 */
    assert_int_equal(orl_message_decode(wbuf_span(&w), &back), SC_ERR_PROTOCOL);
    wbuf_fini(&w);
}

static void test_message_to_system_target_without_silo_is_never_written(void **state)
{
    (void)state;
    struct orl_message m = full_message((struct span){0});
    m.flags = 0;
    m.target.type = span_of_str("sys.svc.silo-control");
    m.target_silo = (struct orl_silo){0};
    struct wbuf w;
    wbuf_init(&w, 1024);
    wb_bytes(&w, "keep", 4);
    for (int d = ORL_DIRECTION_NONE; d <= ORL_DIRECTION_ONE_WAY; d++) {
        m.direction = (enum orl_direction)d;
        assert_int_equal(orl_message_write(&w, &m, &lim), SC_ERR_ARGUMENT);
        assert_true(span_eq_str(wbuf_span(&w), "keep"));
    }
    assert_int_equal(orl_silo_parse(span_of_str("10.0.0.1:11111@7"), &m.target_silo), SC_OK);
    assert_int_equal(orl_message_write(&w, &m, &lim), SC_OK);
    wbuf_fini(&w);
}

static void test_message_write_leaves_nothing_when_there_is_no_room(void **state)
{
    (void)state;
    struct orl_message m = full_message((struct span){0});
    m.flags = 0;
    m.body = span_of_str("0123456789");
    struct wbuf w;
    size_t whole = 0;
    wbuf_init(&w, 1024);
    assert_int_equal(orl_message_write(&w, &m, &lim), SC_OK);
    whole = w.len;
    wbuf_fini(&w);
    for (size_t room = 1; room <= whole; room++) {
        wbuf_init(&w, room);
        enum sc_status st = orl_message_write(&w, &m, &lim);
        assert_int_equal(st, room == whole ? SC_OK : SC_ERR_NO_MEMORY);
        assert_int_equal(w.len, room == whole ? whole : 0);
        assert_false(w.failed);
        wbuf_fini(&w);
    }
}

/* The recorded request context {"who":"me","n":5}. */
static void test_context_of_a_recorded_call(void **state)
{
    (void)state;
    struct span all = capture_read("v10.3.0/context/c2s.bin");
    struct orl_preamble p;
    size_t used = 0;
    size_t pos = 0;
    int entries = 0;
    assert_int_equal(orl_preamble_decode(all, &p, &used), SC_OK);
    for (pos = used; pos < all.len; pos += used) {
        struct orl_frame frame;
        struct orl_message m;
        struct span key;
        struct span value;
        enum sc_status st = SC_OK;
        assert_int_equal(
            orl_frame_decode(span_of(all.ptr + pos, all.len - pos), &lim, &frame, &used), SC_OK);
        assert_int_equal(orl_message_decode(frame.header, &m), SC_OK);
        struct span rest = m.context;
        while (orl_context_next(&rest, &key, &value, &st)) {
            struct orl_reader r;
            struct orl_field f;
            orl_reader_init(&r, value);
            assert_true(orl_reader_next(&r, &f));
            if (entries == 0) {
                assert_true(span_eq_str(key, "who"));
                assert_true(span_eq_str(orl_get_bytes(&r, &f), "me"));
            } else {
                assert_true(span_eq_str(key, "n"));
                assert_int_equal(orl_get_int(&r, &f, 32), 5);
            }
            entries++;
        }
        assert_int_equal(st, SC_OK);
    }
    assert_int_equal(entries, 2);
    free((void *)(uintptr_t)all.ptr);
}

static void test_preamble_every_prefix_and_limits(void **state)
{
    (void)state;
    struct orl_preamble p = {
        .version = 1,
        .node = {span_of_str("sys.client"), span_of_str("00112233445566778899aabbccddeeff")},
        .cluster_id = span_of_str("dev"),
    };
    struct orl_preamble back;
    struct wbuf w;
    size_t used = 0;
    wbuf_init(&w, 4096);
    assert_int_equal(orl_preamble_encode(&w, &p), SC_OK);
    assert_int_equal(w.len, 80);
    for (size_t cut = 0; cut < w.len; cut++) {
        assert_int_equal(orl_preamble_decode(span_of(w.ptr, cut), &back, &used), SC_AGAIN);
        assert_int_equal(orl_preamble_need(span_of(w.ptr, cut)), cut < 4 ? 4 : w.len);
    }
    assert_int_equal(orl_preamble_decode(wbuf_span(&w), &back, &used), SC_OK);
    assert_int_equal(used, 80);
    for (size_t i = 4; i < w.len; i++) { /* a shorter object than declared, at every length */
        uint8_t keep = w.ptr[0];
        w.ptr[0] = (uint8_t)(i - 4);
        enum sc_status st = orl_preamble_decode(wbuf_span(&w), &back, &used);
        assert_int_equal(st, i == 4 ? SC_ERR_LIMIT : SC_ERR_PROTOCOL);
        w.ptr[0] = keep;
    }
    static const uint8_t long_len[] = {0x01, 0x04, 0, 0};
    static const uint8_t negative[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t tls_hello[] = {0x16, 0x03, 0x01, 0x02};
    assert_int_equal(orl_preamble_decode(span_of(long_len, 4), &back, &used), SC_ERR_LIMIT);
    assert_int_equal(orl_preamble_decode(span_of(negative, 4), &back, &used), SC_ERR_LIMIT);
    assert_int_equal(orl_preamble_decode(span_of(tls_hello, 4), &back, &used), SC_ERR_LIMIT);

    char big[1100];
    memset(big, 'c', sizeof big);
    p.cluster_id = span_of(big, sizeof big);
    wbuf_clear(&w);
    assert_int_equal(orl_preamble_encode(&w, &p), SC_ERR_TOO_LARGE);
    assert_int_equal(w.len, 0);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_round_trip_and_no_prefix_decodes),
        cmocka_unit_test(test_message_refuses_the_reserved_flag_by_version),
        cmocka_unit_test(test_message_to_system_target_without_silo_is_never_written),
        cmocka_unit_test(test_message_write_leaves_nothing_when_there_is_no_room),
        cmocka_unit_test(test_context_of_a_recorded_call),
        cmocka_unit_test(test_preamble_every_prefix_and_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
