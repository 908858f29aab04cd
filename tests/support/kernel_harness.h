/* Runs kernel handlers natively, one message at a time, with no engine: deterministic, so a failure
 * can be run again. Each grain has a FIFO mailbox; which grain runs next is either the one that has
 * waited longest, or drawn from a seed, which gives every order an engine could. The limits of the
 * manifest are held: a handler that goes over them gets K_OVER_LIMIT, as on a device, and it is
 * counted. Out of memory aborts. */
#ifndef TESTS_SUPPORT_KERNEL_HARNESS_H
#define TESTS_SUPPORT_KERNEL_HARNESS_H

#include "gpu/engine/k_grain.h"
#include "sidecar/base/span.h"

struct kernel_harness;

typedef void (*kernel_handler_fn)(void *state, const struct k_message *message,
                                  struct k_context *ctx);

/* How a call ended; `text` is set when it failed. Good for the callback. */
struct kernel_answer {
    uint64_t call;
    bool failed;
    struct span payload;
    const char *text;
};

struct kernel_harness_config {
    kernel_handler_fn handler;
    uint32_t sends_max;
    uint32_t emits_max;
    uint32_t reply_max;
    uint64_t seed; /* 0: the grain that has waited longest runs next */
    void (*on_answer)(void *user, const struct kernel_answer *answer);
    void (*on_event)(void *user, uint16_t event, uint64_t source, uint64_t stream,
                     struct span payload);
    void *user;
};

struct kernel_harness_stats {
    uint64_t handled;    /* messages */
    uint64_t sent;       /* grain to grain */
    uint64_t over_limit; /* refused sends and emits */
    uint64_t in_flight;  /* grain to grain, now */
    uint64_t in_flight_peak;
    uint64_t rounds; /* longest chain of messages, each sent while its predecessor was handled */
};

struct kernel_harness *kernel_harness_open(const struct kernel_harness_config *config);
void kernel_harness_close(struct kernel_harness *h);

/* Makes a grain and runs its K_ACTIVATE at once; returns its address. A handler that fails the
 * activation reports through on_answer. */
uint64_t kernel_harness_activate(struct kernel_harness *h, uint32_t state_bytes, struct span init,
                                 uint64_t call);

/* The grain takes no message any more. */
void kernel_harness_drop(struct kernel_harness *h, uint64_t grain);

/* Puts a message from outside into a mailbox. call 0: nobody waits. */
void kernel_harness_send(struct kernel_harness *h, uint64_t grain, uint16_t type,
                         struct span payload, uint64_t call);

/* Handles up to max messages; false when nothing was left to do before that. */
bool kernel_harness_run(struct kernel_harness *h, uint64_t max);

struct kernel_harness_stats kernel_harness_stats(const struct kernel_harness *h);

#endif
