#include "orleans-proto/inflight.h"

#include <stdlib.h>

enum { INFLIGHT_MAX = 1 << 20 };

enum sc_status orl_inflight_init(struct orl_inflight *t, uint32_t max)
{
    uint32_t size = 2;
    if (max == 0 || max > INFLIGHT_MAX)
        return SC_ERR_ARGUMENT;
    while (size < 2 * max)
        size *= 2;
    struct orl_inflight_slot *slots = calloc(size, sizeof *slots);
    if (slots == NULL)
        return SC_ERR_NO_MEMORY;
    *t = (struct orl_inflight){
        .slots = slots, .mask = size - 1, .max = max, .earliest_ns = UINT64_MAX};
    return SC_OK;
}

void orl_inflight_fini(struct orl_inflight *t)
{
    free(t->slots);
    *t = (struct orl_inflight){0};
}

/* Our own ids count up, so the low bits alone would do; the multiplication also spreads others. */
static uint32_t home_of(const struct orl_inflight *t, uint64_t id)
{
    return (uint32_t)(id * 0x9e3779b97f4a7c15u >> 32) & t->mask;
}

/* The slot that holds id, or the empty one where it would go. */
static uint32_t find(const struct orl_inflight *t, uint64_t id)
{
    uint32_t i = home_of(t, id);
    while (t->slots[i].deadline_ns != 0 && t->slots[i].id != id)
        i = (i + 1) & t->mask;
    return i;
}

enum sc_status orl_inflight_add(struct orl_inflight *t, uint64_t id, uint64_t deadline_ns,
                                uint64_t user)
{
    if (t->count == t->max)
        return SC_ERR_BUSY;
    uint32_t i = find(t, id);
    if (t->slots[i].deadline_ns != 0 || deadline_ns == 0)
        return SC_ERR_ARGUMENT;
    t->slots[i] = (struct orl_inflight_slot){id, deadline_ns, user};
    t->count++;
    if (deadline_ns < t->earliest_ns)
        t->earliest_ns = deadline_ns;
    return SC_OK;
}

bool orl_inflight_find(const struct orl_inflight *t, uint64_t id, uint64_t *user_out)
{
    const struct orl_inflight_slot *slot = &t->slots[find(t, id)];
    if (slot->deadline_ns == 0)
        return false;
    *user_out = slot->user;
    return true;
}

/* Empties slot i and closes the gap: a later entry of the run moves up unless its home lies
 * behind the gap, so that no search stops early. */
static void remove_at(struct orl_inflight *t, uint32_t i)
{
    uint32_t gap = i;
    for (uint32_t j = (i + 1) & t->mask; t->slots[j].deadline_ns != 0; j = (j + 1) & t->mask) {
        uint32_t home = home_of(t, t->slots[j].id);
        if (((j - home) & t->mask) >= ((j - gap) & t->mask)) {
            t->slots[gap] = t->slots[j];
            gap = j;
        }
    }
    t->slots[gap] = (struct orl_inflight_slot){0};
    t->count--;
    if (t->count == 0)
        t->earliest_ns = UINT64_MAX;
}

bool orl_inflight_take(struct orl_inflight *t, uint64_t id, uint64_t *user_out)
{
    uint32_t i = find(t, id);
    if (t->slots[i].deadline_ns == 0)
        return false;
    *user_out = t->slots[i].user;
    remove_at(t, i);
    return true;
}

bool orl_inflight_expire(struct orl_inflight *t, uint64_t now_ns, uint64_t *id_out,
                         uint64_t *user_out)
{
    if (t->count == 0 || (now_ns < t->earliest_ns && now_ns != UINT64_MAX))
        return false;
    uint64_t earliest = UINT64_MAX;
    uint32_t start = t->cursor;
    for (uint32_t n = 0; n <= t->mask; n++) {
        uint32_t i = (start + n) & t->mask;
        const struct orl_inflight_slot *slot = &t->slots[i];
        if (slot->deadline_ns == 0)
            continue;
        if (slot->deadline_ns <= now_ns) {
            *id_out = slot->id;
            *user_out = slot->user;
            t->cursor = i;
            remove_at(t, i);
            return true;
        }
        if (slot->deadline_ns < earliest)
            earliest = slot->deadline_ns;
    }
    t->earliest_ns = earliest;
    return false;
}
