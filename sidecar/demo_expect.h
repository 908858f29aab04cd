/* The answers of tests/support/impact_oracle.py against ours. Pure. Its text has for each package
 * asked a line "impact NAME COUNT" and then a line " PACKAGE" for each one that breaks. */
#ifndef SIDECAR_DEMO_EXPECT_H
#define SIDECAR_DEMO_EXPECT_H

#include "sidecar/base/span.h"

struct sc_graph;

struct sc_expect {
    bool found;        /* the text has this package */
    bool whole;        /* it lists as many packages as it says, all of them in the graph */
    uint32_t expected; /* packages it lists */
    uint32_t missing;  /* of those, not in ours */
    uint32_t extra;    /* in ours only */
    struct span first; /* name of the first difference, if any */
};

/* Compares what broke with `package`: a byte for each node of the graph. */
struct sc_expect sc_expect_compare(struct span text, const struct sc_graph *g, uint32_t package,
                                   const uint8_t *broken);

static inline bool sc_expect_equal(const struct sc_expect *e)
{
    return e->found && e->whole && e->missing == 0 && e->extra == 0;
}

#endif
