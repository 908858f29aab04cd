#include "sidecar/stream.h"

#include "sidecar/base/wbuf.h"
#include "sidecar/silo_conn.h"
#include "tests/support/fake_silo.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct bench {
    struct rig rig;
    struct fake_silo *silo;
    struct sc_silo_conn *conn;
    struct sc_stream *stream;
};

static void bench_open(struct bench *b, const struct sc_stream_config *more)
{
    *b = (struct bench){0};
    rig_open(&b->rig);
    fake_silo_open(&b->rig, 0, &b->silo);
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", fake_silo_port(b->silo));
    struct sc_silo_conn_config conn = {
        .endpoint = endpoint, .cluster_id = "dev", .backoff_min_ms = 1, .backoff_max_ms = 5};
    assert_int_equal(sc_silo_conn_open(b->rig.loop, &b->rig.log, &conn, &b->conn), SC_OK);
    struct sc_stream_config config = more != NULL ? *more : (struct sc_stream_config){0};
    config.mode = SC_STREAM_BRIDGE;
    config.provider = "SP";
    config.retry_min_ms = 1;
    config.retry_max_ms = 4;
    assert_int_equal(sc_stream_open(b->rig.loop, &b->rig.log, &config, b->conn, &b->stream), SC_OK);
}

static void bench_close(struct bench *b)
{
    sc_stream_close(b->stream);
    sc_silo_conn_close(b->conn);
    if (b->silo != NULL)
        fake_silo_close(b->silo);
    rig_close(&b->rig);
}

/* What was heard stays heard. */
static void bench_restart_silo(struct bench *b)
{
    uint16_t port = fake_silo_port(b->silo);
    struct span heard = fake_silo_heard(b->silo);
    struct wbuf kept;
    wbuf_init(&kept, 16 << 20);
    wb_span(&kept, heard);
    fake_silo_close(b->silo);
    RIG_UNTIL(&b->rig, !sc_silo_conn_up(b->conn));
    fake_silo_open(&b->rig, port, &b->silo);
    fake_silo_hear_on(b->silo, wbuf_span(&kept));
    wbuf_fini(&kept);
}

static enum sc_status offer(struct bench *b, const char *key, const char *payload,
                            enum sc_event_encoding encoding)
{
    struct sc_event event = {.stream_namespace = span_of_str("ns"),
                             .key = span_of_str(key),
                             .encoding = encoding,
                             .payload = span_of_str(payload)};
    return sc_stream_offer(b->stream, &event);
}

static void offer_number(struct bench *b, const char *key, unsigned n)
{
    char text[16];
    snprintf(text, sizeof text, "%u", n);
    assert_int_equal(offer(b, key, text, SC_EVENT_BYTES), SC_OK);
}

static struct sc_stream_stats stats_of(const struct bench *b)
{
    struct sc_stream_stats stats;
    sc_stream_stats(b->stream, &stats);
    return stats;
}

static bool heard_is(const struct bench *b, const char *text)
{
    return span_eq_str(fake_silo_heard(b->silo), text);
}

/* Every number from 0 came, none before the one below it; repeats are allowed. */
static unsigned heard_without_gap(const struct bench *b, const char *key)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "ns/%s#0:", key);
    struct span heard = fake_silo_heard(b->silo);
    char *text = strndup(heard.len != 0 ? (const char *)heard.ptr : "", heard.len);
    unsigned next = 0;
    assert_non_null(text);
    for (char *at = strstr(text, prefix); at != NULL; at = strstr(at, prefix)) {
        at += strlen(prefix);
        unsigned n = (unsigned)strtoul(at, NULL, 10);
        assert_true(n <= next);
        if (n == next)
            next++;
    }
    free(text);
    return next;
}

static void test_stream_publishes_a_turn_in_one_batch(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, NULL);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_int_equal(offer(&b, "a", "1", SC_EVENT_BYTES), SC_OK);
    assert_int_equal(offer(&b, "a", "2", SC_EVENT_BYTES), SC_OK);
    assert_int_equal(offer(&b, "a", "three", SC_EVENT_UTF8), SC_OK);
    assert_int_equal(offer(&b, "a", "4", SC_EVENT_BYTES), SC_OK);
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    assert_true(heard_is(&b, "ns/a#0:1\nns/a#0:2\n--\nns/a#1:three\n--\nns/a#0:4\n--\n"));
    struct sc_stream_stats stats = stats_of(&b);
    assert_int_equal(stats.published, 4);
    assert_int_equal(stats.batches, 3);
    assert_int_equal(stats.streams, 0);
    assert_int_equal(stats.backlog_bytes, 0);
    bench_close(&b);
}

static void test_stream_batches_keep_their_bounds(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.batch_max_events = 2, .batch_max_bytes = 6});
    assert_int_equal(offer(&b, "a", "11", SC_EVENT_BYTES), SC_OK);
    assert_int_equal(offer(&b, "a", "22", SC_EVENT_BYTES), SC_OK);
    assert_int_equal(offer(&b, "a", "33", SC_EVENT_BYTES), SC_OK);
    assert_int_equal(offer(&b, "a", "55555555", SC_EVENT_BYTES), SC_OK);
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    assert_true(heard_is(&b, "ns/a#0:11\nns/a#0:22\n--\nns/a#0:33\n--\nns/a#0:55555555\n--\n"));
    bench_close(&b);
}

static void test_stream_loses_nothing_over_restarts(void **state)
{
    (void)state;
    static const enum fake_silo_mood moods[] = {FAKE_SILO_MUTE, FAKE_SILO_DEAF, FAKE_SILO_GOOD};
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.batch_max_events = 7});
    unsigned sent = 0;
    for (unsigned round = 0; round < 9; round++) {
        RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
        fake_silo_be(b.silo, moods[round % 3]);
        for (unsigned i = 0; i < 50; i++, sent++) {
            offer_number(&b, "a", sent);
            offer_number(&b, "b", sent);
        }
        unsigned calls = fake_silo_calls(b.silo);
        RIG_UNTIL(&b.rig, fake_silo_calls(b.silo) > calls);
        bench_restart_silo(&b);
    }
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    assert_int_equal(heard_without_gap(&b, "a"), sent);
    assert_int_equal(heard_without_gap(&b, "b"), sent);
    struct sc_stream_stats stats = stats_of(&b);
    assert_int_equal(stats.published, 2 * sent);
    assert_true(stats.retries > 0);
    bench_close(&b);
}

static void test_stream_tries_again_after_every_kind_of_failure(void **state)
{
    (void)state;
    static const enum fake_silo_mood moods[] = {FAKE_SILO_THROWS, FAKE_SILO_BUSY, FAKE_SILO_DEAF};
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.timeout_ms = 10});
    for (unsigned i = 0; i < 3; i++) {
        RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
        uint64_t retries = stats_of(&b).retries;
        fake_silo_be(b.silo, moods[i]);
        offer_number(&b, "a", i);
        RIG_UNTIL(&b.rig, stats_of(&b).retries > retries + 1);
        fake_silo_be(b.silo, FAKE_SILO_GOOD);
        RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    }
    assert_int_equal(heard_without_gap(&b, "a"), 3);
    assert_int_equal(rig_logged(&b.rig, "cause \"queue away\""), 1);
    assert_int_equal(rig_logged(&b.rig, "cause \"Shedding load\""), 1);
    assert_int_equal(rig_logged(&b.rig, "published again"), 3);
    bench_close(&b);
}

static void test_stream_in_trouble_blocks_no_other(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.batches_max = 1});
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    fake_silo_be(b.silo, FAKE_SILO_NO_KEY_BAD);
    offer_number(&b, "bad", 0);
    for (unsigned i = 0; i < 100; i++) {
        offer_number(&b, "a", i);
        RIG_UNTIL(&b.rig, heard_without_gap(&b, "a") == i + 1);
    }
    RIG_UNTIL(&b.rig, stats_of(&b).retries > 3);
    assert_int_equal(stats_of(&b).troubled, 1);
    assert_int_equal(rig_logged(&b.rig, "cause \"no such provider\""), 1);
    fake_silo_be(b.silo, FAKE_SILO_GOOD);
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    assert_int_equal(heard_without_gap(&b, "bad"), 1);
    assert_int_equal(stats_of(&b).troubled, 0);
    bench_close(&b);
}

static void test_stream_holds_back_at_its_bound(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.backlog_bytes = 4096});
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    fake_silo_be(b.silo, FAKE_SILO_DEAF);
    unsigned sent = 0;
    char text[16];
    for (;; sent++) {
        snprintf(text, sizeof text, "%u", sent);
        enum sc_status st = offer(&b, "a", text, SC_EVENT_BYTES);
        if (st == SC_AGAIN)
            break;
        assert_int_equal(st, SC_OK);
        assert_true(sent < 4096);
    }
    assert_true(stats_of(&b).backlog_bytes <= 4096);
    assert_int_equal(offer(&b, "another", "0", SC_EVENT_BYTES), SC_AGAIN);
    RIG_TURNS(&b.rig, 5);
    assert_int_equal(offer(&b, "a", "0", SC_EVENT_BYTES), SC_AGAIN);
    fake_silo_be(b.silo, FAKE_SILO_GOOD);
    bench_restart_silo(&b);
    RIG_UNTIL(&b.rig, stats_of(&b).published != 0);
    offer_number(&b, "a", sent);
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    assert_int_equal(heard_without_gap(&b, "a"), sent + 1);
    bench_close(&b);
}

static void test_stream_takes_one_event_over_its_bound_when_empty(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.backlog_bytes = 16});
    assert_int_equal(offer(&b, "a", "0", SC_EVENT_BYTES), SC_OK);
    assert_int_equal(offer(&b, "a", "1", SC_EVENT_BYTES), SC_AGAIN);
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    bench_close(&b);
}

static void test_stream_counts_what_a_stop_loses(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, NULL);
    fake_silo_be(b.silo, FAKE_SILO_DEAF);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    offer_number(&b, "a", 0);
    offer_number(&b, "b", 0);
    RIG_UNTIL(&b.rig, fake_silo_calls(b.silo) == 2);
    sc_stream_close(b.stream);
    b.stream = NULL;
    assert_int_equal(rig_logged(&b.rig, "stream lost events 2 streams 2"), 1);
    fake_silo_close(b.silo); /* the calls end, nobody is there for them */
    b.silo = NULL;
    RIG_UNTIL(&b.rig, !sc_silo_conn_up(b.conn));
    bench_close(&b);
}

static void test_stream_refuses_bad_events(void **state)
{
    (void)state;
    struct bench b;
    char *big = calloc(1, 300);
    char *key = calloc(1, 1026);
    bench_open(&b, &(struct sc_stream_config){.event_max_bytes = 256});
    memset(big, 'x', 257);
    memset(key, 'k', 1025);
    assert_int_equal(offer(&b, "a", big, SC_EVENT_BYTES), SC_ERR_TOO_LARGE);
    assert_int_equal(offer(&b, key, "x", SC_EVENT_BYTES), SC_ERR_ARGUMENT);
    assert_int_equal(offer(&b, "", "x", SC_EVENT_BYTES), SC_ERR_ARGUMENT);
    assert_int_equal(offer(&b, "\xff", "x", SC_EVENT_BYTES), SC_ERR_ARGUMENT);
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc3",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "a\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(offer(&b, "a", bad[i], SC_EVENT_UTF8), SC_ERR_ARGUMENT);
        assert_int_equal(offer(&b, "a", bad[i], SC_EVENT_BYTES), SC_OK);
    }
    assert_int_equal(offer(&b, "a", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", SC_EVENT_UTF8),
                     SC_OK);
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    bench_close(&b);
    free(big);
    free(key);
}

static void test_stream_serves_many_streams(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &(struct sc_stream_config){.batches_max = 16});
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 500; i++) {
            char key[16];
            snprintf(key, sizeof key, "s%u", i);
            offer_number(&b, key, round);
        }
    }
    RIG_UNTIL(&b.rig, sc_stream_idle(b.stream));
    assert_int_equal(heard_without_gap(&b, "s0"), 3);
    assert_int_equal(heard_without_gap(&b, "s499"), 3);
    assert_int_equal(stats_of(&b).published, 1500);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_publishes_a_turn_in_one_batch),
        cmocka_unit_test(test_stream_batches_keep_their_bounds),
        cmocka_unit_test(test_stream_loses_nothing_over_restarts),
        cmocka_unit_test(test_stream_tries_again_after_every_kind_of_failure),
        cmocka_unit_test(test_stream_in_trouble_blocks_no_other),
        cmocka_unit_test(test_stream_holds_back_at_its_bound),
        cmocka_unit_test(test_stream_takes_one_event_over_its_bound_when_empty),
        cmocka_unit_test(test_stream_counts_what_a_stop_loses),
        cmocka_unit_test(test_stream_refuses_bad_events),
        cmocka_unit_test(test_stream_serves_many_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
