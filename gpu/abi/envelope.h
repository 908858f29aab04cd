/* The message that daemon, worker and device hand to each other. Compiles as C, C++ and CUDA. */
#ifndef GPU_ABI_ENVELOPE_H
#define GPU_ABI_ENVELOPE_H

#if defined(__CUDA__) || defined(__CUDACC__) || defined(__CUDACC_RTC__)
#include "gpu/abi/device_types.h"
#else
#include <stdint.h>
#endif

/* A grain's address on its device: generation << 32 | slot. Slots are used again, generations of a
 * slot only grow, so an old address never reaches a new grain. 0 is no grain. */
#define GPU_HANDLE(generation, slot) ((uint64_t)(generation) << 32 | (uint32_t)(slot))
#define GPU_HANDLE_SLOT(handle)      ((uint32_t)(handle))
#define GPU_HANDLE_GEN(handle)       ((uint32_t)((handle) >> 32))

/* The kinds, 8 bits in the envelope. */
#define GPU_KIND_ACTIVATE   1u /* host -> device: payload is struct gpu_activate, then init bytes */
#define GPU_KIND_DEACTIVATE 2u /* host -> device */
#define GPU_KIND_CALL       3u /* host -> device: owes one GPU_KIND_REPLY or GPU_KIND_FAULT */
#define GPU_KIND_SEND       4u /* host -> device, grain -> grain */
#define GPU_KIND_REPLY      5u /* device -> host: ends the call it names */
#define GPU_KIND_FAULT      6u /* device -> host: ends the call it names; payload struct gpu_fault */
#define GPU_KIND_EVENT \
    7u /* device -> host: src emitted it, dst is the grain whose stream gets it */

/* The payload is at the slab offset in payload.slab, not inline. */
#define GPU_FLAG_SLAB 1u

#define GPU_INLINE_BYTES 80u

/* 128 bytes, two cache lines; the slot of every ring and of the device's message pool.
 *
 *   0      4    5     6     8     16    24     32          40   44   48                        128
 *   stamp  kind flags type  dst   src   call   reply_slab  len  seq  payload
 *
 * stamp belongs to whoever holds the slot: in a ring it publishes the slot (see region.h), in the
 * message pool it links a mailbox or free list. It is the last word a ring writer writes. */
struct gpu_envelope {
    uint32_t stamp;
    uint8_t kind;
    uint8_t flags;
    uint16_t type; /* message or event type by the kernel's manifest; < 0xff00 */
    uint64_t dst;  /* grain handle */
    uint64_t src;  /* grain handle; 0 = the host */
    uint64_t call; /* the daemon's token for a reply; 0 = nobody waits */
    uint64_t
        reply_slab; /* room for a reply over GPU_INLINE_BYTES: offset << 24 | bytes; 0 = none */
    uint32_t len;   /* payload bytes */
    uint32_t seq;   /* host -> device: counts submissions */
    union {
        uint8_t bytes[GPU_INLINE_BYTES];
        uint64_t slab; /* with GPU_FLAG_SLAB: byte offset in the region's slab arena */
    } payload;
};

#define GPU_REPLY_SLAB(offset, bytes) ((uint64_t)(offset) << 24 | (uint64_t)(bytes))
#define GPU_REPLY_SLAB_OFFSET(v)      ((v) >> 24)
#define GPU_REPLY_SLAB_BYTES(v)       ((uint32_t)((v)&0xffffffu))

/* Payload of GPU_KIND_ACTIVATE. init_len bytes follow it inline, or lie at init_slab. */
struct gpu_activate {
    uint64_t state_offset; /* in the device's state heap, a multiple of 16 */
    uint64_t init_slab;    /* offset in the slab arena, when init_len > GPU_ACTIVATE_INLINE_BYTES */
    uint32_t state_bytes;  /* zeroed before the kernel sees it */
    uint32_t init_len;
    uint32_t kernel; /* index in the worker's kernel table */
    uint32_t reserved;
};

#define GPU_ACTIVATE_INLINE_BYTES (GPU_INLINE_BYTES - 32u)

/* Payload of GPU_KIND_FAULT: a code of enum sc_status, then text without NUL. */
struct gpu_fault {
    uint32_t code;
    char text[GPU_INLINE_BYTES - 4];
};

#if defined(__cplusplus)
#define GPU_STATIC_ASSERT static_assert
#else
#define GPU_STATIC_ASSERT _Static_assert
#endif
GPU_STATIC_ASSERT(sizeof(struct gpu_envelope) == 128, "envelope is two cache lines");
GPU_STATIC_ASSERT(sizeof(struct gpu_activate) == 32, "activation block");
GPU_STATIC_ASSERT(sizeof(struct gpu_fault) == GPU_INLINE_BYTES, "fault fits inline");

#endif
