/* How other threads reach the loop: they post a function, the loop runs it. */
#ifndef SIDECAR_WAKE_H
#define SIDECAR_WAKE_H

#include "sidecar/base/status.h"

struct sc_loop;
struct sc_wake;

typedef void (*sc_wake_fn)(void *arg);

/* Loop thread. */
SC_MUST_USE enum sc_status sc_wake_open(struct sc_loop *loop, struct sc_wake **wake_out);

/* Loop thread, when no other thread can post any more. What was posted and has not run is dropped.
 * Accepts NULL. */
void sc_wake_close(struct sc_wake *wake);

/* Has the loop run fn(arg), in the order posted. Any thread. SC_ERR_NO_MEMORY: it will not run. */
SC_MUST_USE enum sc_status sc_wake_post(struct sc_wake *wake, sc_wake_fn fn, void *arg);

#endif
