#include "tests/support/engine_rig.h"

#include "sidecar/base/clock.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLAB_BYTES = 1 << 20, WAIT_S = 20 };

static uint64_t page_up(uint64_t v)
{
    return (v + 4095) & ~4095ull;
}

void engine_rig_open(struct engine_rig *rig, const struct engine_rig_config *c,
                     const struct gpu_cpu_kernel *kernels, uint32_t kernel_count)
{
    struct gpu_region_header h = {
        .magic = GPU_REGION_MAGIC,
        .version = GPU_REGION_VERSION,
        .slab_bytes = SLAB_BYTES,
        .heap_bytes = c->heap_bytes,
        .submit_slots = c->submit_slots,
        .reply_slots = c->reply_slots,
        .event_slots = c->event_slots,
        .blocks = c->blocks,
        .grains_max = c->grains_max,
        .messages_max = c->messages_max,
        .spin_us = c->spin_us,
    };
    h.control_offset = 4096;
    h.blocks_offset = h.control_offset + page_up(sizeof(struct gpu_control));
    h.submit_offset = h.blocks_offset + page_up(c->blocks * sizeof(struct gpu_block_line));
    h.reply_offset = h.submit_offset + c->submit_slots * sizeof(struct gpu_envelope);
    h.event_offset = h.reply_offset + c->reply_slots * sizeof(struct gpu_envelope);
    h.slab_offset = h.event_offset + c->event_slots * sizeof(struct gpu_envelope);
    h.region_bytes = h.slab_offset + SLAB_BYTES;
    void *p = mmap(NULL, h.region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    uint8_t *base = p;
    *rig = (struct engine_rig){.region = p};
    *rig->region = h;
    rig->control = (struct gpu_control *)(base + h.control_offset);
    rig->lines = (struct gpu_block_line *)(base + h.blocks_offset);
    rig->submit = (struct gpu_envelope *)(base + h.submit_offset);
    rig->reply = (struct gpu_envelope *)(base + h.reply_offset);
    rig->event = (struct gpu_envelope *)(base + h.event_offset);
    rig->slab = base + h.slab_offset;
    rig->notify_fd = eventfd(0, EFD_NONBLOCK);
    if (gpu_cpu_open(rig->region, kernels, kernel_count, rig->notify_fd, &rig->cpu) != SC_OK)
        abort();
}

static void doorbell(struct engine_rig *rig)
{
    struct gpu_control *c = rig->control;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->wait.parked, __ATOMIC_RELAXED) == 0)
        return;
    __atomic_fetch_add(&c->host.doorbell, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &c->host.doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void engine_rig_close(struct engine_rig *rig)
{
    __atomic_store_n(&rig->control->host.stop, GPU_STOP, __ATOMIC_RELEASE);
    doorbell(rig);
    gpu_cpu_close(rig->cpu);
    close(rig->notify_fd);
    munmap(rig->region, rig->region->region_bytes);
}

bool engine_rig_submit(struct engine_rig *rig, const struct gpu_envelope *m)
{
    uint32_t slots = rig->region->submit_slots;
    if (rig->submit_at - __atomic_load_n(&rig->control->device.submit_consumed, __ATOMIC_ACQUIRE) >=
        slots)
        return false;
    struct gpu_envelope *slot = &rig->submit[rig->submit_at & (slots - 1)];
    memcpy((uint8_t *)slot + 4, (const uint8_t *)m + 4, sizeof *m - 4);
    __atomic_store_n(&slot->stamp, GPU_RING_STAMP(rig->submit_at, slots), __ATOMIC_RELEASE);
    rig->submit_at++;
    doorbell(rig);
    return true;
}

bool engine_rig_activate(struct engine_rig *rig, uint32_t slot, uint32_t kernel,
                         uint32_t state_bytes, uint64_t call)
{
    struct gpu_activate a = {
        .state_offset = (uint64_t)slot * state_bytes, .state_bytes = state_bytes, .kernel = kernel};
    struct gpu_envelope m = {
        .kind = GPU_KIND_ACTIVATE, .dst = GPU_HANDLE(1, slot), .call = call, .len = sizeof a};
    memcpy(m.payload.bytes, &a, sizeof a);
    return engine_rig_submit(rig, &m);
}

static bool take(struct gpu_envelope *ring, uint64_t *at, uint32_t slots, uint64_t *consumed,
                 struct gpu_envelope *out)
{
    struct gpu_envelope *slot = &ring[*at & (slots - 1)];
    if (__atomic_load_n(&slot->stamp, __ATOMIC_ACQUIRE) != GPU_RING_STAMP(*at, slots))
        return false;
    *out = *slot;
    (*at)++;
    __atomic_store_n(consumed, *at, __ATOMIC_RELEASE);
    return true;
}

bool engine_rig_reply(struct engine_rig *rig, struct gpu_envelope *out)
{
    return take(rig->reply, &rig->reply_at, rig->region->reply_slots,
                &rig->control->host.reply_consumed, out);
}

bool engine_rig_event(struct engine_rig *rig, struct gpu_envelope *out)
{
    return take(rig->event, &rig->event_at, rig->region->event_slots,
                &rig->control->host.event_consumed, out);
}

void engine_rig_wait_reply(struct engine_rig *rig, struct gpu_envelope *out)
{
    uint64_t end = sc_clock_mono_ns() + WAIT_S * 1000000000ull;
    while (!engine_rig_reply(rig, out)) {
        if (sc_clock_mono_ns() > end) {
            fprintf(stderr, "no reply within %d s\n", WAIT_S);
            abort();
        }
    }
}
