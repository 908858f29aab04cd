/* Hands out byte ranges of memory it never touches: the device's state heap and the slab arena.
 * Size classes with free lists over a bump pointer: constant time, at most 25 % lost to rounding
 * above 256 bytes (15 bytes below), nothing kept in the memory itself, which a kernel may
 * overwrite. A class's free ranges serve that class only. Not shared between threads. */
#ifndef GPU_ARENA_H
#define GPU_ARENA_H

#include "sidecar/base/status.h"

#include <stdint.h>

enum { GPU_ARENA_CLASSES = 160 };

struct gpu_arena_list {
    uint64_t *offsets; /* owned */
    uint32_t count, cap;
};

struct gpu_arena {
    uint64_t bytes;
    uint64_t bump;
    uint64_t used; /* bytes handed out, rounded as they were */
    struct gpu_arena_list lists[GPU_ARENA_CLASSES];
};

void gpu_arena_init(struct gpu_arena *arena, uint64_t bytes);
void gpu_arena_fini(struct gpu_arena *arena);

/* Forgets everything handed out. */
void gpu_arena_reset(struct gpu_arena *arena);

/* A range of at least `bytes` (1 .. 2^40), its offset a multiple of 16. SC_ERR_BUSY: the arena is
 * full. */
SC_MUST_USE enum sc_status gpu_arena_take(struct gpu_arena *arena, uint64_t bytes,
                                          uint64_t *offset_out);

/* Gives back a range with the size it was asked for. */
void gpu_arena_give(struct gpu_arena *arena, uint64_t offset, uint64_t bytes);

#endif
