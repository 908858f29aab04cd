#ifndef ORLEANS_PROTO_INFLIGHT_H
#define ORLEANS_PROTO_INFLIGHT_H

#include "sidecar/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls that wait for an answer, by correlation id: open addressing, all memory taken at open. */

struct orl_inflight {
    struct orl_inflight_slot {
        uint64_t id;
        uint64_t deadline_ns; /* 0: the slot is empty */
        uint64_t user;
    } * slots; /* owned */
    uint32_t mask;
    uint32_t count;
    uint32_t max;
    uint32_t cursor;      /* where the search for expired calls goes on */
    uint64_t earliest_ns; /* no deadline is before this */
};

/* max 1 to 1 << 20 calls. SC_ERR_NO_MEMORY. */
SC_MUST_USE enum sc_status orl_inflight_init(struct orl_inflight *t, uint32_t max);
void orl_inflight_fini(struct orl_inflight *t);

/* deadline_ns is not 0, UINT64_MAX for none. SC_ERR_BUSY: full. SC_ERR_ARGUMENT: the id is in
 * use. */
SC_MUST_USE enum sc_status orl_inflight_add(struct orl_inflight *t, uint64_t id,
                                            uint64_t deadline_ns, uint64_t user);

/* take also forgets the call. */
bool orl_inflight_find(const struct orl_inflight *t, uint64_t id, uint64_t *user_out);
bool orl_inflight_take(struct orl_inflight *t, uint64_t id, uint64_t *user_out);

/* Takes one call whose deadline has passed; false when there is none. UINT64_MAX takes any. */
bool orl_inflight_expire(struct orl_inflight *t, uint64_t now_ns, uint64_t *id_out,
                         uint64_t *user_out);

#endif
