#include "k_grain.h"

struct countdown {
    struct k_call waiting;
    uint32_t left;
};

K_HANDLER(countdown)
{
    struct countdown *c = (struct countdown *)state;
    if (message->type == 1 && message->len == 4) {
        c->waiting = message->call;
        c->left = *(const uint32_t *)message->payload;
        k_defer(ctx);
    } else if (message->type == 2 && c->left != 0) {
        c->left--;
    } else {
        return;
    }
    if (c->left == 0)
        k_reply(ctx, &c->waiting, &c->left, sizeof c->left);
    else
        k_send(ctx, k_self(ctx), 2, &c->left, sizeof c->left);
}
