/* The resident engine on CPU threads, without daemon and socket: host and engine in one process,
 * two threads. Prints one JSON line a figure. All latencies are acknowledged: from before the
 * submission is written until its reply has been read. */
#include "gpu/engine/k_grain.h"
#include "sidecar/base/clock.h"
#include "tests/bench/samples.h"
#include "tests/support/engine_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUND_TRIPS = 300000,
    BATCHED = 10000000,
    HOPS = 20000000,
    SPREAD_GRAINS = 1000000,
    SPREAD_MESSAGES = 8000000,
    STATE_BYTES = 64
};

static void on_echo(void *state, const struct k_message *message, struct k_context *ctx)
{
    (void)state;
    k_reply(ctx, &message->call, message->payload, message->len);
}

/* Type 1 {peer}: remember it. Type 2: pass a token on to the peer until it has hopped often enough.
 */
struct hopper {
    uint64_t peer;
    struct k_call call;
};
struct token {
    uint64_t hops_left;
    uint64_t home;
};

static void on_hop(void *state, const struct k_message *message, struct k_context *ctx)
{
    struct hopper *h = state;
    if (message->type == 1) {
        h->peer = *(const uint64_t *)message->payload;
        return;
    }
    if (message->type == K_ACTIVATE)
        return;
    struct token t = *(const struct token *)message->payload;
    if (message->type == 2) {
        h->call = message->call;
        k_defer(ctx);
        t.home = k_self(ctx);
    } else if (t.hops_left == 0) {
        if (t.home == k_self(ctx)) {
            k_reply(ctx, &h->call, NULL, 0);
            return;
        }
        k_send(ctx, t.home, 3, &t, sizeof t);
        return;
    }
    t.hops_left--;
    k_send(ctx, h->peer, 3, &t, sizeof t);
}

static struct engine_rig_config rig_config(uint32_t grains)
{
    return (struct engine_rig_config){.blocks = 1,
                                      .grains_max = grains,
                                      .messages_max = 1 << 20,
                                      .submit_slots = 4096,
                                      .reply_slots = 4096,
                                      .event_slots = 4096,
                                      .spin_us = 1000000,
                                      .heap_bytes = (uint64_t)grains * STATE_BYTES};
}

static void activate_all(struct engine_rig *rig, uint32_t grains, uint32_t kernel)
{
    struct gpu_envelope r;
    uint32_t sent = 0, done = 0;
    while (done < grains) {
        while (sent < grains && sent - done < 2048 &&
               engine_rig_activate(rig, sent, kernel, STATE_BYTES, sent + 1))
            sent++;
        while (engine_rig_reply(rig, &r))
            done++;
    }
}

static void bench_round_trip(struct engine_rig *rig, uint32_t payload)
{
    uint64_t *ns = malloc(ROUND_TRIPS * sizeof *ns);
    struct gpu_envelope m = {
        .kind = GPU_KIND_CALL, .type = 1, .dst = GPU_HANDLE(1, 0), .call = 1, .len = payload};
    struct gpu_envelope r;
    for (int i = 0; i < ROUND_TRIPS; i++) {
        uint64_t start = sc_clock_mono_ns();
        engine_rig_submit(rig, &m);
        engine_rig_wait_reply(rig, &r);
        ns[i] = sc_clock_mono_ns() - start;
    }
    samples_sort(ns, ROUND_TRIPS);
    printf("{\"bench\":\"ring_round_trip\",\"device\":\"cpu\",\"depth\":1,\"payload_bytes\":%u,"
           "\"samples\":%d,\"p50_ns\":%llu,\"p99_ns\":%llu,\"p999_ns\":%llu,\"max_ns\":%llu}\n",
           payload, ROUND_TRIPS, (unsigned long long)samples_at(ns, ROUND_TRIPS, 500),
           (unsigned long long)samples_at(ns, ROUND_TRIPS, 990),
           (unsigned long long)samples_at(ns, ROUND_TRIPS, 999),
           (unsigned long long)samples_at(ns, ROUND_TRIPS, 1000));
    free(ns);
}

static double pump(struct engine_rig *rig, uint32_t grains, uint32_t messages, uint32_t depth)
{
    struct gpu_envelope m = {.kind = GPU_KIND_CALL, .type = 1, .call = 1, .len = 64};
    struct gpu_envelope r;
    uint32_t sent = 0, done = 0, seed = 1;
    uint64_t start = sc_clock_mono_ns();
    while (done < messages) {
        while (sent < messages && sent - done < depth) {
            seed = seed * 1664525u + 1013904223u;
            m.dst = GPU_HANDLE(1, (uint64_t)(seed >> 8) * grains >> 24);
            if (!engine_rig_submit(rig, &m))
                break;
            sent++;
        }
        while (engine_rig_reply(rig, &r))
            done++;
    }
    return messages / ((double)(sc_clock_mono_ns() - start) / 1e9);
}

static void bench_throughput(struct engine_rig *rig, uint32_t grains)
{
    for (uint32_t depth = 16; depth <= 2048; depth *= 8)
        printf("{\"bench\":\"ring_throughput\",\"device\":\"cpu\",\"blocks\":1,\"grains\":%u,"
               "\"depth\":%u,\"payload_bytes\":64,\"messages\":%d,\"messages_per_s\":%.0f}\n",
               grains, depth, BATCHED, pump(rig, grains, BATCHED, depth));
}

static void bench_hops(struct engine_rig *rig, uint32_t grains, uint32_t tokens)
{
    struct gpu_envelope r;
    for (uint32_t i = 0; i < grains; i++) {
        uint64_t peer = GPU_HANDLE(1, (i + 7919) % grains);
        struct gpu_envelope m = {
            .kind = GPU_KIND_SEND, .type = 1, .dst = GPU_HANDLE(1, i), .len = 8};
        memcpy(m.payload.bytes, &peer, 8);
        while (!engine_rig_submit(rig, &m))
            ;
    }
    struct token t = {.hops_left = HOPS / tokens};
    uint64_t start = sc_clock_mono_ns();
    for (uint32_t i = 0; i < tokens; i++) {
        struct gpu_envelope m = {.kind = GPU_KIND_CALL,
                                 .type = 2,
                                 .dst = GPU_HANDLE(1, (uint64_t)i * grains / tokens),
                                 .call = i + 1,
                                 .len = sizeof t};
        memcpy(m.payload.bytes, &t, sizeof t);
        while (!engine_rig_submit(rig, &m))
            ;
    }
    for (uint32_t i = 0; i < tokens; i++)
        engine_rig_wait_reply(rig, &r);
    double s = (double)(sc_clock_mono_ns() - start) / 1e9;
    printf(
        "{\"bench\":\"grain_to_grain\",\"device\":\"cpu\",\"blocks\":1,\"grains\":%u,\"tokens\":%u,"
        "\"payload_bytes\":16,\"messages\":%u,\"messages_per_s\":%.0f}\n",
        grains, tokens, HOPS / tokens * tokens, HOPS / s);
}

static void with_rig(uint32_t grains,
                     void (*handler)(void *, const struct k_message *, struct k_context *),
                     void (*body)(struct engine_rig *rig, uint32_t grains))
{
    struct gpu_cpu_kernel kernel = {(void (*)(void))handler, 4, 0};
    struct engine_rig_config c = rig_config(grains);
    struct engine_rig rig;
    engine_rig_open(&rig, &c, &kernel, 1);
    activate_all(&rig, grains, 0);
    body(&rig, grains);
    engine_rig_close(&rig);
}

static void echo_small(struct engine_rig *rig, uint32_t grains)
{
    bench_round_trip(rig, 64);
    bench_throughput(rig, grains);
}

static void hop_small(struct engine_rig *rig, uint32_t grains)
{
    bench_hops(rig, grains, 1);
    bench_hops(rig, grains, 256);
}

static void hop_large(struct engine_rig *rig, uint32_t grains)
{
    bench_hops(rig, grains, 4096);
}

int main(void)
{
    with_rig(1024, on_echo, echo_small);
    with_rig(1024, on_hop, hop_small);
    with_rig(1 << 20, on_hop, hop_large);
    with_rig(1 << 20, on_echo, bench_throughput);
    return 0;
}
