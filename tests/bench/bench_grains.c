/* A million live grains of 64 bytes of state through the daemon: activations per second, and what a
 * grain costs in each process. One JSON line. */
#include "sidecar/base/clock.h"
#include "tests/support/daemon.h"

#include <stdio.h>
#include <stdlib.h>

enum { GRAINS = 1000000, STATE_BYTES = 64, WINDOW = 2048 };

static long rss_kib(pid_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    long kib = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kib;
}

static pid_t child_of(pid_t pid)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    if (f != NULL && fscanf(f, "%d", &child) != 1)
        child = 0;
    if (f != NULL)
        fclose(f);
    return child;
}

static void must(struct sc_client *c, enum sc_status st)
{
    if (st == SC_OK)
        return;
    fprintf(stderr, "bench_grains: %s %s\n", sc_status_name(st), c->error);
    exit(1);
}

static void activate_all(struct sc_client *c)
{
    uint32_t sent = 0, done = 0;
    while (done < GRAINS) {
        for (; sent < GRAINS && sent - done < WINDOW; sent++) {
            char key[16];
            int n = snprintf(key, sizeof key, "g%u", sent);
            sc_client_queue(c, &(struct sc_shim_request){.kind = SC_SHIM_ACTIVATE,
                                                         .id = sc_client_id(c),
                                                         .kernel = span_of_str("echo"),
                                                         .key = span_of(key, (size_t)n),
                                                         .state_bytes = STATE_BYTES});
        }
        must(c, sc_client_flush(c));
        struct sc_shim_response r;
        must(c, sc_client_next(c, &r));
        if (r.kind == SC_SHIM_ERROR) {
            fprintf(stderr, "bench_grains: %.*s\n", SPAN_ARG(r.text));
            exit(1);
        }
        done += r.kind == SC_SHIM_ACTIVATED;
    }
}

int main(void)
{
    static const char *const flags[] = {"--device.grains_max=1048576", "--log.level=warn", NULL};
    struct test_daemon d;
    struct sc_client c;
    test_daemon_init(&d);
    test_daemon_start(&d, flags);
    test_daemon_connect(&d, &c);
    pid_t worker = child_of(d.pid);
    long daemon_idle = rss_kib(d.pid), worker_idle = rss_kib(worker);
    uint64_t start = sc_clock_mono_ns();
    activate_all(&c);
    double s = (double)(sc_clock_mono_ns() - start) / 1e9;
    long daemon_full = rss_kib(d.pid), worker_full = rss_kib(worker);
    printf("{\"bench\":\"grains\",\"grains\":%d,\"state_bytes\":%d,\"activations_per_s\":%.0f,"
           "\"daemon_idle_kib\":%ld,\"worker_idle_kib\":%ld,\"daemon_kib\":%ld,\"worker_kib\":%ld,"
           "\"bytes_a_grain_beside_state\":%.0f}\n",
           GRAINS, STATE_BYTES, GRAINS / s, daemon_idle, worker_idle, daemon_full, worker_full,
           (double)(daemon_full - daemon_idle + worker_full - worker_idle) * 1024 / GRAINS -
               STATE_BYTES);
    sc_client_close(&c);
    test_daemon_fini(&d);
    return 0;
}
