#include "sidecar/gateway.h"

#include "orleans-proto/client.h"
#include "orleans-proto/manifest.h"
#include "sidecar/net.h"
#include "sidecar/silo_conn.h"
#include "tests/support/fake_router.h"
#include "tests/support/rig.h"

#include <errno.h>
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
    struct orl_method call;
    struct orl_method manifest;
    uint16_t port;
};

static void bench_open(struct bench *b, struct sc_gateway_config config)
{
    const struct orl_method_def call = {.interface = "gpu.kgrain", .id = "call"};
    const struct orl_method_def manifest = {.interface = ORL_MANIFEST_INTERFACE,
                                            .assembly = "Orleans.Core",
                                            .id = ORL_MANIFEST_GET_UPDATE};
    *b = (struct bench){0};
    rig_open(&b->rig);
    b->router.loop = b->rig.loop;
    config.listen = "127.0.0.1:0";
    config.cluster_id = "dev";
    assert_int_equal(sc_gateway_open(b->rig.loop, &b->rig.log, &config, &b->router, &b->gateway),
                     SC_OK);
    b->port = sc_gateway_port(b->gateway);
    assert_int_equal(orl_method_init(&b->call, &call), SC_OK);
    assert_int_equal(orl_method_init(&b->manifest, &manifest), SC_OK);
}

static void bench_close(struct bench *b)
{
    sc_gateway_close(b->gateway);
    fake_router_expire(&b->router);
    rig_close(&b->rig);
}

static struct sc_gateway_stats stats_of(const struct bench *b)
{
    struct sc_gateway_stats stats;
    sc_gateway_stats(b->gateway, &stats);
    return stats;
}

/* A client made by hand: a socket, a session, and what came. */
struct peer {
    struct bench *bench;
    int fd;
    struct orl_client *session;
    struct wbuf out;
    struct wbuf in;
    size_t chunk; /* bytes a write; 0: all */
    bool ended;
    bool ready;
    unsigned answers;
    struct orl_client_event last;
    char text[256];
};

static void peer_open(struct peer *p, struct bench *b, const char *cluster)
{
    struct sc_address at;
    *p = (struct peer){.bench = b};
    struct orl_client_config config = {.cluster_id = span_of_str(cluster),
                                       .id = {{(uint8_t)b->port, 1, 2, 3}},
                                       .first_call_id = 1,
                                       .calls_max = 100000,
                                       .limits = {1 << 20, 64 << 20}};
    assert_int_equal(orl_client_open(&config, &p->session), SC_OK);
    wbuf_init(&p->out, 256 << 20);
    wbuf_init(&p->in, 256 << 20);
    assert_int_equal(sc_address_numeric("127.0.0.1", b->port, &at), SC_OK);
    assert_int_equal(sc_net_connect(&at, &p->fd), SC_OK);
}

static void peer_close(struct peer *p)
{
    orl_client_close(p->session);
    wbuf_fini(&p->out);
    wbuf_fini(&p->in);
    close(p->fd);
}

static void peer_take(struct peer *p)
{
    size_t used = 0;
    while (orl_client_next(p->session, wbuf_span(&p->in), &used, &p->last) == SC_OK) {
        const struct orl_response *r = &p->last.response;
        p->ready = p->ready || p->last.kind == ORL_CLIENT_READY;
        if (p->last.kind == ORL_CLIENT_RESPONSE) {
            struct span text = r->outcome == ORL_OUTCOME_EXCEPTION  ? r->exception.message
                               : r->outcome == ORL_OUTCOME_REJECTED ? r->info
                               : r->value.kind == ORL_KIND_BYTES    ? r->value.bytes
                                                                    : (struct span){0};
            size_t len = text.len < sizeof p->text - 1 ? text.len : sizeof p->text - 1;
            snprintf(p->text, sizeof p->text, "%.*s", (int)len, (const char *)text.ptr);
            p->answers++;
        }
        wbuf_consume(&p->in, used);
    }
}

/* Writes and reads what can be at once. */
static void peer_turn(struct peer *p, bool reads)
{
    static uint8_t buffer[256 << 10];
    size_t n = p->chunk != 0 && p->chunk < p->out.len ? p->chunk : p->out.len;
    ssize_t sent = n == 0 ? 0 : send(p->fd, p->out.ptr, n, MSG_NOSIGNAL);
    if (sent > 0)
        wbuf_consume(&p->out, (size_t)sent);
    if (!reads || p->ended)
        return;
    ssize_t got = recv(p->fd, buffer, sizeof buffer, 0);
    if (got > 0) {
        wb_bytes(&p->in, buffer, (size_t)got);
        peer_take(p);
    } else if (got == 0 || (errno != EAGAIN && errno != ENOTCONN)) {
        p->ended = true;
    }
}

#define PEER_UNTIL(peer, condition)                    \
    do {                                               \
        rig_bound(&(peer)->bench->rig, 20000);         \
        while (!(condition)) {                         \
            peer_turn((peer), true);                   \
            rig_turn(&(peer)->bench->rig, #condition); \
        }                                              \
    } while (0)

static void peer_start(struct peer *p)
{
    assert_int_equal(orl_client_start(p->session, &p->out), SC_OK);
}

static void peer_call(struct peer *p, const char *kernel, const char *key, int32_t type,
                      struct span payload, uint32_t timeout_ms)
{
    struct orl_client_call call = {.target = {span_of_str(kernel), span_of_str(key)},
                                   .method = &p->bench->call,
                                   .timeout_ms = timeout_ms,
                                   .now_ns = 1};
    struct orl_call_frame frame;
    assert_int_equal(orl_client_call_begin(p->session, &p->out, &call, &frame), SC_OK);
    orl_args_int(&frame.args, type);
    orl_args_bytes(&frame.args, payload);
    assert_int_equal(orl_client_call_end(p->session, &frame, NULL), SC_OK);
}

static void peer_ask(struct peer *p, const char *kernel, int32_t type, const char *payload)
{
    unsigned before = p->answers;
    peer_call(p, kernel, "k", type, span_of_str(payload), 30000);
    PEER_UNTIL(p, p->answers > before);
}

static void peer_ready(struct peer *p, struct bench *b)
{
    peer_open(p, b, "dev");
    peer_start(p);
    PEER_UNTIL(p, p->ready);
}

static void test_gateway_serves_kernel_calls(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&p, &b);
    peer_ask(&p, "echo", FAKE_ECHO, "hello");
    assert_string_equal(p.text, "hello");
    assert_int_equal(b.router.last_deadline_ms, 30000);
    peer_ask(&p, "echo", FAKE_ECHO, "");
    assert_int_equal(p.last.response.value.kind, ORL_KIND_BYTES);
    assert_int_equal(p.last.response.value.bytes.len, 0);
    peer_ask(&p, "echo", FAKE_KERNEL, "x");
    assert_int_equal(p.last.response.outcome, ORL_OUTCOME_EXCEPTION);
    assert_true(span_eq_str(p.last.response.exception.type, "System.InvalidOperationException"));
    assert_string_equal(p.text, "K-Grain echo/k: the handler said no");
    peer_ask(&p, "echo", FAKE_REFUSED, "x");
    assert_string_equal(p.text, "K-Grain echo/k: the device is starting");
    peer_ask(&p, "nosuch", FAKE_ECHO, "x");
    assert_int_equal(p.last.response.rejection, ORL_REJECTION_UNRECOVERABLE);
    assert_string_equal(p.text, "no kernel serves the grain nosuch/k here");
    peer_ask(&p, "echo", -1, "x");
    assert_int_equal(p.last.response.outcome, ORL_OUTCOME_EXCEPTION);
    peer_ask(&p, "echo", 65536, "x");
    assert_int_equal(p.last.response.outcome, ORL_OUTCOME_EXCEPTION);
    assert_int_equal(stats_of(&b).calls, 4);
    peer_close(&p);
    bench_close(&b);
}

/* send may be awaited like any method: then its failure is an answer, and counted once. */
static void test_gateway_answers_a_refused_send(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    const struct orl_method_def send = {.interface = "gpu.kgrain", .id = "send"};
    bench_open(&b, (struct sc_gateway_config){0});
    assert_int_equal(orl_method_init(&b.call, &send), SC_OK);
    peer_ready(&p, &b);
    peer_ask(&p, "echo", FAKE_REFUSED, "x");
    assert_string_equal(p.text, "K-Grain echo/k: the device is starting");
    assert_int_equal(stats_of(&b).calls, 1);
    assert_int_equal(stats_of(&b).calls_failed, 1);
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_answers_a_deadline_with_a_timeout(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&p, &b);
    peer_call(&p, "echo", "k", FAKE_SILENT, span_of_str("x"), 30000);
    PEER_UNTIL(&p, b.router.calls == 1);
    fake_router_expire(&b.router);
    PEER_UNTIL(&p, p.answers == 1);
    assert_true(span_eq_str(p.last.response.exception.type, "System.TimeoutException"));
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_waits_for_a_full_device(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&p, &b);
    b.router.full_left = 20;
    for (int i = 0; i < 10; i++)
        peer_call(&p, "echo", "k", FAKE_FULL, span_of_str("x"), 30000);
    PEER_UNTIL(&p, p.answers == 10);
    assert_int_equal(b.router.full_left, 0);
    assert_int_equal(b.router.calls, 10);
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_bounds_calls_of_a_client(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){.calls_max = 20});
    peer_ready(&p, &b);
    for (int i = 0; i < 21; i++)
        peer_call(&p, "echo", "k", FAKE_SILENT, span_of_str("x"), 30000);
    PEER_UNTIL(&p, p.answers == 1);
    assert_int_equal(p.last.response.rejection, ORL_REJECTION_OVERLOADED);
    assert_string_equal(p.text, "all 20 calls of this client are taken");
    fake_router_expire(&b.router);
    PEER_UNTIL(&p, p.answers == 21);
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_reads_byte_by_byte(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_open(&p, &b, "dev");
    p.chunk = 1;
    peer_start(&p);
    PEER_UNTIL(&p, p.ready);
    peer_ask(&p, "echo", FAKE_ECHO, "slowly");
    assert_string_equal(p.text, "slowly");
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_takes_large_messages_to_its_limit(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    static uint8_t big[3 << 20];
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&p, &b);
    memset(big, 7, sizeof big);
    peer_call(&p, "echo", "k", FAKE_ECHO, span_of(big, sizeof big), 30000);
    PEER_UNTIL(&p, p.answers == 1);
    assert_int_equal(p.last.response.outcome, ORL_OUTCOME_VALUE);
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_lists_its_kernels(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    const struct span ids[] = {span_of_str("echo"), span_of_str("counter")};
    assert_int_equal(sc_gateway_set_kernels(b.gateway, ids, 2), SC_OK);
    peer_ready(&p, &b);
    for (int round = 0; round < 2; round++) {
        struct orl_client_call call = {
            .target = {span_of_str(ORL_MANIFEST_GRAIN_TYPE), span_of_str("x")},
            .target_silo = *orl_client_silo(p.session),
            .method = &b.manifest,
            .now_ns = 1};
        struct orl_call_frame frame;
        assert_int_equal(orl_client_call_begin(p.session, &p.out, &call, &frame), SC_OK);
        orl_put_tag(&p.out, ORL_WIRE_OBJECT, orl_args_next(&frame.args));
        orl_put_long(&p.out, 0, round == 0 ? INT64_MIN : 2);
        orl_put_long(&p.out, 1, round == 0 ? INT64_MIN : 0);
        orl_put_end(&p.out);
        assert_int_equal(orl_client_call_end(p.session, &frame, NULL), SC_OK);
        PEER_UNTIL(&p, p.answers == (unsigned)round + 1);
        assert_int_equal(p.last.response.outcome, ORL_OUTCOME_VALUE);
        assert_int_equal(p.last.response.value.kind, round == 0 ? ORL_KIND_OTHER : ORL_KIND_NULL);
    }
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_refuses_another_cluster(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_open(&p, &b, "prod");
    peer_start(&p);
    peer_call(&p, "echo", "k", FAKE_ECHO, span_of_str("x"), 30000);
    PEER_UNTIL(&p, p.ended);
    assert_false(p.ready);
    assert_int_equal(orl_client_why(p.session), ORL_WHY_CLUSTER); /* it was told ours */
    assert_int_equal(stats_of(&b).refused, 1);
    RIG_UNTIL(&b.rig, stats_of(&b).clients == 0);
    assert_int_equal(b.router.calls, 0);
    peer_close(&p);
    bench_close(&b);
}

struct attack {
    const char *bytes;
    size_t len;
    bool preamble; /* a good one comes first */
};
#define ATTACK(text, after_preamble)           \
    {                                          \
        text, sizeof(text) - 1, after_preamble \
    }

static const struct attack attacks[] = {
    ATTACK("GET / HTTP/1.1\r\n\r\n", false),
    ATTACK("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false),
    ATTACK("\x00\x00\x00\x00", false),
    ATTACK("\xff\xff\xff\xff", false),
    ATTACK("\x04\x00\x00\x00\xff\xff\xff\xff", false),
    ATTACK("\x05\x00\x00\x00\x20\x20\x20\x20\x20", false),
    ATTACK("\x00\x00\x00\x00\x00\x00\x00\x00", true),     /* no header */
    ATTACK("\xff\xff\xff\xff\x00\x00\x00\x00", true),     /* negative header */
    ATTACK("\x01\x00\x00\x00\xff\xff\xff\xff\x00", true), /* negative body */
    ATTACK("\x10\x00\x00\x00\x00\x00\x40\x06", true),     /* body of 100 MB */
    ATTACK("\x00\x00\xa0\x00\x00\x00\x00\x00", true),     /* header of 10 MiB */
};

static void test_gateway_drops_bad_peers_and_serves_on(void **state)
{
    (void)state;
    struct bench b;
    struct peer good;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&good, &b);
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        struct peer bad;
        peer_open(&bad, &b, "dev");
        if (attacks[i].preamble)
            peer_start(&bad);
        wb_bytes(&bad.out, attacks[i].bytes, attacks[i].len);
        PEER_UNTIL(&bad, bad.ended);
        peer_close(&bad);
        peer_ask(&good, "echo", FAKE_ECHO, "still here");
        assert_string_equal(good.text, "still here");
    }
    assert_int_equal(stats_of(&b).clients, 1);
    assert_int_equal(stats_of(&b).dropped, sizeof attacks / sizeof attacks[0]);
    struct peer bad; /* a header of a version that is unknown */
    peer_open(&bad, &b, "dev");
    peer_start(&bad);
    size_t word_at = bad.out.len + 8;
    peer_call(&bad, "echo", "k", FAKE_ECHO, span_of_str("x"), 30000);
    bad.out.ptr[word_at + 1] |= 0x80;
    PEER_UNTIL(&bad, bad.ended);
    peer_close(&bad);
    assert_int_equal(rig_logged(&b.rig, "dropped reason version"), 1);
    peer_close(&good);
    bench_close(&b);
}

/* A client that breaks off anywhere leaves nothing behind. */
static void test_gateway_survives_truncation_anywhere(void **state)
{
    (void)state;
    struct bench b;
    struct peer good;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&good, &b);
    size_t len = 1;
    for (size_t cut = 0; cut < len; cut += 3) {
        struct peer bad;
        peer_open(&bad, &b, "dev");
        peer_start(&bad);
        peer_call(&bad, "echo", "k", FAKE_ECHO, span_of_str("x"), 30000);
        len = bad.out.len;
        bad.out.len = cut;
        PEER_UNTIL(&bad, bad.out.len == 0 && stats_of(&b).clients == 2);
        peer_close(&bad);
        RIG_UNTIL(&b.rig, stats_of(&b).clients == 1);
    }
    peer_ask(&good, "echo", FAKE_ECHO, "still here");
    assert_string_equal(good.text, "still here");
    peer_close(&good);
    bench_close(&b);
}

/* Random bytes behind a good preamble, with a seed of their own each: nothing to assert but life.
 */
static void test_gateway_survives_noise(void **state)
{
    (void)state;
    struct bench b;
    struct peer good;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&good, &b);
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 60; round++) {
        struct peer bad;
        peer_open(&bad, &b, "dev");
        peer_start(&bad);
        size_t frames_at = bad.out.len;
        peer_call(&bad, "echo", "k", FAKE_ECHO, span_of_str("payload"), 30000);
        for (int flips = 0; flips < 4; flips++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            size_t at = frames_at + 8 + x % (bad.out.len - frames_at - 8);
            bad.out.ptr[at] ^= (uint8_t)(1u << (x >> 40) % 8);
        }
        PEER_UNTIL(&bad, bad.ended || bad.out.len == 0);
        peer_close(&bad);
    }
    peer_ask(&good, "echo", FAKE_ECHO, "still here");
    assert_string_equal(good.text, "still here");
    peer_close(&good);
    bench_close(&b);
}

static void test_gateway_drops_a_client_that_does_not_read(void **state)
{
    (void)state;
    struct bench b;
    struct peer slow, good;
    static uint8_t big[64 << 10];
    bench_open(&b, (struct sc_gateway_config){.output_max_bytes = 1 << 20});
    peer_ready(&good, &b);
    peer_ready(&slow, &b);
    rig_bound(&b.rig, 20000);
    while (stats_of(&b).dropped == 0) {
        if (slow.out.len < sizeof big)
            peer_call(&slow, "echo", "k", FAKE_ECHO, span_of(big, sizeof big), 30000);
        peer_turn(&slow, false);
        rig_turn(&b.rig, "dropped");
    }
    assert_int_equal(rig_logged(&b.rig, "it does not read its answers"), 1);
    peer_ask(&good, "echo", FAKE_ECHO, "still here");
    assert_string_equal(good.text, "still here");
    peer_close(&slow);
    peer_close(&good);
    bench_close(&b);
}

static void test_gateway_drops_a_client_that_says_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){.preamble_ms = 20});
    peer_open(&p, &b, "dev");
    PEER_UNTIL(&p, p.ended);
    assert_int_equal(stats_of(&b).dropped, 1);
    peer_close(&p);
    bench_close(&b);
}

static void test_gateway_takes_no_more_clients_than_configured(void **state)
{
    (void)state;
    struct bench b;
    struct peer first, second, third;
    bench_open(&b, (struct sc_gateway_config){.clients_max = 2});
    peer_ready(&first, &b);
    peer_ready(&second, &b);
    peer_open(&third, &b, "dev");
    PEER_UNTIL(&third, third.ended);
    peer_ask(&first, "echo", FAKE_ECHO, "x");
    peer_close(&third);
    peer_close(&second);
    RIG_UNTIL(&b.rig, stats_of(&b).clients == 1);
    peer_ready(&second, &b);
    peer_close(&first);
    peer_close(&second);
    bench_close(&b);
}

static void test_gateway_forgets_calls_of_a_client_that_left(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&p, &b);
    for (int i = 0; i < 40; i++)
        peer_call(&p, "echo", "k", FAKE_SILENT, span_of_str("x"), 30000);
    PEER_UNTIL(&p, b.router.calls == 40);
    peer_close(&p);
    RIG_UNTIL(&b.rig, stats_of(&b).clients == 0);
    RIG_TURNS(&b.rig, 2);
    assert_int_equal(b.router.forgets, 1);
    fake_router_expire(&b.router);
    bench_close(&b);
}

/* Forgetting looks at every call of the router: who comes and goes without one must not cost that.
 */
static void test_gateway_lets_an_idle_client_go_cheaply(void **state)
{
    (void)state;
    struct bench b;
    struct peer p;
    bench_open(&b, (struct sc_gateway_config){0});
    peer_ready(&p, &b);
    peer_ask(&p, "echo", FAKE_ECHO, "x");
    peer_close(&p);
    RIG_UNTIL(&b.rig, stats_of(&b).clients == 0);
    assert_int_equal(b.router.forgets, 0);
    bench_close(&b);
}

static void test_gateway_says_when_it_cannot_listen(void **state)
{
    (void)state;
    struct bench b;
    struct sc_gateway *other = NULL;
    char taken[32];
    bench_open(&b, (struct sc_gateway_config){0});
    snprintf(taken, sizeof taken, "127.0.0.1:%u", b.port);
    struct sc_gateway_config config = {.listen = taken, .cluster_id = "dev"};
    assert_int_equal(sc_gateway_open(b.rig.loop, &b.rig.log, &config, NULL, &other), SC_ERR_IO);
    assert_int_equal(rig_logged(&b.rig, "Address already in use"), 1);
    config.listen = "nowhere";
    assert_int_equal(sc_gateway_open(b.rig.loop, &b.rig.log, &config, NULL, &other), SC_ERR_CONFIG);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_serves_kernel_calls),
        cmocka_unit_test(test_gateway_answers_a_refused_send),
        cmocka_unit_test(test_gateway_answers_a_deadline_with_a_timeout),
        cmocka_unit_test(test_gateway_waits_for_a_full_device),
        cmocka_unit_test(test_gateway_bounds_calls_of_a_client),
        cmocka_unit_test(test_gateway_reads_byte_by_byte),
        cmocka_unit_test(test_gateway_takes_large_messages_to_its_limit),
        cmocka_unit_test(test_gateway_lists_its_kernels),
        cmocka_unit_test(test_gateway_refuses_another_cluster),
        cmocka_unit_test(test_gateway_drops_bad_peers_and_serves_on),
        cmocka_unit_test(test_gateway_survives_truncation_anywhere),
        cmocka_unit_test(test_gateway_survives_noise),
        cmocka_unit_test(test_gateway_drops_a_client_that_does_not_read),
        cmocka_unit_test(test_gateway_drops_a_client_that_says_nothing),
        cmocka_unit_test(test_gateway_takes_no_more_clients_than_configured),
        cmocka_unit_test(test_gateway_forgets_calls_of_a_client_that_left),
        cmocka_unit_test(test_gateway_lets_an_idle_client_go_cheaply),
        cmocka_unit_test(test_gateway_says_when_it_cannot_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
