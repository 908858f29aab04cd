/* The graph of "what breaks when this package is removed", from a package list. Nodes are packages
 * and virtual names; what an edge and a clause mean says gpu/kernels/impact/1.0.0/impact.c, whose
 * payloads this module writes. Pure.
 *
 * The rules: of a dpkg status file only packages "install ok installed" count; of a name that comes
 * several times the highest version. A clause that nothing in the list satisfies is left out (it
 * was not satisfied before, so it cannot break). An alternative with a version is satisfied by the
 * real package or by a versioned Provides with such a version. ":any" is dropped; another qualifier
 * asks for a package of that architecture. */
#ifndef SIDECAR_DEMO_GRAPH_H
#define SIDECAR_DEMO_GRAPH_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct wbuf;

/* "node `from` is an alternative in clause `clause` of node `to`". */
struct sc_graph_edge {
    uint32_t to;
    uint32_t clause;
};

struct sc_graph_node {
    struct span name; /* borrowed from the list's text */
    bool is_virtual;
    uint32_t clause_count;
    uint32_t first_clause; /* in sc_graph.alternatives */
    uint32_t edge_count;
    uint32_t first_edge; /* in sc_graph.edges */
};

/* Packages first, in the order of their names, then virtual names. */
struct sc_graph {
    struct sc_graph_node *nodes;
    struct sc_graph_edge *edges;
    uint16_t *alternatives; /* how many each clause has */
    uint32_t node_count, package_count, edge_count, clause_count;
};

/* Builds the graph of a list's text, which must outlive it. SC_ERR_PROTOCOL: the text is malformed;
 * SC_ERR_LIMIT: a package with over 65535 clauses or alternatives; error (SC_DEB822_ERROR_BYTES)
 * names the line. */
SC_MUST_USE enum sc_status sc_graph_build(struct span text, struct sc_graph *out, char *error);
void sc_graph_free(struct sc_graph *g);

/* Index of a package, or -1. */
int64_t sc_graph_find(const struct sc_graph *g, struct span name);

/* All packages, the one most others name as an alternative first; order has package_count. */
void sc_graph_rank(const struct sc_graph *g, uint32_t *order);

/* The packages that break with `package`, itself not among them, found on the host: broken has
 * node_count bytes, set to 0 or 1 for every node. Returns how many packages. */
uint32_t sc_graph_impact(const struct sc_graph *g, uint32_t package, uint8_t *broken);

enum {
    SC_GRAPH_FIXED_BYTES = 512,
    SC_GRAPH_WAITING_BYTES = 24,
    SC_GRAPH_EDGE_BYTES = 16,
    SC_GRAPH_EDGES_A_PIECE = 3840, /* in one Load message: 60 KiB */
    SC_GRAPH_MSG_IMPACT = 1,
    SC_GRAPH_MSG_LOAD = 2
};

/* State size and activation payload of a node; of the grain #waves. */
uint32_t sc_graph_state_bytes(const struct sc_graph *g, uint32_t node);
void sc_graph_write_start(const struct sc_graph *g, uint32_t node, uint64_t waves, struct wbuf *to);
void sc_graph_write_waves(uint32_t credits, struct wbuf *to);

/* A Load message with edges [first, first + count) of a node; grains holds every node's address. */
void sc_graph_write_edges(const struct sc_graph *g, uint32_t node, uint32_t first, uint32_t count,
                          const uint64_t *grains, struct wbuf *to);

/* The answer to Impact. */
struct sc_graph_reply {
    uint32_t packages, depth;
    uint64_t messages;
    uint32_t wave, lane;
};
SC_MUST_USE enum sc_status sc_graph_read_reply(struct span payload, struct sc_graph_reply *out);

#endif
