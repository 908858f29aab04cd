#include "gpu/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FINE_STEP = 16, FINE_MAX = 256, FINE_CLASSES = FINE_MAX / FINE_STEP };

/* Up to 256 bytes: steps of 16. Above: four classes between one power of two and the next. */
static uint32_t class_of(uint64_t bytes, uint64_t *rounded_out)
{
    if (bytes <= FINE_MAX) {
        uint64_t units = bytes == 0 ? 1 : (bytes + FINE_STEP - 1) / FINE_STEP;
        *rounded_out = units * FINE_STEP;
        return (uint32_t)units - 1;
    }
    uint32_t power =
        63u - (uint32_t)__builtin_clzll(bytes - 1); /* 2^power < bytes <= 2^(power+1) */
    uint64_t step = (1ull << power) / 4;
    uint64_t quarters = (bytes - (1ull << power) + step - 1) / step; /* 1..4 */
    *rounded_out = (1ull << power) + quarters * step;
    return FINE_CLASSES + (power - 8) * 4 + (uint32_t)quarters - 1;
}

void gpu_arena_init(struct gpu_arena *arena, uint64_t bytes)
{
    memset(arena, 0, sizeof *arena);
    arena->bytes = bytes;
}

void gpu_arena_fini(struct gpu_arena *arena)
{
    for (int i = 0; i < GPU_ARENA_CLASSES; i++)
        free(arena->lists[i].offsets);
    memset(arena, 0, sizeof *arena);
}

void gpu_arena_reset(struct gpu_arena *arena)
{
    arena->bump = 0;
    arena->used = 0;
    for (int i = 0; i < GPU_ARENA_CLASSES; i++)
        arena->lists[i].count = 0;
}

enum sc_status gpu_arena_take(struct gpu_arena *arena, uint64_t bytes, uint64_t *offset_out)
{
    if (bytes > 1ull << 40)
        return SC_ERR_BUSY;
    uint64_t rounded;
    struct gpu_arena_list *list = &arena->lists[class_of(bytes, &rounded)];
    if (list->count != 0) {
        *offset_out = list->offsets[--list->count];
    } else if (rounded <= arena->bytes - arena->bump) {
        *offset_out = arena->bump;
        arena->bump += rounded;
    } else {
        return SC_ERR_BUSY;
    }
    arena->used += rounded;
    return SC_OK;
}

void gpu_arena_give(struct gpu_arena *arena, uint64_t offset, uint64_t bytes)
{
    uint64_t rounded;
    struct gpu_arena_list *list = &arena->lists[class_of(bytes, &rounded)];
    assert(rounded <= arena->used && offset + rounded <= arena->bump);
    arena->used -= rounded;
    if (offset + rounded == arena->bump) {
        arena->bump = offset;
        return;
    }
    if (list->count == list->cap) {
        uint32_t cap = list->cap != 0 ? list->cap * 2 : 64;
        uint64_t *offsets = realloc(list->offsets, cap * sizeof *offsets);
        if (offsets == NULL)
            return; /* the range is lost until the next reset, nothing else is */
        list->offsets = offsets;
        list->cap = cap;
    }
    list->offsets[list->count++] = offset;
}
