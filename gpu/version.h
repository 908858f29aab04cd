/* Versions of kernel packages: N.N.N, compared by number. */
#ifndef GPU_VERSION_H
#define GPU_VERSION_H

#include <stdbool.h>
#include <stdint.h>

struct gpu_version {
    uint32_t part[3];
};

/* Reads "1.2.3": three numbers of 1 to 9 digits without leading zeros. */
bool gpu_version_parse(const char *text, struct gpu_version *out);

/* Below, at or above zero as a is older than, the same as or newer than b. */
int gpu_version_compare(const struct gpu_version *a, const struct gpu_version *b);

#endif
