#include "sidecar/shim_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <msgpack.h>

static const uint64_t numbers[] = {0,     1,          127,        128,        255, 256,
                                   65535, UINT32_MAX, 1ull << 32, UINT64_MAX, 77};
enum { NUMBER_COUNT = sizeof numbers / sizeof numbers[0] };

static const enum sc_shim_kind request_kinds[] = {
    SC_SHIM_HELLO,  SC_SHIM_ACTIVATE, SC_SHIM_DEACTIVATE, SC_SHIM_CALL,   SC_SHIM_SEND,
    SC_SHIM_CANCEL, SC_SHIM_CAPACITY, SC_SHIM_KERNELS,    SC_SHIM_GOODBYE};
static const enum sc_shim_kind response_kinds[] = {
    SC_SHIM_HELLO_OK, SC_SHIM_ACTIVATED,       SC_SHIM_OK,   SC_SHIM_REPLY,
    SC_SHIM_ERROR,    SC_SHIM_CAPACITY_REPORT, SC_SHIM_STATE};

static uint8_t blob[70000];

static struct span blob_of(size_t n)
{
    return span_of(blob, n);
}

static struct sc_shim_request sample_request(enum sc_shim_kind kind, unsigned seed)
{
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    uint64_t n = numbers[seed % NUMBER_COUNT];
    size_t len = lengths[seed % 8];
    return (struct sc_shim_request){.kind = kind,
                                    .id = n,
                                    .grain = n ^ 5,
                                    .type = (uint16_t)n,
                                    .deadline_ms = (uint32_t)n,
                                    .version = (uint32_t)n,
                                    .state_bytes = (uint32_t)n,
                                    .client = span_of_str("shim"),
                                    .tenant = blob_of(len),
                                    .kernel = span_of_str("impact"),
                                    .key = blob_of(len),
                                    .payload = blob_of(len)};
}

static struct sc_shim_response sample_response(enum sc_shim_kind kind, unsigned seed)
{
    uint64_t n = numbers[seed % NUMBER_COUNT];
    struct sc_shim_response p = {.kind = kind,
                                 .id = n,
                                 .grain = n ^ 9,
                                 .epoch = n,
                                 .created = (seed & 1) != 0,
                                 .version = (uint32_t)n,
                                 .credits = (uint32_t)n,
                                 .frame_max = (uint32_t)n,
                                 .code = SC_ERR_KERNEL,
                                 .text = blob_of(seed * 7),
                                 .payload = blob_of(seed * 99),
                                 .ready = (seed & 2) != 0,
                                 .draining = (seed & 1) != 0};
    p.capacity = (struct sc_shim_capacity){.ready = true,
                                           .grains = (uint32_t)n,
                                           .calls_max = 9,
                                           .heap_bytes = n,
                                           .p95_us = 3,
                                           .device = span_of_str("cpu0")};
    return p;
}

/* Takes the frame apart, as a peer would: body in an exact-size allocation, for sanitizers. */
static struct span body_of(struct wbuf *w, uint8_t **owned_out)
{
    struct span body;
    size_t used;
    assert_false(w->failed);
    assert_int_equal(sc_shim_frame(wbuf_span(w), UINT32_MAX, &body, &used), SC_OK);
    assert_int_equal(used, w->len);
    *owned_out = malloc(body.len);
    memcpy(*owned_out, body.ptr, body.len);
    return span_of(*owned_out, body.len);
}

static void encode_request(struct wbuf *w, enum sc_shim_kind kind, unsigned seed)
{
    struct sc_shim_request q = sample_request(kind, seed);
    wbuf_init(w, 1 << 20);
    sc_shim_request_encode(w, &q);
}

static void encode_response(struct wbuf *w, enum sc_shim_kind kind, unsigned seed)
{
    struct sc_shim_response p = sample_response(kind, seed);
    wbuf_init(w, 1 << 20);
    sc_shim_response_encode(w, &p);
}

/* What is decoded encodes to the same bytes. */
static void test_request_round_trips(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof request_kinds / sizeof request_kinds[0]; k++) {
        for (unsigned seed = 0; seed < 24; seed++) {
            struct wbuf first, second;
            uint8_t *owned;
            encode_request(&first, request_kinds[k], seed);
            struct sc_shim_request q;
            assert_int_equal(sc_shim_request_decode(body_of(&first, &owned), &q), SC_OK);
            assert_int_equal(q.kind, request_kinds[k]);
            wbuf_init(&second, 1 << 20);
            sc_shim_request_encode(&second, &q);
            assert_true(span_eq(wbuf_span(&first), wbuf_span(&second)));
            wbuf_fini(&first);
            wbuf_fini(&second);
            free(owned);
        }
    }
}

static void test_response_round_trips(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof response_kinds / sizeof response_kinds[0]; k++) {
        for (unsigned seed = 0; seed < 24; seed++) {
            struct wbuf first, second;
            uint8_t *owned;
            encode_response(&first, response_kinds[k], seed);
            struct sc_shim_response p;
            assert_int_equal(sc_shim_response_decode(body_of(&first, &owned), &p), SC_OK);
            wbuf_init(&second, 1 << 20);
            sc_shim_response_encode(&second, &p);
            assert_true(span_eq(wbuf_span(&first), wbuf_span(&second)));
            wbuf_fini(&first);
            wbuf_fini(&second);
            free(owned);
        }
    }
}

static void test_call_fields_survive(void **state)
{
    (void)state;
    struct wbuf w;
    uint8_t *owned;
    wbuf_init(&w, 1 << 20);
    sc_shim_call_encode(&w, 1234567890123ull, 0xfedcba9876543210ull, 65535, 4000000000u,
                        span_of_str("payload"));
    struct sc_shim_request q;
    assert_int_equal(sc_shim_request_decode(body_of(&w, &owned), &q), SC_OK);
    assert_true(q.id == 1234567890123ull && q.grain == 0xfedcba9876543210ull);
    assert_true(q.type == 65535 && q.deadline_ms == 4000000000u);
    assert_true(span_eq_str(q.payload, "payload"));
    free(owned);
    wbuf_fini(&w);
}

static void check_prefixes(struct wbuf *w, bool request)
{
    struct span body;
    size_t used;
    for (size_t n = 0; n < w->len; n++) {
        enum sc_status st = sc_shim_frame(span_of(w->ptr, n), UINT32_MAX, &body, &used);
        assert_int_equal(st, SC_AGAIN);
        assert_int_equal(used, n < 4 ? 4 : w->len);
    }
    assert_int_equal(sc_shim_frame(wbuf_span(w), UINT32_MAX, &body, &used), SC_OK);
    for (size_t n = 0; n < body.len; n++) {
        uint8_t *cut = malloc(n != 0 ? n : 1);
        memcpy(cut, body.ptr, n);
        struct sc_shim_request q;
        struct sc_shim_response p;
        enum sc_status st = request ? sc_shim_request_decode(span_of(cut, n), &q)
                                    : sc_shim_response_decode(span_of(cut, n), &p);
        assert_int_equal(st, SC_ERR_PROTOCOL);
        free(cut);
    }
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    struct wbuf w;
    for (size_t k = 0; k < sizeof request_kinds / sizeof request_kinds[0]; k++) {
        encode_request(&w, request_kinds[k], 3);
        check_prefixes(&w, true);
        wbuf_fini(&w);
    }
    for (size_t k = 0; k < sizeof response_kinds / sizeof response_kinds[0]; k++) {
        encode_response(&w, response_kinds[k], 3);
        check_prefixes(&w, false);
        wbuf_fini(&w);
    }
}

static void expect_refused(const char *bytes, size_t len)
{
    uint8_t *exact = malloc(len);
    memcpy(exact, bytes, len);
    struct sc_shim_request q;
    assert_int_equal(sc_shim_request_decode(span_of(exact, len), &q), SC_ERR_PROTOCOL);
    free(exact);
}
#define REFUSED(s) expect_refused("" s, sizeof(s) - 1)

static void test_lying_counts_and_wrong_types_are_refused(void **state)
{
    (void)state;
    REFUSED("\x90");                                 /* no kind */
    REFUSED("\xdd\xff\xff\xff\xff\x07\x01");         /* count over the bytes left */
    REFUSED("\x91\x07");                             /* CAPACITY lacks its id */
    REFUSED("\x92\x07\x01\x00");                     /* a byte after the array */
    REFUSED("\x92\x07\xff");                         /* negative */
    REFUSED("\x92\x07\xd3\0\0\0\0\0\0\0\1");         /* signed */
    REFUSED("\x93\x07\x01\x80");                     /* a map as extra element */
    REFUSED("\x93\x07\x01\xd4\x01\x01");             /* an ext */
    REFUSED("\x93\x07\x01\xc1");                     /* never used tag */
    REFUSED("\x93\x07\x01\xdd\xff\xff\xff\xff");     /* inner count lies */
    REFUSED("\x93\x07\x01\x91\x91\x91\x91\x91\x01"); /* nested too deep */
    REFUSED("\x94\x05\x01\x01\xc6\xff\xff\xff\xff"); /* SEND: payload longer than the frame */
    REFUSED("\x94\x05\x01\xce\0\1\0\0\xa0");         /* SEND: type over 16 bits */
    REFUSED("\x91\x63");                             /* unknown kind */
    REFUSED("\x91\xcd\x01\x04");                     /* kind over 8 bits */
    REFUSED("\x81\x07\x01");                         /* a map */
}

static void test_extra_elements_are_ignored_and_str_is_bin(void **state)
{
    (void)state;
    struct sc_shim_request q;
    static const char extra[] = "\x99\x07\x05\xc0\xc3\xca\0\0\0\0\xa3"
                                "abc\xc4\x01x\x93\x01\xff\x91\xd0\x80\xcb\0\0\0\0\0\0\0\0";
    assert_int_equal(sc_shim_request_decode(span_of(extra, sizeof extra - 1), &q), SC_OK);
    assert_int_equal(q.id, 5);
    static const char four_deep[] = "\x93\x07\x01\x91\x91\x91\x91\x01";
    assert_int_equal(sc_shim_request_decode(span_of(four_deep, sizeof four_deep - 1), &q), SC_OK);
    static const char wide[] = "\xdc\0\x04\xcc\x05\xcf\0\0\0\0\0\0\0\x09\xcd\0\x02\xd9\x02hi";
    assert_int_equal(sc_shim_request_decode(span_of(wide, sizeof wide - 1), &q), SC_OK);
    assert_int_equal(q.kind, SC_SHIM_SEND);
    assert_int_equal(q.grain, 9);
    assert_int_equal(q.type, 2);
    assert_true(span_eq_str(q.payload, "hi"));
}

static void test_frame_refuses_length_over_limit_and_zero(void **state)
{
    (void)state;
    struct span body;
    size_t used;
    assert_int_equal(sc_shim_frame(span_of("\x01\x01\0\0", 4), 256, &body, &used), SC_ERR_LIMIT);
    assert_int_equal(sc_shim_frame(span_of("\0\x01\0\0", 4), 256, &body, &used), SC_AGAIN);
    assert_int_equal(used, 260);
    assert_int_equal(sc_shim_frame(span_of("\0\0\0\0", 4), 256, &body, &used), SC_ERR_PROTOCOL);
}

static void test_kernel_list_round_trips(void **state)
{
    (void)state;
    struct wbuf w;
    uint8_t *owned;
    wbuf_init(&w, 1 << 20);
    size_t start = sc_shim_kernels_begin(&w, 6, 2);
    sc_shim_kernels_kernel(&w, &(struct sc_shim_kernel){.id = span_of_str("impact"),
                                                        .version = span_of_str("1.0.0"),
                                                        .ok = true,
                                                        .error = span_of_str(""),
                                                        .message_count = 2});
    sc_shim_kernels_message(&w, span_of_str("Impact"), 1);
    sc_shim_kernels_message(&w, span_of_str("Reset"), 2);
    sc_shim_kernels_kernel(&w, &(struct sc_shim_kernel){.id = span_of_str("bad"),
                                                        .version = span_of_str("0.1.0"),
                                                        .error = span_of_str("no such file")});
    sc_shim_kernels_end(&w, start);

    struct sc_shim_response p;
    assert_int_equal(sc_shim_response_decode(body_of(&w, &owned), &p), SC_OK);
    assert_int_equal(p.kind, SC_SHIM_KERNEL_LIST);
    struct sc_shim_kernels it;
    struct sc_shim_kernel k;
    struct span name;
    uint16_t type;
    sc_shim_kernels_init(&it, p.kernels);
    assert_true(sc_shim_kernels_next(&it, &k));
    assert_true(k.ok && span_eq_str(k.id, "impact") && k.message_count == 2);
    assert_true(sc_shim_kernels_next_message(&it, &name, &type));
    assert_true(span_eq_str(name, "Impact") && type == 1);
    assert_true(sc_shim_kernels_next(&it, &k)); /* the second message is passed over */
    assert_false(k.ok);
    assert_true(span_eq_str(k.error, "no such file"));
    assert_false(sc_shim_kernels_next_message(&it, &name, &type));
    assert_false(sc_shim_kernels_next(&it, &k));
    assert_false(it.r.bad);
    free(owned);
    wbuf_fini(&w);
}

/* msgpack-c reads what we write. */
static void test_msgpack_c_reads_the_same_call(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 24; seed++) {
        struct wbuf w;
        encode_request(&w, SC_SHIM_CALL, seed);
        struct sc_shim_request q = sample_request(SC_SHIM_CALL, seed);
        msgpack_unpacked un;
        msgpack_unpacked_init(&un);
        size_t off = 0;
        assert_int_equal(msgpack_unpack_next(&un, (const char *)w.ptr + 4, w.len - 4, &off),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(off, w.len - 4);
        assert_int_equal(un.data.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(un.data.via.array.size, 6);
        const msgpack_object *at = un.data.via.array.ptr;
        assert_true(at[0].via.u64 == SC_SHIM_CALL && at[1].via.u64 == q.id);
        assert_true(at[2].via.u64 == q.grain && at[3].via.u64 == q.type);
        assert_true(at[4].via.u64 == q.deadline_ms);
        assert_true(span_eq(span_of(at[5].via.bin.ptr, at[5].via.bin.size), q.payload));
        msgpack_unpacked_destroy(&un);
        wbuf_fini(&w);
    }
}

static void test_encode_without_room_writes_nothing(void **state)
{
    (void)state;
    struct wbuf w;
    wbuf_init(&w, 40);
    sc_shim_reply_encode(&w, 1, span_of_str("0123456789"));
    size_t len = w.len;
    assert_false(w.failed);
    sc_shim_reply_encode(&w, 2, span_of_str("01234567890123456789"));
    assert_true(w.failed);
    assert_int_equal(w.len, len);
    wbuf_fini(&w);
}

int main(void)
{
    for (size_t i = 0; i < sizeof blob; i++)
        blob[i] = (uint8_t)(i * 31);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_round_trips),
        cmocka_unit_test(test_response_round_trips),
        cmocka_unit_test(test_call_fields_survive),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_lying_counts_and_wrong_types_are_refused),
        cmocka_unit_test(test_extra_elements_are_ignored_and_str_is_bin),
        cmocka_unit_test(test_frame_refuses_length_over_limit_and_zero),
        cmocka_unit_test(test_kernel_list_round_trips),
        cmocka_unit_test(test_msgpack_c_reads_the_same_call),
        cmocka_unit_test(test_encode_without_room_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
