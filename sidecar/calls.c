#include "sidecar/calls.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NONE ((uint32_t)SC_CALL_NONE)

enum { DUE_LIST = SC_WHEEL_SLOTS };

static uint32_t power_up(uint32_t v)
{
    uint32_t p = 1;
    while (p < v && p < 1u << 31)
        p *= 2;
    return p;
}

enum sc_status sc_calls_init(struct sc_calls *calls, uint32_t max, uint64_t now_ns)
{
    *calls = (struct sc_calls){.max = power_up(max), .free = NONE};
    calls->calls = calloc(calls->max, sizeof *calls->calls);
    calls->buckets = malloc(calls->max * sizeof *calls->buckets);
    if (calls->calls == NULL || calls->buckets == NULL) {
        sc_calls_fini(calls);
        return SC_ERR_NO_MEMORY;
    }
    /* Ids are the peer's choice: without a salt it could put all calls into one bucket. */
    if (getrandom(&calls->seed, sizeof calls->seed, 0) != (ssize_t)sizeof calls->seed) {
        sc_calls_fini(calls);
        return SC_ERR_SYSTEM;
    }
    for (uint32_t i = 0; i < calls->max; i++)
        calls->buckets[i] = NONE;
    for (uint32_t i = 0; i <= DUE_LIST; i++)
        calls->wheel[i] = NONE;
    calls->tick = now_ns / SC_WHEEL_TICK_NS;
    return SC_OK;
}

void sc_calls_fini(struct sc_calls *calls)
{
    free(calls->calls);
    free(calls->buckets);
    *calls = (struct sc_calls){0};
}

static uint32_t index_of(const struct sc_calls *calls, const struct sc_call *call)
{
    return (uint32_t)(call - calls->calls);
}

static uint32_t bucket_of(const struct sc_calls *calls, const void *user, uint64_t id)
{
    const uint64_t key[2] = {(uint64_t)(uintptr_t)user, id};
    return (uint32_t)XXH3_64bits_withSeed(key, sizeof key, calls->seed) & (calls->max - 1);
}

static struct sc_call *find_in(struct sc_calls *calls, uint32_t bucket, const void *user,
                               uint64_t id)
{
    for (uint32_t i = calls->buckets[bucket]; i != NONE; i = calls->calls[i].hash_next)
        if (calls->calls[i].id == id && calls->calls[i].user == user)
            return &calls->calls[i];
    return NULL;
}

struct sc_call *sc_calls_find(struct sc_calls *calls, const void *user, uint64_t id)
{
    return find_in(calls, bucket_of(calls, user, id), user, id);
}

static void link_front(struct sc_calls *calls, uint32_t *head, struct sc_call *call, bool due)
{
    struct sc_call_link *link = due ? &call->due : &call->wait;
    *link = (struct sc_call_link){.head = head, .next = *head, .prev = NONE};
    if (*head != NONE) {
        struct sc_call *old = &calls->calls[*head];
        (due ? &old->due : &old->wait)->prev = index_of(calls, call);
    }
    *head = index_of(calls, call);
}

static void unlink_from(struct sc_calls *calls, struct sc_call *call, bool due)
{
    struct sc_call_link *link = due ? &call->due : &call->wait;
    if (link->head == NULL)
        return;
    if (link->prev == NONE)
        *link->head = link->next;
    else
        (due ? &calls->calls[link->prev].due : &calls->calls[link->prev].wait)->next = link->next;
    if (link->next != NONE)
        (due ? &calls->calls[link->next].due : &calls->calls[link->next].wait)->prev = link->prev;
    link->head = NULL;
}

static struct sc_call *take_slot(struct sc_calls *calls)
{
    uint32_t index = calls->free;
    if (index != NONE)
        calls->free = calls->calls[index].hash_next;
    else if (calls->fresh < calls->max)
        index = calls->fresh++;
    else
        return NULL;
    calls->count++;
    struct sc_call *call = &calls->calls[index];
    call->generation++;
    call->bucket = NONE;
    call->due.head = NULL;
    call->wait.head = NULL;
    call->created = false;
    return call;
}

static void put_into_wheel(struct sc_calls *calls, struct sc_call *call)
{
    uint64_t tick = call->deadline_ns / SC_WHEEL_TICK_NS + 1;
    if (tick <= calls->tick)
        tick = calls->tick + 1;
    link_front(calls, &calls->wheel[tick % SC_WHEEL_SLOTS], call, true);
}

enum sc_status sc_calls_add(struct sc_calls *calls, const struct sc_caller *caller,
                            enum sc_call_kind kind, uint64_t now_ns, uint64_t deadline_ns,
                            struct sc_call **call_out)
{
    uint32_t bucket = bucket_of(calls, caller->user, caller->id);
    if (find_in(calls, bucket, caller->user, caller->id) != NULL)
        return SC_ERR_ARGUMENT;
    struct sc_call *call = take_slot(calls);
    if (call == NULL)
        return SC_ERR_BUSY;
    call->fn = caller->fn;
    call->user = caller->user;
    call->id = caller->id;
    call->grain = 0;
    call->started_ns = now_ns;
    call->deadline_ns = deadline_ns;
    call->kind = (uint8_t)kind;
    call->bucket = bucket;
    call->hash_next = calls->buckets[bucket];
    calls->buckets[bucket] = index_of(calls, call);
    put_into_wheel(calls, call);
    *call_out = call;
    return SC_OK;
}

struct sc_call *sc_calls_add_own(struct sc_calls *calls, enum sc_call_kind kind, uint64_t grain)
{
    struct sc_call *call = take_slot(calls);
    if (call == NULL)
        return NULL;
    call->fn = NULL;
    call->user = NULL;
    call->id = 0;
    call->grain = grain;
    call->kind = (uint8_t)kind;
    return call;
}

static void leave_bucket(struct sc_calls *calls, struct sc_call *call)
{
    if (call->bucket == NONE)
        return;
    uint32_t *at = &calls->buckets[call->bucket];
    while (*at != index_of(calls, call))
        at = &calls->calls[*at].hash_next;
    *at = call->hash_next;
}

void sc_calls_remove(struct sc_calls *calls, struct sc_call *call)
{
    assert((call->generation & 1) != 0);
    leave_bucket(calls, call);
    unlink_from(calls, call, true);
    unlink_from(calls, call, false);
    call->generation++;
    call->hash_next = calls->free;
    calls->free = index_of(calls, call);
    calls->count--;
}

void sc_calls_push(struct sc_calls *calls, uint32_t *head, struct sc_call *call)
{
    unlink_from(calls, call, false);
    link_front(calls, head, call, false);
}

/* Moves what is due in one slot of the wheel to the list of due calls; the rest belongs to a later
 * round. */
static void sweep(struct sc_calls *calls, uint32_t slot, uint64_t now_ns)
{
    uint32_t next = calls->wheel[slot];
    while (next != NONE) {
        struct sc_call *call = &calls->calls[next];
        next = call->due.next;
        if (call->deadline_ns > now_ns)
            continue;
        unlink_from(calls, call, true);
        link_front(calls, &calls->wheel[DUE_LIST], call, true);
    }
}

struct sc_call *sc_calls_due(struct sc_calls *calls, uint64_t now_ns)
{
    uint64_t tick = now_ns / SC_WHEEL_TICK_NS;
    if (tick > calls->tick + SC_WHEEL_SLOTS)
        calls->tick = tick - SC_WHEEL_SLOTS; /* one round sees every slot */
    while (calls->tick < tick) {
        calls->tick++;
        sweep(calls, (uint32_t)(calls->tick % SC_WHEEL_SLOTS), now_ns);
    }
    return sc_calls_first(calls, &calls->wheel[DUE_LIST]);
}

struct sc_call *sc_calls_next(struct sc_calls *calls, uint32_t *index)
{
    while (*index < calls->fresh) {
        struct sc_call *call = &calls->calls[(*index)++];
        if ((call->generation & 1) != 0)
            return call;
    }
    return NULL;
}
