#include "sidecar/grains.h"

#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gpu/abi/envelope.h"

enum sc_status sc_grains_init(struct sc_grains *grains, uint32_t max)
{
    uint32_t size = 1;
    while (size < max && size < 1u << 31)
        size *= 2;
    *grains = (struct sc_grains){.max = size};
    grains->buckets = calloc(size, sizeof(struct sc_grain *));
    grains->by_slot = calloc(size, sizeof(struct sc_grain *));
    if (grains->buckets == NULL || grains->by_slot == NULL) {
        sc_grains_fini(grains);
        return SC_ERR_NO_MEMORY;
    }
    /* Keys are the peer's choice; see calls.c. */
    if (getrandom(&grains->seed, sizeof grains->seed, 0) != (ssize_t)sizeof grains->seed) {
        sc_grains_fini(grains);
        return SC_ERR_SYSTEM;
    }
    return SC_OK;
}

void sc_grains_fini(struct sc_grains *grains)
{
    if (grains->by_slot != NULL)
        sc_grains_clear(grains);
    free(grains->buckets);
    free(grains->by_slot);
    *grains = (struct sc_grains){0};
}

static uint32_t hash_of(const struct sc_grains *grains, uint32_t kernel, struct span key)
{
    return (uint32_t)XXH3_64bits_withSeed(key.ptr, key.len, grains->seed + kernel);
}

struct sc_grain *sc_grain_new(uint32_t kernel, struct span key)
{
    struct sc_grain *grain = malloc(sizeof *grain + key.len);
    if (grain == NULL)
        return NULL;
    *grain =
        (struct sc_grain){.kernel = kernel, .waiters = UINT32_MAX, .key_len = (uint16_t)key.len};
    memcpy(grain->key, key.ptr, key.len);
    return grain;
}

void sc_grain_free(struct sc_grain *grain)
{
    free(grain);
}

bool sc_grains_add(struct sc_grains *grains, struct sc_grain *grain, uint64_t handle)
{
    uint32_t slot = GPU_HANDLE_SLOT(handle);
    if (slot >= grains->max || grains->by_slot[slot] != NULL)
        return false;
    grain->handle = handle;
    grain->hash = hash_of(grains, grain->kernel, sc_grain_key(grain));
    struct sc_grain **bucket = &grains->buckets[grain->hash & (grains->max - 1)];
    grain->next = *bucket;
    *bucket = grain;
    grains->by_slot[slot] = grain;
    grains->count++;
    return true;
}

struct sc_grain *sc_grains_find(const struct sc_grains *grains, uint32_t kernel, struct span key)
{
    uint32_t hash = hash_of(grains, kernel, key);
    struct sc_grain *grain = grains->buckets[hash & (grains->max - 1)];
    while (grain != NULL &&
           (grain->hash != hash || grain->kernel != kernel || !span_eq(sc_grain_key(grain), key)))
        grain = grain->next;
    return grain;
}

struct sc_grain *sc_grains_by_handle(const struct sc_grains *grains, uint64_t handle)
{
    uint32_t slot = GPU_HANDLE_SLOT(handle);
    struct sc_grain *grain = slot < grains->max ? grains->by_slot[slot] : NULL;
    return grain != NULL && grain->handle == handle ? grain : NULL;
}

void sc_grains_unname(struct sc_grains *grains, struct sc_grain *grain)
{
    struct sc_grain **at = &grains->buckets[grain->hash & (grains->max - 1)];
    while (*at != NULL && *at != grain)
        at = &(*at)->next;
    if (*at == grain)
        *at = grain->next;
}

void sc_grains_remove(struct sc_grains *grains, struct sc_grain *grain)
{
    sc_grains_unname(grains, grain);
    grains->by_slot[GPU_HANDLE_SLOT(grain->handle)] = NULL;
    grains->count--;
}

void sc_grains_clear(struct sc_grains *grains)
{
    for (uint32_t i = 0; i < grains->max && grains->count != 0; i++) {
        if (grains->by_slot[i] == NULL)
            continue;
        free(grains->by_slot[i]);
        grains->by_slot[i] = NULL;
        grains->count--;
    }
    memset(grains->buckets, 0, grains->max * sizeof(struct sc_grain *));
}
