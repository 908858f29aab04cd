#include "sidecar/broker.h"

#include "tests/support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* The broker's connections: remembers the call it was asked for last, refuses as told. */
struct bench {
    struct rig rig;
    struct sc_broker *broker;
    enum sc_status refuse;
    unsigned asks, deliveries;
    uint64_t token;
    char payload[64];
    int64_t sequence;
    bool has_previous;
    int64_t previous;
    char queue[33];
};

static enum sc_status on_call(void *user, struct orl_grain_id consumer,
                              const struct orl_method *method, uint32_t timeout_ms,
                              void (*put)(void *put_user, struct orl_args *args), void *put_user,
                              uint64_t token)
{
    struct bench *b = user;
    struct wbuf w, store;
    struct orl_args args;
    struct orl_reader r;
    struct orl_call call;
    if (b->refuse != SC_OK)
        return b->refuse;
    assert_int_equal(timeout_ms, 1000);
    assert_true(span_eq_str(consumer.type, "sys.client"));
    wbuf_init(&w, 1 << 20);
    wbuf_init(&store, 1 << 20);
    orl_args_begin(&args, &w, method);
    put(put_user, &args);
    orl_args_end(&args);
    struct orl_message m = {.direction = ORL_DIRECTION_REQUEST, .body = wbuf_span(&w)};
    assert_int_equal(orl_call_open(&m, &r, &call), SC_OK);
    b->token = token;
    if (orl_call_is(&call, ORL_CONSUMER_INTERFACE, ORL_CONSUMER_GET_TOKEN)) {
        b->asks++;
    } else {
        struct orl_delivery d;
        assert_int_equal(orl_delivery_read(&r, &store, &d), SC_OK);
        snprintf(b->payload, sizeof b->payload, "%.*s", SPAN_ARG(d.message.payload));
        b->sequence = d.sequence;
        b->has_previous = d.has_previous;
        b->previous = d.previous_sequence;
        b->deliveries++;
    }
    wbuf_fini(&w);
    wbuf_fini(&store);
    return SC_OK;
}

static const struct sc_broker_ops ops = {.call = on_call};

static void bench_open(struct bench *b, uint32_t queue_max, uint64_t bytes_max)
{
    *b = (struct bench){0};
    rig_open(&b->rig);
    const struct sc_broker_config config = {.client_drop_ms = 40,
                                            .subscriptions_max = 3,
                                            .queue_max_messages = queue_max,
                                            .queue_max_bytes = bytes_max,
                                            .delivery_max_bytes = 10000,
                                            .deliver_ms = 1000,
                                            .deliver_retry_ms = 10,
                                            .deliver_tries = 3};
    assert_int_equal(sc_broker_open(b->rig.loop, &b->rig.log, &config, &ops, b, &b->broker), SC_OK);
    assert_int_equal(
        orl_memory_queue_key(span_of_str("SP"), 8, span_of_str("ns"), span_of_str("k"), b->queue),
        SC_OK);
}

static void bench_close(struct bench *b)
{
    sc_broker_close(b->broker);
    rig_close(&b->rig);
}

static enum sc_status subscribe(struct bench *b, uint8_t id, const char *key)
{
    const struct orl_subscription s = {
        .id = {{id}},
        .stream = {{span_of_str("ns"), span_of_str(key)}, span_of_str("SP")},
        .consumer = {span_of_str("sys.client"), span_of_str("me+1")}};
    return sc_broker_subscribe(b->broker, &s);
}

static enum sc_status publish(struct bench *b, const char *key, const char *payload)
{
    const struct orl_memory_message m = {.stream = {span_of_str("ns"), span_of_str(key)},
                                         .payload = span_of_str(payload)};
    return sc_broker_publish(b->broker, span_of(b->queue, 32), &m);
}

static struct sc_broker_stats stats_of(const struct bench *b)
{
    struct sc_broker_stats stats;
    sc_broker_stats(b->broker, &stats);
    return stats;
}

static struct orl_grain_id client(void)
{
    return (struct orl_grain_id){span_of_str("sys.client"), span_of_str("me")};
}

static void test_broker_greets_then_delivers_one_at_a_time(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 10, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "a"), SC_OK);
    assert_int_equal(publish(&b, "k", "b"), SC_OK);
    assert_int_equal(b.asks, 1);
    assert_int_equal(b.deliveries, 0);
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_int_equal(b.deliveries, 1);
    assert_string_equal(b.payload, "a");
    assert_false(b.has_previous);
    int64_t first = b.sequence;
    uint64_t old_token = b.token;
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_string_equal(b.payload, "b");
    assert_int_equal(b.sequence, first + 1);
    assert_true(b.has_previous && b.previous == first);
    sc_broker_answered(b.broker, b.token, SC_OK);
    sc_broker_answered(b.broker, old_token, SC_OK); /* nothing is in flight: ignored */
    assert_int_equal(stats_of(&b).delivered, 2);
    assert_int_equal(stats_of(&b).queued_bytes, 0);
    bench_close(&b);
}

static void test_broker_drops_what_nobody_hears(void **state)
{
    (void)state;
    struct bench b;
    char other[33];
    bench_open(&b, 10, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "other", "a"), SC_OK);
    assert_int_equal(
        orl_memory_queue_key(span_of_str("Other"), 8, span_of_str("ns"), span_of_str("k"), other),
        SC_OK);
    memcpy(b.queue, other, sizeof other);
    assert_int_equal(publish(&b, "k", "a"), SC_OK); /* of another provider */
    assert_int_equal(stats_of(&b).unheard, 2);
    assert_int_equal(b.asks, 0);
    b.queue[5] = '\0';
    const struct orl_memory_message m = {.stream = {span_of_str("ns"), span_of_str("k")}};
    assert_int_equal(sc_broker_publish(b.broker, span_of(b.queue, 5), &m), SC_ERR_ARGUMENT);
    bench_close(&b);
}

static void test_broker_tries_again_then_gives_up(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 10, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "bad"), SC_OK);
    assert_int_equal(publish(&b, "k", "good"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_OK);
    sc_broker_answered(b.broker, b.token, SC_ERR_EXCEPTION);
    assert_int_equal(b.deliveries, 1);
    RIG_UNTIL(&b.rig, b.deliveries == 2);
    assert_string_equal(b.payload, "bad");
    sc_broker_answered(b.broker, b.token, SC_ERR_DEADLINE);
    RIG_UNTIL(&b.rig, b.deliveries == 3);
    sc_broker_answered(b.broker, b.token, SC_ERR_EXCEPTION);
    RIG_UNTIL(&b.rig, b.deliveries == 4);
    assert_string_equal(b.payload, "good");
    assert_int_equal(stats_of(&b).overflowed, 1);
    bench_close(&b);
}

static void test_broker_holds_producers_of_a_consumer_that_answers(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 2, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "a"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_int_equal(publish(&b, "k", "b"), SC_OK);
    assert_int_equal(publish(&b, "k", "c"), SC_ERR_BUSY);
    assert_int_equal(publish(&b, "other", "c"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_string_equal(b.payload, "b");
    assert_int_equal(publish(&b, "k", "c"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_string_equal(b.payload, "c");
    assert_int_equal(stats_of(&b).overflowed, 0);
    bench_close(&b);
}

static void test_broker_drops_the_oldest_of_a_consumer_that_fails(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 2, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "a"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_int_equal(publish(&b, "k", "b"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_ERR_EXCEPTION);
    assert_int_equal(publish(&b, "k", "c"), SC_OK);
    assert_int_equal(stats_of(&b).overflowed, 1);
    bench_close(&b);
}

static void test_broker_bounds_its_memory(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 100, 130); /* what two short messages take in one queue */
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "12345"), SC_OK);
    assert_int_equal(publish(&b, "k", "12345"), SC_OK);
    assert_int_equal(publish(&b, "k", "1"), SC_ERR_BUSY);
    sc_broker_unsubscribe(b.broker, &(struct orl_guid){{1}});
    assert_int_equal(publish(&b, "k", "1"), SC_OK);
    assert_int_equal(stats_of(&b).queued_bytes, 0);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(subscribe(&b, 2, "k"), SC_OK);
    assert_int_equal(subscribe(&b, 3, "k"), SC_OK);
    assert_int_equal(subscribe(&b, 4, "k"), SC_ERR_BUSY);
    assert_int_equal(stats_of(&b).subscriptions, 3);
    bench_close(&b);
}

static void test_broker_counts_messages_without_payload(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 1000, 1000);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    unsigned taken = 0;
    while (publish(&b, "k", "") == SC_OK && taken < 100)
        taken++;
    assert_in_range(taken, 2, 99);
    bench_close(&b);
}

static void test_broker_takes_one_message_over_its_bound(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 100, 10);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "longer than the bound"), SC_OK);
    assert_int_equal(publish(&b, "k", "1"), SC_ERR_BUSY);
    bench_close(&b);
}

/* A payload comes compact and is handed on at up to three times its length. */
static void test_broker_refuses_what_no_consumer_can_take(void **state)
{
    (void)state;
    struct bench b;
    char text[1001];
    memset(text, 'x', sizeof text);
    text[1000] = '\0';
    bench_open(&b, 100, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", text), SC_ERR_TOO_LARGE);
    text[500] = '\0';
    assert_int_equal(publish(&b, "k", text), SC_OK);
    bench_close(&b);
}

static void test_broker_drops_what_cannot_be_called(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 10, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "a"), SC_OK);
    b.refuse = SC_ERR_TOO_LARGE;
    sc_broker_answered(b.broker, b.token, SC_OK);
    RIG_UNTIL(&b.rig, stats_of(&b).overflowed == 1);
    b.refuse = SC_OK;
    assert_int_equal(publish(&b, "k", "b"), SC_OK);
    RIG_UNTIL(&b.rig, b.deliveries == 1);
    assert_string_equal(b.payload, "b");
    bench_close(&b);
}

static void test_broker_waits_for_a_client_that_is_away(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 10, 1 << 20);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(publish(&b, "k", "a"), SC_OK);
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_int_equal(b.deliveries, 1);
    sc_broker_answered(b.broker, b.token, SC_ERR_CLOSED);
    b.refuse = SC_ERR_UNAVAILABLE;
    sc_broker_client_down(b.broker, client());
    assert_int_equal(publish(&b, "k", "b"), SC_OK);
    b.refuse = SC_OK;
    sc_broker_client_up(b.broker, client());
    assert_int_equal(b.asks, 2);
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK); /* says it again: what waits stays */
    sc_broker_answered(b.broker, b.token, SC_OK);
    assert_string_equal(b.payload, "a");
    sc_broker_client_down(b.broker, client());
    RIG_UNTIL(&b.rig, stats_of(&b).subscriptions == 0);
    sc_broker_client_up(b.broker, client());
    assert_int_equal(b.deliveries, 2);
    bench_close(&b);
}

static void test_broker_lists_subscriptions(void **state)
{
    (void)state;
    struct bench b;
    struct wbuf w;
    bench_open(&b, 10, 1 << 20);
    wbuf_init(&w, 4096);
    const struct orl_qualified_stream_id stream = {{span_of_str("ns"), span_of_str("k")},
                                                   span_of_str("SP")};
    assert_int_equal(subscribe(&b, 1, "k"), SC_OK);
    assert_int_equal(subscribe(&b, 2, "k"), SC_OK);
    assert_int_equal(subscribe(&b, 3, "other"), SC_OK);
    for (int round = 0; round < 3; round++) {
        struct orl_grain_id consumer[] = {
            {{0}, {0}}, {span_of_str("sys.client"), span_of_str("me+1")}, client()};
        struct orl_reader r;
        struct orl_field f;
        wbuf_clear(&w);
        sc_broker_put_subscriptions(b.broker, &stream, consumer[round], &w);
        orl_reader_init_raw(&r, wbuf_span(&w));
        assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
        assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
        assert_true(orl_reader_next(&r, &f));
        assert_int_equal(orl_get_uint(&r, &f, 32), round == 2 ? 0 : 2);
        unsigned count = 0;
        while (orl_reader_next(&r, &f))
            count++;
        assert_int_equal(count, round == 2 ? 0 : 2);
        assert_int_equal(orl_reader_finish(&r), SC_OK);
    }
    wbuf_fini(&w);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker_greets_then_delivers_one_at_a_time),
        cmocka_unit_test(test_broker_drops_what_nobody_hears),
        cmocka_unit_test(test_broker_tries_again_then_gives_up),
        cmocka_unit_test(test_broker_holds_producers_of_a_consumer_that_answers),
        cmocka_unit_test(test_broker_drops_the_oldest_of_a_consumer_that_fails),
        cmocka_unit_test(test_broker_bounds_its_memory),
        cmocka_unit_test(test_broker_counts_messages_without_payload),
        cmocka_unit_test(test_broker_takes_one_message_over_its_bound),
        cmocka_unit_test(test_broker_refuses_what_no_consumer_can_take),
        cmocka_unit_test(test_broker_drops_what_cannot_be_called),
        cmocka_unit_test(test_broker_waits_for_a_client_that_is_away),
        cmocka_unit_test(test_broker_lists_subscriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
