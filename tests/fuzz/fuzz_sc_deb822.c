/* Any bytes as a package list: a graph whose parts hold together, or a refusal that names a line.
 */
#include "sidecar/deb822.h"
#include "sidecar/demo_graph.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct sc_graph g;
    char error[SC_DEB822_ERROR_BYTES] = "";
    if (sc_graph_build(span_of(data, len), &g, error) != SC_OK) {
        assert(error[0] != 0);
        return 0;
    }
    uint8_t *broken = malloc(g.node_count + (size_t)1);
    for (uint32_t i = 0; i < g.edge_count; i++) {
        const struct sc_graph_node *to = &g.nodes[g.edges[i].to];
        assert(g.edges[i].to < g.node_count && g.edges[i].clause < to->clause_count);
    }
    for (uint32_t i = 0; i < g.package_count && i < 16; i++) {
        assert(sc_graph_find(&g, g.nodes[i].name) == i);
        assert(sc_graph_impact(&g, i, broken) < g.package_count);
    }
    free(broken);
    sc_graph_free(&g);
    return 0;
}
