#include "tests/support/rig.h"

#include "sidecar/base/clock.h"
#include "sidecar/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void on_beat(void *user)
{
    sc_loop_stop(user);
}

void rig_open(struct rig *rig)
{
    *rig = (struct rig){.log = {.fd = memfd_create("log", MFD_CLOEXEC), .level = SC_LOG_DEBUG}};
    assert_true(rig->log.fd >= 0);
    assert_int_equal(sc_loop_open(&rig->loop), SC_OK);
    assert_int_equal(sc_timer_open(rig->loop, on_beat, rig->loop, &rig->beat), SC_OK);
    sc_timer_every(rig->beat, 1);
}

void rig_close(struct rig *rig)
{
    sc_timer_close(rig->beat);
    sc_loop_close(rig->loop);
    close(rig->log.fd);
}

void rig_bound(struct rig *rig, unsigned bound_ms)
{
    rig->until_ns = sc_clock_mono_ns() + (uint64_t)bound_ms * 1000000;
}

static char *log_text(const struct rig *rig)
{
    off_t size = lseek(rig->log.fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(pread(rig->log.fd, text, (size_t)size, 0), size);
    text[size] = '\0';
    return text;
}

void rig_turn(struct rig *rig, const char *what)
{
    if (sc_clock_mono_ns() > rig->until_ns) {
        char *text = log_text(rig);
        print_message("%s\n", text);
        free(text);
        fail_msg("not in time: %s", what);
    }
    sc_loop_run(rig->loop);
}

unsigned rig_logged(const struct rig *rig, const char *text)
{
    char *log = log_text(rig);
    unsigned count = 0;
    for (const char *at = strstr(log, text); at != NULL; at = strstr(at + 1, text))
        count++;
    free(log);
    return count;
}
