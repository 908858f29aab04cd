/* Two grains throw a message to and fro. Start {u64 peer, u64 count} at one of them sends `count`
 * messages between the two and then replies with the count as a u64. One Start at a time. */
#include "k_grain.h"

#define PAIR_START  1u
#define PAIR_BOUNCE 16u

struct pair {
    struct k_call call;
    uint64_t count; /* of the Start in hand; 0 = none */
    uint64_t zero;
};

struct pair_start {
    uint64_t peer, count;
};

struct pair_bounce {
    uint64_t left;    /* messages still to send */
    uint64_t starter; /* grain that answers when none are left */
};

#if defined(K_DEVICE)
#define PAIR_FN K_FN
#else
#define PAIR_FN static
#endif

PAIR_FN void pair_start(struct pair *p, const struct k_message *m, struct k_context *ctx)
{
    const struct pair_start *s = (const struct pair_start *)m->payload;
    if (m->len != sizeof *s || s->count == 0 || p->count != 0) {
        k_fail(ctx, &m->call, "pair: Start takes {u64 peer, u64 count > 0}, one at a time");
        return;
    }
    struct pair_bounce b;
    b.left = s->count - 1;
    b.starter = k_self(ctx);
    if (k_send(ctx, s->peer, PAIR_BOUNCE, &b, sizeof b) != K_OK) {
        k_fail(ctx, &m->call, "pair: the peer is no grain of this device");
        return;
    }
    p->call = m->call;
    p->count = s->count;
    k_defer(ctx);
}

PAIR_FN void pair_bounce(struct pair *p, const struct k_message *m, struct k_context *ctx)
{
    const struct pair_bounce *b = (const struct pair_bounce *)m->payload;
    if (m->len != sizeof *b)
        return;
    if (b->left == 0 && b->starter == k_self(ctx)) {
        k_reply(ctx, &p->call, &p->count, sizeof p->count);
        p->count = 0;
        return;
    }
    /* the last message may end at the peer: one more brings the answer home, uncounted */
    struct pair_bounce next;
    next.left = b->left > 0 ? b->left - 1 : 0;
    next.starter = b->starter;
    k_send(ctx, m->source, PAIR_BOUNCE, &next, sizeof next);
}

K_HANDLER(pair)
{
    struct pair *p = (struct pair *)state;
    if (message->type == PAIR_START)
        pair_start(p, message, ctx);
    else if (message->type == PAIR_BOUNCE)
        pair_bounce(p, message, ctx);
}
