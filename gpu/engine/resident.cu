/* The GPU build of the engine: one entry point, launched once, that stays until it is told to stop.
 * The kernels are compiled into the same module; ENG_DISPATCH, a generated header, includes their
 * sources and defines eng_dispatch, a switch over the kernel table.
 *
 * Grid: eng->block_count blocks of 32 threads, all co-resident; no shared memory. Lane 0 of each
 * block runs the engine. Writes: the region's rings, device lines and slabs; everything behind
 * struct eng. */
#include "gpu/engine/resident.h"

K_FN int k_send(struct k_context *ctx, uint64_t grain, uint16_t type, const void *payload,
                uint32_t len)
{
    return eng_send(ctx, grain, type, payload, len);
}
K_FN int k_emit(struct k_context *ctx, uint16_t event, uint64_t stream, const void *payload,
                uint32_t len)
{
    return eng_emit(ctx, event, stream, payload, len);
}
K_FN int k_reply(struct k_context *ctx, const struct k_call *call, const void *payload,
                 uint32_t len)
{
    return eng_reply(ctx, call, payload, len);
}
K_FN void k_fail(struct k_context *ctx, const struct k_call *call, const char *text)
{
    eng_fail(ctx, call, text);
}
K_FN void k_defer(struct k_context *ctx)
{
    ctx->deferred = 1;
}
K_FN uint64_t k_self(const struct k_context *ctx)
{
    return ctx->self;
}
K_FN uint32_t k_state_bytes(const struct k_context *ctx)
{
    return ctx->state_bytes;
}

#include ENG_DISPATCH

K_FN uint32_t eng_block_id(void)
{
    uint32_t v;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(v));
    return v;
}
K_FN uint32_t eng_thread_id(void)
{
    uint32_t v;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(v));
    return v;
}

extern "C" __attribute__((global)) void eng_resident(struct eng *e)
{
    if (eng_thread_id() != 0)
        return;
    struct eng_block *b = &e->blocks[eng_block_id()];
    uint32_t idle = 0;
    while (!eng_stopped(e)) {
        if (eng_turn(e, b) != 0)
            idle = 0;
        else if (idle++ >= 32)
            eng_pause();
    }
}
