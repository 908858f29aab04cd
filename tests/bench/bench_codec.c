/* Orleans messages in memory: a client session and a gateway session, no socket. One JSON line a
 * figure. The call is gpu.kgrain.call(int, byte[64]); its answer a byte[64]. */
#include "orleans-proto/client.h"
#include "orleans-proto/gateway.h"
#include "sidecar/base/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 64, ROUNDS = 20000, PAYLOAD = 64 };

struct bench {
    struct orl_client *client;
    struct orl_gateway *gateway;
    struct orl_method method;
    struct wbuf up, down;
    uint64_t encode_call_ns, decode_call_ns, encode_reply_ns, decode_reply_ns;
};

static void must(enum sc_status st)
{
    if (st != SC_OK) {
        fprintf(stderr, "bench_codec: %s\n", sc_status_name(st));
        exit(1);
    }
}

static void encode_calls(struct bench *b)
{
    static const uint8_t payload[PAYLOAD];
    struct orl_client_call call = {
        .target = {.type = span_of_str("echo"), .key = span_of_str("k1")},
        .method = &b->method,
        .timeout_ms = 30000,
        .now_ns = 1,
    };
    for (int i = 0; i < BATCH; i++) {
        struct orl_call_frame frame;
        must(orl_client_call_begin(b->client, &b->up, &call, &frame));
        orl_args_int(&frame.args, 1);
        orl_args_bytes(&frame.args, span_of(payload, PAYLOAD));
        must(orl_client_call_end(b->client, &frame, NULL));
    }
}

/* As the built-in gateway does it: decode the frame, tell the method by its names, read both
 * arguments. */
static struct span read_payload(struct orl_gateway_event *ev)
{
    struct orl_field f;
    struct span payload = {0};
    if (!orl_call_is(&ev->call, "gpu.kgrain", "call"))
        exit(1);
    while (orl_reader_next(&ev->args, &f)) {
        struct orl_value v =
            orl_value_get(&ev->args, &f, f.id == 0 ? ORL_KIND_INT : ORL_KIND_BYTES);
        if (f.id == 1)
            payload = v.bytes;
    }
    return payload;
}

static void decode_calls(struct bench *b, struct orl_reply *replies)
{
    size_t at = 0;
    for (int i = 0; i < BATCH; i++) {
        struct orl_gateway_event ev;
        size_t used;
        must(orl_gateway_next(b->gateway, span_of(b->up.ptr + at, b->up.len - at), &used, &b->down,
                              &ev));
        at += used;
        if (ev.kind != ORL_GATEWAY_REQUEST || read_payload(&ev).len != PAYLOAD)
            exit(1);
        replies[i] = ev.reply;
    }
    wbuf_clear(&b->up);
}

static void encode_replies(struct bench *b, const struct orl_reply *replies)
{
    static const uint8_t payload[PAYLOAD];
    struct orl_value v = orl_value_bytes(span_of(payload, PAYLOAD));
    for (int i = 0; i < BATCH; i++)
        must(orl_reply_value(&b->down, &replies[i], &v, ORL_KIND_BYTES));
}

static void decode_replies(struct bench *b)
{
    size_t at = 0;
    for (int i = 0; i < BATCH; i++) {
        struct orl_client_event ev;
        size_t used;
        must(orl_client_next(b->client, span_of(b->down.ptr + at, b->down.len - at), &used, &ev));
        at += used;
        if (ev.kind != ORL_CLIENT_RESPONSE || ev.response.value.bytes.len != PAYLOAD)
            exit(1);
    }
    wbuf_clear(&b->down);
}

static void connect_sessions(struct bench *b)
{
    const struct orl_limits limits = {1 << 20, 1 << 20};
    const struct orl_client_config cc = {
        .cluster_id = span_of_str("dev"), .first_call_id = 1, .calls_max = BATCH, .limits = limits};
    const struct orl_gateway_config gc = {
        .cluster_id = span_of_str("dev"),
        .silo = {.ip = {127, 0, 0, 1}, .ip_len = 4, .port = 11111, .generation = 1},
        .calls_max = 1,
        .limits = limits};
    const struct orl_method_def def = {.interface = "gpu.kgrain", .id = "call"};
    must(orl_client_open(&cc, &b->client));
    must(orl_gateway_open(&gc, &b->gateway));
    must(orl_method_init(&b->method, &def));
    wbuf_init(&b->up, 1 << 24);
    wbuf_init(&b->down, 1 << 24);
    size_t used;
    struct orl_gateway_event gev;
    struct orl_client_event cev;
    must(orl_client_start(b->client, &b->up));
    must(orl_gateway_next(b->gateway, wbuf_span(&b->up), &used, &b->down, &gev));
    must(orl_client_next(b->client, wbuf_span(&b->down), &used, &cev));
    wbuf_clear(&b->up);
    wbuf_clear(&b->down);
}

static void print(const char *what, uint64_t ns, size_t frame_bytes)
{
    printf("{\"bench\":\"codec\",\"what\":\"%s\",\"payload_bytes\":%d,\"frame_bytes\":%zu,"
           "\"messages\":%d,\"ns_per_message\":%.1f}\n",
           what, PAYLOAD, frame_bytes, BATCH * ROUNDS, (double)ns / (BATCH * (double)ROUNDS));
}

int main(void)
{
    static struct bench b;
    static struct orl_reply replies[BATCH];
    connect_sessions(&b);
    size_t up_bytes = 0, down_bytes = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t t0 = sc_clock_mono_ns();
        encode_calls(&b);
        up_bytes = b.up.len / BATCH;
        uint64_t t1 = sc_clock_mono_ns();
        decode_calls(&b, replies);
        uint64_t t2 = sc_clock_mono_ns();
        encode_replies(&b, replies);
        down_bytes = b.down.len / BATCH;
        uint64_t t3 = sc_clock_mono_ns();
        decode_replies(&b);
        uint64_t t4 = sc_clock_mono_ns();
        b.encode_call_ns += t1 - t0;
        b.decode_call_ns += t2 - t1;
        b.encode_reply_ns += t3 - t2;
        b.decode_reply_ns += t4 - t3;
    }
    print("encode_call", b.encode_call_ns, up_bytes);
    print("decode_call", b.decode_call_ns, up_bytes);
    print("encode_reply", b.encode_reply_ns, down_bytes);
    print("decode_reply", b.decode_reply_ns, down_bytes);
    wbuf_fini(&b.up);
    wbuf_fini(&b.down);
    orl_client_close(b.client);
    orl_gateway_close(b.gateway);
    return 0;
}
