/* Everything a kernel must not do. Null writes through a null pointer; Loop never returns; Oversend
 * sends once more than its manifest allows and replies with the last result (u32); Silence keeps
 * its call open for ever; Oversize replies with more than it may; Fail fails its call. */
#include "k_grain.h"

#define CRASH_SENDS 2u

K_HANDLER(crash)
{
    volatile uint32_t *word = (volatile uint32_t *)state;
    uint32_t last = 0;
    switch (message->type) {
    case 1: {
        volatile uint32_t *volatile nowhere = (volatile uint32_t *)0;
        *nowhere = 1;
        break;
    }
    case 2:
        for (;;)
            ++*word;
    case 3:
        for (uint32_t i = 0; i <= CRASH_SENDS; i++)
            last = (uint32_t)k_send(ctx, k_self(ctx), 16, &last, sizeof last);
        k_reply(ctx, &message->call, &last, sizeof last);
        break;
    case 4:
        k_defer(ctx);
        break;
    case 5: {
        unsigned char much[K_INLINE_BYTES + 1];
        for (uint32_t i = 0; i < sizeof much; i++)
            much[i] = 0;
        last = (uint32_t)k_reply(ctx, &message->call, much, sizeof much);
        k_reply(ctx, &message->call, &last, sizeof last);
        break;
    }
    case 6:
        k_fail(ctx, &message->call, "crash: as asked");
        break;
    default:
        break;
    }
}
