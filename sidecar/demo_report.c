#include "sidecar/demo_report.h"

#include "sidecar/demo_ask.h"

#include <stdio.h>

static uint32_t count_right(const struct sc_demo_asking *a)
{
    uint32_t right = 0;
    for (uint32_t i = 0; i < a->ask_count; i++)
        right += a->asks[i].right;
    return right;
}

static double latency_us(const struct sc_demo_asking *a, uint32_t percent)
{
    if (a->latency_count == 0)
        return 0;
    return (double)a->latencies_ns[(uint64_t)(a->latency_count - 1) * percent / 100] / 1e3;
}

static double per_second(uint64_t count, uint64_t ns)
{
    return ns != 0 ? (double)count * 1e9 / (double)ns : 0;
}

static bool verdict(const struct sc_demo_asking *a)
{
    return a->ask_count != 0 && count_right(a) == a->ask_count;
}

bool sc_demo_report_text(const struct sc_demo_report *r)
{
    const struct sc_demo_asking *a = r->asking;
    printf("\n"
           "grains          %u (%u packages, %u virtual names, #waves)\n"
           "edges           %u\n"
           "graph built     %.1f ms, loaded %.1f ms\n"
           "call latency    p50 %.1f us, p99 %.1f us over %u calls %s\n"
           "asked together  %u questions, 4 at a time: %llu messages in %.1f ms, %.2f M a second\n"
           "answers         %u of %u right (%s)\n"
           "%s\n",
           r->graph->node_count + 1, r->graph->package_count,
           r->graph->node_count - r->graph->package_count, r->graph->edge_count,
           (double)r->build_ns / 1e6, (double)r->load_ns / 1e6, latency_us(a, 50),
           latency_us(a, 99), a->latency_count,
           a->consumer != NULL ? "through the gateway" : "over the socket", a->together,
           (unsigned long long)a->messages, (double)a->together_ns / 1e6,
           per_second(a->messages, a->together_ns) / 1e6, count_right(a), a->ask_count,
           a->consumer != NULL ? "sets from the stream's events" : "counts; no gateway, no events",
           verdict(a) ? "PASS" : "FAIL");
    return verdict(a);
}

/* Package names need no escaping: the list's parser takes printable bytes, Debian's names have
 * neither quotes nor backslashes, and what has is written as '?'. */
static void print_name(struct span name)
{
    putchar('"');
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        putchar(c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? '?' : c);
    }
    putchar('"');
}

static void print_ask(const struct sc_graph *g, const struct sc_demo_ask *ask)
{
    printf("{\"package\":");
    print_name(g->nodes[ask->package].name);
    printf(",\"broken\":%u,\"depth\":%u,\"messages\":%llu,\"call_ms\":%.3f,\"events\":%u,"
           "\"repeated_events\":%u,\"events_ms\":%.3f,\"right\":%s}",
           ask->reply.packages, ask->reply.depth, (unsigned long long)ask->reply.messages,
           (double)ask->ns / 1e6, ask->events, ask->repeats, (double)ask->event_ns / 1e6,
           ask->right ? "true" : "false");
}

bool sc_demo_report_json(const struct sc_demo_report *r)
{
    const struct sc_demo_asking *a = r->asking;
    printf("{\"packages\":%u,\"virtual_names\":%u,\"edges\":%u,\"build_ms\":%.3f,"
           "\"load_ms\":%.3f,\"gateway\":%s,\"calls\":%u,\"call_p50_us\":%.1f,"
           "\"call_p99_us\":%.1f,\"together\":%u,\"messages\":%llu,\"together_ms\":%.3f,"
           "\"messages_per_s\":%.0f,\"asks\":[",
           r->graph->package_count, r->graph->node_count - r->graph->package_count,
           r->graph->edge_count, (double)r->build_ns / 1e6, (double)r->load_ns / 1e6,
           a->consumer != NULL ? "true" : "false", a->latency_count, latency_us(a, 50),
           latency_us(a, 99), a->together, (unsigned long long)a->messages,
           (double)a->together_ns / 1e6, per_second(a->messages, a->together_ns));
    for (uint32_t i = 0; i < a->ask_count; i++) {
        if (i != 0)
            putchar(',');
        print_ask(r->graph, &a->asks[i]);
    }
    printf("],\"pass\":%s}\n", verdict(a) ? "true" : "false");
    return verdict(a);
}
