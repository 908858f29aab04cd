#include "orleans-proto/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct orl_guid subscription_guid = {{9, 8, 7, 6, 5, 4, 3, 2, 1}};

static struct orl_qualified_stream_id stream_of(const char *ns, const char *key)
{
    return (struct orl_qualified_stream_id){{span_of_str(ns), span_of_str(key)},
                                            span_of_str("StreamProvider")};
}

/* A request body from a stream method and a function that writes its arguments. */
static struct orl_message request_of(struct wbuf *w, enum orl_stream_method which,
                                     void (*write)(struct orl_args *a, const void *from),
                                     const void *from)
{
    struct orl_method method;
    struct orl_args args;
    assert_int_equal(orl_stream_method_init(&method, which), SC_OK);
    wbuf_init(w, 1 << 20);
    orl_args_begin(&args, w, &method);
    write(&args, from);
    orl_args_end(&args);
    assert_false(w->failed);
    return (struct orl_message){.direction = ORL_DIRECTION_REQUEST, .body = wbuf_span(w)};
}

static void test_payload_has_the_recorded_bytes(void **state)
{
    (void)state;
    static const uint8_t one[] = {0x20, 0x20, 0x00, 0x03, 0x49, 0x05, 0x0d, 'i', 't',
                                  'e',  'm',  '-',  '1',  0xe0, 0xc1, 0x01, 0xe0};
    static const uint8_t three[] = {0x20, 0x20, 0x00, 0x07, 0x49, 0x05, 0x03, 'a',  0x48, 0x05,
                                    0x03, 'b',  0x48, 0x05, 0x03, 'c',  0xe0, 0xc1, 0x01, 0xe0};
    const struct orl_value item = orl_value_string(span_of_str("item-1"));
    const struct orl_value abc[] = {orl_value_string(span_of_str("a")),
                                    orl_value_string(span_of_str("b")),
                                    orl_value_string(span_of_str("c"))};
    struct wbuf w;
    wbuf_init(&w, 256);
    orl_put_stream_payload(&w, &item, 1);
    assert_int_equal(w.len, sizeof one);
    assert_memory_equal(w.ptr, one, sizeof one);
    wbuf_clear(&w);
    orl_put_stream_payload(&w, abc, 3);
    assert_int_equal(w.len, sizeof three);
    assert_memory_equal(w.ptr, three, sizeof three);
    wbuf_fini(&w);
}

static void test_events_of_mixed_kinds_and_every_prefix(void **state)
{
    (void)state;
    const struct orl_value events[] = {
        orl_value_string(span_of_str("text")),
        orl_value_bytes(span_of("\0\1\2", 3)),
        orl_value_int(-5),
        {.kind = ORL_KIND_NULL},
        {.kind = ORL_KIND_DOUBLE, .d = 1.5},
    };
    enum { EVENTS = sizeof events / sizeof events[0] };
    struct orl_events e;
    struct orl_value v;
    struct wbuf w;
    wbuf_init(&w, 256);
    orl_put_stream_payload(&w, events, EVENTS);
    for (size_t cut = 0; cut < w.len; cut++) {
        orl_events_init(&e, span_of(w.ptr, cut));
        while (orl_events_next(&e, &v, NULL))
            continue;
        assert_int_equal(e.reader.status, SC_ERR_PROTOCOL);
    }
    orl_events_init(&e, wbuf_span(&w));
    for (int i = 0; i < EVENTS; i++) {
        assert_true(orl_events_next(&e, &v, NULL));
        assert_int_equal(v.kind, events[i].kind);
        if (i < 2)
            assert_true(span_eq(v.bytes, events[i].bytes));
    }
    assert_true(v.d == 1.5);
    assert_false(orl_events_next(&e, &v, NULL));
    assert_int_equal(e.reader.status, SC_OK);

    /* A type of the application: its name is told, the event after it is still read. */
    struct orl_type type;
    wbuf_clear(&w);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
    orl_put_uint(&w, 0, 2);
    orl_put_tag_named(&w, ORL_WIRE_OBJECT, 1, span_of_str("App.PtEvent,App"));
    orl_put_int(&w, 0, 7);
    orl_put_end(&w);
    orl_put_value_typed(&w, 0, &events[0]);
    orl_put_end(&w);
    orl_put_end(&w);
    orl_events_init(&e, wbuf_span(&w));
    assert_true(orl_events_next(&e, &v, &type));
    assert_int_equal(v.kind, ORL_KIND_OTHER);
    assert_true(span_eq_str(type.name, "App.PtEvent,App"));
    assert_true(orl_events_next(&e, &v, &type));
    assert_true(span_eq_str(v.bytes, "text"));
    assert_false(orl_events_next(&e, &v, &type));
    assert_int_equal(e.reader.status, SC_OK);
    wbuf_fini(&w);
}

static void write_enqueue(struct orl_args *a, const void *from)
{
    orl_args_enqueue(a, from);
}

static void test_memory_message_bytes_bound_what_is_written(void **state)
{
    (void)state;
    uint8_t payload[3000];
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len <= sizeof payload; len += 500) {
        const struct orl_memory_message m = {.stream = stream_of("numbers", "sk1").id,
                                             .sequence = INT64_MAX,
                                             .dequeue_time = UINT64_MAX,
                                             .enqueue_time = UINT64_MAX,
                                             .payload = span_of(payload, len)};
        struct wbuf w;
        wbuf_init(&w, 1 << 20);
        orl_put_memory_message(&w, 1000, &m);
        size_t bound = orl_memory_message_bytes(&m);
        assert_true(w.len <= bound && bound - w.len < 100);
        wbuf_fini(&w);
    }
}

static void test_enqueue_round_trip_and_no_prefix_reads(void **state)
{
    (void)state;
    static const uint8_t payload[] = {0, 1, 127, 128, 255};
    const struct orl_memory_message m = {
        .stream = stream_of("numbers", "sk1").id,
        .sequence = 0,
        .enqueue_time = orl_datetime_utc(1700000000000000000),
        .payload = span_of(payload, sizeof payload),
    };
    struct orl_memory_message back;
    struct orl_reader r;
    struct orl_call call;
    struct wbuf w;
    struct wbuf store;
    struct orl_message msg = request_of(&w, ORL_STREAM_ENQUEUE, write_enqueue, &m);
    wbuf_init(&store, 4096);
    size_t whole = msg.body.len;
    for (size_t cut = 0; cut < whole; cut++) {
        msg.body.len = cut;
        bool read =
            orl_call_open(&msg, &r, &call) == SC_OK && orl_enqueue_read(&r, &store, &back) == SC_OK;
        assert_false(read);
    }
    msg.body.len = whole;
    wbuf_clear(&store);
    wb_bytes(&store, "kept", 4);
    assert_int_equal(orl_call_open(&msg, &r, &call), SC_OK);
    assert_true(orl_call_is(&call, ORL_QUEUE_INTERFACE, ORL_QUEUE_ENQUEUE));
    assert_int_equal(orl_enqueue_read(&r, &store, &back), SC_OK);
    assert_true(span_eq(back.payload, m.payload));
    assert_true(span_eq(back.stream.ns, m.stream.ns) && span_eq(back.stream.key, m.stream.key));
    assert_true(back.enqueue_time == m.enqueue_time && back.sequence == 0);
    assert_int_equal(store.len, 4 + sizeof payload);

    struct wbuf tight;
    wbuf_init(&tight, 3);
    assert_int_equal(orl_call_open(&msg, &r, &call), SC_OK);
    assert_int_equal(orl_enqueue_read(&r, &tight, &back), SC_ERR_LIMIT);
    wbuf_fini(&tight);
    wbuf_fini(&store);
    wbuf_fini(&w);
}

static void write_register(struct orl_args *a, const void *from)
{
    orl_args_register(a, from);
}

static void write_unregister(struct orl_args *a, const void *from)
{
    orl_args_unregister(a, from);
}

static void test_subscriptions_round_trip(void **state)
{
    (void)state;
    const struct orl_subscription s = {
        .id = subscription_guid,
        .stream = stream_of("clientns", "sk2"),
        .consumer = {span_of_str("sys.client"), span_of_str("abc+def")},
    };
    for (int registers = 0; registers < 2; registers++) {
        struct orl_subscription back;
        struct orl_reader r;
        struct orl_call call;
        struct wbuf w;
        struct orl_message msg =
            request_of(&w, registers ? ORL_STREAM_REGISTER : ORL_STREAM_UNREGISTER,
                       registers ? write_register : write_unregister, &s);
        assert_int_equal(orl_call_open(&msg, &r, &call), SC_OK);
        assert_int_equal(orl_subscription_read(&r, &back), SC_OK);
        assert_memory_equal(back.id.b, s.id.b, 16);
        assert_true(span_eq(back.stream.id.ns, s.stream.id.ns));
        assert_true(span_eq(back.stream.id.key, s.stream.id.key));
        assert_true(span_eq(back.stream.provider, s.stream.provider));
        assert_null(back.filter.ptr);
        assert_int_equal(orl_grain_id_eq(back.consumer, s.consumer), registers);
        wbuf_fini(&w);
    }
    struct wbuf key;
    struct orl_qualified_stream_id bare = stream_of("", "k1");
    wbuf_init(&key, 128);
    orl_put_rendezvous_key(&key, &s.stream);
    assert_true(span_eq_str(wbuf_span(&key), "StreamProvider/clientns/sk2"));
    wbuf_clear(&key);
    orl_put_rendezvous_key(&key, &bare);
    assert_true(span_eq_str(wbuf_span(&key), "StreamProvider/null/k1"));
    wbuf_fini(&key);
}

static void write_deliver(struct orl_args *a, const void *from)
{
    orl_args_deliver(a, from);
}

static void test_delivery_round_trip_with_and_without_a_token(void **state)
{
    (void)state;
    struct orl_delivery d = {
        .subscription = subscription_guid,
        .stream = stream_of("cons", "k1"),
        .sequence = 639200000000000000,
        .message = {.stream = stream_of("cons", "k1").id,
                    .sequence = 639200000000000000,
                    .payload = span_of_str("payload")},
    };
    for (int previous = 0; previous < 2; previous++) {
        struct orl_delivery back;
        struct orl_reader r;
        struct orl_call call;
        struct wbuf w;
        struct wbuf store;
        d.has_previous = previous != 0;
        d.previous_sequence = previous ? d.sequence - 1 : 0;
        struct orl_message msg = request_of(&w, ORL_STREAM_DELIVER, write_deliver, &d);
        wbuf_init(&store, 256);
        assert_int_equal(orl_call_open(&msg, &r, &call), SC_OK);
        assert_true(call.extension);
        assert_int_equal(orl_delivery_read(&r, &store, &back), SC_OK);
        assert_int_equal(back.has_previous, d.has_previous);
        assert_true(back.previous_sequence == d.previous_sequence);
        assert_true(back.sequence == d.sequence && back.message.sequence == d.sequence);
        assert_true(span_eq_str(back.message.payload, "payload"));
        wbuf_fini(&store);
        wbuf_fini(&w);
    }
}

static void write_foreign_delivery(struct orl_args *a, const void *from)
{
    const struct orl_delivery *d = from;
    orl_put_guid_id(a->w, orl_args_next(a), &d->subscription);
    orl_put_qualified_stream_id(a->w, orl_args_next(a), &d->stream);
    orl_put_tag_named(a->w, ORL_WIRE_OBJECT, orl_args_next(a), span_of_str("Other.Batch,Other"));
    orl_put_end(a->w);
    orl_args_null(a);
}

static void test_delivery_of_another_provider_is_refused_by_name(void **state)
{
    (void)state;
    const struct orl_delivery d = {.stream = stream_of("cons", "k1")};
    struct orl_delivery back;
    struct orl_reader r;
    struct orl_call call;
    struct wbuf w;
    struct wbuf store;
    struct orl_message msg = request_of(&w, ORL_STREAM_DELIVER, write_foreign_delivery, &d);
    wbuf_init(&store, 256);
    assert_int_equal(orl_call_open(&msg, &r, &call), SC_OK);
    assert_int_equal(orl_delivery_read(&r, &store, &back), SC_ERR_NOT_FOUND);
    wbuf_fini(&store);
    wbuf_fini(&w);
}

static void test_datetime_is_dotnet_ticks_of_kind_utc(void **state)
{
    (void)state;
    /* 2026-07-01 12:00 UTC: the ticks of a recorded local time, kind bits aside */
    assert_true(orl_datetime_utc(1782907200000000000) == 0x48ded76846f1a000);
    assert_true((orl_datetime_utc(0) & 0x3fffffffffffffff) == 621355968000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payload_has_the_recorded_bytes),
        cmocka_unit_test(test_events_of_mixed_kinds_and_every_prefix),
        cmocka_unit_test(test_memory_message_bytes_bound_what_is_written),
        cmocka_unit_test(test_enqueue_round_trip_and_no_prefix_reads),
        cmocka_unit_test(test_subscriptions_round_trip),
        cmocka_unit_test(test_delivery_round_trip_with_and_without_a_token),
        cmocka_unit_test(test_delivery_of_another_provider_is_refused_by_name),
        cmocka_unit_test(test_datetime_is_dotnet_ticks_of_kind_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
