/* A counter. When the sum reaches or passes a multiple of 1000 it emits Threshold with the sum. */
#include "k_grain.h"

#define TALLY_ADD             1u
#define TALLY_GET             2u
#define TALLY_EVENT_THRESHOLD 1u
#define TALLY_STEP            1000u

struct tally {
    uint64_t sum;
};

K_HANDLER(tally)
{
    struct tally *t = (struct tally *)state;
    if (message->type >= K_ACTIVATE)
        return;
    if (message->type == TALLY_ADD) {
        if (message->len != sizeof t->sum) {
            k_fail(ctx, &message->call, "tally: Add takes a u64");
            return;
        }
        uint64_t before = t->sum / TALLY_STEP;
        t->sum += *(const uint64_t *)message->payload;
        if (t->sum / TALLY_STEP != before)
            k_emit(ctx, TALLY_EVENT_THRESHOLD, 0, &t->sum, sizeof t->sum);
    } else if (message->type != TALLY_GET) {
        k_fail(ctx, &message->call, "tally: unknown message type");
        return;
    }
    k_reply(ctx, &message->call, &t->sum, sizeof t->sum);
}
