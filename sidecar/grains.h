/* The grains of one device by name (kernel and key) and by address. A grain that is being ended has
 * lost its name but keeps its address until it is gone, so its last events find their stream. Loop
 * thread only. */
#ifndef SIDECAR_GRAINS_H
#define SIDECAR_GRAINS_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

enum sc_grain_state {
    SC_GRAIN_COMING, /* the device is creating it; messages already queue behind that */
    SC_GRAIN_LIVE,
    SC_GRAIN_GOING
};

struct sc_grain {
    struct sc_grain *next; /* in its bucket */
    uint64_t handle;
    uint32_t kernel;
    uint32_t hash;
    uint32_t waiters; /* list of struct sc_calls: who waits for the present step to end */
    uint16_t key_len;
    uint8_t state;
    uint8_t key[];
};

struct sc_grains {
    struct sc_grain **buckets, **by_slot; /* owned, with what they point to */
    uint32_t max, count;                  /* max: a power of two */
    uint64_t seed;
};

/* max is rounded up to a power of two, as the device does. */
SC_MUST_USE enum sc_status sc_grains_init(struct sc_grains *grains, uint32_t max);
void sc_grains_fini(struct sc_grains *grains);

/* Makes a grain that is in no table yet; sc_grain_free or sc_grains_add takes it. NULL: no memory.
 */
struct sc_grain *sc_grain_new(uint32_t kernel, struct span key);
void sc_grain_free(struct sc_grain *grain);

/* Enters a new grain under its name and its address; the table owns it from now on. False, and it
 * stays the caller's: the address has a slot out of range or in use. */
bool sc_grains_add(struct sc_grains *grains, struct sc_grain *grain, uint64_t handle);

struct sc_grain *sc_grains_find(const struct sc_grains *grains, uint32_t kernel, struct span key);
struct sc_grain *sc_grains_by_handle(const struct sc_grains *grains, uint64_t handle);

/* Takes the name from a grain. */
void sc_grains_unname(struct sc_grains *grains, struct sc_grain *grain);

/* Takes a grain out of the table; it is the caller's again. */
void sc_grains_remove(struct sc_grains *grains, struct sc_grain *grain);

/* Forgets and frees all. */
void sc_grains_clear(struct sc_grains *grains);

static inline struct span sc_grain_key(const struct sc_grain *grain)
{
    return span_of(grain->key, grain->key_len);
}

#endif
