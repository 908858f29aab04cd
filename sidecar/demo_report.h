/* What the demo found, for a person or as JSON, on standard output. */
#ifndef SIDECAR_DEMO_REPORT_H
#define SIDECAR_DEMO_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct sc_graph;
struct sc_demo_asking;

struct sc_demo_report {
    const struct sc_graph *graph;
    const struct sc_demo_asking *asking;
    uint64_t build_ns; /* text to graph */
    uint64_t load_ns;  /* graph to grains */
};

/* Both return whether every answer was right; no answer at all is not right. */
bool sc_demo_report_text(const struct sc_demo_report *r);
bool sc_demo_report_json(const struct sc_demo_report *r);

#endif
