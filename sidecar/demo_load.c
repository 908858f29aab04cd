#include "sidecar/demo_load.h"

#include "sidecar/demo_graph.h"
#include "sidecar/demo_pipe.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAYLOAD_MAX_BYTES = 1 << 24, KEY_MAX_BYTES = 256 };

static struct span name_of(const struct sc_demo_load *l, uint64_t node)
{
    return node < l->graph->node_count ? l->graph->nodes[node].name : span_of_str("#waves");
}

static void note_failure(struct sc_demo_load *l, uint64_t node, const char *doing,
                         const struct sc_shim_response *r)
{
    if (l->failures++ == 0)
        snprintf(l->error, sizeof l->error, "%s %.*s: %s: %.*s", doing, SPAN_ARG(name_of(l, node)),
                 sc_status_name((enum sc_status)r->code), SPAN_ARG(r->text));
}

static void on_activated(void *user, uint64_t node, const struct sc_shim_response *r)
{
    struct sc_demo_load *l = user;
    if (r->kind != SC_SHIM_ACTIVATED) {
        note_failure(l, node, "activating", r);
        return;
    }
    l->grains[node] = r->grain;
    l->stale[node] = !r->created;
}

static void on_deactivated(void *user, uint64_t node, const struct sc_shim_response *r)
{
    struct sc_demo_load *l = user;
    if (r->kind == SC_SHIM_ERROR)
        note_failure(l, node, "deactivating", r);
    else
        l->grains[node] = 0;
}

static void on_loaded(void *user, uint64_t node, const struct sc_shim_response *r)
{
    if (r->kind == SC_SHIM_ERROR)
        note_failure(user, node, "loading", r);
}

static enum sc_status activate(struct sc_demo_load *l, uint32_t node, struct wbuf *init)
{
    const struct sc_graph *g = l->graph;
    char key[KEY_MAX_BYTES];
    bool is_waves = node == g->node_count;
    wbuf_clear(init);
    if (is_waves)
        sc_graph_write_waves(l->credits, init);
    else
        sc_graph_write_start(g, node, l->grains[g->node_count], init);
    snprintf(key, sizeof key, "%s%.*s", !is_waves && g->nodes[node].is_virtual ? "virtual:" : "",
             SPAN_ARG(name_of(l, node)));
    struct sc_shim_request r = {
        .kind = SC_SHIM_ACTIVATE,
        .kernel = span_of_str("impact"),
        .key = span_of_str(key),
        .state_bytes = is_waves
                           ? SC_GRAPH_FIXED_BYTES + SC_DEMO_WAITING_MAX * SC_GRAPH_WAITING_BYTES
                           : sc_graph_state_bytes(g, node),
        .payload = wbuf_span(init)};
    return sc_demo_pipe_ask(l->pipe, &r, on_activated, l, node);
}

static enum sc_status deactivate(struct sc_demo_load *l, uint32_t node)
{
    struct sc_shim_request r = {.kind = SC_SHIM_DEACTIVATE, .grain = l->grains[node]};
    return sc_demo_pipe_ask(l->pipe, &r, on_deactivated, l, node);
}

static enum sc_status finish(struct sc_demo_load *l, enum sc_status st)
{
    if (st == SC_OK)
        st = sc_demo_pipe_drain(l->pipe);
    if (st != SC_OK && l->error[0] == 0)
        snprintf(l->error, sizeof l->error, "%s", l->pipe->client->error);
    return st == SC_OK && l->failures != 0 ? SC_ERR_KERNEL : st;
}

/* Makes the grains of [first, end). What an earlier run left has another graph in its state. */
static enum sc_status activate_range(struct sc_demo_load *l, uint32_t first, uint32_t end,
                                     struct wbuf *init)
{
    enum sc_status st = SC_OK;
    for (uint32_t i = first; i < end && st == SC_OK; i++)
        st = activate(l, i, init);
    st = finish(l, st);
    for (uint32_t i = first; i < end && st == SC_OK; i++)
        if (l->stale[i])
            st = deactivate(l, i);
    if (st == SC_OK)
        st = finish(l, st);
    for (uint32_t i = first; i < end && st == SC_OK; i++) {
        if (!l->stale[i])
            continue;
        l->made_again++;
        st = activate(l, i, init);
    }
    return st == SC_OK ? finish(l, st) : st;
}

static enum sc_status load_edges(struct sc_demo_load *l, uint32_t node, struct wbuf *piece)
{
    uint32_t total = l->graph->nodes[node].edge_count;
    enum sc_status st = SC_OK;
    for (uint32_t first = 0; first < total && st == SC_OK; first += SC_GRAPH_EDGES_A_PIECE) {
        uint32_t left = total - first;
        uint32_t count = left < SC_GRAPH_EDGES_A_PIECE ? left : SC_GRAPH_EDGES_A_PIECE;
        wbuf_clear(piece);
        sc_graph_write_edges(l->graph, node, first, count, l->grains, piece);
        struct sc_shim_request r = {.kind = SC_SHIM_CALL,
                                    .grain = l->grains[node],
                                    .type = SC_GRAPH_MSG_LOAD,
                                    .payload = wbuf_span(piece)};
        st = sc_demo_pipe_ask(l->pipe, &r, on_loaded, l, node);
    }
    return st;
}

enum sc_status sc_demo_load(struct sc_demo_load *l)
{
    uint32_t nodes = l->graph->node_count;
    l->grains = calloc(nodes + (size_t)1, sizeof l->grains[0]);
    l->stale = calloc(nodes + (size_t)1, sizeof l->stale[0]);
    if (l->grains == NULL || l->stale == NULL) {
        snprintf(l->error, sizeof l->error, "out of memory");
        return SC_ERR_NO_MEMORY;
    }
    struct wbuf w;
    wbuf_init(&w, PAYLOAD_MAX_BYTES);
    enum sc_status st = activate_range(l, nodes, nodes + 1, &w);
    if (st == SC_OK)
        st = activate_range(l, 0, nodes, &w);
    for (uint32_t i = 0; i < nodes && st == SC_OK; i++)
        st = load_edges(l, i, &w);
    wbuf_fini(&w);
    return st == SC_OK || l->error[0] == 0 ? finish(l, st) : st;
}

void sc_demo_unload(struct sc_demo_load *l, bool keep)
{
    enum sc_status st = SC_OK;
    for (uint32_t i = 0; l->grains != NULL && !keep && i <= l->graph->node_count && st == SC_OK;
         i++)
        if (l->grains[i] != 0)
            st = deactivate(l, i);
    /* what cannot be taken back any more goes with the daemon */
    if (st == SC_OK && !keep)
        st = sc_demo_pipe_drain(l->pipe);
    free(l->grains);
    free(l->stale);
    l->grains = NULL;
    l->stale = NULL;
}
