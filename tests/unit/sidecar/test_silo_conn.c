#include "sidecar/silo_conn.h"

#include "orleans-proto/client.h"
#include "orleans-proto/preamble.h"
#include "sidecar/gateway.h"
#include "sidecar/net.h"
#include "sidecar/sock.h"
#include "tests/support/fake_router.h"
#include "tests/support/fake_silo.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct rig rig;
    struct sc_router router;
    struct sc_gateway *gateway;
    struct sc_silo_conn *conn;
    struct sc_silo_watch watch;
    struct orl_method call;
    struct orl_method manifest;
    uint16_t port;
    unsigned ups, downs;
};

static void on_watch(void *user, bool up)
{
    struct bench *b = user;
    b->ups += up ? 1 : 0;
    b->downs += up ? 0 : 1;
}

static void gateway_up(struct bench *b)
{
    char listen_on[32];
    snprintf(listen_on, sizeof listen_on, "127.0.0.1:%u", b->port);
    struct sc_gateway_config config = {.listen = listen_on, .cluster_id = "dev"};
    assert_int_equal(sc_gateway_open(b->rig.loop, &b->rig.log, &config, &b->router, &b->gateway),
                     SC_OK);
    b->port = sc_gateway_port(b->gateway);
}

static void gateway_down(struct bench *b)
{
    sc_gateway_close(b->gateway);
    b->gateway = NULL;
}

static void bench_open(struct bench *b)
{
    const struct orl_method_def call = {.interface = "gpu.kgrain", .id = "call"};
    const struct orl_method_def manifest = {.interface =
                                                "Orleans.Runtime.IClusterManifestSystemTarget",
                                            .assembly = "Orleans.Core",
                                            .id = "4EFCA109"};
    *b = (struct bench){0};
    rig_open(&b->rig);
    b->router.loop = b->rig.loop;
    assert_int_equal(orl_method_init(&b->call, &call), SC_OK);
    assert_int_equal(orl_method_init(&b->manifest, &manifest), SC_OK);
}

static void connect_with(struct bench *b, struct sc_silo_conn_config config, const char *host)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "%s:%u", host, b->port);
    config.endpoint = endpoint;
    config.cluster_id = config.cluster_id != NULL ? config.cluster_id : "dev";
    config.backoff_min_ms = 1;
    config.backoff_max_ms = 4;
    assert_int_equal(sc_silo_conn_open(b->rig.loop, &b->rig.log, &config, &b->conn), SC_OK);
    b->watch = (struct sc_silo_watch){.fn = on_watch, .user = b};
    sc_silo_conn_watch(b->conn, &b->watch);
}

static void bench_close(struct bench *b)
{
    sc_silo_conn_close(b->conn);
    sc_gateway_close(b->gateway);
    RIG_TURNS(&b->rig, 2);
    fake_router_expire(&b->router);
    rig_close(&b->rig);
}

struct outcome {
    unsigned count;
    enum sc_status status;
    char text[128];
};

static void on_done(void *user, const struct sc_silo_answer *answer)
{
    struct outcome *o = user;
    o->count++;
    o->status = answer->status;
    snprintf(o->text, sizeof o->text, "%.*s", SPAN_ARG(answer->text));
    if (answer->status == SC_OK && answer->response->value.kind == ORL_KIND_BYTES)
        snprintf(o->text, sizeof o->text, "%.*s", SPAN_ARG(answer->response->value.bytes));
}

static enum fake_type put_type;

static void put(void *user, struct orl_args *args)
{
    (void)user;
    orl_args_int(args, put_type);
    orl_args_bytes(args, span_of_str("payload"));
}

static enum sc_status call(struct bench *b, enum fake_type type, uint32_t timeout_ms,
                           struct outcome *o)
{
    struct sc_silo_call c = {.grain_type = span_of_str("echo"),
                             .grain_key = span_of_str("k"),
                             .method = &b->call,
                             .timeout_ms = timeout_ms,
                             .put = put,
                             .done = on_done,
                             .user = o};
    put_type = type;
    return sc_silo_conn_call(b->conn, &c);
}

static struct sc_silo_conn_stats stats_of(const struct bench *b)
{
    struct sc_silo_conn_stats stats;
    sc_silo_conn_stats(b->conn, &stats);
    return stats;
}

static void test_link_connects_and_calls(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o = {0};
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "localhost");
    assert_false(sc_silo_conn_up(b.conn));
    assert_string_not_equal(sc_silo_conn_cause(b.conn), "");
    assert_int_equal(call(&b, FAKE_ECHO, 1000, &o), SC_ERR_UNAVAILABLE);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_string_equal(sc_silo_conn_cause(b.conn), "");
    assert_int_equal(b.ups, 1);
    assert_int_equal(call(&b, FAKE_ECHO, 1000, &o), SC_OK);
    assert_int_equal(o.count, 0);
    RIG_UNTIL(&b.rig, o.count == 1);
    assert_int_equal(o.status, SC_OK);
    assert_string_equal(o.text, "payload");
    assert_int_equal(stats_of(&b).in_flight, 0);
    assert_true(stats_of(&b).bytes_out > 0 && stats_of(&b).bytes_in > 0);
    bench_close(&b);
}

static void test_link_resolves_host_names(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.1"); /* not dotted quad: resolved */
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    bench_close(&b);
}

static void test_link_refuses_bad_endpoints(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "host", "host:", "host:99999", ":1",
                                      "1:2:3", "[]:5", "h:1x",  "[::1]"};
    struct rig rig;
    struct sc_silo_conn *conn = NULL;
    rig_open(&rig);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sc_silo_conn_config config = {.endpoint = bad[i], .cluster_id = "dev"};
        assert_int_equal(sc_silo_conn_open(rig.loop, &rig.log, &config, &conn), SC_ERR_CONFIG);
    }
    rig_close(&rig);
}

static void test_link_says_when_the_cluster_is_another(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){.cluster_id = "prod"}, "127.0.0.1");
    RIG_UNTIL(&b.rig, stats_of(&b).failures >= 3);
    assert_false(sc_silo_conn_up(b.conn));
    assert_int_equal(b.ups, 0);
    assert_string_equal(sc_silo_conn_cause(b.conn), orl_client_why_text(ORL_WHY_CLUSTER));
    assert_int_equal(rig_logged(&b.rig, "level=error") + rig_logged(&b.rig, "error silo"), 1);
    bench_close(&b);
}

/* A listener that says one thing to whoever comes, and closes or not. */
struct oddity {
    int fd;
    struct span says;
    bool closes;
    int open_fd;
};

static void on_odd(void *user, unsigned what)
{
    (void)what;
    struct oddity *odd = user;
    struct sc_address from;
    int fd = -1;
    if (sc_net_accept(odd->fd, &fd, &from) != SC_OK)
        return;
    for (size_t i = 0; i < odd->says.len; i++) /* byte by byte */
        assert_int_equal(write(fd, odd->says.ptr + i, 1), 1);
    if (odd->open_fd >= 0)
        close(odd->open_fd);
    odd->open_fd = -1;
    if (odd->closes)
        shutdown(fd, SHUT_WR);
    odd->open_fd = fd;
}

static void check_oddity(struct span says, bool closes, const char *cause)
{
    struct bench b;
    struct sc_watch *watch = NULL;
    struct sc_address at;
    struct oddity odd = {.says = says, .closes = closes, .open_fd = -1};
    bench_open(&b);
    assert_int_equal(sc_address_numeric("127.0.0.1", 0, &at), SC_OK);
    assert_int_equal(sc_net_listen(&at, &odd.fd, &b.port), SC_OK);
    assert_int_equal(sc_watch_open(b.rig.loop, odd.fd, SC_WATCH_READ, on_odd, &odd, &watch), SC_OK);
    connect_with(&b, (struct sc_silo_conn_config){.connect_ms = 50}, "127.0.0.1");
    RIG_UNTIL(&b.rig, stats_of(&b).failures >= 3);
    if (strstr(sc_silo_conn_cause(b.conn), cause) == NULL)
        fail_msg("cause is \"%s\"", sc_silo_conn_cause(b.conn));
    if (stats_of(&b).connects == 0)
        assert_int_equal(rig_logged(&b.rig, "warn") + rig_logged(&b.rig, "error"), 1);
    sc_watch_close(watch);
    close(odd.fd);
    if (odd.open_fd >= 0)
        close(odd.open_fd);
    bench_close(&b);
}

static void test_link_says_what_is_no_gateway(void **state)
{
    (void)state;
    check_oddity(span_of_str(""), true, orl_client_why_text(ORL_WHY_NO_PREAMBLE));
    check_oddity(span_of_str("\x20"), true, orl_client_why_text(ORL_WHY_PARTIAL_PREAMBLE));
    check_oddity(span_of_str("HTTP/1.1 400 Bad Request\r\n\r\n"), false,
                 orl_client_why_text(ORL_WHY_BAD_PREAMBLE));
    check_oddity(span_of_str(""), false, "no preamble within 50 ms");
}

/* A silo's bytes are as hostile as anybody's. */
static void test_link_survives_a_hostile_silo(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool closes;
        enum orl_client_why why;
    } cases[] = {
        {"", 0, true, ORL_WHY_IDENTITY},
        {"\0\0\0\0\0\0\0\0", 8, false, ORL_WHY_BAD_FRAME},
        {"\xff\xff\xff\xff\0\0\0\0", 8, false, ORL_WHY_BAD_FRAME},
        {"\x10\0\0\0\0\0\x40\x06", 8, false, ORL_WHY_LIMIT}, /* a body of 100 MB */
        {"\0\0\x20\0\0\0\0\0", 8, false, ORL_WHY_LIMIT},     /* a header of 2 MiB */
        {"\x10\0\0\0\x10\0\0\0abc", 11, true, ORL_WHY_PARTIAL_FRAME},
        {"\x02\0\0\0\x01\0\0\0abc", 11, true, ORL_WHY_CLOSED}, /* skipped */
    };
    const struct orl_preamble preamble = {
        .version = ORL_PROTOCOL_VERSION,
        .node = {span_of_str(ORL_SILO_GRAIN_TYPE), span_of_str(ORL_SILO_GRAIN_KEY)},
        .silo = {.ip = {127, 0, 0, 1}, .ip_len = 4, .port = 11111, .generation = 1},
        .cluster_id = span_of_str("dev")};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wbuf w;
        wbuf_init(&w, 4096);
        assert_int_equal(orl_preamble_encode(&w, &preamble), SC_OK);
        wb_bytes(&w, cases[i].bytes, cases[i].len);
        check_oddity(wbuf_span(&w), cases[i].closes, orl_client_why_text(cases[i].why));
        wbuf_fini(&w);
    }
}

static void test_link_says_when_nobody_listens(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    gateway_up(&b);
    gateway_down(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    RIG_UNTIL(&b.rig, stats_of(&b).failures >= 5);
    assert_string_equal(sc_silo_conn_cause(b.conn), "Connection refused");
    assert_int_equal(rig_logged(&b.rig, "Connection refused\" attempt 1"), 1);
    gateway_up(&b);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    bench_close(&b);
}

static void test_link_comes_back_under_its_id(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    for (unsigned round = 1; round <= 3; round++) {
        RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
        assert_int_equal(b.ups, round);
        gateway_down(&b);
        RIG_UNTIL(&b.rig, !sc_silo_conn_up(b.conn));
        assert_int_equal(b.downs, round);
        gateway_up(&b);
    }
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_int_equal(sc_silo_conn_id_changes(b.conn), 1);
    bench_close(&b);
}

static void test_link_takes_a_new_id_when_it_was_long_away(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){.id_keep_ms = 1}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    gateway_down(&b);
    uint64_t failures = stats_of(&b).failures;
    RIG_UNTIL(&b.rig, stats_of(&b).failures > failures + 4);
    gateway_up(&b);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_int_equal(sc_silo_conn_id_changes(b.conn), 2);
    bench_close(&b);
}

static void test_link_ends_calls_with_its_connection(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o[3] = {0};
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(&b, FAKE_SILENT, 60000, &o[i]), SC_OK);
    sc_silo_conn_forget(b.conn, &o[1]);
    RIG_UNTIL(&b.rig, b.router.calls == 3);
    gateway_down(&b);
    RIG_UNTIL(&b.rig, o[0].count == 1 && o[2].count == 1);
    assert_int_equal(o[0].status, SC_ERR_CLOSED);
    assert_int_equal(o[1].count, 0);
    assert_int_equal(stats_of(&b).in_flight, 0);
    gateway_up(&b);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_int_equal(call(&b, FAKE_ECHO, 60000, &o[1]), SC_OK);
    RIG_UNTIL(&b.rig, o[1].count == 1);
    bench_close(&b);
}

static void test_link_ends_calls_in_time(void **state)
{
    (void)state;
    struct bench b;
    struct outcome slow = {0}, quick = {0};
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_int_equal(call(&b, FAKE_SILENT, 60000, &slow), SC_OK);
    assert_int_equal(call(&b, FAKE_SILENT, 20, &quick), SC_OK);
    RIG_UNTIL(&b.rig, quick.count == 1);
    assert_int_equal(quick.status, SC_ERR_DEADLINE);
    assert_int_equal(slow.count, 0);
    fake_router_expire(&b.router); /* the late answer is a stray, the other one is not */
    RIG_UNTIL(&b.rig, slow.count == 1);
    assert_int_equal(slow.status, SC_ERR_EXCEPTION);
    assert_int_equal(quick.count, 1);
    assert_true(sc_silo_conn_up(b.conn));
    bench_close(&b);
}

static void test_link_bounds_what_is_in_flight(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o = {0};
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){.calls_max = 2}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(call(&b, FAKE_ECHO, 60000, &o), SC_OK);
        assert_int_equal(call(&b, FAKE_ECHO, 60000, &o), SC_OK);
        assert_int_equal(call(&b, FAKE_ECHO, 60000, &o), SC_ERR_BUSY);
        RIG_UNTIL(&b.rig, o.count == 2 * (unsigned)(round + 1));
    }
    bench_close(&b);
}

static void test_link_never_calls_a_system_target_without_its_silo(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o = {0};
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    uint64_t before = stats_of(&b).bytes_out;
    struct sc_silo_call c = {.grain_type = span_of_str("sys.svc.manifest"),
                             .grain_key = span_of_str("x"),
                             .method = &b.manifest,
                             .timeout_ms = 60000,
                             .done = on_done,
                             .user = &o};
    assert_int_equal(sc_silo_conn_call(b.conn, &c), SC_ERR_ARGUMENT);
    RIG_TURNS(&b.rig, 3);
    assert_int_equal(stats_of(&b).bytes_out, before);
    c.to_silo = true;
    assert_int_equal(sc_silo_conn_call(b.conn, &c), SC_OK);
    RIG_UNTIL(&b.rig, o.count == 1);
    bench_close(&b);
}

static void test_link_goes_on_reading_after_stop(void **state)
{
    (void)state;
    struct bench b;
    struct fake_silo *silo = NULL;
    struct outcome o = {0};
    bench_open(&b);
    fake_silo_open(&b.rig, 0, &silo);
    b.port = fake_silo_port(silo);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    fake_silo_say_stop(silo);
    RIG_UNTIL(&b.rig, !sc_silo_conn_up(b.conn));
    assert_string_equal(sc_silo_conn_cause(b.conn), "the silo shuts down");
    assert_int_equal(call(&b, FAKE_ECHO, 1000, &o), SC_ERR_UNAVAILABLE);
    assert_int_equal(fake_silo_clients(silo), 1);
    assert_int_equal(stats_of(&b).failures, 0);
    fake_silo_close(silo);
    RIG_UNTIL(&b.rig, stats_of(&b).failures > 0);
    bench_close(&b);
}

/* A silo that was stopped (SIGSTOP) keeps its connections and answers nothing. */
static void test_link_leaves_a_silent_session(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o = {0};
    bench_open(&b);
    gateway_up(&b);
    connect_with(&b, (struct sc_silo_conn_config){0}, "127.0.0.1");
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    for (unsigned i = 1; i <= 8; i++) {
        assert_int_equal(call(&b, FAKE_SILENT, 1, &o), SC_OK);
        RIG_UNTIL(&b.rig, o.count == i);
    }
    RIG_UNTIL(&b.rig, b.downs == 1);
    RIG_UNTIL(&b.rig, sc_silo_conn_up(b.conn));
    assert_int_equal(sc_silo_conn_id_changes(b.conn), 2);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_connects_and_calls),
        cmocka_unit_test(test_link_resolves_host_names),
        cmocka_unit_test(test_link_refuses_bad_endpoints),
        cmocka_unit_test(test_link_says_when_the_cluster_is_another),
        cmocka_unit_test(test_link_says_what_is_no_gateway),
        cmocka_unit_test(test_link_survives_a_hostile_silo),
        cmocka_unit_test(test_link_says_when_nobody_listens),
        cmocka_unit_test(test_link_comes_back_under_its_id),
        cmocka_unit_test(test_link_takes_a_new_id_when_it_was_long_away),
        cmocka_unit_test(test_link_ends_calls_with_its_connection),
        cmocka_unit_test(test_link_ends_calls_in_time),
        cmocka_unit_test(test_link_bounds_what_is_in_flight),
        cmocka_unit_test(test_link_never_calls_a_system_target_without_its_silo),
        cmocka_unit_test(test_link_goes_on_reading_after_stop),
        cmocka_unit_test(test_link_leaves_a_silent_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
