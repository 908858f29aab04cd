/* What device.c, submit.c and supervise.c share; nobody else includes it. */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include "gpu/abi/region.h"
#include "gpu/arena.h"
#include "gpu/catalog.h"
#include "gpu/gpu.h"

#include <sys/types.h>

/* A request the device owes an answer for. Its token on the device is generation << 32 | index + 1.
 */
struct gpu_pending {
    uint64_t call; /* the owner's token; 0: nobody is told (a large one-way message) */
    uint64_t grain;
    uint64_t slab_offset;
    uint64_t end_after;  /* in the endings list: finished when event_at has come here */
    uint32_t slab_bytes; /* 0: none */
    uint32_t generation;
    uint32_t next_free;
    uint8_t kind;
    uint8_t used;
};

enum gpu_slot_state { GPU_SLOT_FREE, GPU_SLOT_LIVE, GPU_SLOT_ENDING };

struct gpu_slot {
    uint64_t state_offset;
    uint32_t state_bytes;
    uint32_t generation;
    uint32_t next_free;
    uint32_t open; /* messages to it that the device owes an answer for */
    uint16_t kernel;
    uint8_t state;
};

struct gpu_device {
    struct gpu_device_config config; /* strings owned */
    const struct gpu_device_ops *ops;
    void *user;
    const struct sc_log *log;
    enum gpu_device_state state;
    uint32_t epoch;

    int region_fd;
    struct gpu_region_header *region; /* what we wrote; read back only for offsets we keep below */
    struct gpu_control *control;
    struct gpu_block_line *lines;
    struct gpu_envelope *submit, *reply, *event;
    uint8_t *slab;
    uint64_t submit_at, reply_at, event_at;

    struct gpu_catalog catalog;
    char (*kernel_errors)[GPU_KERNEL_TEXT_BYTES]; /* by catalog index; "" is usable once READY */

    struct gpu_arena heap, slabs;
    struct gpu_slot *slots; /* grains_max, committed as touched */
    uint32_t slots_fresh, slots_free, grains;
    struct gpu_pending *pendings; /* reply_slots */
    uint32_t pending_fresh, pending_free, pending_count;
    uint32_t endings; /* deactivations that wait for the grains' last events */

    char limit[160]; /* gpu_device_limit */

    int notify_fd, control_fd;
    pid_t worker;
    uint64_t down_since_ns, restart_delay_ns, ready_since_ns, heard_ns;
    uint32_t restarts;
    struct gpu_progress {
        uint64_t sum, since_ns;
    } * progress; /* by block */
};

#define GPU_NO_INDEX 0xffffffffu

/* device.c, for supervise.c: forgets all grains and pendings, empties the rings, for a new worker.
 */
void gpu_device_wipe(struct gpu_device *dev);

/* True for a message to a grain; counted in its slot. */
static inline bool gpu_pending_is_message(const struct gpu_pending *p)
{
    return p->kind == GPU_KIND_CALL || p->kind == GPU_KIND_SEND;
}

/* device.c: ends a request, gives its slab back, tells its owner. */
void gpu_pending_finish(struct gpu_device *dev, struct gpu_pending *p, enum sc_status status,
                        struct span payload, struct span text);

/* submit.c: wakes block 0 if it is parked. */
void gpu_doorbell(struct gpu_device *dev);

/* submit.c: gives a grain's slot and state back. */
void gpu_slot_free(struct gpu_device *dev, uint32_t slot);

/* supervise.c */
SC_MUST_USE enum sc_status gpu_worker_start(struct gpu_device *dev);
void gpu_worker_notes(struct gpu_device *dev);
void gpu_worker_kill(struct gpu_device *dev);

#endif
