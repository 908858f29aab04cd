/* The CPU device: one thread a block runs the resident engine. Worker process only. */
#ifndef GPU_BACKEND_CPU_H
#define GPU_BACKEND_CPU_H

#include "sidecar/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct gpu_region_header;
struct gpu_cpu;

/* A kernel ready to run: the handler of its loaded shared object (k_handler_<id>), or NULL when the
 * package is unusable. */
struct gpu_cpu_kernel {
    void (*handler)(void);
    uint32_t sends_max;
    uint32_t emits_max;
};

/* Allocates device memory for a region and starts its blocks; region is the mapped memfd, kernels
 * has kernel_count rows. Both must outlive the device; notify_fd is an eventfd written when the
 * host waits. SC_ERR_NO_MEMORY, SC_ERR_SYSTEM (a thread did not start). */
SC_MUST_USE enum sc_status gpu_cpu_open(struct gpu_region_header *region,
                                        const struct gpu_cpu_kernel *kernels, uint32_t kernel_count,
                                        int notify_fd, struct gpu_cpu **cpu_out);

/* Waits until every block has seen the host's stop word, frees device memory. */
void gpu_cpu_close(struct gpu_cpu *cpu);

#endif
