/* The engine's memory: everything a resident grid works on. Host code (gpu/backend_*.c) allocates
 * and fills it once; afterwards only the functions in resident.h touch it.
 *
 *   submission ring ──▶ intake (block 0) ──▶ mailbox of a grain ──▶ run queue of a block
 *                                                ▲                        │
 *                                 k_send ────────┤                        ▼
 *                                                └──── handler ◀── a block pops the grain, runs it
 *                        reply ring, event ring ◀──── k_reply, k_emit
 *
 * A mailbox is one word: IDLE, SCHEDULED (with nothing new), or the newest message of a list linked
 * through gpu_envelope.stamp. Pushing onto IDLE is what schedules a grain, so the mailbox and its
 * scheduled flag cannot disagree. The block that runs the grain takes the whole list in one
 * exchange and turns it round: order of arrival, hence order per sender. Messages come from one
 * pool, so memory grows with messages in flight and an idle grain costs 32 bytes beside its state.
 */
#ifndef GPU_ENGINE_ENGINE_H
#define GPU_ENGINE_ENGINE_H

#include "gpu/abi/region.h"
#include "gpu/engine/port.h"

enum {
    ENG_IDLE = 0,
    ENG_SCHEDULED = 1,
    ENG_FIRST_MESSAGE = 2, /* pool indices below are the marks above */
    ENG_NONE = 0,          /* end of a list of messages */
    ENG_BATCH = 64,        /* messages that move between a block and the shared pool */
    ENG_GRAIN_BATCH = 32,  /* messages of one grain before another grain has its turn */
    ENG_TURN_GRAINS = 32,  /* grains run between two looks at the submission ring */
    ENG_INTAKE = 128       /* submissions taken in one turn */
};

typedef void (*eng_handler)(void *state, const struct k_message *message, struct k_context *ctx);

/* A kernel as the engine sees it. */
struct eng_kernel {
    eng_handler handler; /* CPU only; the device build has a generated switch */
    uint32_t sends_max;
    uint32_t emits_max;
    uint32_t usable;
    uint32_t reserved;
};

struct eng_grain {
    uint32_t mailbox; /* any block */
    uint32_t list;    /* messages taken but not handled, oldest first; the running block only */
    uint32_t generation;
    uint16_t kernel;
    uint16_t alive;
    uint64_t state_offset;
    uint32_t state_bytes;
    uint32_t reserved;
};

/* One cell of a run queue (a bounded queue after D. Vyukov's): sequence tells whose turn the cell
 * is. */
struct eng_cell {
    uint32_t sequence;
    uint32_t slot;
};

/* Grains that are ready to run, at most once each over all queues, so capacity >= grains_max never
 * fills. Any block pushes and pops. */
struct eng_queue {
    struct eng_cell *cells;
    uint32_t mask;
    uint8_t pad0[GPU_LINE - 12];
    uint32_t push_at;
    uint8_t pad1[GPU_LINE - 4];
    uint32_t pop_at;
    uint8_t pad2[GPU_LINE - 4];
};

/* A list of free messages with known ends, linked through stamp. */
struct eng_free_list {
    uint32_t head;
    uint32_t tail;
    uint32_t count;
};

/* What belongs to one block alone. */
struct eng_block {
    struct eng_free_list open; /* frees go here, allocations come from here first: it is warm */
    struct eng_free_list kept;
    struct gpu_block_line *line;
    uint32_t index;
    uint32_t published; /* completions written since the backend last looked */
    uint32_t held;    /* grains put back for want of messages or event slots since work was done */
    uint32_t starved; /* consecutive times the pool could not serve this block */
    uint64_t submit_at;  /* block 0: next ticket of the submission ring */
    uint64_t host_taken; /* block 0: host messages brought into the pool */
    uint64_t host_freed; /* host messages this block gave back; read by block 0 */
    uint8_t pad[GPU_LINE - 72];
};

struct eng {
    struct gpu_control *control;
    struct gpu_envelope *submit;
    struct gpu_envelope *reply;
    struct gpu_envelope *event;
    uint8_t *slab;
    uint64_t slab_bytes;
    uint8_t *heap;
    uint64_t heap_bytes;
    struct eng_grain *grains;
    struct gpu_envelope *messages;
    struct eng_kernel *kernels;
    struct eng_queue *queues; /* one a block */
    struct eng_block *blocks;
    uint32_t submit_slots;
    uint32_t reply_slots;
    uint32_t event_slots;
    uint32_t grains_max;
    uint32_t messages_max; /* pool indices ENG_FIRST_MESSAGE .. messages_max - 1 */
    uint32_t kernel_count;
    uint32_t block_count;
    uint32_t event_room; /* free event slots that let every block run one handler of any kernel */
    uint8_t pad0[GPU_LINE];
    uint64_t reply_tail; /* next ticket; any block */
    uint8_t pad1[GPU_LINE];
    uint64_t event_tail;
    uint8_t pad2[GPU_LINE];
    uint64_t pool_batches; /* stack of free batches: count of pops << 32 | first message */
    uint8_t pad3[GPU_LINE];
    uint32_t pool_fresh; /* first message never used */
    uint8_t pad4[GPU_LINE];
};

#endif
