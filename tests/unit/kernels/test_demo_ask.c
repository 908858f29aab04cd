/* The demo's questions through a gateway that is not there: this file stands in for the consumer
 * and lets the impact kernel answer in the harness. */
#include "sidecar/demo_ask.h"

#include "sidecar/base/wbuf.h"
#include "sidecar/consumer.h"
#include "tests/support/impact_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum fault { NONE, REPEAT, LOSE_ONE, STRANGE, CALL_FAILS, SUBSCRIBE_FAILS, WAIT_FAILS };

/* What stands behind the opaque pointer. */
struct sc_consumer {
    struct impact_graph graph;
    enum fault fault;
    sc_consumer_fn fn; /* of the newest subscription */
    void *user;
    const struct impact_ask *waiting; /* its events are still to be given */
};

static struct sc_graph graph;
static struct sc_consumer consumer;
static struct sc_demo_asking asking;

enum sc_status sc_consumer_subscribe(struct sc_consumer *c, const char *provider,
                                     const char *stream_namespace, const char *key,
                                     sc_consumer_fn fn, void *user, uint32_t timeout_ms)
{
    (void)timeout_ms;
    assert_string_equal(provider, "gpu");
    assert_string_equal(stream_namespace, "impact");
    assert_true(sc_graph_find(&graph, span_of_str(key)) >= 0);
    c->fn = fn;
    c->user = user;
    return c->fault == SUBSCRIBE_FAILS ? SC_ERR_REJECTED : SC_OK;
}

enum sc_status sc_consumer_call(struct sc_consumer *c, const char *kernel, const char *key,
                                int32_t type, struct span payload, uint32_t timeout_ms,
                                struct wbuf *reply)
{
    (void)payload;
    (void)timeout_ms;
    assert_string_equal(kernel, "impact");
    assert_int_equal(type, SC_GRAPH_MSG_IMPACT);
    if (c->fault == CALL_FAILS)
        return SC_ERR_EXCEPTION;
    int64_t at = sc_graph_find(&graph, span_of_str(key));
    uint32_t ask = impact_graph_ask(&c->graph, (uint32_t)at);
    impact_graph_run(&c->graph);
    c->waiting = &c->graph.asks[ask];
    wb_u32le(reply, c->waiting->reply.packages);
    wb_u32le(reply, c->waiting->reply.depth);
    wb_u64le(reply, c->waiting->reply.messages);
    wb_u32le(reply, c->waiting->reply.wave);
    wb_u32le(reply, c->waiting->reply.lane);
    return SC_OK;
}

static void give(struct sc_consumer *c, struct span text)
{
    struct sc_consumer_event event = {.payload = text, .is_text = true};
    c->fn(c->user, &event);
}

enum sc_status sc_consumer_wait(struct sc_consumer *c, uint32_t timeout_ms)
{
    (void)timeout_ms;
    if (c->fault == WAIT_FAILS)
        return SC_ERR_CLOSED;
    if (c->waiting == NULL)
        return SC_AGAIN;
    bool lose = c->fault == LOSE_ONE;
    for (uint32_t i = 0; i < graph.package_count; i++) {
        if (!c->waiting->broken[i])
            continue;
        if (!lose)
            give(c, graph.nodes[i].name);
        lose = false;
        if (c->fault == REPEAT)
            give(c, graph.nodes[i].name);
    }
    if (c->fault == STRANGE)
        give(c, span_of_str("no such package"));
    c->waiting = NULL;
    return SC_OK;
}

const char *sc_consumer_error(const struct sc_consumer *c)
{
    (void)c;
    return "as the test wants it";
}

static const char list[] =
    "Package: a\n\nPackage: b\nDepends: a\n\nPackage: c\nDepends: b\n\nPackage: d\nDepends: a | e\n"
    "\nPackage: e\n";

static enum sc_status ask(enum fault fault, const char *package, const char *expected)
{
    char error[256];
    consumer.fault = fault;
    assert_int_equal(sc_graph_build(span_of_str(list), &graph, error), SC_OK);
    impact_graph_open(&consumer.graph, &graph, 0, 64, 16);
    asking = (struct sc_demo_asking){.graph = &graph,
                                     .consumer = &consumer,
                                     .provider = "gpu",
                                     .expected = span_of_str(expected),
                                     .quiet = true};
    uint32_t node = (uint32_t)sc_graph_find(&graph, span_of_str(package));
    assert_int_equal(sc_demo_asking_add(&asking, node), SC_OK);
    assert_int_equal(sc_demo_asking_add(&asking, node), SC_OK);
    assert_int_equal(asking.ask_count, 1);
    return sc_demo_asking_run(&asking);
}

static int teardown(void **state)
{
    (void)state;
    sc_demo_asking_fini(&asking);
    impact_graph_close(&consumer.graph);
    sc_graph_free(&graph);
    consumer = (struct sc_consumer){0};
    return 0;
}

static void test_ask_compares_events_with_the_oracle(void **state)
{
    (void)state;
    assert_int_equal(ask(NONE, "a", "impact a 2\n b\n c\n"), SC_OK);
    assert_true(asking.asks[0].right);
    assert_int_equal(asking.asks[0].events, 2);
}

static void test_ask_without_oracle_compares_with_the_host(void **state)
{
    (void)state;
    assert_int_equal(ask(NONE, "a", ""), SC_OK);
    assert_true(asking.asks[0].right);
}

static void test_ask_takes_repeated_events(void **state)
{
    (void)state;
    assert_int_equal(ask(REPEAT, "a", ""), SC_OK);
    assert_true(asking.asks[0].right);
    assert_int_equal(asking.asks[0].events, 2);
    assert_true(asking.asks[0].repeats >= 1);
}

static void test_ask_sees_a_lost_event(void **state)
{
    (void)state;
    assert_int_equal(ask(LOSE_ONE, "a", ""), SC_OK);
    assert_false(asking.asks[0].right);
}

static void test_ask_sees_a_strange_event(void **state)
{
    (void)state;
    assert_int_equal(ask(STRANGE, "a", ""), SC_OK);
    assert_false(asking.asks[0].right);
}

static void test_ask_sees_a_wrong_answer(void **state)
{
    (void)state;
    assert_int_equal(ask(NONE, "a", "impact a 3\n b\n c\n d\n"), SC_OK);
    assert_false(asking.asks[0].right);
    assert_non_null(strstr(asking.asks[0].verdict, "missing 1"));
}

static void test_ask_needs_the_oracle_to_know_the_package(void **state)
{
    (void)state;
    assert_int_equal(ask(NONE, "a", "impact b 1\n c\n"), SC_OK);
    assert_false(asking.asks[0].right);
}

static void test_ask_hands_on_failures(void **state)
{
    static const enum fault faults[] = {CALL_FAILS, SUBSCRIBE_FAILS, WAIT_FAILS};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        assert_int_not_equal(ask(faults[i], "a", ""), SC_OK);
        assert_non_null(strstr(asking.error, "as the test wants it"));
        assert_false(asking.asks[0].right);
        teardown(state);
    }
    assert_int_equal(ask(NONE, "c", ""), SC_OK);
}

#define CASE(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_ask_compares_events_with_the_oracle),
        CASE(test_ask_without_oracle_compares_with_the_host),
        CASE(test_ask_takes_repeated_events),
        CASE(test_ask_sees_a_lost_event),
        CASE(test_ask_sees_a_strange_event),
        CASE(test_ask_sees_a_wrong_answer),
        CASE(test_ask_needs_the_oracle_to_know_the_package),
        CASE(test_ask_hands_on_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
