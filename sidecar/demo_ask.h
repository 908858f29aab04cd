/* The questions of the demo: asks, gathers the events, times, and compares. */
#ifndef SIDECAR_DEMO_ASK_H
#define SIDECAR_DEMO_ASK_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/demo_graph.h"

struct sc_consumer;
struct sc_demo_pipe;

enum { SC_DEMO_ASKS_MAX = 64, SC_DEMO_SHOWN_EVENTS = 10 };

/* One package asked about, and what came. */
struct sc_demo_ask {
    struct sc_demo_asking *asking;
    uint32_t package;
    bool answered;
    struct sc_graph_reply reply;
    uint64_t ns;       /* call to reply */
    uint64_t event_ns; /* call to last event */
    uint8_t *broken;   /* a byte a node, from the events; owned */
    uint32_t events;   /* different packages named by events */
    uint32_t repeats;  /* events that named one again: the stream is at least once */
    uint32_t strange;  /* events whose text is no package of the graph */
    uint32_t together; /* packages, when all were asked at once */
    bool together_differs;
    bool right;
    char verdict[256];
};

struct sc_demo_asking {
    const struct sc_graph *graph; /* the caller sets these, the rest is zero */
    struct sc_demo_pipe *pipe;
    struct sc_consumer *consumer; /* NULL: no gateway; then there are no events */
    const char *provider;
    const uint64_t *grains; /* a node's address */
    struct span expected;   /* the oracle's text; empty: compare with the host's own computation */
    bool quiet;             /* print nothing on the way */

    struct sc_demo_ask asks[SC_DEMO_ASKS_MAX];
    uint32_t ask_count;
    uint64_t messages; /* of the questions asked together */
    uint64_t together_ns;
    uint32_t together;
    uint64_t *latencies_ns; /* sorted; owned */
    uint32_t latency_count;
    char error[512];
};

/* Adds a package to ask about. */
SC_MUST_USE enum sc_status sc_demo_asking_add(struct sc_demo_asking *a, uint32_t package);

/* Asks all of them at once over the socket, `rounds` times; to be called before
 * sc_demo_asking_run, which compares the counts and whose subscriptions would get these events too.
 */
SC_MUST_USE enum sc_status sc_demo_asking_together(struct sc_demo_asking *a, uint32_t rounds);

/* Asks one after the other, waits for the events of each, compares. Wrong answers are in
 * asks[].right; an error return means that asking itself failed. */
SC_MUST_USE enum sc_status sc_demo_asking_run(struct sc_demo_asking *a);

/* Calls a package that nobody needs, one call after the other: the latency of a call. */
SC_MUST_USE enum sc_status sc_demo_asking_latency(struct sc_demo_asking *a, uint32_t package,
                                                  uint32_t calls);

void sc_demo_asking_fini(struct sc_demo_asking *a);

#endif
