/* The memory a daemon shares with one worker (and, on a GPU, with the device): a memfd. Compiles as
 * C, C++ and CUDA. The daemon lays it out and keeps it over a worker's death. Kernel code can
 * scribble over it, so the daemon checks every index and length it reads here and follows none. */
#ifndef GPU_ABI_REGION_H
#define GPU_ABI_REGION_H

#include "gpu/abi/envelope.h"

#define GPU_REGION_MAGIC   0x31475347u /* "GSG1" */
#define GPU_REGION_VERSION 1u
#define GPU_BLOCKS_MAX     256u
#define GPU_LINE           128u /* no two writers share a line of this size */

/* Stop words the host writes. */
#define GPU_RUN  0u
#define GPU_STOP 1u /* leave after the message in hand */

/* First bytes of the region; written once by the daemon before the worker starts. Offsets are from
 * the region's start and multiples of 4096; slot counts are powers of two. */
struct gpu_region_header {
    uint32_t magic;
    uint32_t version;
    uint64_t region_bytes;
    uint64_t control_offset;
    uint64_t blocks_offset;
    uint64_t submit_offset;
    uint64_t reply_offset;
    uint64_t event_offset;
    uint64_t slab_offset;
    uint64_t slab_bytes;
    uint64_t heap_bytes; /* state heap in device memory, not in the region */
    uint32_t submit_slots;
    uint32_t reply_slots;
    uint32_t event_slots;
    uint32_t blocks;
    uint32_t grains_max;
    uint32_t messages_max;
    uint32_t generation; /* counts workers that have served this region */
    uint32_t spin_us;    /* how long an idle block polls before it parks */
};

/* Written by the host only. */
struct gpu_host_line {
    uint32_t stop;
    uint32_t doorbell;       /* grows; a parked device sleeps on it */
    uint64_t reply_consumed; /* reply slots the host has taken */
    uint64_t event_consumed;
    uint8_t pad[GPU_LINE - 24];
};

/* Written by the device side. */
struct gpu_device_line {
    uint64_t submit_consumed;
    uint8_t pad[GPU_LINE - 8];
};

/* Who sleeps. The exception to one writer a word: whoever is about to sleep sets its word, whoever
 * wakes it takes the word back to 0 by an exchange, so that it is woken once. Host and worker
 * process only, never the device. */
struct gpu_wait_line {
    uint32_t host_waits; /* 1: write the notification descriptor after publishing a completion */
    uint32_t parked;     /* 1: block 0 sleeps on doorbell, ring it */
    uint8_t pad[GPU_LINE - 8];
};

struct gpu_control {
    struct gpu_host_line host;
    struct gpu_device_line device;
    struct gpu_wait_line wait;
};

/* One a block, written by that block only, unfenced: heartbeat and what a post-mortem needs. busy_*
 * name the message in hand; busy_grain is 0 between messages. */
struct gpu_block_line {
    uint64_t heartbeat; /* loop turns */
    uint64_t busy_grain;
    uint32_t busy_kernel;
    uint32_t busy_type;
    uint64_t messages_handled;
    uint64_t messages_sent; /* grain to grain */
    uint64_t events_emitted;
    uint64_t messages_dropped; /* for a grain that is gone */
    uint64_t pool_waits;       /* grains held back: message pool exhausted */
    uint64_t event_waits;      /* grains held back: event ring full */
    uint64_t faults;
    uint64_t stolen; /* grains run from another block's queue */
    uint8_t pad[GPU_LINE - 88];
};

GPU_STATIC_ASSERT(sizeof(struct gpu_control) == 3 * GPU_LINE, "a line a writer");
GPU_STATIC_ASSERT(sizeof(struct gpu_block_line) == GPU_LINE, "a line a block");

/* Rings are arrays of struct gpu_envelope, a power of two of them. Ticket t (from 0) uses slot t
 * mod n and is published by stamp = t / n + 1 (mod 2^32, never 0: 0 is "never written"): the writer
 * writes the slot, then the stamp (release, system scope); the reader sees the expected stamp
 * (acquire), then reads. Data and readiness come in one read, no shared head or tail. The writer
 * reuses a slot only when the reader's consumed counter has passed it. */
#define GPU_RING_STAMP(ticket, slots) \
    ((uint32_t)((ticket) / (slots)) + 1u != 0 ? (uint32_t)((ticket) / (slots)) + 1u : 1u)

#endif
