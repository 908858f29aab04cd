/* A loop, a log that can be looked at, and waiting with a bound, for tests of what runs on a loop.
 */
#ifndef TESTS_SUPPORT_RIG_H
#define TESTS_SUPPORT_RIG_H

#include "sidecar/base/log.h"

struct sc_loop;
struct sc_timer;

struct rig {
    struct sc_loop *loop;
    struct sc_timer *beat; /* ends a turn each millisecond, so that conditions are looked at */
    struct sc_log log;
    uint64_t until_ns;
};

void rig_open(struct rig *rig);
/* Runs what was put off and frees the loop; the objects on it must be closed. */
void rig_close(struct rig *rig);

/* One turn; fails the test when the bound of RIG_UNTIL is over. */
void rig_turn(struct rig *rig, const char *what);
void rig_bound(struct rig *rig, unsigned bound_ms);

/* How often text stands in the log. */
unsigned rig_logged(const struct rig *rig, const char *text);

/* Turns the loop until the condition holds; 20 s is far beyond what anything here takes. */
#define RIG_UNTIL(rig, condition)        \
    do {                                 \
        rig_bound((rig), 20000);         \
        while (!(condition))             \
            rig_turn((rig), #condition); \
    } while (0)

/* Turns the loop so many times; for what must not happen. */
#define RIG_TURNS(rig, count)                \
    do {                                     \
        rig_bound((rig), 20000);             \
        for (int n_ = 0; n_ < (count); n_++) \
            rig_turn((rig), "turns");        \
    } while (0)

#endif
