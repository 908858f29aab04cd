#ifndef SIDECAR_BASE_CLOCK_H
#define SIDECAR_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic nanoseconds since an arbitrary start; comparable between processes of one machine. */
uint64_t sc_clock_mono_ns(void);

/* Nanoseconds since 1970-01-01 UTC. For stamps people or other machines read, never for intervals.
 */
uint64_t sc_clock_wall_ns(void);

#endif
