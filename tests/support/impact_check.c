/* Compares the impact kernel, run in the harness, with impact_oracle.py on a real package list.
 * Usage: impact_check PACKAGES EXPECTED NAME[,NAME...] */
#include "sidecar/base/clock.h"
#include "sidecar/demo_expect.h"
#include "tests/support/files.h"
#include "tests/support/impact_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CREDITS = 4096 };

static bool check_one(struct impact_graph *g, const struct impact_ask *a, struct span expected)
{
    const struct sc_graph *graph = g->graph;
    uint8_t *host = calloc(graph->node_count, 1);
    if (host == NULL)
        abort();
    uint32_t host_count = sc_graph_impact(graph, a->package, host);
    bool same = host_count == a->reply.packages;
    for (uint32_t i = 0; i < graph->package_count; i++)
        same &= host[i] == a->broken[i];
    free(host);
    struct sc_expect e = sc_expect_compare(expected, graph, a->package, a->broken);
    bool good = same && sc_expect_equal(&e) && a->ended && !a->failed && a->repeated == 0 &&
                a->foreign == 0 && a->reply.packages == a->events;
    printf("%s %.*s broken %u depth %u messages %llu expected %u missing %u extra %u %.*s\n",
           good ? "same     " : "DIFFERENT", SPAN_ARG(graph->nodes[a->package].name),
           a->reply.packages, a->reply.depth, (unsigned long long)a->reply.messages, e.expected,
           e.missing, e.extra, SPAN_ARG(e.first));
    return good;
}

static bool ask_all(struct impact_graph *g, char *names)
{
    for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
        int64_t at = sc_graph_find(g->graph, span_of_str(name));
        if (at < 0) {
            printf("no package %s\n", name);
            return false;
        }
        impact_graph_ask(g, (uint32_t)at);
    }
    return true;
}

static bool check(const struct sc_graph *graph, struct span expected, char *names)
{
    struct impact_graph g;
    impact_graph_open(&g, graph, 0, CREDITS, IMPACT_WAITING);
    struct kernel_harness_stats loaded = kernel_harness_stats(g.harness);
    bool good = ask_all(&g, names) && g.failures == 0;
    uint64_t start_ns = sc_clock_mono_ns();
    impact_graph_run(&g);
    uint64_t ns = sc_clock_mono_ns() - start_ns;
    for (uint32_t i = 0; i < g.ask_count; i++)
        good &= check_one(&g, &g.asks[i], expected);
    struct kernel_harness_stats s = kernel_harness_stats(g.harness);
    printf("%u nodes %u edges; %u questions: %llu messages, %llu rounds, %llu in flight at most, "
           "%.0f ns a message\n",
           graph->node_count, graph->edge_count, g.ask_count,
           (unsigned long long)(s.handled - loaded.handled), (unsigned long long)s.rounds,
           (unsigned long long)s.in_flight_peak, (double)ns / (double)(s.handled - loaded.handled));
    good &= s.over_limit == 0;
    impact_graph_close(&g);
    return good;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: impact_check PACKAGES EXPECTED NAME[,NAME...]\n");
        return 2;
    }
    size_t list_len = 0;
    size_t expected_len = 0;
    uint8_t *list = test_file_read(argv[1], &list_len);
    uint8_t *expected = test_file_read(argv[2], &expected_len);
    struct sc_graph graph;
    char error[256] = "a file cannot be read";
    bool good = false;
    if (list != NULL && expected != NULL &&
        sc_graph_build(span_of(list, list_len), &graph, error) == SC_OK) {
        good = check(&graph, span_of(expected, expected_len), argv[3]);
        sc_graph_free(&graph);
    } else {
        printf("%s: %s\n", argv[1], error);
    }
    free(list);
    free(expected);
    printf("%s\n", good ? "PASS" : "FAIL");
    return good ? 0 : 1;
}
