#include "tests/support/kernel_harness.h"

#include <stdlib.h>
#include <string.h>

enum { HANDLE_BASE = 7 }; /* so that a slot number is never taken for an address by chance */

struct mail {
    struct mail *next;
    struct k_message message;
    uint64_t round;
    uint8_t payload[]; /* k_message.payload points here; malloc aligns it */
};

struct grain {
    void *state; /* owned; NULL: gone */
    uint32_t state_bytes;
    bool waiting; /* in the list of grains with mail */
    struct mail *first, *last;
};

struct kernel_harness {
    struct kernel_harness_config config;
    struct grain *grains;
    uint64_t count, cap;
    uint64_t *ready; /* ring of grains with mail */
    uint64_t ready_cap, ready_head, ready_count;
    uint64_t random;
    struct kernel_harness_stats stats;
};

/* The engine's context of the handler that runs. */
struct running {
    struct k_context ctx; /* first */
    struct kernel_harness *harness;
    const struct mail *mail;
    uint32_t sends, emits;
    bool answered;
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static struct grain *find(struct kernel_harness *h, uint64_t address)
{
    uint64_t slot = address - HANDLE_BASE;
    if (address < HANDLE_BASE || slot >= h->count || h->grains[slot].state == NULL)
        return NULL;
    return &h->grains[slot];
}

static void push_ready(struct kernel_harness *h, uint64_t slot)
{
    if (h->ready_count == h->ready_cap) {
        uint64_t cap = h->ready_cap != 0 ? h->ready_cap * 2 : 64;
        uint64_t *ring = must(malloc(cap * sizeof ring[0]));
        for (uint64_t i = 0; i < h->ready_count; i++)
            ring[i] = h->ready[(h->ready_head + i) % h->ready_cap];
        free(h->ready);
        h->ready = ring;
        h->ready_cap = cap;
        h->ready_head = 0;
    }
    h->ready[(h->ready_head + h->ready_count++) % h->ready_cap] = slot;
}

/* xorshift64*: any order will do, as long as the seed gives it again. */
static uint64_t draw(struct kernel_harness *h)
{
    h->random ^= h->random >> 12;
    h->random ^= h->random << 25;
    h->random ^= h->random >> 27;
    return h->random * 2685821657736338717ull;
}

static uint64_t pop_ready(struct kernel_harness *h)
{
    if (h->config.seed != 0) {
        uint64_t pick = (h->ready_head + draw(h) % h->ready_count) % h->ready_cap;
        uint64_t slot = h->ready[pick];
        h->ready[pick] = h->ready[h->ready_head];
        h->ready[h->ready_head] = slot;
    }
    uint64_t slot = h->ready[h->ready_head];
    h->ready_head = (h->ready_head + 1) % h->ready_cap;
    h->ready_count--;
    return slot;
}

static void post(struct kernel_harness *h, uint64_t address, const struct k_message *m,
                 struct span payload, uint64_t round)
{
    struct grain *g = find(h, address);
    if (g == NULL)
        return;
    struct mail *mail = must(malloc(sizeof *mail + payload.len));
    mail->next = NULL;
    mail->message = *m;
    mail->round = round;
    if (payload.len != 0)
        memcpy(mail->payload, payload.ptr, payload.len);
    mail->message.payload = mail->payload;
    mail->message.len = (uint32_t)payload.len;
    if (g->first == NULL)
        g->first = mail;
    else
        g->last->next = mail;
    g->last = mail;
    if (!g->waiting) {
        g->waiting = true;
        push_ready(h, address - HANDLE_BASE);
    }
}

static int op_send(struct k_context *ctx, uint64_t address, uint16_t type, const void *payload,
                   uint32_t len)
{
    struct running *r = (struct running *)ctx;
    struct kernel_harness *h = r->harness;
    if (len > K_INLINE_BYTES)
        return K_TOO_LARGE;
    if (r->sends == h->config.sends_max) {
        h->stats.over_limit++;
        return K_OVER_LIMIT;
    }
    if (find(h, address) == NULL)
        return K_NO_GRAIN;
    r->sends++;
    struct k_message m = {.type = type, .source = ctx->self};
    post(h, address, &m, span_of(payload, len), r->mail->round + 1);
    h->stats.sent++;
    h->stats.in_flight++;
    if (h->stats.in_flight > h->stats.in_flight_peak)
        h->stats.in_flight_peak = h->stats.in_flight;
    return K_OK;
}

static int op_emit(struct k_context *ctx, uint16_t event, uint64_t stream, const void *payload,
                   uint32_t len)
{
    struct running *r = (struct running *)ctx;
    struct kernel_harness *h = r->harness;
    if (len > K_INLINE_BYTES)
        return K_TOO_LARGE;
    if (r->emits == h->config.emits_max) {
        h->stats.over_limit++;
        return K_OVER_LIMIT;
    }
    r->emits++;
    if (h->config.on_event != NULL)
        h->config.on_event(h->config.user, event, ctx->self, stream != 0 ? stream : ctx->self,
                           span_of(payload, len));
    return K_OK;
}

static void answer(struct running *r, const struct kernel_answer *a)
{
    if (a->call == r->mail->message.call.id)
        r->answered = true;
    if (a->call != 0 && r->harness->config.on_answer != NULL)
        r->harness->config.on_answer(r->harness->config.user, a);
}

static int op_reply(struct k_context *ctx, const struct k_call *call, const void *payload,
                    uint32_t len)
{
    struct running *r = (struct running *)ctx;
    if (len > r->harness->config.reply_max)
        return K_TOO_LARGE;
    struct kernel_answer a = {.call = call->id, .payload = span_of(payload, len)};
    answer(r, &a);
    return K_OK;
}

static void op_fail(struct k_context *ctx, const struct k_call *call, const char *text)
{
    struct kernel_answer a = {.call = call->id, .failed = true, .text = text};
    answer((struct running *)ctx, &a);
}

static const struct k_ops harness_ops = {op_send, op_emit, op_reply, op_fail};

static void handle(struct kernel_harness *h, uint64_t slot, const struct mail *mail)
{
    struct grain *g = &h->grains[slot];
    struct running r = {
        .ctx = {.ops = &harness_ops, .self = slot + HANDLE_BASE, .state_bytes = g->state_bytes},
        .harness = h,
        .mail = mail};
    h->config.handler(g->state, &mail->message, &r.ctx);
    h->stats.handled++;
    if (mail->round > h->stats.rounds)
        h->stats.rounds = mail->round;
    if (mail->message.call.id != 0 && !r.answered && r.ctx.deferred == 0) {
        struct kernel_answer a = {.call = mail->message.call.id};
        answer(&r, &a);
    }
}

struct kernel_harness *kernel_harness_open(const struct kernel_harness_config *config)
{
    struct kernel_harness *h = must(calloc(1, sizeof *h));
    h->config = *config;
    h->random = config->seed;
    return h;
}

static void drop_mail(struct grain *g)
{
    while (g->first != NULL) {
        struct mail *mail = g->first;
        g->first = mail->next;
        free(mail);
    }
}

void kernel_harness_close(struct kernel_harness *h)
{
    if (h == NULL)
        return;
    for (uint64_t i = 0; i < h->count; i++) {
        drop_mail(&h->grains[i]);
        free(h->grains[i].state);
    }
    free(h->grains);
    free(h->ready);
    free(h);
}

uint64_t kernel_harness_activate(struct kernel_harness *h, uint32_t state_bytes, struct span init,
                                 uint64_t call)
{
    if (h->count == h->cap) {
        h->cap = h->cap != 0 ? h->cap * 2 : 64;
        h->grains = must(realloc(h->grains, h->cap * sizeof h->grains[0]));
    }
    uint64_t slot = h->count++;
    h->grains[slot] = (struct grain){.state = must(calloc(1, state_bytes != 0 ? state_bytes : 1)),
                                     .state_bytes = state_bytes};
    struct mail *mail = must(calloc(1, sizeof *mail + init.len));
    if (init.len != 0)
        memcpy(mail->payload, init.ptr, init.len);
    mail->message = (struct k_message){.payload = mail->payload,
                                       .len = (uint32_t)init.len,
                                       .type = K_ACTIVATE,
                                       .call = {.id = call}};
    handle(h, slot, mail);
    free(mail);
    return slot + HANDLE_BASE;
}

void kernel_harness_drop(struct kernel_harness *h, uint64_t address)
{
    struct grain *g = find(h, address);
    if (g == NULL)
        return;
    drop_mail(g);
    free(g->state);
    g->state = NULL;
}

void kernel_harness_send(struct kernel_harness *h, uint64_t address, uint16_t type,
                         struct span payload, uint64_t call)
{
    struct k_message m = {.type = type, .call = {.id = call}};
    post(h, address, &m, payload, 0);
}

bool kernel_harness_run(struct kernel_harness *h, uint64_t max)
{
    for (uint64_t n = 0; n < max; n++) {
        if (h->ready_count == 0)
            return false;
        uint64_t slot = pop_ready(h);
        struct grain *g = &h->grains[slot];
        struct mail *mail = g->first;
        g->waiting = false;
        if (mail == NULL)
            continue;
        g->first = mail->next;
        if (mail->message.source != 0)
            h->stats.in_flight--;
        handle(h, slot, mail);
        free(mail);
        if (g->first != NULL && !g->waiting) {
            g->waiting = true;
            push_ready(h, slot);
        }
    }
    return true;
}

struct kernel_harness_stats kernel_harness_stats(const struct kernel_harness *h)
{
    return h->stats;
}
