/* The arguments of the command `demo`. */
#ifndef SIDECAR_DEMO_OPTIONS_H
#define SIDECAR_DEMO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Texts are borrowed from argv; NULL: not given and no default. */
struct sc_demo_options {
    const char *socket, *gateway, *cluster_id, *provider, *packages, *ask, *expect;
    uint32_t calls, rounds, credits;
    bool json, keep;
    bool pick; /* only print what would be asked about */
};

/* Reads "demo impact|pick --option ..."; false: wrong, and the usage was printed to standard error.
 */
bool sc_demo_options_read(struct sc_demo_options *o, int argc, char **argv);

/* A decimal number from 0 to max. */
bool sc_demo_read_number(const char *text, uint32_t max, uint32_t *out);

#endif
