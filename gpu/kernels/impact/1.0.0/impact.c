/* What breaks when a package is removed? Every package is a grain, and so is every virtual name
 * (what several packages provide). A grain knows who depends on it; the answer to "impact of P"
 * spreads from grain to grain as a wave.
 *
 * Clauses. A grain has numbered clauses, each with the number of alternatives that can satisfy it.
 * A grain breaks when one of its clauses has lost every alternative. A virtual name has one clause,
 * its providers. So an edge "grain A is an alternative in clause c of grain B" is kept at A, and
 * all a wave does is: A broke, so tell B to count clause c down.
 *
 * Waves. Several questions may be under way at once, so a grain has IMPACT_LANES lanes, each with
 * what one wave needs. The grain "#waves" hands out lanes: a question waits there until a lane is
 * free, and a lane is free again only when the root says that its wave has ended. The wave's number
 * tells a grain that what it finds in a lane is of an older wave.
 *
 *   caller -Impact-> P -Acquire-> #waves -Grant-> P -Spread-> ... -Ack-> P -reply-> caller
 *                                                                         \-Release-> #waves
 *
 * The end of a wave is detected, never timed (Dijkstra and Scholten, 1980). Each Spread is answered
 * by one Ack. A grain that breaks remembers who told it, its parent, and owes that Ack until all
 * its own Spreads have been answered; any other Spread is answered at once. When the root has all
 * its answers, no message of the wave exists any more. Acks carry sums up the tree.
 *
 * Credits bound the memory. A graph of a million edges must not put a million messages into flight,
 * for the device's message pool is finite and full of Spreads nobody could be scheduled. So a wave
 * owns a fixed number of credits, and every message of it in flight carries at least one. A Spread
 * takes some of the sender's, its Ack gives them back. A grain without credits in hand waits for
 * an Ack; it is owed one by every Spread that took them, so it always goes on. A grain with credits
 * left but no sends left in this message goes on by sending itself Continue.
 *
 * A grain must not be deactivated while a wave runs: messages to it would be lost and the wave
 * would wait for them; the caller's deadline is then the end.
 *
 * Payloads, little-endian, no padding but what is named:
 *   activation of a package or virtual name:
 *     u32 kind (1 package, 2 virtual), u32 name bytes, u32 clauses, u32 edges, u64 address of
 *     #waves, u16 alternatives for each clause, name (UTF-8)
 *   activation of #waves: u32 kind (3), u32 credits of a wave; the rest of its state is the queue
 *   state bytes: 512 + 10 a clause, rounded up to 8, + 16 an edge; #waves: 512 + 24 a waiting call
 *   Load: u32 first, u32 count, count * {u64 grain, u32 clause, u32 zero}; pieces in order.
 *     Reply: u32 edges loaded
 *   Impact: nothing. Reply: u32 packages broken (the removed one not counted), u32 depth of the
 *     tree of Acks, u64 messages between grains, u32 wave, u32 lane
 *   event Broken: the package's name; stream: the root's
 */
#include "k_grain.h"

#if defined(K_DEVICE)
#define IMPACT_FN K_FN
#else
#define IMPACT_FN static
#endif

#define IMPACT_LANES       4u
#define IMPACT_SENDS       64u /* limits.sends of the manifest */
#define IMPACT_FAN         32u /* a grain with many dependants keeps credits back for later ones */
#define IMPACT_FIXED_BYTES 512u
#define IMPACT_NAME_BYTES  80u

#define IMPACT_PACKAGE 1u
#define IMPACT_VIRTUAL 2u
#define IMPACT_WAVES   3u

/* Message types. Those from IMPACT_ACQUIRE on are between grains only: the manifest does not name
 * them, so nobody outside can send them. */
#define IMPACT_IMPACT   1u
#define IMPACT_LOAD     2u
#define IMPACT_ACQUIRE  16u
#define IMPACT_GRANT    17u
#define IMPACT_REFUSE   18u
#define IMPACT_RELEASE  19u
#define IMPACT_SPREAD   20u
#define IMPACT_ACK      21u
#define IMPACT_CONTINUE 22u

#define IMPACT_EVENT_BROKEN 1u

struct impact_edge {
    uint64_t grain;
    uint32_t clause;
    uint32_t zero;
};

/* What a grain knows of one wave. */
struct impact_lane {
    uint64_t parent; /* who broke it; 0 = it is the root */
    uint64_t root;
    struct k_call call; /* of the root */
    uint64_t messages;
    uint32_t wave;   /* 0: none yet */
    uint32_t broken; /* this grain broke */
    uint32_t credits;
    uint32_t deficit; /* Spreads not answered yet */
    uint32_t cursor;  /* edges done */
    uint32_t continuing;
    uint32_t packages; /* broken in this grain's part of the tree, itself included */
    uint32_t depth;
};

/* State of a package or virtual name; behind it, at IMPACT_FIXED_BYTES:
 *   u16 total[clauses], u16 left[IMPACT_LANES][clauses], to a multiple of 8, edge[edges] */
struct impact_node {
    uint32_t kind; /* first in both states */
    uint32_t clauses;
    uint32_t edges;
    uint32_t edges_loaded;
    uint64_t waves;
    uint32_t name_len;
    uint32_t zero;
    char name[IMPACT_NAME_BYTES];
    struct impact_lane lanes[IMPACT_LANES];
};

struct impact_waiting {
    uint64_t root;
    struct k_call call;
};

/* State of #waves; the queue of waiting calls begins at IMPACT_FIXED_BYTES. */
struct impact_waves {
    uint32_t kind;
    uint32_t credits;
    uint32_t last_wave;
    uint32_t room;
    uint32_t head;
    uint32_t count;
    uint64_t holder[IMPACT_LANES]; /* root of the lane's wave; 0 = free */
};

struct impact_start {
    uint32_t kind, name_len, clauses, edges;
    uint64_t waves;
};

struct impact_grant {
    struct k_call call;
    uint32_t wave, lane, credits, zero;
};

struct impact_release {
    uint32_t wave, lane;
};

struct impact_spread {
    uint64_t root;
    uint32_t wave, lane, clause, credits, depth, zero;
};

struct impact_ack {
    uint64_t messages;
    uint32_t wave, lane, credits, packages, depth, zero;
};

struct impact_reply {
    uint32_t packages, depth;
    uint64_t messages;
    uint32_t wave, lane;
};

IMPACT_FN uint16_t *impact_totals(struct impact_node *n)
{
    return (uint16_t *)((char *)n + IMPACT_FIXED_BYTES);
}

IMPACT_FN uint16_t *impact_left(struct impact_node *n, uint32_t lane)
{
    return impact_totals(n) + (uint64_t)n->clauses * (1 + lane);
}

IMPACT_FN uint64_t impact_edges_at(uint32_t clauses)
{
    return (IMPACT_FIXED_BYTES + (uint64_t)clauses * 2 * (1 + IMPACT_LANES) + 7) & ~(uint64_t)7;
}

IMPACT_FN struct impact_edge *impact_edges(struct impact_node *n)
{
    return (struct impact_edge *)((char *)n + impact_edges_at(n->clauses));
}

/* ---- activation and loading ---- */

IMPACT_FN void impact_start_node(struct impact_node *n, const struct k_message *m,
                                 struct k_context *ctx)
{
    const struct impact_start *s = (const struct impact_start *)m->payload;
    const unsigned char *rest = (const unsigned char *)(s + 1);
    if (m->len < sizeof *s || s->clauses > 65535 || s->name_len > 65535 ||
        m->len != sizeof *s + s->clauses * 2 + s->name_len) {
        k_fail(ctx, &m->call, "impact: malformed activation");
        return;
    }
    if (impact_edges_at(s->clauses) + (uint64_t)s->edges * sizeof(struct impact_edge) >
        k_state_bytes(ctx)) {
        k_fail(ctx, &m->call, "impact: state_bytes are too few for this package");
        return;
    }
    n->clauses = s->clauses;
    n->edges = s->edges;
    n->waves = s->waves;
    for (uint32_t c = 0; c < s->clauses; c++)
        impact_totals(n)[c] = (uint16_t)(rest[2 * c] | (uint32_t)rest[2 * c + 1] << 8);
    rest += s->clauses * 2;
    n->name_len = s->name_len < IMPACT_NAME_BYTES ? s->name_len : IMPACT_NAME_BYTES;
    for (uint32_t i = 0; i < n->name_len; i++)
        n->name[i] = (char)rest[i];
    n->kind = s->kind;
}

IMPACT_FN void impact_start_waves(struct impact_waves *w, const struct k_message *m,
                                  struct k_context *ctx)
{
    const uint32_t *words = (const uint32_t *)m->payload;
    if (m->len != 8 || words[1] == 0 || k_state_bytes(ctx) < IMPACT_FIXED_BYTES) {
        k_fail(ctx, &m->call, "impact: malformed activation of #waves");
        return;
    }
    w->credits = words[1];
    w->room = (k_state_bytes(ctx) - IMPACT_FIXED_BYTES) / (uint32_t)sizeof(struct impact_waiting);
    w->kind = IMPACT_WAVES;
}

/* A grain that an Orleans client names before the graph is loaded comes up without a payload: it
 * stays without a kind and refuses questions. */
IMPACT_FN void impact_activate(void *state, const struct k_message *m, struct k_context *ctx)
{
    if (m->len == 0) {
        k_fail(ctx, &m->call, "impact: this package is not loaded; load the graph first");
        return;
    }
    uint32_t kind = m->len < 4 ? 0 : *(const uint32_t *)m->payload;
    if (kind == IMPACT_WAVES)
        impact_start_waves((struct impact_waves *)state, m, ctx);
    else if (kind == IMPACT_PACKAGE || kind == IMPACT_VIRTUAL)
        impact_start_node((struct impact_node *)state, m, ctx);
    else
        k_fail(ctx, &m->call, "impact: unknown kind of grain");
}

IMPACT_FN void impact_load(struct impact_node *n, const struct k_message *m, struct k_context *ctx)
{
    const uint32_t *words = (const uint32_t *)m->payload;
    if (m->len < 8 || (m->len - 8) / sizeof(struct impact_edge) != words[1] ||
        (m->len - 8) % sizeof(struct impact_edge) != 0) {
        k_fail(ctx, &m->call, "impact: malformed piece of edges");
        return;
    }
    if (words[0] != n->edges_loaded || words[1] > n->edges - n->edges_loaded) {
        k_fail(ctx, &m->call, "impact: pieces out of order, or more edges than announced");
        return;
    }
    const struct impact_edge *from = (const struct impact_edge *)(words + 2);
    struct impact_edge *to = impact_edges(n) + n->edges_loaded;
    for (uint32_t i = 0; i < words[1]; i++)
        to[i] = from[i];
    n->edges_loaded += words[1];
    k_reply(ctx, &m->call, &n->edges_loaded, sizeof n->edges_loaded);
}

/* ---- one wave in one grain ---- */

/* The lane as this wave left it, or fresh. */
IMPACT_FN struct impact_lane *impact_lane_of(struct impact_node *n, uint32_t lane, uint32_t wave)
{
    struct impact_lane *l = &n->lanes[lane];
    if (l->wave == wave)
        return l;
    l->wave = wave;
    l->broken = 0;
    l->parent = 0;
    l->call.id = 0;
    l->messages = 0;
    l->credits = 0;
    l->deficit = 0;
    l->cursor = 0;
    l->continuing = 0;
    l->packages = 0;
    l->depth = 0;
    for (uint32_t c = 0; c < n->clauses; c++)
        impact_left(n, lane)[c] = impact_totals(n)[c];
    return l;
}

IMPACT_FN void impact_send_ack(struct k_context *ctx, uint64_t to, uint32_t lane,
                               const struct impact_lane *l, uint32_t credits, uint32_t broke)
{
    struct impact_ack a;
    a.messages = broke ? l->messages + 1 : 1;
    a.wave = l->wave;
    a.lane = lane;
    a.credits = credits;
    a.packages = broke ? l->packages : 0;
    a.depth = broke ? l->depth : 0;
    a.zero = 0;
    k_send(ctx, to, IMPACT_ACK, &a, sizeof a);
}

/* All edges are done and answered: hand the sums and the credits up. */
IMPACT_FN void impact_finish(struct impact_node *n, uint32_t lane, struct k_context *ctx)
{
    struct impact_lane *l = &n->lanes[lane];
    if (l->parent != 0) {
        impact_send_ack(ctx, l->parent, lane, l, l->credits, 1);
        return;
    }
    struct impact_reply r;
    r.packages = l->packages;
    r.depth = l->depth;
    r.messages = l->messages;
    r.wave = l->wave;
    r.lane = lane;
    k_reply(ctx, &l->call, &r, sizeof r);
    struct impact_release release;
    release.wave = l->wave;
    release.lane = lane;
    k_send(ctx, n->waves, IMPACT_RELEASE, &release, sizeof release);
}

/* Tells as many dependants as credits and sends allow; the last send is kept for Continue or for
 * what impact_finish sends. */
IMPACT_FN void impact_spread_on(struct impact_node *n, uint32_t lane, struct k_context *ctx)
{
    struct impact_lane *l = &n->lanes[lane];
    struct impact_edge *edges = impact_edges(n);
    for (uint32_t i = 0; i < IMPACT_SENDS - 1 && l->cursor < n->edges && l->credits > 0; i++) {
        const struct impact_edge *e = &edges[l->cursor++];
        uint32_t waiting = n->edges - l->cursor + 1;
        uint32_t share = l->credits / (waiting < IMPACT_FAN ? waiting : IMPACT_FAN);
        struct impact_spread s;
        s.root = l->root;
        s.wave = l->wave;
        s.lane = lane;
        s.clause = e->clause;
        s.credits = share > 0 ? share : 1;
        s.depth = l->depth;
        s.zero = 0;
        if (k_send(ctx, e->grain, IMPACT_SPREAD, &s, sizeof s) != K_OK)
            continue;
        l->credits -= s.credits;
        l->deficit++;
        l->messages++;
    }
    if (l->cursor < n->edges && l->credits > 0) {
        struct impact_release c;
        c.wave = l->wave;
        c.lane = lane;
        l->continuing = 1;
        l->messages++;
        k_send(ctx, k_self(ctx), IMPACT_CONTINUE, &c, sizeof c);
    } else if (l->cursor == n->edges && l->deficit == 0) {
        impact_finish(n, lane, ctx);
    }
}

IMPACT_FN void impact_on_spread(struct impact_node *n, const struct k_message *m,
                                struct k_context *ctx)
{
    const struct impact_spread *s = (const struct impact_spread *)m->payload;
    if (m->len != sizeof *s || s->lane >= IMPACT_LANES || s->clause >= n->clauses)
        return;
    struct impact_lane *l = impact_lane_of(n, s->lane, s->wave);
    uint16_t *left = &impact_left(n, s->lane)[s->clause];
    if (*left > 0)
        --*left;
    if (l->broken || *left > 0) {
        impact_send_ack(ctx, m->source, s->lane, l, s->credits, 0);
        return;
    }
    l->broken = 1;
    l->parent = m->source;
    l->root = s->root;
    l->credits = s->credits;
    l->depth = s->depth + 1;
    if (n->kind == IMPACT_PACKAGE) {
        l->packages = 1;
        k_emit(ctx, IMPACT_EVENT_BROKEN, s->root, n->name, n->name_len);
    }
    impact_spread_on(n, s->lane, ctx);
}

IMPACT_FN void impact_on_ack(struct impact_node *n, const struct k_message *m,
                             struct k_context *ctx)
{
    const struct impact_ack *a = (const struct impact_ack *)m->payload;
    if (m->len != sizeof *a || a->lane >= IMPACT_LANES || n->lanes[a->lane].wave != a->wave)
        return;
    struct impact_lane *l = &n->lanes[a->lane];
    l->deficit--;
    l->credits += a->credits;
    l->packages += a->packages;
    l->messages += a->messages;
    if (a->depth > l->depth)
        l->depth = a->depth;
    if (!l->continuing)
        impact_spread_on(n, a->lane, ctx);
}

IMPACT_FN void impact_on_continue(struct impact_node *n, const struct k_message *m,
                                  struct k_context *ctx)
{
    const struct impact_release *c = (const struct impact_release *)m->payload;
    if (m->len != sizeof *c || c->lane >= IMPACT_LANES || n->lanes[c->lane].wave != c->wave)
        return;
    n->lanes[c->lane].continuing = 0;
    impact_spread_on(n, c->lane, ctx);
}

/* ---- the root of a wave ---- */

IMPACT_FN void impact_on_impact(struct impact_node *n, const struct k_message *m,
                                struct k_context *ctx)
{
    if (n->kind == IMPACT_VIRTUAL) {
        k_fail(ctx, &m->call, "impact: a virtual name; ask for a package");
        return;
    }
    if (n->edges_loaded != n->edges) {
        k_fail(ctx, &m->call, "impact: this package's edges are not loaded yet");
        return;
    }
    if (k_send(ctx, n->waves, IMPACT_ACQUIRE, &m->call, sizeof m->call) != K_OK) {
        k_fail(ctx, &m->call, "impact: #waves is gone; load the graph again");
        return;
    }
    k_defer(ctx);
}

IMPACT_FN void impact_on_grant(struct impact_node *n, const struct k_message *m,
                               struct k_context *ctx)
{
    const struct impact_grant *g = (const struct impact_grant *)m->payload;
    struct impact_lane *l = impact_lane_of(n, g->lane, g->wave);
    l->broken = 1;
    l->root = k_self(ctx);
    l->call = g->call;
    l->credits = g->credits;
    impact_spread_on(n, g->lane, ctx);
}

/* ---- #waves ---- */

IMPACT_FN struct impact_waiting *impact_queue(struct impact_waves *w)
{
    return (struct impact_waiting *)((char *)w + IMPACT_FIXED_BYTES);
}

/* Gives free lanes to waiting calls. A root that has gone meanwhile is passed over. */
IMPACT_FN void impact_grant_lanes(struct impact_waves *w, struct k_context *ctx)
{
    uint32_t sends = 0;
    for (uint32_t lane = 0; lane < IMPACT_LANES; lane++) {
        while (w->holder[lane] == 0 && w->count > 0 && sends++ < IMPACT_SENDS - 1) {
            const struct impact_waiting *next = &impact_queue(w)[w->head];
            struct impact_grant g;
            w->last_wave = w->last_wave + 1 != 0 ? w->last_wave + 1 : 1;
            g.call = next->call;
            g.wave = w->last_wave;
            g.lane = lane;
            g.credits = w->credits;
            g.zero = 0;
            if (k_send(ctx, next->root, IMPACT_GRANT, &g, sizeof g) == K_OK)
                w->holder[lane] = next->root;
            w->head = w->head + 1 < w->room ? w->head + 1 : 0;
            w->count--;
        }
    }
}

IMPACT_FN void impact_on_acquire(struct impact_waves *w, const struct k_message *m,
                                 struct k_context *ctx)
{
    if (w->count == w->room) {
        k_send(ctx, m->source, IMPACT_REFUSE, m->payload, m->len);
        return;
    }
    uint32_t at = (w->head + w->count) % w->room;
    impact_queue(w)[at].root = m->source;
    impact_queue(w)[at].call = *(const struct k_call *)m->payload;
    w->count++;
    impact_grant_lanes(w, ctx);
}

IMPACT_FN void impact_on_release(struct impact_waves *w, const struct k_message *m,
                                 struct k_context *ctx)
{
    const struct impact_release *r = (const struct impact_release *)m->payload;
    if (r->lane < IMPACT_LANES && w->holder[r->lane] == m->source)
        w->holder[r->lane] = 0;
    impact_grant_lanes(w, ctx);
}

IMPACT_FN void impact_on_waves(struct impact_waves *w, const struct k_message *m,
                               struct k_context *ctx)
{
    if (m->type == IMPACT_ACQUIRE && m->len == sizeof(struct k_call))
        impact_on_acquire(w, m, ctx);
    else if (m->type == IMPACT_RELEASE && m->len == sizeof(struct impact_release))
        impact_on_release(w, m, ctx);
    else
        k_fail(ctx, &m->call, "impact: #waves answers no questions; ask a package");
}

K_HANDLER(impact)
{
    struct impact_node *n = (struct impact_node *)state;
    if (message->type == K_ACTIVATE) {
        impact_activate(state, message, ctx);
        return;
    }
    if (message->type == K_DEACTIVATE)
        return;
    if (n->kind == IMPACT_WAVES) {
        impact_on_waves((struct impact_waves *)state, message, ctx);
        return;
    }
    switch (message->type) {
    case IMPACT_IMPACT:
        impact_on_impact(n, message, ctx);
        break;
    case IMPACT_LOAD:
        impact_load(n, message, ctx);
        break;
    case IMPACT_GRANT:
        impact_on_grant(n, message, ctx);
        break;
    case IMPACT_REFUSE:
        k_fail(ctx, (const struct k_call *)message->payload,
               "impact: too many questions are waiting");
        break;
    case IMPACT_SPREAD:
        impact_on_spread(n, message, ctx);
        break;
    case IMPACT_ACK:
        impact_on_ack(n, message, ctx);
        break;
    case IMPACT_CONTINUE:
        impact_on_continue(n, message, ctx);
        break;
    default:
        k_fail(ctx, &message->call, "impact: unknown message type");
        break;
    }
}

#if !defined(K_DEVICE)
_Static_assert(sizeof(struct impact_node) <= IMPACT_FIXED_BYTES, "the fixed part of a state");
_Static_assert(sizeof(struct impact_waves) <= IMPACT_FIXED_BYTES, "the fixed part of a state");
_Static_assert(sizeof(struct impact_spread) <= K_INLINE_BYTES, "a message");
#endif
