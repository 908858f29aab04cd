#include "sidecar/demo_graph.h"

#include "sidecar/base/wbuf.h"

#include <stdlib.h>

void sc_graph_free(struct sc_graph *g)
{
    if (g == NULL)
        return;
    free(g->nodes);
    free(g->edges);
    free(g->alternatives);
    *g = (struct sc_graph){0};
}

int64_t sc_graph_find(const struct sc_graph *g, struct span name)
{
    uint32_t low = 0;
    uint32_t high = g->package_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        struct span at = g->nodes[mid].name;
        size_t n = at.len < name.len ? at.len : name.len;
        int order = n != 0 ? memcmp(at.ptr, name.ptr, n) : 0;
        if (order == 0)
            order = (at.len > name.len) - (at.len < name.len);
        if (order == 0)
            return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}

static int by_need(const void *left, const void *right, void *graph)
{
    const struct sc_graph *g = graph;
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    uint32_t x = g->nodes[a].edge_count;
    uint32_t y = g->nodes[b].edge_count;
    return x != y ? (x < y) - (x > y) : (a > b) - (a < b);
}

void sc_graph_rank(const struct sc_graph *g, uint32_t *order)
{
    for (uint32_t i = 0; i < g->package_count; i++)
        order[i] = i;
    if (g->package_count != 0)
        qsort_r(order, g->package_count, sizeof order[0], by_need, (void *)g);
}

/* Visits the edges of everything that broke, once each. */
static uint32_t spread(const struct sc_graph *g, uint32_t *queue, uint16_t *left, uint8_t *broken)
{
    uint32_t packages = 0;
    uint32_t count = 1;
    for (uint32_t head = 0; head < count; head++) {
        const struct sc_graph_node *from = &g->nodes[queue[head]];
        for (uint32_t i = 0; i < from->edge_count; i++) {
            const struct sc_graph_edge *e = &g->edges[from->first_edge + i];
            const struct sc_graph_node *to = &g->nodes[e->to];
            if (--left[to->first_clause + e->clause] != 0 || broken[e->to])
                continue;
            broken[e->to] = 1;
            packages += !to->is_virtual;
            queue[count++] = e->to;
        }
    }
    return packages;
}

uint32_t sc_graph_impact(const struct sc_graph *g, uint32_t package, uint8_t *broken)
{
    uint32_t packages = 0;
    uint16_t *left = malloc((g->clause_count + (size_t)1) * sizeof left[0]);
    uint32_t *queue = malloc(g->node_count * sizeof queue[0]);
    if (left == NULL || queue == NULL)
        abort();
    if (g->clause_count != 0)
        memcpy(left, g->alternatives, g->clause_count * sizeof left[0]);
    memset(broken, 0, g->node_count);
    broken[package] = 1;
    queue[0] = package;
    packages = spread(g, queue, left, broken);
    broken[package] = 0;
    free(queue);
    free(left);
    return packages;
}

uint32_t sc_graph_state_bytes(const struct sc_graph *g, uint32_t node)
{
    const struct sc_graph_node *n = &g->nodes[node];
    uint32_t counters = (n->clause_count * 10 + 7) & ~7u;
    return SC_GRAPH_FIXED_BYTES + counters + n->edge_count * SC_GRAPH_EDGE_BYTES;
}

void sc_graph_write_start(const struct sc_graph *g, uint32_t node, uint64_t waves, struct wbuf *to)
{
    const struct sc_graph_node *n = &g->nodes[node];
    wb_u32le(to, n->is_virtual ? 2 : 1);
    wb_u32le(to, (uint32_t)n->name.len);
    wb_u32le(to, n->clause_count);
    wb_u32le(to, n->edge_count);
    wb_u64le(to, waves);
    for (uint32_t i = 0; i < n->clause_count; i++) {
        uint16_t count = g->alternatives[n->first_clause + i];
        wb_u8(to, (uint8_t)count);
        wb_u8(to, (uint8_t)(count >> 8));
    }
    wb_span(to, n->name);
}

void sc_graph_write_waves(uint32_t credits, struct wbuf *to)
{
    wb_u32le(to, 3);
    wb_u32le(to, credits);
}

void sc_graph_write_edges(const struct sc_graph *g, uint32_t node, uint32_t first, uint32_t count,
                          const uint64_t *grains, struct wbuf *to)
{
    wb_u32le(to, first);
    wb_u32le(to, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct sc_graph_edge *e = &g->edges[g->nodes[node].first_edge + first + i];
        wb_u64le(to, grains[e->to]);
        wb_u32le(to, e->clause);
        wb_u32le(to, 0);
    }
}

enum sc_status sc_graph_read_reply(struct span payload, struct sc_graph_reply *out)
{
    struct reader r = reader_of(payload);
    struct sc_graph_reply reply;
    reply.packages = rd_u32le(&r);
    reply.depth = rd_u32le(&r);
    reply.messages = rd_u64le(&r);
    reply.wave = rd_u32le(&r);
    reply.lane = rd_u32le(&r);
    if (r.bad)
        return SC_ERR_PROTOCOL;
    *out = reply;
    return SC_OK;
}
