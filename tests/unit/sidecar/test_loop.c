#include "sidecar/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct sc_loop *loop;
    struct sc_timer *timer;
    struct sc_watch *watch;
    struct sc_signal *signal;
    int pipe[2];
    int count;
    char order[16];
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    assert_int_equal(sc_loop_open(&f.loop), SC_OK);
    assert_int_equal(pipe(f.pipe), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close(f->pipe[0]);
    close(f->pipe[1]);
    sc_loop_close(f->loop);
    return 0;
}

static void count_to_three(void *user)
{
    struct fixture *f = user;
    if (++f->count == 3)
        sc_loop_stop(f->loop);
}

static void test_timer_every_fires_until_stop(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sc_timer_open(f->loop, count_to_three, f, &f->timer), SC_OK);
    sc_timer_every(f->timer, 1);
    sc_loop_run(f->loop);
    assert_int_equal(f->count, 3);
    sc_timer_close(f->timer);
}

static void close_own_timer(void *user)
{
    struct fixture *f = user;
    f->count++;
    sc_timer_close(f->timer);
    sc_loop_later(f->loop, (void (*)(void *))sc_loop_stop, f->loop);
}

static void test_timer_may_close_itself(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sc_timer_open(f->loop, close_own_timer, f, &f->timer), SC_OK);
    sc_timer_every(f->timer, 1);
    sc_loop_run(f->loop);
    assert_int_equal(f->count, 1);
}

static void on_readable(void *user, unsigned what)
{
    struct fixture *f = user;
    assert_int_equal(what, SC_WATCH_READ);
    char c;
    assert_int_equal(read(f->pipe[0], &c, 1), 1);
    f->count++;
    if (f->count == 1) {
        sc_watch_set(f->watch, 0);
        sc_timer_once(f->timer, 1);
    } else {
        sc_watch_close(f->watch);
        sc_loop_stop(f->loop);
    }
}

static void resume_watch(void *user)
{
    struct fixture *f = user;
    assert_int_equal(f->count, 1);
    sc_watch_set(f->watch, SC_WATCH_READ);
}

static void test_watch_pauses_and_goes_on(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sc_timer_open(f->loop, resume_watch, f, &f->timer), SC_OK);
    assert_int_equal(sc_watch_open(f->loop, f->pipe[0], SC_WATCH_READ, on_readable, f, &f->watch),
                     SC_OK);
    assert_int_equal(write(f->pipe[1], "ab", 2), 2);
    sc_loop_run(f->loop);
    assert_int_equal(f->count, 2);
    sc_timer_close(f->timer);
}

static void note(struct fixture *f, char c)
{
    f->order[f->count++] = c;
}

static void later_b(void *user)
{
    struct fixture *f = user;
    note(f, 'b');
    sc_loop_stop(f->loop);
}

static void later_a(void *user)
{
    struct fixture *f = user;
    note(f, 'a');
    sc_loop_later(f->loop, later_b, f);
}

static void test_later_of_later_runs_a_turn_on(void **state)
{
    struct fixture *f = *state;
    sc_loop_later(f->loop, later_a, f);
    sc_loop_run(f->loop);
    assert_string_equal(f->order, "ab");
}

static void on_usr1(void *user)
{
    struct fixture *f = user;
    f->count++;
    sc_signal_close(f->signal);
    sc_loop_stop(f->loop);
}

static void test_signal_arrives_as_loop_event(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sc_signal_open(f->loop, SIGUSR1, on_usr1, f, &f->signal), SC_OK);
    raise(SIGUSR1);
    sc_loop_run(f->loop);
    assert_int_equal(f->count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_timer_every_fires_until_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_may_close_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_pauses_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_of_later_runs_a_turn_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_arrives_as_loop_event, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
