/* Replies with what it was sent. Echo takes up to K_INLINE_BYTES, EchoLarge up to 64 KiB. */
#include "k_grain.h"

K_HANDLER(echo)
{
    (void)state;
    if (message->type >= K_ACTIVATE)
        return;
    if (k_reply(ctx, &message->call, message->payload, message->len) == K_TOO_LARGE)
        k_fail(ctx, &message->call, "echo: the payload is larger than a reply may be");
}
