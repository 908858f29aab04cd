/* A package graph into the daemon: one grain of the kernel `impact` for every node, then their
 * edges. A package's grain has the package's name as its key, a virtual name's "virtual:NAME". */
#ifndef SIDECAR_DEMO_LOAD_H
#define SIDECAR_DEMO_LOAD_H

#include "sidecar/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct sc_demo_pipe;
struct sc_graph;

/* Questions that may wait for a lane: as many as one client can have in flight. */
enum { SC_DEMO_WAITING_MAX = 4096 };

struct sc_demo_load {
    struct sc_demo_pipe *pipe; /* the caller sets these three, the rest is zero */
    const struct sc_graph *graph;
    uint32_t credits; /* of a wave: messages it may have in flight */

    uint64_t *grains; /* a node's address; behind them that of #waves; 0: none. Owned. */
    bool *stale;      /* the grain was there from an earlier run; owned */
    uint32_t made_again;
    uint32_t failures;
    char error[512]; /* of the first failure */
};

/* Activates and loads everything; grains left by an earlier run are deactivated and made anew. On
 * failure error says why; then and later sc_demo_unload must be called. */
SC_MUST_USE enum sc_status sc_demo_load(struct sc_demo_load *l);

/* Deactivates all that is active, unless keep, and frees. */
void sc_demo_unload(struct sc_demo_load *l, bool keep);

#endif
