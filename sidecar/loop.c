#include "sidecar/loop.h"

#include <assert.h>
#include <stdlib.h>

#include <event2/event.h>

#include "sidecar/base/clock.h"

/* Timers, watches and signals are one libevent event each and share this head. A closed one waits
 * in the loop's graveyard until the turn ends, so a callback may close its own object. */
struct handle {
    struct sc_loop *loop;
    struct event *event;
    struct handle *next_dead;
};

struct sc_timer {
    struct handle h;
    sc_timer_fn fn;
    void *user;
    uint64_t period_ms; /* 0: once */
};

struct sc_watch {
    struct handle h;
    sc_watch_fn fn;
    void *user;
    int fd;
    unsigned what;
};

struct sc_signal {
    struct handle h;
    void (*fn)(void *user);
    void *user;
};

struct later {
    void (*fn)(void *user);
    void *user;
};

struct later_list {
    struct later *items; /* owned */
    size_t count, cap;
};

struct sc_loop {
    struct event_base *base;
    struct handle *dead;
    struct later_list later; /* filled during a turn */
    struct later_list spare; /* the list being run */
    struct sc_loop *self;    /* lets a const loop keep the time it read */
    uint64_t now_ns;         /* 0: not yet read in this turn */
    bool stopping;
};

enum sc_status sc_loop_open(struct sc_loop **loop_out)
{
    struct sc_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return SC_ERR_NO_MEMORY;
    loop->self = loop;
    struct event_config *config = event_config_new();
    if (config != NULL) {
        /* One thread: no locks. Timers are milliseconds: no timerfd. */
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (loop->base == NULL) {
        free(loop);
        return SC_ERR_SYSTEM;
    }
    *loop_out = loop;
    return SC_OK;
}

static void bury(struct handle *h)
{
    event_del(h->event);
    h->next_dead = h->loop->dead;
    h->loop->dead = h;
}

static void free_dead(struct sc_loop *loop)
{
    while (loop->dead != NULL) {
        struct handle *h = loop->dead;
        loop->dead = h->next_dead;
        event_free(h->event);
        free(h);
    }
}

/* Runs what was put off; what these callbacks put off themselves waits for the next call. */
static void run_later(struct sc_loop *loop)
{
    struct later_list list = loop->later;
    loop->later = loop->spare;
    loop->later.count = 0;
    for (size_t i = 0; i < list.count; i++)
        list.items[i].fn(list.items[i].user);
    list.count = 0;
    loop->spare = list;
}

/* What was put off still runs: objects closed outside a turn free themselves that way. */
void sc_loop_close(struct sc_loop *loop)
{
    if (loop == NULL)
        return;
    while (loop->later.count != 0)
        run_later(loop);
    free_dead(loop);
    free(loop->later.items);
    free(loop->spare.items);
    event_base_free(loop->base);
    free(loop);
}

void sc_loop_run(struct sc_loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) {
        int flags = EVLOOP_ONCE | (loop->later.count != 0 ? EVLOOP_NONBLOCK : 0);
        loop->now_ns = 0;
        if (event_base_loop(loop->base, flags) < 0)
            break;
        /* Twice, so that what the first round put off (answers to write) need not wait for another
         * look at the descriptors. */
        for (int round = 0; round < 2; round++) {
            loop->now_ns = 0;
            run_later(loop);
        }
        free_dead(loop);
    }
}

void sc_loop_stop(struct sc_loop *loop)
{
    loop->stopping = true;
    event_base_loopbreak(loop->base);
}

uint64_t sc_loop_now_ns(const struct sc_loop *loop)
{
    if (loop->now_ns == 0)
        loop->self->now_ns = sc_clock_mono_ns();
    return loop->now_ns;
}

struct event_base *sc_loop_base(struct sc_loop *loop)
{
    return loop->base;
}

void sc_loop_later(struct sc_loop *loop, void (*fn)(void *user), void *user)
{
    struct later_list *list = &loop->later;
    if (list->count == list->cap) {
        size_t cap = list->cap != 0 ? list->cap * 2 : 64;
        struct later *items = realloc(list->items, cap * sizeof *items);
        /* Without it an owner would wait for ever for its turn: this is the one place where no
         * memory ends the process. */
        if (items == NULL)
            abort();
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = (struct later){fn, user};
}

static struct timeval timeval_of_ms(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (long)(ms % 1000) * 1000};
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sc_timer *timer = arg;
    if (timer->period_ms != 0) {
        struct timeval tv = timeval_of_ms(timer->period_ms);
        event_add(timer->h.event, &tv);
    }
    timer->fn(timer->user);
}

enum sc_status sc_timer_open(struct sc_loop *loop, sc_timer_fn fn, void *user,
                             struct sc_timer **timer_out)
{
    struct sc_timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL)
        return SC_ERR_NO_MEMORY;
    *timer = (struct sc_timer){.h.loop = loop, .fn = fn, .user = user};
    timer->h.event = event_new(loop->base, -1, 0, on_timer, timer);
    if (timer->h.event == NULL) {
        free(timer);
        return SC_ERR_NO_MEMORY;
    }
    *timer_out = timer;
    return SC_OK;
}

void sc_timer_close(struct sc_timer *timer)
{
    if (timer != NULL)
        bury(&timer->h);
}

void sc_timer_once(struct sc_timer *timer, uint64_t delay_ms)
{
    struct timeval tv = timeval_of_ms(delay_ms);
    timer->period_ms = 0;
    event_add(timer->h.event, &tv);
}

void sc_timer_every(struct sc_timer *timer, uint64_t period_ms)
{
    assert(period_ms != 0);
    struct timeval tv = timeval_of_ms(period_ms);
    timer->period_ms = period_ms;
    event_add(timer->h.event, &tv);
}

void sc_timer_cancel(struct sc_timer *timer)
{
    timer->period_ms = 0;
    event_del(timer->h.event);
}

static void on_watch(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    struct sc_watch *watch = arg;
    unsigned what = ((events & EV_READ) != 0 ? (unsigned)SC_WATCH_READ : 0u) |
                    ((events & EV_WRITE) != 0 ? (unsigned)SC_WATCH_WRITE : 0u);
    watch->fn(watch->user, what);
}

static short events_of(unsigned what)
{
    return (short)(EV_PERSIST | ((what & SC_WATCH_READ) != 0 ? EV_READ : 0) |
                   ((what & SC_WATCH_WRITE) != 0 ? EV_WRITE : 0));
}

enum sc_status sc_watch_open(struct sc_loop *loop, int fd, unsigned what, sc_watch_fn fn,
                             void *user, struct sc_watch **watch_out)
{
    struct sc_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return SC_ERR_NO_MEMORY;
    *watch = (struct sc_watch){.h.loop = loop, .fn = fn, .user = user, .fd = fd, .what = what};
    watch->h.event = event_new(loop->base, fd, events_of(what), on_watch, watch);
    if (watch->h.event == NULL)
        goto err_free;
    if (what != 0 && event_add(watch->h.event, NULL) != 0)
        goto err_event;
    *watch_out = watch;
    return SC_OK;
err_event:
    event_free(watch->h.event);
err_free:
    free(watch);
    return SC_ERR_SYSTEM;
}

void sc_watch_set(struct sc_watch *watch, unsigned what)
{
    if (what == watch->what)
        return;
    watch->what = what;
    event_del(watch->h.event);
    event_assign(watch->h.event, watch->h.loop->base, watch->fd, events_of(what), on_watch, watch);
    if (what != 0)
        event_add(watch->h.event, NULL);
}

void sc_watch_close(struct sc_watch *watch)
{
    if (watch != NULL)
        bury(&watch->h);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sc_signal *sig = arg;
    sig->fn(sig->user);
}

enum sc_status sc_signal_open(struct sc_loop *loop, int number, void (*fn)(void *user), void *user,
                              struct sc_signal **signal_out)
{
    struct sc_signal *sig = calloc(1, sizeof *sig);
    if (sig == NULL)
        return SC_ERR_NO_MEMORY;
    *sig = (struct sc_signal){.h.loop = loop, .fn = fn, .user = user};
    sig->h.event = evsignal_new(loop->base, number, on_signal, sig);
    if (sig->h.event == NULL)
        goto err_free;
    if (event_add(sig->h.event, NULL) != 0)
        goto err_event;
    *signal_out = sig;
    return SC_OK;
err_event:
    event_free(sig->h.event);
err_free:
    free(sig);
    return SC_ERR_SYSTEM;
}

void sc_signal_close(struct sc_signal *signal)
{
    if (signal != NULL)
        bury(&signal->h);
}
