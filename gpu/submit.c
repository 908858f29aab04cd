/* The submitting half of a device: slots, payloads, the submission ring. */
#include "gpu/device.h"

#include "sidecar/base/log.h"

#include <assert.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -- bounds ------------------------------------------------------------------------------------ */

static enum sc_status over(struct gpu_device *dev, enum sc_status st, const char *what,
                           uint64_t bound, const char *option)
{
    snprintf(dev->limit, sizeof dev->limit, "%s, the bound is %llu (%s)", what,
             (unsigned long long)bound, option);
    return st;
}

/* -- the ring ---------------------------------------------------------------------------------- */

static bool ring_has_room(const struct gpu_device *dev)
{
    uint64_t consumed = __atomic_load_n(&dev->control->device.submit_consumed, __ATOMIC_ACQUIRE);
    /* A worker that claims to have taken more than was written gets the benefit of nothing. */
    return consumed <= dev->submit_at && dev->submit_at - consumed < dev->config.submit_slots;
}

void gpu_doorbell(struct gpu_device *dev)
{
    struct gpu_control *c = dev->control;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->wait.parked, __ATOMIC_RELAXED) == 0 ||
        __atomic_exchange_n(&c->wait.parked, 0, __ATOMIC_RELAXED) == 0)
        return;
    __atomic_fetch_add(&c->host.doorbell, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &c->host.doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The next slot to fill; ring_has_room was asked before. */
static struct gpu_envelope *ring_slot(struct gpu_device *dev)
{
    return &dev->submit[dev->submit_at & (dev->config.submit_slots - 1)];
}

static void ring_publish(struct gpu_device *dev, struct gpu_envelope *slot)
{
    slot->seq = (uint32_t)dev->submit_at;
    __atomic_store_n(&slot->stamp, GPU_RING_STAMP(dev->submit_at, dev->config.submit_slots),
                     __ATOMIC_RELEASE);
    dev->submit_at++;
    gpu_doorbell(dev);
}

/* -- requests in flight ------------------------------------------------------------------------ */

static struct gpu_pending *pending_take(struct gpu_device *dev, uint8_t kind, uint64_t grain,
                                        uint64_t call)
{
    uint32_t index = dev->pending_free;
    if (index == GPU_NO_INDEX && dev->pending_fresh == dev->config.reply_slots) {
        (void)over(dev, SC_ERR_BUSY, "too many calls in flight", dev->config.reply_slots,
                   "device.reply_slots");
        return NULL;
    }
    if (index == GPU_NO_INDEX)
        index = dev->pending_fresh++;
    else
        dev->pending_free = dev->pendings[index].next_free;
    struct gpu_pending *p = &dev->pendings[index];
    dev->pending_count++;
    p->call = call;
    p->grain = grain;
    p->slab_bytes = 0;
    p->generation++;
    p->kind = kind;
    p->used = 1;
    if (gpu_pending_is_message(p))
        dev->slots[GPU_HANDLE_SLOT(grain)].open++;
    return p;
}

static uint64_t pending_token(const struct gpu_device *dev, const struct gpu_pending *p)
{
    return (uint64_t)p->generation << 32 | (uint32_t)(p - dev->pendings + 1);
}

/* Takes a request back that was never published. */
static void pending_drop(struct gpu_device *dev, struct gpu_pending *p)
{
    if (p->slab_bytes != 0)
        gpu_arena_give(&dev->slabs, p->slab_offset, p->slab_bytes);
    if (gpu_pending_is_message(p))
        dev->slots[GPU_HANDLE_SLOT(p->grain)].open--;
    p->used = 0;
    p->next_free = dev->pending_free;
    dev->pending_free = (uint32_t)(p - dev->pendings);
    dev->pending_count--;
}

static enum sc_status pending_slab(struct gpu_device *dev, struct gpu_pending *p, uint32_t bytes)
{
    if (gpu_arena_take(&dev->slabs, bytes, &p->slab_offset) != SC_OK)
        return over(dev, SC_ERR_BUSY, "no room for a large payload", dev->slabs.bytes,
                    "device.slab_bytes");
    p->slab_bytes = bytes;
    return SC_OK;
}

/* -- slots ------------------------------------------------------------------------------------- */

static enum sc_status slot_take(struct gpu_device *dev, uint32_t kernel, uint32_t state_bytes,
                                uint32_t *slot_out)
{
    uint64_t offset;
    if (dev->slots_free == GPU_NO_INDEX && dev->slots_fresh == dev->config.grains_max)
        return over(dev, SC_ERR_BUSY, "all grain slots are in use", dev->config.grains_max,
                    "device.grains_max");
    if (gpu_arena_take(&dev->heap, state_bytes, &offset) != SC_OK)
        return over(dev, SC_ERR_BUSY, "no room for the grain's state", dev->heap.bytes,
                    "device.heap_bytes");
    uint32_t slot = dev->slots_free;
    if (slot != GPU_NO_INDEX)
        dev->slots_free = dev->slots[slot].next_free;
    else
        slot = dev->slots_fresh++;
    struct gpu_slot *s = &dev->slots[slot];
    s->state_offset = offset;
    s->state_bytes = state_bytes;
    s->generation = s->generation + 1 != 0 ? s->generation + 1 : 1;
    s->open = 0;
    s->kernel = (uint16_t)kernel;
    s->state = GPU_SLOT_LIVE;
    dev->grains++;
    *slot_out = slot;
    return SC_OK;
}

void gpu_slot_free(struct gpu_device *dev, uint32_t slot)
{
    struct gpu_slot *s = &dev->slots[slot];
    gpu_arena_give(&dev->heap, s->state_offset, s->state_bytes);
    s->state = GPU_SLOT_FREE;
    s->next_free = dev->slots_free;
    dev->slots_free = slot;
    dev->grains--;
}

static struct gpu_slot *slot_live(struct gpu_device *dev, uint64_t handle)
{
    uint32_t slot = GPU_HANDLE_SLOT(handle);
    if (slot >= dev->slots_fresh)
        return NULL;
    struct gpu_slot *s = &dev->slots[slot];
    return s->state == GPU_SLOT_LIVE && s->generation == GPU_HANDLE_GEN(handle) ? s : NULL;
}

/* -- requests ---------------------------------------------------------------------------------- */

static enum sc_status ready_to_submit(const struct gpu_device *dev)
{
    if (dev->state != GPU_DEVICE_READY)
        return SC_ERR_UNAVAILABLE;
    return ring_has_room(dev) ? SC_OK : SC_AGAIN;
}

static enum sc_status activate_payload(struct gpu_device *dev, struct gpu_pending *p,
                                       struct gpu_activate *a, struct span init)
{
    a->init_len = (uint32_t)init.len;
    if (init.len <= GPU_ACTIVATE_INLINE_BYTES)
        return SC_OK;
    enum sc_status st = pending_slab(dev, p, (uint32_t)init.len);
    if (st != SC_OK)
        return st;
    a->init_slab = p->slab_offset;
    memcpy(dev->slab + p->slab_offset, init.ptr, init.len);
    return SC_OK;
}

enum sc_status gpu_device_activate(struct gpu_device *dev, uint32_t kernel, uint32_t state_bytes,
                                   struct span init, uint64_t call, uint64_t *handle_out)
{
    enum sc_status st = ready_to_submit(dev);
    if (st != SC_OK)
        return st;
    if (kernel >= dev->catalog.count)
        return SC_ERR_NOT_FOUND;
    if (dev->kernel_errors[kernel][0] != '\0')
        return SC_ERR_KERNEL;
    const struct gpu_manifest *m = &dev->catalog.entries[kernel].manifest;
    if (state_bytes == 0)
        state_bytes = m->state_bytes;
    if (state_bytes > m->state_max_bytes)
        return over(dev, SC_ERR_TOO_LARGE, "state is too large", m->state_max_bytes,
                    "the manifest's state.max_bytes");
    if (init.len > dev->config.payload_max_bytes)
        return over(dev, SC_ERR_TOO_LARGE, "payload is too large", dev->config.payload_max_bytes,
                    "shim.frame_max_bytes");
    struct gpu_pending *p = pending_take(dev, GPU_KIND_ACTIVATE, 0, call);
    if (p == NULL)
        return SC_ERR_BUSY;
    struct gpu_activate a = {.state_bytes = state_bytes, .kernel = kernel};
    uint32_t slot = 0;
    st = activate_payload(dev, p, &a, init);
    if (st == SC_OK)
        st = slot_take(dev, kernel, state_bytes, &slot);
    if (st != SC_OK) {
        pending_drop(dev, p);
        return st;
    }
    a.state_offset = dev->slots[slot].state_offset;
    p->grain = GPU_HANDLE(dev->slots[slot].generation, slot);

    struct gpu_envelope *e = ring_slot(dev);
    e->kind = GPU_KIND_ACTIVATE;
    e->flags = 0;
    e->type = 0;
    e->dst = p->grain;
    e->src = 0;
    e->call = pending_token(dev, p);
    e->reply_slab = 0;
    memcpy(e->payload.bytes, &a, sizeof a);
    e->len = sizeof a;
    if (init.len != 0 && init.len <= GPU_ACTIVATE_INLINE_BYTES) {
        memcpy(e->payload.bytes + sizeof a, init.ptr, init.len);
        e->len += (uint32_t)init.len;
    }
    ring_publish(dev, e);
    *handle_out = p->grain;
    return SC_OK;
}

/* A message to a live grain. call_wanted: a reply is expected; otherwise a pending is taken only to
 * know when the slab is free again. */
static enum sc_status submit_message(struct gpu_device *dev, uint8_t kind, uint64_t handle,
                                     uint16_t type, struct span payload, uint32_t reply_bytes,
                                     uint64_t call)
{
    uint32_t slab_bytes = payload.len > GPU_INLINE_BYTES ? (uint32_t)payload.len : 0;
    if (reply_bytes > GPU_INLINE_BYTES && reply_bytes > slab_bytes)
        slab_bytes = reply_bytes;
    struct gpu_pending *p = NULL;
    if (call != 0 || slab_bytes != 0) {
        p = pending_take(dev, kind, handle, call);
        if (p == NULL)
            return SC_ERR_BUSY;
        enum sc_status st = slab_bytes != 0 ? pending_slab(dev, p, slab_bytes) : SC_OK;
        if (st != SC_OK) {
            pending_drop(dev, p);
            return st;
        }
    }
    struct gpu_envelope *e = ring_slot(dev);
    e->kind = kind;
    e->flags = 0;
    e->type = type;
    e->dst = handle;
    e->src = 0;
    e->call = p != NULL ? pending_token(dev, p) : 0;
    e->reply_slab = 0;
    e->len = (uint32_t)payload.len;
    if (reply_bytes > GPU_INLINE_BYTES)
        e->reply_slab = GPU_REPLY_SLAB(p->slab_offset, p->slab_bytes);
    if (payload.len > GPU_INLINE_BYTES) {
        e->flags = GPU_FLAG_SLAB;
        e->payload.slab = p->slab_offset;
        memcpy(dev->slab + p->slab_offset, payload.ptr, payload.len);
    } else if (payload.len != 0) {
        memcpy(e->payload.bytes, payload.ptr, payload.len);
    }
    ring_publish(dev, e);
    return SC_OK;
}

enum sc_status gpu_device_deactivate(struct gpu_device *dev, uint64_t handle, uint64_t call)
{
    enum sc_status st = ready_to_submit(dev);
    if (st != SC_OK)
        return st;
    struct gpu_slot *s = slot_live(dev, handle);
    if (s == NULL)
        return SC_ERR_NOT_FOUND;
    st = submit_message(dev, GPU_KIND_DEACTIVATE, handle, 0, (struct span){0}, 0, call);
    if (st == SC_OK)
        s->state = GPU_SLOT_ENDING;
    return st;
}

static enum sc_status message_check(struct gpu_device *dev, uint64_t handle, uint16_t type,
                                    struct span payload, uint32_t *reply_bytes_out)
{
    enum sc_status st = ready_to_submit(dev);
    if (st != SC_OK)
        return st;
    const struct gpu_slot *s = slot_live(dev, handle);
    if (s == NULL)
        return SC_ERR_NOT_FOUND;
    const struct gpu_manifest *m = &dev->catalog.entries[s->kernel].manifest;
    const struct gpu_message_type *t = gpu_manifest_message_type(m, type);
    if (t == NULL)
        return SC_ERR_ARGUMENT;
    if (payload.len > dev->config.payload_max_bytes)
        return over(dev, SC_ERR_TOO_LARGE, "payload is too large", dev->config.payload_max_bytes,
                    "shim.frame_max_bytes");
    *reply_bytes_out = t->reply_bytes;
    return SC_OK;
}

enum sc_status gpu_device_call(struct gpu_device *dev, uint64_t handle, uint16_t type,
                               struct span payload, uint64_t call)
{
    assert(call != 0);
    uint32_t reply_bytes;
    enum sc_status st = message_check(dev, handle, type, payload, &reply_bytes);
    if (st != SC_OK)
        return st;
    return submit_message(dev, GPU_KIND_CALL, handle, type, payload, reply_bytes, call);
}

enum sc_status gpu_device_send(struct gpu_device *dev, uint64_t handle, uint16_t type,
                               struct span payload)
{
    uint32_t reply_bytes;
    enum sc_status st = message_check(dev, handle, type, payload, &reply_bytes);
    if (st != SC_OK)
        return st;
    return submit_message(dev, GPU_KIND_SEND, handle, type, payload, 0, 0);
}
