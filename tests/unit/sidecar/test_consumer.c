#include "sidecar/consumer.h"

#include "sidecar/gateway.h"
#include "sidecar/silo_conn.h"
#include "sidecar/stream.h"
#include "tests/support/fake_router.h"
#include "tests/support/rig.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

/* The daemon's side, on a thread and loop of its own: gateway, link and publisher. */
struct host {
    pthread_t thread;
    struct rig rig;
    struct sc_router router;
    struct sc_gateway *gateway;
    struct sc_silo_conn *conn;
    struct sc_stream *stream;
    struct sc_watch *watch;
    struct sc_timer *timer;
    uint32_t events; /* to publish */
    uint32_t offered;
    int stop_fd;
    uint16_t port;
};

static void on_host_stop(void *user, unsigned what)
{
    (void)what;
    struct host *h = user;
    h->rig.until_ns = 0;
    sc_loop_stop(h->rig.loop);
}

/* Events go out when somebody has subscribed. */
static void on_host_timer(void *user)
{
    struct host *h = user;
    struct sc_gateway_stats stats;
    sc_gateway_stats(h->gateway, &stats);
    if (stats.subscriptions == 0)
        return;
    for (; h->offered < h->events; h->offered++) {
        char text[16];
        int n = snprintf(text, sizeof text, "ev-%u", h->offered);
        struct sc_event event = {.stream_namespace = span_of_str("ns"),
                                 .key = span_of_str("k"),
                                 .encoding = h->offered % 2 == 0 ? SC_EVENT_UTF8 : SC_EVENT_BYTES,
                                 .payload = span_of(text, (size_t)n)};
        if (sc_stream_offer(h->stream, &event) != SC_OK)
            break;
    }
}

static void *host_thread(void *user)
{
    struct host *h = user;
    while (h->rig.until_ns != 0)
        sc_loop_run(h->rig.loop);
    return NULL;
}

static void host_open(struct host *h, uint32_t events)
{
    *h = (struct host){.events = events};
    rig_open(&h->rig);
    h->rig.until_ns = 1;
    h->router.loop = h->rig.loop;
    struct sc_gateway_config config = {.listen = "127.0.0.1:0", .cluster_id = "dev"};
    assert_int_equal(sc_gateway_open(h->rig.loop, &h->rig.log, &config, &h->router, &h->gateway),
                     SC_OK);
    h->port = sc_gateway_port(h->gateway);
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", h->port);
    struct sc_silo_conn_config conn = {.endpoint = endpoint, .cluster_id = "dev"};
    assert_int_equal(sc_silo_conn_open(h->rig.loop, &h->rig.log, &conn, &h->conn), SC_OK);
    struct sc_stream_config stream = {.mode = SC_STREAM_MEMORY, .provider = "StreamProvider"};
    assert_int_equal(sc_stream_open(h->rig.loop, &h->rig.log, &stream, h->conn, &h->stream), SC_OK);
    assert_int_equal(sc_timer_open(h->rig.loop, on_host_timer, h, &h->timer), SC_OK);
    sc_timer_every(h->timer, 1);
    h->stop_fd = eventfd(0, EFD_NONBLOCK);
    assert_int_equal(
        sc_watch_open(h->rig.loop, h->stop_fd, SC_WATCH_READ, on_host_stop, h, &h->watch), SC_OK);
    assert_int_equal(pthread_create(&h->thread, NULL, host_thread, h), 0);
}

static void host_close(struct host *h)
{
    uint64_t one = 1;
    assert_int_equal(write(h->stop_fd, &one, sizeof one), sizeof one);
    pthread_join(h->thread, NULL);
    fake_router_expire(&h->router);
    sc_stream_close(h->stream);
    sc_silo_conn_close(h->conn);
    sc_gateway_close(h->gateway);
    sc_timer_close(h->timer);
    sc_watch_close(h->watch);
    close(h->stop_fd);
    rig_close(&h->rig);
}

static const struct sc_log quiet = {.fd = 2, .level = SC_LOG_ERROR};

struct heard {
    uint32_t count;
    bool in_order;
};

static void on_event(void *user, const struct sc_consumer_event *event)
{
    struct heard *heard = user;
    char text[16];
    int n = snprintf(text, sizeof text, "ev-%u", heard->count);
    heard->in_order = heard->in_order && span_eq(event->payload, span_of(text, (size_t)n)) &&
                      event->is_text == (heard->count % 2 == 0) &&
                      span_eq_str(event->stream_namespace, "ns") && span_eq_str(event->key, "k");
    heard->count++;
}

static void test_consumer_gets_events_in_order(void **state)
{
    (void)state;
    struct host h;
    struct sc_consumer *c = NULL;
    struct heard heard = {.in_order = true};
    host_open(&h, 500);
    assert_int_equal(sc_consumer_open(&quiet, "127.0.0.1", h.port, "dev", 10000, &c), SC_OK);
    assert_int_equal(sc_consumer_subscribe(c, "StreamProvider", "ns", "k", on_event, &heard, 10000),
                     SC_OK);
    while (heard.count < 500)
        assert_int_equal(sc_consumer_wait(c, 10000), SC_OK);
    assert_true(heard.in_order);
    sc_consumer_close(c);
    host_close(&h);
}

static void test_consumer_calls_grains(void **state)
{
    (void)state;
    struct host h;
    struct sc_consumer *c = NULL;
    struct wbuf reply;
    host_open(&h, 0);
    wbuf_init(&reply, 1 << 20);
    assert_int_equal(sc_consumer_open(&quiet, "127.0.0.1", h.port, "dev", 10000, &c), SC_OK);
    assert_int_equal(
        sc_consumer_call(c, "echo", "a", FAKE_ECHO, span_of_str("hello"), 10000, &reply), SC_OK);
    assert_true(span_eq_str(wbuf_span(&reply), "hello"));
    assert_int_equal(sc_consumer_call(c, "echo", "a", FAKE_KERNEL, span_of_str("x"), 10000, &reply),
                     SC_ERR_EXCEPTION);
    assert_non_null(strstr(sc_consumer_error(c), "K-Grain echo/a: the handler said no"));
    assert_int_equal(sc_consumer_call(c, "nosuch", "a", FAKE_ECHO, span_of_str("x"), 10000, &reply),
                     SC_ERR_REJECTED);
    assert_non_null(strstr(sc_consumer_error(c), "nosuch/a"));
    assert_int_equal(sc_consumer_call(c, "echo", "a", FAKE_SILENT, span_of_str("x"), 20, &reply),
                     SC_ERR_DEADLINE);
    assert_int_equal(sc_consumer_send(c, "echo", "a", FAKE_ECHO, span_of_str("x")), SC_OK);
    assert_int_equal(sc_consumer_call(c, "echo", "a", FAKE_ECHO, span_of_str(""), 10000, &reply),
                     SC_OK);
    assert_true(span_eq_str(wbuf_span(&reply), "hello"));
    sc_consumer_close(c);
    host_close(&h);
    assert_int_equal(h.router.sends, 1);
    wbuf_fini(&reply);
}

static void test_consumer_says_why_it_cannot_connect(void **state)
{
    (void)state;
    struct host h;
    struct sc_consumer *c = NULL;
    struct rig rig;
    rig_open(&rig);
    host_open(&h, 0);
    assert_int_equal(sc_consumer_open(&rig.log, "127.0.0.1", h.port, "prod", 300, &c),
                     SC_ERR_UNAVAILABLE);
    assert_null(c);
    assert_int_equal(rig_logged(&rig, "not connected cause"), 1);
    host_close(&h);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_consumer_gets_events_in_order),
        cmocka_unit_test(test_consumer_calls_grains),
        cmocka_unit_test(test_consumer_says_why_it_cannot_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
