/* What a kernel author includes: the handler API. One source is compiled for CPU threads by the
 * system C compiler and for the GPU by NVRTC or clang. Needs no other header.
 *
 * A kernel is one handler:
 *
 *     #include "k_grain.h"
 *     struct tally { uint64_t sum; };
 *     K_HANDLER(tally)
 *     {
 *         struct tally *t = (struct tally *)state;
 *         if (message->type == 1 && message->len == 8) {
 *             t->sum += *(const uint64_t *)message->payload;
 *             k_reply(ctx, &message->call, &t->sum, sizeof t->sum);
 *         }
 *     }
 *
 * A handler sees one message of one grain at a time; messages of one sender keep their order. It
 * must not block, allocate, or keep pointers: state, message and payload are good until it returns.
 * It may send, emit and reply up to the limits its manifest states; the engine sets that much room
 * aside before it calls the handler, so within the limits none of these can fail for want of room.
 */
#ifndef K_GRAIN_H
#define K_GRAIN_H

#define K_ABI_VERSION 1

#if defined(__CUDA__) || defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define K_DEVICE 1
#if defined(__CUDACC_RTC__)
#define K_FN __device__ inline
#else
#define K_FN __attribute__((device)) inline
#endif
#endif

#if defined(K_DEVICE)
#ifndef GPU_ABI_DEVICE_TYPES_H
#define GPU_ABI_DEVICE_TYPES_H
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef long long int64_t;
#endif
#else
#include <stdbool.h>
#include <stdint.h>
#endif

/* Message types the engine itself sends; a kernel's own types are below 0xff00.
 * K_ACTIVATE: the first message of a grain. state is zeroed, payload is what the caller of activate
 * gave. K_DEACTIVATE: the last one. */
#define K_ACTIVATE   0xff00u
#define K_DEACTIVATE 0xff01u

/* The most bytes of a message between grains, of an event, and of a reply whose message type
 * declares no reply_bytes in the manifest. */
#define K_INLINE_BYTES 80u

/* Results of k_send, k_emit and k_reply. */
#define K_OK        0
#define K_TOO_LARGE 1 /* payload over the limit; nothing was sent */
#define K_OVER_LIMIT \
    2 /* more sends or emits than the manifest allows for one message; nothing was sent */
#define K_NO_GRAIN 3 /* the address is no grain of this device */

struct k_context;

/* The call that waits for an answer; id 0: nobody waits. Plain data: copy it into the state to
 * answer later (after k_defer), from any later message of the same grain. */
struct k_call {
    uint64_t id;
    uint64_t room;
};

struct k_message {
    const void *payload; /* len bytes, aligned to 8 */
    uint32_t len;
    uint16_t type;
    uint16_t reserved;
    uint64_t source; /* the sending grain; 0 = a caller outside the device */
    struct k_call call;
};

#if defined(K_DEVICE)
K_FN int k_send(struct k_context *ctx, uint64_t grain, uint16_t type, const void *payload,
                uint32_t len);
K_FN int k_emit(struct k_context *ctx, uint16_t event, uint64_t stream, const void *payload,
                uint32_t len);
K_FN int k_reply(struct k_context *ctx, const struct k_call *call, const void *payload,
                 uint32_t len);
K_FN void k_fail(struct k_context *ctx, const struct k_call *call, const char *text);
K_FN void k_defer(struct k_context *ctx);
K_FN uint64_t k_self(const struct k_context *ctx);
K_FN uint32_t k_state_bytes(const struct k_context *ctx);
#define K_HANDLER(id) \
    K_FN void k_handler_##id(void *state, const struct k_message *message, struct k_context *ctx)
#else

/* The engine's side of the calls below; a kernel never touches it. */
struct k_ops {
    int (*send)(struct k_context *ctx, uint64_t grain, uint16_t type, const void *payload,
                uint32_t len);
    int (*emit)(struct k_context *ctx, uint16_t event, uint64_t stream, const void *payload,
                uint32_t len);
    int (*reply)(struct k_context *ctx, const struct k_call *call, const void *payload,
                 uint32_t len);
    void (*fail)(struct k_context *ctx, const struct k_call *call, const char *text);
};

/* First part of the engine's context. */
struct k_context {
    const struct k_ops *ops;
    uint64_t self;
    uint32_t state_bytes;
    uint32_t deferred;
};

/* Sends a message to a grain of this device: at most once, in order with this grain's other
 * messages to it. len <= K_INLINE_BYTES. A grain that has gone since drops it. */
static inline int k_send(struct k_context *ctx, uint64_t grain, uint16_t type, const void *payload,
                         uint32_t len)
{
    return ctx->ops->send(ctx, grain, type, payload, len);
}

/* Publishes an event of the manifest on the Orleans stream (namespace: the event's in the manifest;
 * key: the key of the grain `stream`, 0 = this grain). len <= K_INLINE_BYTES. */
static inline int k_emit(struct k_context *ctx, uint16_t event, uint64_t stream,
                         const void *payload, uint32_t len)
{
    return ctx->ops->emit(ctx, event, stream, payload, len);
}

/* Answers a call; does nothing when nobody waits. A handler that neither answers nor defers a call
 * answers it with an empty reply when it returns. Answering twice is ignored by the daemon. */
static inline int k_reply(struct k_context *ctx, const struct k_call *call, const void *payload,
                          uint32_t len)
{
    return ctx->ops->reply(ctx, call, payload, len);
}

/* Fails a call with a text for its caller, at most 75 bytes of it. */
static inline void k_fail(struct k_context *ctx, const struct k_call *call, const char *text)
{
    ctx->ops->fail(ctx, call, text);
}

/* Keeps the call of the message in hand open beyond the handler: a later message answers it. */
static inline void k_defer(struct k_context *ctx)
{
    ctx->deferred = 1;
}

/* This grain's address, for others to send to. */
static inline uint64_t k_self(const struct k_context *ctx)
{
    return ctx->self;
}

/* Bytes of state this grain was activated with. */
static inline uint32_t k_state_bytes(const struct k_context *ctx)
{
    return ctx->state_bytes;
}

/* Defines the handler of the kernel `id` (the manifest's id with '-' written '_'). */
#define K_HANDLER(id)                                                                         \
    const uint32_t k_abi_##id = K_ABI_VERSION;                                                \
    void k_handler_##id(void *state, const struct k_message *message, struct k_context *ctx); \
    void k_handler_##id(void *state, const struct k_message *message, struct k_context *ctx)
#endif

#endif
