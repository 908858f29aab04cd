/* An engine in this process, without daemon, worker or kernel packages: a region in anonymous
 * memory, the CPU backend, handlers given as functions. The caller plays the host's part of the
 * rings. */
#ifndef TESTS_SUPPORT_ENGINE_RIG_H
#define TESTS_SUPPORT_ENGINE_RIG_H

#include "gpu/abi/region.h"
#include "gpu/backend_cpu.h"

#include <stdbool.h>

struct engine_rig_config {
    uint32_t blocks, grains_max, messages_max, submit_slots, reply_slots, event_slots, spin_us;
    uint64_t heap_bytes;
};

struct engine_rig {
    struct gpu_region_header *region;
    struct gpu_control *control;
    struct gpu_block_line *lines;
    struct gpu_envelope *submit, *reply, *event;
    uint8_t *slab;
    struct gpu_cpu *cpu;
    int notify_fd;
    uint64_t submit_at, reply_at, event_at;
};

/* Aborts when anything fails: a test rig. */
void engine_rig_open(struct engine_rig *rig, const struct engine_rig_config *config,
                     const struct gpu_cpu_kernel *kernels, uint32_t kernel_count);
void engine_rig_close(struct engine_rig *rig);

/* Copies a message into the submission ring and wakes the engine; false when the ring is full. */
bool engine_rig_submit(struct engine_rig *rig, const struct gpu_envelope *m);

/* Sends an activation of `slot` with generation 1; state at slot * state_bytes. */
bool engine_rig_activate(struct engine_rig *rig, uint32_t slot, uint32_t kernel,
                         uint32_t state_bytes, uint64_t call);

/* Takes one completion; false when none is there. */
bool engine_rig_reply(struct engine_rig *rig, struct gpu_envelope *out);
bool engine_rig_event(struct engine_rig *rig, struct gpu_envelope *out);

/* Spins until a reply is there; aborts after 20 s. */
void engine_rig_wait_reply(struct engine_rig *rig, struct gpu_envelope *out);

#endif
