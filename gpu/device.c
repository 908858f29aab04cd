#include "gpu/device.h"

#include "gpu/worker.h"
#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, MESSAGES_MIN = 4096 };

/* -- opening ----------------------------------------------------------------------------------- */

static bool is_power(uint32_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static uint32_t power_up(uint32_t v)
{
    return v <= 1 ? 1 : 1u << (32 - __builtin_clz(v - 1));
}

static const char *config_fault(const struct gpu_device_config *c)
{
    if (c->blocks == 0 || c->blocks > GPU_BLOCKS_MAX)
        return "device.blocks must be 1..256";
    if (c->grains_max == 0 || c->grains_max > 1u << 26)
        return "device.grains_max must be 1..67108864";
    if (c->messages_max < MESSAGES_MIN || c->messages_max > 1u << 28)
        return "device.messages_max must be 4096..268435456";
    if (!is_power(c->submit_slots) || !is_power(c->reply_slots) || !is_power(c->event_slots) ||
        c->submit_slots > 1u << 20 || c->reply_slots > 1u << 20 || c->event_slots > 1u << 20)
        return "device ring sizes must be powers of two up to 1048576";
    if (c->event_slots < c->blocks * 64)
        return "device.event_slots must be at least 64 for each block";
    if (c->payload_max_bytes < GPU_INLINE_BYTES || c->payload_max_bytes >= 1u << 24)
        return "the payload limit must be 80 bytes..16 MiB - 1";
    if (c->heap_bytes < 1u << 20 || c->heap_bytes > 1ull << 40)
        return "device.heap_bytes must be 1 MiB..1 TiB";
    if (c->slab_bytes < c->payload_max_bytes || c->slab_bytes > 1ull << 38)
        return "device.slab_bytes must hold one payload and be at most 256 GiB";
    return NULL;
}

static uint64_t page_up(uint64_t v)
{
    return (v + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static struct gpu_region_header region_plan(const struct gpu_device_config *c)
{
    struct gpu_region_header h = {
        .magic = GPU_REGION_MAGIC,
        .version = GPU_REGION_VERSION,
        .slab_bytes = c->slab_bytes,
        .heap_bytes = c->heap_bytes,
        .submit_slots = c->submit_slots,
        .reply_slots = c->reply_slots,
        .event_slots = c->event_slots,
        .blocks = c->blocks,
        .grains_max = power_up(c->grains_max),
        .messages_max = power_up(c->messages_max),
        .spin_us = c->spin_us,
    };
    h.control_offset = page_up(sizeof h);
    h.blocks_offset = h.control_offset + page_up(sizeof(struct gpu_control));
    h.submit_offset = h.blocks_offset + page_up(h.blocks * sizeof(struct gpu_block_line));
    h.reply_offset =
        h.submit_offset + page_up((uint64_t)h.submit_slots * sizeof(struct gpu_envelope));
    h.event_offset =
        h.reply_offset + page_up((uint64_t)h.reply_slots * sizeof(struct gpu_envelope));
    h.slab_offset = h.event_offset + page_up((uint64_t)h.event_slots * sizeof(struct gpu_envelope));
    h.region_bytes = h.slab_offset + page_up(h.slab_bytes);
    return h;
}

/* The size is sealed: a worker that shrank the file would kill the daemon with SIGBUS. */
static enum sc_status region_open(struct gpu_device *dev)
{
    struct gpu_region_header h = region_plan(&dev->config);
    int fd = memfd_create("gpu-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return SC_ERR_SYSTEM;
    dev->region_fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    close(fd);
    if (dev->region_fd < 0 || ftruncate(dev->region_fd, (off_t)h.region_bytes) != 0 ||
        fcntl(dev->region_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return SC_ERR_SYSTEM;
    void *p = mmap(NULL, h.region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                   dev->region_fd, 0);
    if (p == MAP_FAILED)
        return SC_ERR_SYSTEM;
    uint8_t *base = p;
    dev->region = p;
    *dev->region = h;
    dev->control = (struct gpu_control *)(base + h.control_offset);
    dev->lines = (struct gpu_block_line *)(base + h.blocks_offset);
    dev->submit = (struct gpu_envelope *)(base + h.submit_offset);
    dev->reply = (struct gpu_envelope *)(base + h.reply_offset);
    dev->event = (struct gpu_envelope *)(base + h.event_offset);
    dev->slab = base + h.slab_offset;
    dev->config.grains_max = h.grains_max;
    dev->config.messages_max = h.messages_max;
    return SC_OK;
}

static enum sc_status tables_open(struct gpu_device *dev)
{
    const struct gpu_device_config *c = &dev->config;
    size_t slot_bytes = (size_t)c->grains_max * sizeof *dev->slots;
    void *p = mmap(NULL, slot_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return SC_ERR_NO_MEMORY;
    dev->slots = p;
    dev->pendings = calloc(c->reply_slots, sizeof *dev->pendings);
    dev->progress = calloc(c->blocks, sizeof *dev->progress);
    dev->kernel_errors =
        calloc(dev->catalog.count != 0 ? dev->catalog.count : 1, sizeof *dev->kernel_errors);
    if (dev->pendings == NULL || dev->progress == NULL || dev->kernel_errors == NULL)
        return SC_ERR_NO_MEMORY;
    gpu_arena_init(&dev->heap, c->heap_bytes);
    gpu_arena_init(&dev->slabs, c->slab_bytes);
    return SC_OK;
}

static bool config_copy(struct gpu_device_config *to, const struct gpu_device_config *from)
{
    *to = *from;
    to->name = strdup(from->name);
    to->worker_path = strdup(from->worker_path);
    to->kernel_root = strdup(from->kernel_root);
    to->kernel_cache = strdup(from->kernel_cache);
    to->include_dir = strdup(from->include_dir);
    to->compiler = strdup(from->compiler);
    return to->name != NULL && to->worker_path != NULL && to->kernel_root != NULL &&
           to->kernel_cache != NULL && to->include_dir != NULL && to->compiler != NULL;
}

enum sc_status gpu_device_open(const struct gpu_device_config *config,
                               const struct gpu_device_ops *ops, void *user,
                               const struct sc_log *log, struct gpu_device **dev_out)
{
    const char *fault = config_fault(config);
    if (fault != NULL) {
        SC_ERROR(log, "device %s not opened: %s", config->name, fault);
        return SC_ERR_CONFIG;
    }
    struct gpu_device *dev = calloc(1, sizeof *dev);
    if (dev == NULL)
        return SC_ERR_NO_MEMORY;
    dev->ops = ops;
    dev->user = user;
    dev->log = log;
    dev->region_fd = dev->control_fd = dev->notify_fd = -1;
    enum sc_status st = SC_ERR_NO_MEMORY;
    if (!config_copy(&dev->config, config))
        goto err;
    char error[GPU_KERNEL_TEXT_BYTES] = "";
    st = gpu_catalog_read(config->kernel_root, &dev->catalog, error);
    if (st != SC_OK) {
        SC_ERROR(log, "device %s not opened: %s", config->name, error);
        goto err;
    }
    st = region_open(dev);
    if (st != SC_OK) {
        SC_ERROR(log, "device %s not opened: shared region: %m", config->name);
        goto err;
    }
    st = tables_open(dev);
    if (st != SC_OK) {
        SC_ERROR(log, "device %s not opened: no memory for %u grains and %u calls", config->name,
                 dev->config.grains_max, config->reply_slots);
        goto err;
    }
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    dev->notify_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 10);
    if (fd >= 0)
        close(fd);
    st = SC_ERR_SYSTEM;
    if (dev->notify_fd < 0) {
        SC_ERROR(log, "device %s not opened: eventfd: %m", config->name);
        goto err;
    }
    gpu_device_wipe(dev);
    dev->restart_delay_ns = (uint64_t)config->restart_ms * 1000000;
    st = gpu_worker_start(dev);
    if (st != SC_OK)
        goto err;
    *dev_out = dev;
    return SC_OK;
err:
    gpu_device_close(dev);
    return st;
}

void gpu_device_close(struct gpu_device *dev)
{
    if (dev == NULL)
        return;
    gpu_worker_kill(dev);
    if (dev->region != NULL)
        munmap(dev->region, region_plan(&dev->config).region_bytes);
    if (dev->slots != NULL)
        munmap(dev->slots, (size_t)dev->config.grains_max * sizeof *dev->slots);
    if (dev->region_fd >= 0)
        close(dev->region_fd);
    if (dev->notify_fd >= 0)
        close(dev->notify_fd);
    gpu_arena_fini(&dev->heap);
    gpu_arena_fini(&dev->slabs);
    gpu_catalog_free(&dev->catalog);
    free(dev->kernel_errors);
    free(dev->pendings);
    free(dev->progress);
    struct gpu_device_config *c = &dev->config;
    free((char *)c->name);
    free((char *)c->worker_path);
    free((char *)c->kernel_root);
    free((char *)c->kernel_cache);
    free((char *)c->include_dir);
    free((char *)c->compiler);
    free(dev);
}

/* Slots keep their generations: an address from before the wipe must not reach a later grain. */
void gpu_device_wipe(struct gpu_device *dev)
{
    const struct gpu_device_config *c = &dev->config;
    for (uint32_t i = 0; i < dev->slots_fresh; i++)
        dev->slots[i].state = GPU_SLOT_FREE;
    dev->slots_free = GPU_NO_INDEX;
    for (uint32_t i = dev->slots_fresh; i-- > 0;) {
        dev->slots[i].next_free = dev->slots_free;
        dev->slots_free = i;
    }
    dev->grains = 0;
    for (uint32_t i = 0; i < dev->pending_fresh; i++)
        dev->pendings[i].used = 0;
    dev->pending_free = dev->endings = GPU_NO_INDEX;
    dev->pending_fresh = 0;
    dev->pending_count = 0;
    gpu_arena_reset(&dev->heap);
    gpu_arena_reset(&dev->slabs);
    memset(dev->control, 0, sizeof *dev->control);
    memset(dev->lines, 0, c->blocks * sizeof *dev->lines);
    dev->submit_at = dev->reply_at = dev->event_at = 0;
    struct gpu_region_header h = region_plan(c);
    /* Zeroes the rings and gives their pages, and the slabs', back to the system. Cannot fail on a
     * memfd that is only sealed against resizing; should it, old stamps would be read as new ones.
     */
    int err = fallocate(dev->region_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)h.submit_offset, (off_t)(h.region_bytes - h.submit_offset));
    assert(err == 0);
    (void)err;
    h.generation = dev->epoch + 1;
    *dev->region = h;
}

/* -- completions ------------------------------------------------------------------------------- */

/* The device has answered what it will of a grain that ended: calls that its handler kept open
 * would stay so for ever. */
static void answer_orphans(struct gpu_device *dev, uint64_t grain)
{
    const struct gpu_slot *slot = &dev->slots[GPU_HANDLE_SLOT(grain)];
    for (uint32_t i = 0; i < dev->pending_fresh && slot->open != 0; i++) {
        struct gpu_pending *p = &dev->pendings[i];
        if (p->used && p->grain == grain && gpu_pending_is_message(p))
            gpu_pending_finish(dev, p, SC_ERR_NOT_FOUND, span_of(NULL, 0),
                               span_of_str("the grain ended before it answered"));
    }
}

void gpu_pending_finish(struct gpu_device *dev, struct gpu_pending *p, enum sc_status status,
                        struct span payload, struct span text)
{
    uint64_t call = p->call;
    uint32_t slab_bytes = p->slab_bytes;
    uint64_t slab_offset = p->slab_offset;
    if (p->kind == GPU_KIND_DEACTIVATE)
        answer_orphans(dev, p->grain);
    if (gpu_pending_is_message(p))
        dev->slots[GPU_HANDLE_SLOT(p->grain)].open--;
    p->used = 0;
    p->next_free = dev->pending_free;
    dev->pending_free = (uint32_t)(p - dev->pendings);
    dev->pending_count--;
    if (p->kind == GPU_KIND_DEACTIVATE || (p->kind == GPU_KIND_ACTIVATE && status != SC_OK))
        gpu_slot_free(dev, GPU_HANDLE_SLOT(p->grain));
    if (call != 0)
        dev->ops->on_reply(dev->user, call, status, payload, text);
    /* After the callback: the payload may lie in the slab. */
    if (slab_bytes != 0)
        gpu_arena_give(&dev->slabs, slab_offset, slab_bytes);
}

static struct gpu_pending *pending_by_token(struct gpu_device *dev, uint64_t token)
{
    uint32_t index = (uint32_t)token - 1;
    if (index >= dev->config.reply_slots)
        return NULL;
    struct gpu_pending *p = &dev->pendings[index];
    return p->used && p->generation == (uint32_t)(token >> 32) ? p : NULL;
}

/* The slot was copied out of shared memory; even so nothing in it is followed unchecked. A reply in
 * the slab lies where we said, whatever the device says. */
static void take_reply(struct gpu_device *dev, struct gpu_pending *p, const struct gpu_envelope *m)
{
    if (m->kind == GPU_KIND_FAULT && m->len >= 4 && m->len <= GPU_INLINE_BYTES) {
        uint32_t code;
        memcpy(&code, m->payload.bytes, sizeof code);
        bool known = code == SC_ERR_NOT_FOUND || code == SC_ERR_KERNEL || code == SC_ERR_BUSY;
        gpu_pending_finish(dev, p, known ? (enum sc_status)code : SC_ERR_KERNEL, span_of(NULL, 0),
                           span_of(m->payload.bytes + 4, m->len - 4));
        return;
    }
    struct span payload = {0};
    bool good = m->kind == GPU_KIND_REPLY;
    if (m->flags & GPU_FLAG_SLAB) {
        good = good && m->len <= p->slab_bytes;
        payload = span_of(dev->slab + p->slab_offset, m->len);
    } else {
        good = good && m->len <= GPU_INLINE_BYTES;
        payload = span_of(m->payload.bytes, m->len);
    }
    if (good)
        gpu_pending_finish(dev, p, SC_OK, payload, span_of(NULL, 0));
    else
        gpu_pending_finish(dev, p, SC_ERR_KERNEL, span_of(NULL, 0),
                           span_of_str("the device sent a malformed reply"));
}

static bool ring_ready(const struct gpu_envelope *ring, uint64_t at, uint32_t slots)
{
    return __atomic_load_n(&ring[at & (slots - 1)].stamp, __ATOMIC_ACQUIRE) ==
           GPU_RING_STAMP(at, slots);
}

static bool event_good(const struct gpu_device *dev, const struct gpu_envelope *m,
                       uint32_t *kernel_out)
{
    uint32_t slot = GPU_HANDLE_SLOT(m->src);
    if (m->kind != GPU_KIND_EVENT || m->len > GPU_INLINE_BYTES || slot >= dev->slots_fresh ||
        dev->slots[slot].state == GPU_SLOT_FREE)
        return false;
    *kernel_out = dev->slots[slot].kernel;
    return true;
}

static enum sc_status drain_events(struct gpu_device *dev, uint32_t max, uint32_t *taken_out)
{
    uint32_t slots = dev->config.event_slots;
    uint32_t n = 0;
    enum sc_status st = SC_OK;
    while (n < max && ring_ready(dev->event, dev->event_at, slots)) {
        struct gpu_envelope m;
        memcpy(&m, &dev->event[dev->event_at & (slots - 1)], sizeof m);
        uint32_t kernel;
        if (event_good(dev, &m, &kernel) &&
            dev->ops->on_event(dev->user, m.src, m.dst, kernel, m.type,
                               span_of(m.payload.bytes, m.len)) == SC_AGAIN) {
            st = SC_ERR_BUSY;
            break;
        }
        dev->event_at++;
        n++;
    }
    if (n != 0)
        __atomic_store_n(&dev->control->host.event_consumed, dev->event_at, __ATOMIC_RELEASE);
    *taken_out = n;
    return st;
}

/* The end of a grain must not overtake its events, whose stream needs the grain's name. Whatever
 * the grain emitted was in the event ring when its end was in the reply ring: so the end waits
 * until the ring was seen empty, or has gone round once. */
static void ending_put(struct gpu_device *dev, struct gpu_pending *p)
{
    p->generation++; /* a second answer finds nothing */
    p->end_after = dev->event_at + dev->config.event_slots;
    p->next_free = dev->endings;
    dev->endings = (uint32_t)(p - dev->pendings);
}

static void endings_finish(struct gpu_device *dev)
{
    bool empty = !ring_ready(dev->event, dev->event_at, dev->config.event_slots);
    uint32_t index = dev->endings;
    dev->endings = GPU_NO_INDEX;
    while (index != GPU_NO_INDEX) {
        struct gpu_pending *p = &dev->pendings[index];
        index = p->next_free;
        if (empty || dev->event_at >= p->end_after) {
            gpu_pending_finish(dev, p, SC_OK, span_of(NULL, 0), span_of(NULL, 0));
        } else {
            p->next_free = dev->endings;
            dev->endings = (uint32_t)(p - dev->pendings);
        }
    }
}

static uint32_t drain_replies(struct gpu_device *dev, uint32_t max)
{
    uint32_t slots = dev->config.reply_slots;
    uint32_t n = 0;
    while (n < max && ring_ready(dev->reply, dev->reply_at, slots)) {
        struct gpu_envelope m;
        memcpy(&m, &dev->reply[dev->reply_at & (slots - 1)], sizeof m);
        dev->reply_at++;
        n++;
        struct gpu_pending *p = pending_by_token(dev, m.call);
        if (p != NULL && p->kind == GPU_KIND_DEACTIVATE)
            ending_put(dev, p);
        else if (p != NULL)
            take_reply(dev, p, &m);
        else
            SC_DEBUG(dev->log, "device %s answered an unknown call %llx", dev->config.name,
                     (unsigned long long)m.call);
    }
    if (n != 0)
        __atomic_store_n(&dev->control->host.reply_consumed, dev->reply_at, __ATOMIC_RELEASE);
    return n;
}

enum sc_status gpu_device_poll(struct gpu_device *dev, uint32_t max)
{
    uint64_t count;
    ssize_t got = read(dev->notify_fd, &count, sizeof count);
    (void)got; /* nothing to read is fine: polled for another reason */
    if (dev->state == GPU_DEVICE_STARTING)
        gpu_worker_notes(dev);
    uint32_t replies = 0;
    uint32_t events = 0;
    for (;;) {
        uint32_t taken;
        replies += drain_replies(dev, max - replies);
        enum sc_status held = drain_events(dev, max - events, &taken);
        events += taken;
        if (dev->endings != GPU_NO_INDEX)
            endings_finish(dev);
        if (replies == max || events == max)
            return SC_AGAIN;
        /* Ask for a notification, then look once more: whoever published before it saw host_waits
         * is seen here (the worker's mirror image is notify_host in backend_cpu.c). */
        __atomic_store_n(&dev->control->wait.host_waits, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        bool more =
            ring_ready(dev->reply, dev->reply_at, dev->config.reply_slots) ||
            (held == SC_OK && ring_ready(dev->event, dev->event_at, dev->config.event_slots));
        if (!more)
            return held;
    }
}

/* -- looking ----------------------------------------------------------------------------------- */

int gpu_device_notify_fd(const struct gpu_device *dev)
{
    return dev->notify_fd;
}

enum gpu_device_state gpu_device_state(const struct gpu_device *dev)
{
    return dev->state;
}

uint32_t gpu_device_epoch(const struct gpu_device *dev)
{
    return dev->epoch;
}

const struct gpu_catalog *gpu_device_catalog(const struct gpu_device *dev)
{
    return &dev->catalog;
}

const char *gpu_device_limit(const struct gpu_device *dev)
{
    return dev->limit;
}

const char *gpu_device_kernel_error(const struct gpu_device *dev, uint32_t kernel)
{
    return kernel < dev->catalog.count ? dev->kernel_errors[kernel] : "";
}

void gpu_device_stats(const struct gpu_device *dev, uint64_t now_ns, struct gpu_device_stats *out)
{
    struct gpu_device_stats s = {0};
    for (uint32_t i = 0; i < dev->config.blocks; i++) {
        const struct gpu_block_line *l = &dev->lines[i];
        s.messages_handled += __atomic_load_n(&l->messages_handled, __ATOMIC_RELAXED);
        s.messages_sent += __atomic_load_n(&l->messages_sent, __ATOMIC_RELAXED);
        s.events_emitted += __atomic_load_n(&l->events_emitted, __ATOMIC_RELAXED);
        s.messages_dropped += __atomic_load_n(&l->messages_dropped, __ATOMIC_RELAXED);
        s.pool_waits += __atomic_load_n(&l->pool_waits, __ATOMIC_RELAXED);
        s.event_waits += __atomic_load_n(&l->event_waits, __ATOMIC_RELAXED);
        s.faults += __atomic_load_n(&l->faults, __ATOMIC_RELAXED);
        uint64_t since = dev->progress[i].since_ns;
        if (now_ns > since && now_ns - since > s.heartbeat_age_ns)
            s.heartbeat_age_ns = now_ns - since;
    }
    s.grains = dev->grains;
    s.grains_max = dev->config.grains_max;
    s.calls_in_flight = dev->pending_count;
    uint64_t consumed = __atomic_load_n(&dev->control->device.submit_consumed, __ATOMIC_RELAXED);
    s.submit_depth = consumed <= dev->submit_at ? (uint32_t)(dev->submit_at - consumed) : 0;
    s.heap_used_bytes = dev->heap.used;
    s.heap_bytes = dev->heap.bytes;
    s.slab_used_bytes = dev->slabs.used;
    s.slab_bytes = dev->slabs.bytes;
    s.restarts = dev->restarts;
    *out = s;
}
