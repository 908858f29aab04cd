#include "tests/support/impact_graph.h"

#include "sidecar/base/wbuf.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOADING = 1u << 20 }; /* calls from here on are activations and loads */

void k_handler_impact(void *state, const struct k_message *message, struct k_context *ctx);

static void on_answer(void *user, const struct kernel_answer *answer)
{
    struct impact_graph *g = user;
    if (answer->call >= LOADING) {
        if (answer->failed) {
            fprintf(stderr, "loading: %s\n", answer->text);
            g->failures++;
        }
        return;
    }
    struct impact_ask *a = &g->asks[answer->call - 1];
    a->ended = true;
    a->failed = answer->failed;
    if (answer->failed)
        snprintf(a->text, sizeof a->text, "%s", answer->text);
    else if (sc_graph_read_reply(answer->payload, &a->reply) != SC_OK)
        a->failed = true;
}

static struct impact_ask *ask_of_stream(struct impact_graph *g, uint64_t stream)
{
    for (uint32_t i = 0; i < g->ask_count; i++)
        if (g->grains[g->asks[i].package] == stream)
            return &g->asks[i];
    return NULL;
}

static void on_event(void *user, uint16_t event, uint64_t source, uint64_t stream,
                     struct span payload)
{
    (void)event;
    (void)source;
    struct impact_graph *g = user;
    struct impact_ask *a = ask_of_stream(g, stream);
    int64_t node = sc_graph_find(g->graph, payload);
    if (a == NULL || node < 0)
        abort();
    a->events++;
    a->foreign += a->ended;
    a->repeated += a->broken[node];
    a->broken[node] = 1;
}

static void load_edges(struct impact_graph *g, uint32_t node, struct wbuf *w)
{
    uint32_t total = g->graph->nodes[node].edge_count;
    for (uint32_t first = 0; first < total; first += SC_GRAPH_EDGES_A_PIECE) {
        uint32_t left = total - first;
        wbuf_clear(w);
        sc_graph_write_edges(g->graph, node, first,
                             left < SC_GRAPH_EDGES_A_PIECE ? left : SC_GRAPH_EDGES_A_PIECE,
                             g->grains, w);
        kernel_harness_send(g->harness, g->grains[node], SC_GRAPH_MSG_LOAD, wbuf_span(w), LOADING);
    }
}

void impact_graph_open(struct impact_graph *g, const struct sc_graph *graph, uint64_t seed,
                       uint32_t credits, uint32_t waiting_max)
{
    struct kernel_harness_config config = {.handler = k_handler_impact,
                                           .sends_max = 64,
                                           .emits_max = 1,
                                           .reply_max = 80,
                                           .seed = seed,
                                           .on_answer = on_answer,
                                           .on_event = on_event,
                                           .user = g};
    struct wbuf w;
    wbuf_init(&w, 1u << 20);
    *g = (struct impact_graph){.graph = graph, .harness = kernel_harness_open(&config)};
    g->grains = malloc((graph->node_count + (size_t)1) * sizeof g->grains[0]);
    if (g->grains == NULL)
        abort();
    sc_graph_write_waves(credits, &w);
    g->waves = kernel_harness_activate(g->harness,
                                       SC_GRAPH_FIXED_BYTES + waiting_max * SC_GRAPH_WAITING_BYTES,
                                       wbuf_span(&w), LOADING);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        wbuf_clear(&w);
        sc_graph_write_start(graph, i, g->waves, &w);
        g->grains[i] = kernel_harness_activate(g->harness, sc_graph_state_bytes(graph, i),
                                               wbuf_span(&w), LOADING);
    }
    for (uint32_t i = 0; i < graph->node_count; i++)
        load_edges(g, i, &w);
    wbuf_fini(&w);
    impact_graph_run(g);
}

void impact_graph_clear(struct impact_graph *g)
{
    for (uint32_t i = 0; i < g->ask_count; i++)
        free(g->asks[i].broken);
    g->ask_count = 0;
}

void impact_graph_close(struct impact_graph *g)
{
    impact_graph_clear(g);
    kernel_harness_close(g->harness);
    free(g->grains);
}

uint32_t impact_graph_ask(struct impact_graph *g, uint32_t package)
{
    if (g->ask_count == IMPACT_ASKS_MAX)
        abort();
    uint32_t at = g->ask_count++;
    g->asks[at] =
        (struct impact_ask){.package = package, .broken = calloc(g->graph->node_count, 1)};
    if (g->asks[at].broken == NULL)
        abort();
    kernel_harness_send(g->harness, g->grains[package], SC_GRAPH_MSG_IMPACT, span_of(NULL, 0),
                        at + 1);
    return at;
}

void impact_graph_run(struct impact_graph *g)
{
    while (kernel_harness_run(g->harness, 1u << 20))
        continue;
}
