#include "sidecar/broker_impl.h"

#include "sidecar/base/clock.h"
#include "sidecar/loop.h"

#include <stdlib.h>

enum {
    CALL_BYTES = 8192, /* of a delivery beside its message, at most: names go into it twice */
    TICK_MS = 20
};

/* ---- delivery ---- */

static uint64_t token_of(const struct sc_broker *b, const struct sub *sub)
{
    return (uint64_t)b->slots[sub->slot].generation << 32 | sub->slot;
}

static void put_get_token(void *user, struct orl_args *args)
{
    const struct sub *sub = user;
    orl_args_get_token(args, &sub->id);
}

static void put_deliver(void *user, struct orl_args *args)
{
    const struct sub *sub = user;
    const struct message *m = sub->first->message;
    const struct orl_delivery d = {
        .subscription = sub->id,
        .stream = sub->stream,
        .sequence = m->sequence,
        .message = {.stream = sub->stream.id,
                    .sequence = m->sequence,
                    .enqueue_time = m->enqueue_time,
                    .payload = span_of(m->payload, m->len)},
        .has_previous = sub->has_previous,
        .previous_sequence = sub->previous,
    };
    orl_args_deliver(args, &d);
}

static void tick_on(struct sc_broker *b)
{
    if (b->timer_on)
        return;
    b->timer_on = true;
    sc_timer_every(b->timer, TICK_MS);
}

static void sub_wait(struct sc_broker *b, struct sub *sub, uint32_t delay_ms)
{
    sub->state = SUB_WAITING;
    sub->retry_ns = sc_loop_now_ns(b->loop) + (uint64_t)delay_ms * 1000000;
    tick_on(b);
}

static void failed(struct sc_broker *b, struct sub *sub, enum sc_status st);

static void kick(struct sc_broker *b, struct sub *sub)
{
    if (sub->state != SUB_IDLE || sub->first == NULL)
        return;
    bool greeted = sub->greeted;
    enum sc_status st = b->ops->call(b->user, sub->consumer, greeted ? &b->deliver : &b->get_token,
                                     b->config.deliver_ms, greeted ? put_deliver : put_get_token,
                                     sub, token_of(b, sub));
    if (st == SC_OK)
        sub->state = greeted ? SUB_SENT : SUB_ASKED;
    else if (st == SC_ERR_UNAVAILABLE)
        sub->state = SUB_AWAY;
    else if (st == SC_ERR_BUSY || st == SC_ERR_NO_MEMORY)
        sub_wait(b, sub, b->config.deliver_retry_ms);
    else
        failed(b, sub, st);
}

static void delivered(struct sc_broker *b, struct sub *sub)
{
    sub->has_previous = true;
    sub->previous = sub->first->message->sequence;
    queue_take(b, sub);
    b->stats.delivered++;
    sub->dropped = 0;
}

/* Tried often enough: the message is dropped, the next one gets its tries. */
static void failed(struct sc_broker *b, struct sub *sub, enum sc_status st)
{
    sub->tries++;
    if (sub->tries >= b->config.deliver_tries) {
        sub->tries = 0;
        sub->state = SUB_IDLE;
        queue_overflow(b, sub);
    }
    sub_wait(b, sub, st == SC_ERR_DEADLINE ? 0 : b->config.deliver_retry_ms);
}

static struct sub *sub_of_token(const struct sc_broker *b, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    if (slot >= b->slots_used || b->slots[slot].generation != (uint32_t)(token >> 32))
        return NULL;
    return b->slots[slot].sub;
}

void sc_broker_answered(struct sc_broker *b, uint64_t token, enum sc_status st)
{
    struct sub *sub = sub_of_token(b, token);
    if (sub == NULL || (sub->state != SUB_ASKED && sub->state != SUB_SENT))
        return;
    if (st == SC_ERR_CLOSED) {
        sub->state = SUB_AWAY;
        sub->greeted = false;
        return;
    }
    if (st != SC_OK) {
        failed(b, sub, st);
        return;
    }
    if (sub->state == SUB_SENT)
        delivered(b, sub);
    sub->greeted = true;
    sub->tries = 0;
    sub->state = SUB_IDLE;
    kick(b, sub);
}

/* ---- publishing ---- */

/* One message may always wait, whatever its size. */
static bool has_room(const struct sc_broker *b, size_t bytes)
{
    uint64_t used = b->stats.queued_bytes;
    uint64_t max = b->config.queue_max_bytes;
    return used == 0 || (used <= max && bytes <= max - used);
}

/* A consumer that is there and keeps answering is waited for; one that is away or has failed is
 * not. */
static bool must_wait_for(const struct sc_broker *b, const struct sub *sub)
{
    return sub->count >= b->config.queue_max_messages && sub->gone_ns == 0 && sub->tries == 0;
}

enum sc_status sc_broker_publish(struct sc_broker *b, struct span queue,
                                 const struct orl_memory_message *message)
{
    if (queue.len != 2 * BROKER_TAG_LEN)
        return SC_ERR_ARGUMENT;
    size_t len = message->payload.len;
    /* Else it would hold up every subscription of its stream, or cost a consumer its connection. */
    if (orl_memory_message_bytes(message) + CALL_BYTES > b->config.delivery_max_bytes)
        return SC_ERR_TOO_LARGE;
    if (!has_room(b, message_bytes(len)))
        return SC_ERR_BUSY;
    const char *tag = (const char *)queue.ptr;
    const struct orl_stream_id id = message->stream;
    for (struct sub *sub = sub_next(b, NULL, tag, id); sub != NULL; sub = sub_next(b, sub, tag, id))
        if (must_wait_for(b, sub))
            return SC_ERR_BUSY;
    struct message *m = malloc(sizeof *m + len);
    if (m == NULL)
        return SC_ERR_BUSY;
    *m = (struct message){.holders = 1,
                          .sequence = b->next_sequence++,
                          .enqueue_time = message->enqueue_time,
                          .len = len};
    if (len != 0)
        memcpy(m->payload, message->payload.ptr, len);
    b->stats.queued_bytes += message_bytes(len);
    b->stats.published++;
    bool heard = false;
    for (struct sub *sub = sub_next(b, NULL, tag, id); sub != NULL;
         sub = sub_next(b, sub, tag, id)) {
        if (queue_add(b, sub, m)) {
            heard = true;
            kick(b, sub);
        }
    }
    if (!heard)
        b->stats.unheard++;
    message_release(b, m);
    return SC_OK;
}

/* ---- clients ---- */

void sc_broker_client_up(struct sc_broker *b, struct orl_grain_id client)
{
    for (uint32_t i = 0; i < b->slots_used; i++) {
        struct sub *sub = b->slots[i].sub;
        if (sub == NULL || !orl_is_observer_of(sub->consumer, client))
            continue;
        sub->gone_ns = 0;
        if (sub->state == SUB_AWAY)
            sub->state = SUB_IDLE;
        kick(b, sub);
    }
}

void sc_broker_client_down(struct sc_broker *b, struct orl_grain_id client)
{
    for (uint32_t i = 0; i < b->slots_used; i++) {
        struct sub *sub = b->slots[i].sub;
        if (sub == NULL || !orl_is_observer_of(sub->consumer, client))
            continue;
        sub->gone_ns = sc_loop_now_ns(b->loop);
        sub->state = SUB_AWAY;
        sub->greeted = false;
        tick_on(b);
    }
}

static void on_tick(void *user)
{
    struct sc_broker *b = user;
    uint64_t now_ns = sc_loop_now_ns(b->loop);
    uint64_t drop_ns = (uint64_t)b->config.client_drop_ms * 1000000;
    bool more = false;
    for (uint32_t i = 0; i < b->slots_used; i++) {
        struct sub *sub = b->slots[i].sub;
        if (sub == NULL)
            continue;
        if (sub->gone_ns != 0 && now_ns - sub->gone_ns >= drop_ns) {
            SC_INFO(&b->log, "broker stream %.*s/%.*s/%.*s subscription ended, its client left",
                    SPAN_ARG(sub->stream.provider), SPAN_ARG(sub->stream.id.ns),
                    SPAN_ARG(sub->stream.id.key));
            sub_remove(b, sub);
            continue;
        }
        if (sub->state == SUB_WAITING && sub->retry_ns <= now_ns) {
            sub->state = SUB_IDLE;
            kick(b, sub);
        }
        more = more || sub->gone_ns != 0 || sub->state == SUB_WAITING;
    }
    if (!more) {
        b->timer_on = false;
        sc_timer_cancel(b->timer);
    }
}

/* ---- opening, closing, looking ---- */

enum sc_status sc_broker_open(struct sc_loop *loop, const struct sc_log *log,
                              const struct sc_broker_config *config,
                              const struct sc_broker_ops *ops, void *user,
                              struct sc_broker **broker_out)
{
    struct sc_broker *b = calloc(1, sizeof *b);
    if (b == NULL)
        return SC_ERR_NO_MEMORY;
    b->loop = loop;
    b->log = *log;
    b->config = *config;
    b->ops = ops;
    b->user = user;
    b->next_sequence = (int64_t)(orl_datetime_utc(sc_clock_wall_ns()) & INT64_MAX >> 2);
    enum sc_status st = SC_ERR_NO_MEMORY;
    b->slots = calloc(config->subscriptions_max, sizeof *b->slots);
    if (b->slots == NULL)
        goto err_free;
    st = orl_stream_method_init(&b->get_token, ORL_STREAM_GET_TOKEN);
    if (st == SC_OK)
        st = orl_stream_method_init(&b->deliver, ORL_STREAM_DELIVER);
    if (st == SC_OK)
        st = sc_timer_open(loop, on_tick, b, &b->timer);
    if (st != SC_OK)
        goto err_free;
    *broker_out = b;
    return SC_OK;
err_free:
    free(b->slots);
    free(b);
    return st;
}

void sc_broker_close(struct sc_broker *b)
{
    if (b == NULL)
        return;
    for (uint32_t i = 0; i < b->slots_used; i++)
        if (b->slots[i].sub != NULL)
            sub_remove(b, b->slots[i].sub);
    sc_timer_close(b->timer);
    free(b->slots);
    free(b);
}

void sc_broker_stats(const struct sc_broker *b, struct sc_broker_stats *stats_out)
{
    *stats_out = b->stats;
}
