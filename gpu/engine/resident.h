/* The resident engine: what every block does, turn after turn. One source for CPU threads
 * (gpu/backend_cpu.c) and the GPU (gpu/engine/resident.cu), where one lane of a block runs it.
 * Only those two include this file. */
#ifndef GPU_ENGINE_RESIDENT_H
#define GPU_ENGINE_RESIDENT_H

#include "gpu/engine/engine.h"

#if defined(K_DEVICE)
struct k_context {
    uint64_t self;
    uint32_t state_bytes;
    uint32_t deferred;
};
ENG_FN bool eng_dispatch(uint32_t kernel, void *state, const struct k_message *message,
                         struct k_context *ctx);
#endif

/* One handler's run. base comes first: the kernel's context pointer is a pointer to this. */
struct eng_run {
    struct k_context base;
    struct eng *engine;
    struct eng_block *block;
    uint64_t call;   /* the call of the message in hand, 0 when it is answered */
    uint32_t failed; /* the handler failed that call */
    uint32_t sends_left;
    uint32_t emits_left;
};

/* A counter that one block writes and the host or block 0 reads now and then. */
ENG_FN void eng_count(uint64_t *counter)
{
    eng_store_rlx64_sys(counter, *counter + 1);
}

/* -- message pool ------------------------------------------------------------------------------ */

ENG_FN struct gpu_envelope *eng_message(struct eng *e, uint32_t index)
{
    return &e->messages[index];
}

ENG_FN void eng_list_push(struct eng *e, struct eng_free_list *list, uint32_t index)
{
    eng_message(e, index)->stamp = list->head;
    if (list->count == 0)
        list->tail = index;
    list->head = index;
    list->count++;
}

ENG_FN uint32_t eng_list_pop(struct eng *e, struct eng_free_list *list)
{
    uint32_t index = list->head;
    list->head = eng_message(e, index)->stamp;
    list->count--;
    return index;
}

/* Puts all of `from` in front of `to`. */
ENG_FN void eng_list_join(struct eng *e, struct eng_free_list *to, struct eng_free_list *from)
{
    if (from->count == 0)
        return;
    eng_message(e, from->tail)->stamp = to->head;
    if (to->count == 0)
        to->tail = from->tail;
    to->head = from->head;
    to->count += from->count;
    from->head = ENG_NONE;
    from->count = 0;
}

/* The shared stack links batches through seq of their first message; len holds the batch's tail.
 * The pop count in the upper half of the head makes a reused first message differ from the one seen
 * before. */
ENG_FN void eng_batch_put(struct eng *e, struct eng_free_list *batch)
{
    struct gpu_envelope *first = eng_message(e, batch->head);
    uint64_t head = eng_load_rlx64(&e->pool_batches);
    first->len = batch->tail;
    do {
        eng_store_rlx32(&first->seq, (uint32_t)head);
    } while (!eng_cas64(&e->pool_batches, &head, (head & ~0xffffffffull) | batch->head));
    batch->head = ENG_NONE;
    batch->count = 0;
}

ENG_FN bool eng_batch_take(struct eng *e, struct eng_free_list *batch)
{
    uint64_t head = eng_load_rlx64(&e->pool_batches);
    while ((uint32_t)head != ENG_NONE) {
        uint32_t next = eng_load_rlx32(&eng_message(e, (uint32_t)head)->seq);
        if (eng_cas64(&e->pool_batches, &head, ((head >> 32) + 1) << 32 | next)) {
            batch->head = (uint32_t)head;
            batch->tail = eng_message(e, batch->head)->len;
            batch->count = ENG_BATCH;
            return true;
        }
    }
    if (eng_load_rlx32(&e->pool_fresh) >= e->messages_max)
        return false;
    uint32_t first = eng_add32(&e->pool_fresh, ENG_BATCH);
    if (first >= e->messages_max || e->messages_max - first < ENG_BATCH)
        return false;
    for (uint32_t i = 0; i < ENG_BATCH; i++)
        eng_list_push(e, batch, first + ENG_BATCH - 1 - i);
    return true;
}

/* Sets `need` messages aside for this block; false when the pool has no more. */
ENG_FN bool eng_reserve(struct eng *e, struct eng_block *b, uint32_t need)
{
    while (b->open.count + b->kept.count < need) {
        struct eng_free_list batch = {ENG_NONE, ENG_NONE, 0};
        if (!eng_batch_take(e, &batch))
            return false;
        eng_list_join(e, &b->kept, &batch);
    }
    return true;
}

/* Only after eng_reserve. */
ENG_FN uint32_t eng_take(struct eng *e, struct eng_block *b)
{
    return eng_list_pop(e, b->open.count != 0 ? &b->open : &b->kept);
}

ENG_FN void eng_free(struct eng *e, struct eng_block *b, uint32_t index)
{
    eng_list_push(e, &b->open, index);
    if (b->open.count < ENG_BATCH)
        return;
    if (b->kept.count < ENG_BATCH)
        eng_list_join(e, &b->kept, &b->open);
    else
        eng_batch_put(e, &b->open);
}

/* -- run queues -------------------------------------------------------------------------------- */

ENG_FN void eng_queue_push(struct eng_queue *q, uint32_t slot)
{
    uint32_t at = eng_load_rlx32(&q->push_at);
    for (;;) {
        struct eng_cell *cell = &q->cells[at & q->mask];
        uint32_t turn = at & ~q->mask;
        if (eng_load_acq32(&cell->sequence) == turn) {
            if (eng_cas32(&q->push_at, &at, at + 1)) {
                cell->slot = slot;
                eng_store_rel32(&cell->sequence, turn + 1);
                return;
            }
        } else {
            at = eng_load_rlx32(&q->push_at);
        }
    }
}

ENG_FN bool eng_queue_pop(struct eng_queue *q, uint32_t *slot_out)
{
    uint32_t at = eng_load_rlx32(&q->pop_at);
    for (;;) {
        struct eng_cell *cell = &q->cells[at & q->mask];
        uint32_t turn = at & ~q->mask;
        uint32_t sequence = eng_load_acq32(&cell->sequence);
        if (sequence == turn + 1) {
            if (eng_cas32(&q->pop_at, &at, at + 1)) {
                *slot_out = cell->slot;
                eng_store_rel32(&cell->sequence, turn + q->mask + 1);
                return true;
            }
        } else if ((int32_t)(sequence - (turn + 1)) < 0) {
            return false;
        } else {
            at = eng_load_rlx32(&q->pop_at);
        }
    }
}

/* -- mailboxes --------------------------------------------------------------------------------- */

/* Hands a filled message to its grain; schedules the grain on this block when it was idle. */
ENG_FN void eng_deliver(struct eng *e, struct eng_block *b, uint32_t index)
{
    struct gpu_envelope *m = eng_message(e, index);
    uint32_t slot = GPU_HANDLE_SLOT(m->dst);
    uint32_t *mailbox = &e->grains[slot].mailbox;
    uint32_t old = eng_load_rlx32(mailbox);
    do {
        m->stamp = old >= ENG_FIRST_MESSAGE ? old : ENG_NONE;
    } while (!eng_cas32(mailbox, &old, index));
    if (old == ENG_IDLE)
        eng_queue_push(&e->queues[b->index], slot);
}

/* Moves what has arrived to the grain's list, oldest first. False when nothing had: then the grain
 * is idle again and belongs to nobody. */
ENG_FN bool eng_collect(struct eng *e, struct eng_grain *g)
{
    if (g->list != ENG_NONE)
        return true;
    uint32_t seen = ENG_SCHEDULED;
    if (eng_cas32(&g->mailbox, &seen, ENG_IDLE))
        return false;
    uint32_t newest = eng_xchg32(&g->mailbox, ENG_SCHEDULED);
    uint32_t oldest = ENG_NONE;
    while (newest != ENG_NONE) {
        struct gpu_envelope *m = eng_message(e, newest);
        uint32_t next = m->stamp;
        m->stamp = oldest;
        oldest = newest;
        newest = next;
    }
    g->list = oldest;
    return true;
}

/* -- completions ------------------------------------------------------------------------------- */

/* Copies everything but the stamp, then publishes the slot to the host. */
ENG_FN void eng_publish(struct gpu_envelope *slot, struct gpu_envelope *from, uint32_t stamp)
{
    eng_copy((uint8_t *)slot + 4, (uint8_t *)from + 4, 44);
    uint32_t inline_bytes = from->flags & GPU_FLAG_SLAB ? 8 : from->len;
    eng_copy(slot->payload.bytes, from->payload.bytes, inline_bytes);
    eng_store_rel32_sys(&slot->stamp, stamp);
}

ENG_FN bool eng_stopped(struct eng *e)
{
    return eng_load_acq32_sys(&e->control->host.stop) != GPU_RUN;
}

/* The host bounds the calls in flight by the ring's size, so room is there unless a kernel answers
 * calls twice; then this waits for the host, which always takes replies. */
ENG_FN void eng_push_reply(struct eng *e, struct eng_block *b, struct gpu_envelope *m)
{
    uint64_t ticket = eng_add64(&e->reply_tail, 1);
    while (ticket - eng_load_acq64_sys(&e->control->host.reply_consumed) >= e->reply_slots) {
        if (eng_stopped(e))
            return;
        eng_pause();
    }
    eng_publish(&e->reply[ticket & (e->reply_slots - 1)], m,
                GPU_RING_STAMP(ticket, e->reply_slots));
    b->published++;
}

ENG_FN bool eng_event_room(struct eng *e)
{
    uint64_t used =
        eng_load_rlx64(&e->event_tail) - eng_load_acq64_sys(&e->control->host.event_consumed);
    return used + e->event_room <= e->event_slots;
}

ENG_FN void eng_fault(struct eng *e, struct eng_block *b, uint64_t call, uint32_t code,
                      const char *text)
{
    eng_count(&b->line->faults);
    if (call == 0)
        return;
    struct gpu_envelope m;
    struct gpu_fault f;
    uint32_t n = 0;
    f.code = code;
    while (n < sizeof f.text && text[n] != 0) {
        f.text[n] = text[n];
        n++;
    }
    eng_zero(&m, sizeof m);
    m.kind = GPU_KIND_FAULT;
    m.call = call;
    m.len = 4 + n;
    eng_copy(m.payload.bytes, &f, m.len);
    eng_push_reply(e, b, &m);
}

/* -- what a handler calls ---------------------------------------------------------------------- */

ENG_FN int eng_send(struct k_context *ctx, uint64_t grain, uint16_t type, const void *payload,
                    uint32_t len)
{
    struct eng_run *run = (struct eng_run *)ctx;
    struct eng *e = run->engine;
    if (len > K_INLINE_BYTES)
        return K_TOO_LARGE;
    if (GPU_HANDLE_SLOT(grain) >= e->grains_max || GPU_HANDLE_GEN(grain) == 0)
        return K_NO_GRAIN;
    if (run->sends_left == 0)
        return K_OVER_LIMIT;
    run->sends_left--;
    uint32_t index = eng_take(e, run->block);
    struct gpu_envelope *m = eng_message(e, index);
    m->kind = GPU_KIND_SEND;
    m->flags = 0;
    m->type = type;
    m->dst = grain;
    m->src = ctx->self;
    m->call = 0;
    m->reply_slab = 0;
    m->len = len;
    eng_copy(m->payload.bytes, payload, len);
    eng_deliver(e, run->block, index);
    eng_count(&run->block->line->messages_sent);
    return K_OK;
}

ENG_FN int eng_emit(struct k_context *ctx, uint16_t event, uint64_t stream, const void *payload,
                    uint32_t len)
{
    struct eng_run *run = (struct eng_run *)ctx;
    struct eng *e = run->engine;
    if (len > K_INLINE_BYTES)
        return K_TOO_LARGE;
    if (run->emits_left == 0)
        return K_OVER_LIMIT;
    run->emits_left--;
    uint64_t ticket = eng_add64(&e->event_tail, 1);
    struct gpu_envelope *slot = &e->event[ticket & (e->event_slots - 1)];
    slot->kind = GPU_KIND_EVENT;
    slot->flags = 0;
    slot->type = event;
    slot->src = ctx->self;
    slot->dst = stream != 0 ? stream : ctx->self;
    slot->call = 0;
    slot->len = len;
    eng_copy(slot->payload.bytes, payload, len);
    eng_store_rel32_sys(&slot->stamp, GPU_RING_STAMP(ticket, e->event_slots));
    run->block->published++;
    eng_count(&run->block->line->events_emitted);
    return K_OK;
}

ENG_FN int eng_reply(struct k_context *ctx, const struct k_call *call, const void *payload,
                     uint32_t len)
{
    struct eng_run *run = (struct eng_run *)ctx;
    struct eng *e = run->engine;
    struct gpu_envelope m;
    if (call->id == 0)
        return K_OK;
    m.flags = 0;
    if (len > GPU_INLINE_BYTES) {
        uint64_t offset = GPU_REPLY_SLAB_OFFSET(call->room);
        uint32_t room = GPU_REPLY_SLAB_BYTES(call->room);
        if (len > room || offset > e->slab_bytes || room > e->slab_bytes - offset)
            return K_TOO_LARGE;
        eng_copy(e->slab + offset, payload, len);
        m.flags = GPU_FLAG_SLAB;
        m.payload.slab = offset;
    } else {
        eng_copy(m.payload.bytes, payload, len);
    }
    m.kind = GPU_KIND_REPLY;
    m.type = 0;
    m.dst = 0;
    m.src = ctx->self;
    m.call = call->id;
    m.reply_slab = 0;
    m.len = len;
    m.seq = 0;
    eng_push_reply(e, run->block, &m);
    if (call->id == run->call)
        run->call = 0;
    return K_OK;
}

ENG_FN void eng_fail(struct k_context *ctx, const struct k_call *call, const char *text)
{
    struct eng_run *run = (struct eng_run *)ctx;
    eng_fault(run->engine, run->block, call->id, 0x107 /* SC_ERR_KERNEL */, text);
    if (call->id == run->call) {
        run->call = 0;
        run->failed = 1;
    }
}

/* -- running grains ---------------------------------------------------------------------------- */

/* Returns false when the handler failed the message's call. */
ENG_FN bool eng_call_handler(struct eng *e, struct eng_block *b, struct eng_grain *g, uint32_t slot,
                             struct k_message *message)
{
    struct eng_kernel *kernel = &e->kernels[g->kernel];
    struct eng_run run;
#if !defined(K_DEVICE)
    static const struct k_ops ops = {eng_send, eng_emit, eng_reply, eng_fail};
    run.base.ops = &ops;
#endif
    run.base.self = GPU_HANDLE(g->generation, slot);
    run.base.state_bytes = g->state_bytes;
    run.base.deferred = 0;
    run.engine = e;
    run.block = b;
    run.call = message->call.id;
    run.failed = 0;
    run.sends_left = kernel->sends_max;
    run.emits_left = kernel->emits_max;
#if defined(K_DEVICE)
    eng_dispatch(g->kernel, e->heap + g->state_offset, message, &run.base);
#else
    kernel->handler(e->heap + g->state_offset, message, &run.base);
#endif
    /* What the engine itself sends is answered at once: the grain's life does not wait for a
     * handler. */
    bool may_defer = message->type < K_ACTIVATE;
    if (run.call != 0 && !(may_defer && run.base.deferred != 0))
        eng_reply(&run.base, &message->call, message, 0);
    return run.failed == 0;
}

/* The payload of a message, or NULL when its slab does not lie in the arena. */
ENG_FN const void *eng_payload(struct eng *e, struct gpu_envelope *m)
{
    if ((m->flags & GPU_FLAG_SLAB) == 0)
        return m->len <= GPU_INLINE_BYTES ? m->payload.bytes : 0;
    if (m->payload.slab > e->slab_bytes || m->len > e->slab_bytes - m->payload.slab)
        return 0;
    return e->slab + m->payload.slab;
}

ENG_FN void eng_activate(struct eng *e, struct eng_block *b, struct eng_grain *g, uint32_t slot,
                         struct gpu_envelope *m)
{
    struct gpu_activate a;
    eng_copy(&a, m->payload.bytes, sizeof a);
    const uint8_t *init = m->payload.bytes + sizeof a;
    if (a.init_len > GPU_ACTIVATE_INLINE_BYTES) {
        init = 0;
        if (a.init_slab <= e->slab_bytes && a.init_len <= e->slab_bytes - a.init_slab)
            init = e->slab + a.init_slab;
    }
    if (g->alive || init == 0 || a.kernel >= e->kernel_count || !e->kernels[a.kernel].usable ||
        a.state_offset > e->heap_bytes || a.state_bytes > e->heap_bytes - a.state_offset) {
        eng_fault(e, b, m->call, 0x300 /* SC_ERR_DEVICE */, "the device refused the activation");
        return;
    }
    eng_zero(e->heap + a.state_offset, a.state_bytes);
    g->generation = GPU_HANDLE_GEN(m->dst);
    g->kernel = (uint16_t)a.kernel;
    g->state_offset = a.state_offset;
    g->state_bytes = a.state_bytes;
    struct k_message message = {init, a.init_len, K_ACTIVATE, 0, 0, {m->call, 0}};
    g->alive = eng_call_handler(e, b, g, slot, &message);
}

/* Handles one message of a grain this block runs. */
ENG_FN void eng_handle(struct eng *e, struct eng_block *b, struct eng_grain *g, uint32_t slot,
                       struct gpu_envelope *m)
{
    if (m->kind == GPU_KIND_ACTIVATE) {
        eng_activate(e, b, g, slot, m);
        return;
    }
    const void *payload = eng_payload(e, m);
    if (!g->alive || g->generation != GPU_HANDLE_GEN(m->dst) || payload == 0) {
        eng_count(&b->line->messages_dropped);
        eng_fault(e, b, m->call, 0x100 /* SC_ERR_NOT_FOUND */, "the grain is gone");
        return;
    }
    struct k_message message = {payload, m->len, m->type, 0, m->src, {m->call, m->reply_slab}};
    if (m->kind == GPU_KIND_DEACTIVATE) {
        message.type = K_DEACTIVATE;
        eng_call_handler(e, b, g, slot, &message);
        g->alive = 0;
        return;
    }
    eng_call_handler(e, b, g, slot, &message);
}

/* Room for everything a handler of this grain may do with its next message. The pool's own need is
 * one more than the sends, so that the message in hand never is the last one. */
ENG_FN bool eng_may_run(struct eng *e, struct eng_block *b, struct eng_grain *g,
                        struct gpu_envelope *m)
{
    uint32_t kernel = g->kernel;
    if (m->kind == GPU_KIND_ACTIVATE) {
        struct gpu_activate a;
        eng_copy(&a, m->payload.bytes, sizeof a);
        kernel = a.kernel;
        if (kernel >= e->kernel_count)
            return true; /* refused when handled */
    } else if (!g->alive) {
        return true;
    }
    struct eng_kernel *k = &e->kernels[kernel];
    if (k->emits_max != 0 && !eng_event_room(e)) {
        eng_count(&b->line->event_waits);
        return false;
    }
    if (!eng_reserve(e, b, k->sends_max)) {
        eng_count(&b->line->pool_waits);
        b->starved++;
        return false;
    }
    b->starved = 0;
    return true;
}

ENG_FN void eng_done(struct eng *e, struct eng_block *b, uint32_t index)
{
    if (eng_message(e, index)->src == 0)
        eng_count(&b->host_freed);
    eng_free(e, b, index);
    eng_count(&b->line->messages_handled);
}

/* Runs one grain: up to ENG_GRAIN_BATCH of its messages. Returns how many. */
ENG_FN uint32_t eng_run_grain(struct eng *e, struct eng_block *b, uint32_t slot)
{
    struct eng_grain *g = &e->grains[slot];
    uint32_t handled = 0;
    while (eng_collect(e, g)) {
        if (handled == ENG_GRAIN_BATCH || eng_stopped(e)) {
            eng_queue_push(&e->queues[b->index], slot);
            return handled;
        }
        uint32_t index = g->list;
        struct gpu_envelope *m = eng_message(e, index);
        bool may_run = eng_may_run(e, b, g, m);
        if (!may_run && b->starved <= 4 * e->grains_max + 1024) {
            b->held++;
            eng_queue_push(&e->queues[b->index], slot);
            return handled;
        }
        g->list = m->stamp;
        eng_store_rlx32_sys(&b->line->busy_kernel, g->kernel);
        eng_store_rlx32_sys(&b->line->busy_type, m->type);
        eng_store_rlx64_sys(&b->line->busy_grain, m->dst);
        if (may_run) {
            eng_handle(e, b, g, slot, m);
        } else {
            /* Every message of the pool waits in a mailbox and no grain has room to send: give one
             * up, so that the rest can go on. */
            b->starved = 0;
            eng_count(&b->line->messages_dropped);
            eng_fault(e, b, m->call, 0x103 /* SC_ERR_BUSY */,
                      "the device's message pool (device.messages_max) is exhausted");
        }
        eng_store_rlx64_sys(&b->line->busy_grain, 0);
        eng_done(e, b, index);
        handled++;
    }
    return handled;
}

/* -- intake ------------------------------------------------------------------------------------ */

/* Host messages may fill half of the pool; the other half is the grains' own, or a busy host would
 * starve the very sends that empty the mailboxes. */
ENG_FN bool eng_intake_allowed(struct eng *e, struct eng_block *b)
{
    uint64_t freed = 0;
    for (uint32_t i = 0; i < e->block_count; i++)
        freed += eng_load_rlx64(&e->blocks[i].host_freed);
    return b->host_taken - freed + ENG_INTAKE <= e->messages_max / 2;
}

/* Block 0: moves submissions into mailboxes. Returns how many. */
ENG_FN uint32_t eng_intake(struct eng *e, struct eng_block *b)
{
    uint32_t taken = 0;
    struct gpu_envelope *slot = &e->submit[b->submit_at & (e->submit_slots - 1)];
    if (eng_load_acq32_sys(&slot->stamp) != GPU_RING_STAMP(b->submit_at, e->submit_slots))
        return 0;
    if (!eng_intake_allowed(e, b) || !eng_reserve(e, b, ENG_INTAKE))
        return 0;
    do {
        uint32_t index = eng_take(e, b);
        struct gpu_envelope *m = eng_message(e, index);
        eng_copy(m, slot, sizeof *m);
        b->submit_at++;
        taken++;
        if (GPU_HANDLE_SLOT(m->dst) < e->grains_max)
            eng_deliver(e, b, index);
        else
            eng_free(e, b, index);
        slot = &e->submit[b->submit_at & (e->submit_slots - 1)];
    } while (taken < ENG_INTAKE &&
             eng_load_acq32_sys(&slot->stamp) == GPU_RING_STAMP(b->submit_at, e->submit_slots));
    b->host_taken += taken;
    eng_store_rel64_sys(&e->control->device.submit_consumed, b->submit_at);
    return taken;
}

/* -- one turn ---------------------------------------------------------------------------------- */

ENG_FN bool eng_next_grain(struct eng *e, struct eng_block *b, uint32_t *slot_out)
{
    if (eng_queue_pop(&e->queues[b->index], slot_out))
        return true;
    for (uint32_t i = 1; i < e->block_count; i++) {
        uint32_t victim = b->index + i;
        if (victim >= e->block_count)
            victim -= e->block_count;
        if (eng_queue_pop(&e->queues[victim], slot_out)) {
            eng_count(&b->line->stolen);
            return true;
        }
    }
    return false;
}

/* Everything a block does before it looks at its stop word and its neighbours again. Returns the
 * work done: 0 means there was none, or none that may run yet (then b->held says so). */
ENG_FN uint32_t eng_turn(struct eng *e, struct eng_block *b)
{
    uint32_t work = 0;
    eng_count(&b->line->heartbeat);
    if (b->index == 0)
        work += eng_intake(e, b);
    b->held = 0;
    for (uint32_t i = 0; i < ENG_TURN_GRAINS; i++) {
        uint32_t slot;
        if (!eng_next_grain(e, b, &slot))
            break;
        work += eng_run_grain(e, b, slot);
    }
    return work;
}

#endif
