/* A package graph loaded into the impact kernel in the harness: the demo's road without sockets. */
#ifndef TESTS_SUPPORT_IMPACT_GRAPH_H
#define TESTS_SUPPORT_IMPACT_GRAPH_H

#include "sidecar/demo_graph.h"
#include "tests/support/kernel_harness.h"

enum { IMPACT_ASKS_MAX = 64, IMPACT_WAITING = 1024 };

/* One question and what came of it. */
struct impact_ask {
    uint32_t package;
    bool ended, failed;
    char text[80]; /* when it failed */
    struct sc_graph_reply reply;
    uint8_t *broken;   /* a byte a node, from the events */
    uint32_t events;   /* all of them */
    uint32_t repeated; /* events for a package that had broken already */
    uint32_t foreign;  /* events after the reply */
};

struct impact_graph {
    const struct sc_graph *graph;
    struct kernel_harness *harness;
    uint64_t waves;   /* address of #waves */
    uint64_t *grains; /* a node's address */
    struct impact_ask asks[IMPACT_ASKS_MAX];
    uint32_t ask_count;
    uint32_t failures; /* of activations and loads */
};

/* Activates and loads everything. graph is borrowed. seed as in kernel_harness.h. */
void impact_graph_open(struct impact_graph *g, const struct sc_graph *graph, uint64_t seed,
                       uint32_t credits, uint32_t waiting_max);
void impact_graph_close(struct impact_graph *g);

/* Puts a question into the package's mailbox; its answer appears in asks[result]. Questions about
 * one package at the same time share a stream, so their events count for the first of them. */
uint32_t impact_graph_ask(struct impact_graph *g, uint32_t package);

/* Runs until nothing is left to do. */
void impact_graph_run(struct impact_graph *g);

/* Forgets the answers, not the graph. */
void impact_graph_clear(struct impact_graph *g);

#endif
