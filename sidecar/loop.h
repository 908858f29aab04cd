/* The event loop: descriptors, timers, signals. With http.c the only file that knows libevent. One
 * thread runs a loop and owns every object hung on it; another thread wakes it through a descriptor
 * that is watched here, as in resolve.c.
 *
 * An object may be closed from any callback, its own included: the memory is freed when the loop's
 * turn ends, and no callback of it runs after the close. */
#ifndef SIDECAR_LOOP_H
#define SIDECAR_LOOP_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"

struct sc_loop;
struct sc_timer;
struct sc_watch;
struct event_base;

SC_MUST_USE enum sc_status sc_loop_open(struct sc_loop **loop_out);
/* Runs what was put off a last time. When everything hung on it has been closed. Accepts NULL. */
void sc_loop_close(struct sc_loop *loop);

/* Runs until sc_loop_stop. */
void sc_loop_run(struct sc_loop *loop);
void sc_loop_stop(struct sc_loop *loop);

/* Monotonic time, read once for the callbacks of a turn and once for what they put off. */
uint64_t sc_loop_now_ns(const struct sc_loop *loop);

/* For http.c alone: evhttp hangs on libevent's own base. */
struct event_base *sc_loop_base(struct sc_loop *loop);

/* Runs fn(user) once, when the present turn's callbacks are done. */
void sc_loop_later(struct sc_loop *loop, void (*fn)(void *user), void *user);

typedef void (*sc_timer_fn)(void *user);

/* A timer that is not armed. */
SC_MUST_USE enum sc_status sc_timer_open(struct sc_loop *loop, sc_timer_fn fn, void *user,
                                         struct sc_timer **timer_out);
void sc_timer_close(struct sc_timer *timer);
/* Fires once after delay_ms (0: the next turn), or every period; arming again replaces. */
void sc_timer_once(struct sc_timer *timer, uint64_t delay_ms);
void sc_timer_every(struct sc_timer *timer, uint64_t period_ms);
void sc_timer_cancel(struct sc_timer *timer);

enum { SC_WATCH_READ = 1, SC_WATCH_WRITE = 2 };
typedef void (*sc_watch_fn)(void *user, unsigned what);

/* Watches a non-blocking descriptor, level triggered; the descriptor stays the caller's. `what` may
 * be changed at any time, 0 pauses. */
SC_MUST_USE enum sc_status sc_watch_open(struct sc_loop *loop, int fd, unsigned what,
                                         sc_watch_fn fn, void *user, struct sc_watch **watch_out);
void sc_watch_set(struct sc_watch *watch, unsigned what);
void sc_watch_close(struct sc_watch *watch);

/* A signal as a loop event. */
struct sc_signal;
SC_MUST_USE enum sc_status sc_signal_open(struct sc_loop *loop, int number, void (*fn)(void *user),
                                          void *user, struct sc_signal **signal_out);
void sc_signal_close(struct sc_signal *signal);

#endif
