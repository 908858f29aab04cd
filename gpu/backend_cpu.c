#include "gpu/backend_cpu.h"

#include "gpu/engine/resident.h"
#include "sidecar/base/clock.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    /* A parked device wakes by itself this often, so that its heartbeat tells it from a dead one.
     */
    PARK_MS = 100,
    /* With grains held back for event slots or messages, look again soon: nobody rings for those.
     */
    HELD_MS = 1,
    SPINS_PER_CLOCK = 64
};

struct gpu_cpu {
    struct eng eng;
    struct gpu_region_header *region;
    pthread_t *threads;
    uint32_t started;
    int notify_fd;
    uint32_t sleepers; /* parked blocks other than block 0; a futex word's companion */
    uint32_t work_bell;
    size_t grains_bytes, messages_bytes, queue_bytes;
};

struct block_start {
    struct gpu_cpu *cpu;
    uint32_t index;
};

static void futex_wait(uint32_t *word, uint32_t seen, uint32_t ms, int private_flag)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT | private_flag, seen, &ts, NULL, 0);
}

/* Tells the host of completions written in this turn, when it said that it sleeps. The fence orders
 * the stamps before the look at host_waits; the host has the mirror image (gpu_device_poll). */
static void notify_host(struct gpu_cpu *cpu, struct eng_block *b)
{
    if (b->published == 0)
        return;
    b->published = 0;
    uint32_t *waits = &cpu->eng.control->wait.host_waits;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(waits, __ATOMIC_RELAXED) == 0 ||
        __atomic_exchange_n(waits, 0, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t one = 1;
    ssize_t n = write(cpu->notify_fd, &one, sizeof one);
    (void)n; /* full means it is readable already */
}

static bool submission_waits(const struct eng *e, const struct eng_block *b)
{
    const struct gpu_envelope *slot = &e->submit[b->submit_at & (e->submit_slots - 1)];
    return eng_load_acq32_sys(&slot->stamp) == GPU_RING_STAMP(b->submit_at, e->submit_slots);
}

/* Block 0 sleeps on the host's doorbell. parked is set before the last look at the ring; the host
 * looks at parked after it published (gpu/submit.c, gpu_doorbell). */
static void park_on_doorbell(struct gpu_cpu *cpu, struct eng_block *b, uint32_t ms)
{
    struct gpu_control *c = cpu->eng.control;
    uint32_t bell = __atomic_load_n(&c->host.doorbell, __ATOMIC_ACQUIRE);
    __atomic_store_n(&c->wait.parked, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!submission_waits(&cpu->eng, b) && !eng_stopped(&cpu->eng))
        futex_wait(&c->host.doorbell, bell, ms, 0);
    __atomic_store_n(&c->wait.parked, 0, __ATOMIC_RELAXED);
}

static void park_on_work(struct gpu_cpu *cpu, uint32_t ms)
{
    uint32_t bell = __atomic_load_n(&cpu->work_bell, __ATOMIC_ACQUIRE);
    __atomic_fetch_add(&cpu->sleepers, 1, __ATOMIC_SEQ_CST);
    futex_wait(&cpu->work_bell, bell, ms, FUTEX_PRIVATE_FLAG);
    __atomic_fetch_sub(&cpu->sleepers, 1, __ATOMIC_RELAXED);
}

/* More grains wait than this block can run next: somebody asleep may steal them. */
static void wake_thief(struct gpu_cpu *cpu, const struct eng_block *b)
{
    if (cpu->eng.block_count == 1 || __atomic_load_n(&cpu->sleepers, __ATOMIC_RELAXED) == 0)
        return;
    const struct eng_queue *q = &cpu->eng.queues[b->index];
    if (eng_load_rlx32(&q->push_at) - eng_load_rlx32(&q->pop_at) < 2)
        return;
    __atomic_fetch_add(&cpu->work_bell, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &cpu->work_bell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void idle_block(struct gpu_cpu *cpu, struct eng_block *b, uint64_t *idle_since_ns,
                       uint32_t *idle_turns)
{
    if ((*idle_turns)++ == 0)
        *idle_since_ns = sc_clock_mono_ns();
    eng_pause();
    if (*idle_turns % SPINS_PER_CLOCK != 0)
        return;
    /* With more threads than cores the one that would give this block work may be waiting for this
     * very core. */
    sched_yield();
    if (sc_clock_mono_ns() - *idle_since_ns < (uint64_t)cpu->region->spin_us * 1000)
        return;
    uint32_t ms = b->held != 0 ? HELD_MS : PARK_MS;
    if (b->index == 0)
        park_on_doorbell(cpu, b, ms);
    else
        park_on_work(cpu, ms);
    *idle_turns = 0;
}

static void *block_main(void *arg)
{
    struct block_start start = *(struct block_start *)arg;
    free(arg);
    struct gpu_cpu *cpu = start.cpu;
    struct eng_block *b = &cpu->eng.blocks[start.index];
    uint64_t idle_since_ns = 0;
    uint32_t idle_turns = 0;
    while (!eng_stopped(&cpu->eng)) {
        if (eng_turn(&cpu->eng, b) == 0) {
            notify_host(cpu, b);
            idle_block(cpu, b, &idle_since_ns, &idle_turns);
            continue;
        }
        idle_turns = 0;
        notify_host(cpu, b);
        wake_thief(cpu, b);
    }
    notify_host(cpu, b);
    return NULL;
}

/* Untouched pages cost nothing, so tables may be sized for the configured maximum. */
static void *map_lazily(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t bytes)
{
    if (p != NULL)
        munmap(p, bytes);
}

static uint32_t kernels_adopt(struct eng *e, const struct gpu_cpu_kernel *kernels, uint32_t count)
{
    uint32_t emits_max = 0;
    for (uint32_t i = 0; i < count; i++) {
        e->kernels[i] = (struct eng_kernel){
            .handler = (eng_handler)kernels[i].handler,
            .sends_max = kernels[i].sends_max,
            .emits_max = kernels[i].emits_max,
            .usable = kernels[i].handler != NULL,
        };
        if (kernels[i].emits_max > emits_max)
            emits_max = kernels[i].emits_max;
    }
    return emits_max;
}

static void engine_bind(struct gpu_cpu *cpu, uint32_t emits_max)
{
    struct gpu_region_header *h = cpu->region;
    uint8_t *base = (uint8_t *)h;
    struct eng *e = &cpu->eng;
    e->control = (struct gpu_control *)(base + h->control_offset);
    e->submit = (struct gpu_envelope *)(base + h->submit_offset);
    e->reply = (struct gpu_envelope *)(base + h->reply_offset);
    e->event = (struct gpu_envelope *)(base + h->event_offset);
    e->slab = base + h->slab_offset;
    e->slab_bytes = h->slab_bytes;
    e->heap_bytes = h->heap_bytes;
    e->submit_slots = h->submit_slots;
    e->reply_slots = h->reply_slots;
    e->event_slots = h->event_slots;
    e->grains_max = h->grains_max;
    e->messages_max = h->messages_max;
    e->block_count = h->blocks;
    e->event_room = h->blocks * emits_max;
    e->pool_fresh = ENG_FIRST_MESSAGE;
    struct gpu_block_line *lines = (struct gpu_block_line *)(base + h->blocks_offset);
    for (uint32_t i = 0; i < h->blocks; i++) {
        e->blocks[i].index = i;
        e->blocks[i].line = &lines[i];
        struct eng_queue *q = &e->queues[i];
        q->mask = h->grains_max - 1;
    }
}

static bool memory_take(struct gpu_cpu *cpu, uint32_t kernel_count)
{
    struct gpu_region_header *h = cpu->region;
    struct eng *e = &cpu->eng;
    cpu->grains_bytes = (size_t)h->grains_max * sizeof *e->grains;
    cpu->messages_bytes = (size_t)h->messages_max * sizeof *e->messages;
    cpu->queue_bytes = (size_t)h->grains_max * sizeof(struct eng_cell);
    e->grains = map_lazily(cpu->grains_bytes);
    e->messages = map_lazily(cpu->messages_bytes);
    e->heap = map_lazily(h->heap_bytes);
    e->kernels = calloc(kernel_count != 0 ? kernel_count : 1, sizeof *e->kernels);
    e->kernel_count = kernel_count;
    e->queues = aligned_alloc(GPU_LINE, h->blocks * sizeof *e->queues);
    e->blocks = aligned_alloc(GPU_LINE, h->blocks * sizeof *e->blocks);
    cpu->threads = calloc(h->blocks, sizeof *cpu->threads);
    bool ok = e->grains != NULL && e->messages != NULL && e->heap != NULL && e->kernels != NULL &&
              e->queues != NULL && e->blocks != NULL && cpu->threads != NULL;
    if (!ok)
        return false;
    eng_zero(e->blocks, h->blocks * sizeof *e->blocks);
    eng_zero(e->queues, h->blocks * sizeof *e->queues);
    for (uint32_t i = 0; i < h->blocks; i++) {
        e->queues[i].cells = map_lazily(cpu->queue_bytes);
        if (e->queues[i].cells == NULL)
            return false;
    }
    return true;
}

static void memory_give(struct gpu_cpu *cpu)
{
    struct eng *e = &cpu->eng;
    unmap(e->grains, cpu->grains_bytes);
    unmap(e->messages, cpu->messages_bytes);
    unmap(e->heap, cpu->region->heap_bytes);
    for (uint32_t i = 0; e->queues != NULL && i < cpu->region->blocks; i++)
        unmap(e->queues[i].cells, cpu->queue_bytes);
    free(e->kernels);
    free(e->queues);
    free(e->blocks);
    free(cpu->threads);
    free(cpu);
}

static enum sc_status blocks_start(struct gpu_cpu *cpu)
{
    for (uint32_t i = 0; i < cpu->region->blocks; i++) {
        struct block_start *start = malloc(sizeof *start);
        if (start == NULL)
            return SC_ERR_NO_MEMORY;
        *start = (struct block_start){cpu, i};
        if (pthread_create(&cpu->threads[i], NULL, block_main, start) != 0) {
            free(start);
            return SC_ERR_SYSTEM;
        }
        cpu->started++;
    }
    return SC_OK;
}

enum sc_status gpu_cpu_open(struct gpu_region_header *region, const struct gpu_cpu_kernel *kernels,
                            uint32_t kernel_count, int notify_fd, struct gpu_cpu **cpu_out)
{
    struct gpu_cpu *cpu = calloc(1, sizeof *cpu);
    if (cpu == NULL)
        return SC_ERR_NO_MEMORY;
    cpu->region = region;
    cpu->notify_fd = notify_fd;
    if (!memory_take(cpu, kernel_count)) {
        memory_give(cpu);
        return SC_ERR_NO_MEMORY;
    }
    engine_bind(cpu, kernels_adopt(&cpu->eng, kernels, kernel_count));
    enum sc_status st = blocks_start(cpu);
    if (st != SC_OK) {
        eng_store_rel32_sys(&cpu->eng.control->host.stop, GPU_STOP);
        gpu_cpu_close(cpu);
        return st;
    }
    *cpu_out = cpu;
    return SC_OK;
}

void gpu_cpu_close(struct gpu_cpu *cpu)
{
    if (cpu == NULL)
        return;
    for (uint32_t i = 0; i < cpu->started; i++)
        pthread_join(cpu->threads[i], NULL);
    memory_give(cpu);
}
