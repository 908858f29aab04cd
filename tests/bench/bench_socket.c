/* Calls over the local socket through a real daemon and its CPU device: round trips with one call
 * outstanding, and throughput with many. One JSON line a case. Where redis-server is installed it
 * measures a pipelined GET over a Unix socket in the same run and prints the ratio.
 *
 * usage: bench_socket [seconds a case] [device.spin_us] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sidecar/base/clock.h"
#include "sidecar/metrics.h"
#include "tests/support/daemon.h"

enum { ECHO = 1, PAYLOAD_BYTES = 16, DEPTH_MAX = 4096 };

static const uint8_t payload[PAYLOAD_BYTES] = "sixteen bytes..";

static void need(struct sc_client *c, enum sc_status st)
{
    if (st == SC_OK)
        return;
    fprintf(stderr, "bench_socket: %s: %s\n", sc_status_name(st), c->error);
    exit(1);
}

static void print_latency(const char *name, const struct sc_hist *h, double seconds)
{
    printf("{\"bench\":\"%s\",\"calls\":%llu,\"per_second\":%.0f,\"p50_us\":%.2f,"
           "\"p99_us\":%.2f}\n",
           name, (unsigned long long)h->total, (double)h->total / seconds,
           (double)sc_hist_quantile_ns(h, NULL, 0.5) / 1e3,
           (double)sc_hist_quantile_ns(h, NULL, 0.99) / 1e3);
    fflush(stdout);
}

static void round_trips(struct sc_client *c, uint64_t grain, double seconds)
{
    static struct sc_hist h;
    uint64_t start = sc_clock_mono_ns(), now = start;
    uint64_t until = start + (uint64_t)(seconds * 1e9);
    while (now < until) {
        struct span reply;
        need(c, sc_client_call(c, grain, ECHO, span_of(payload, sizeof payload), 0, &reply));
        uint64_t end = sc_clock_mono_ns();
        sc_hist_add(&h, end - now);
        now = end;
    }
    print_latency("socket_round_trip", &h, (double)(now - start) / 1e9);
}

/* Keeps `depth` calls in flight as redis-benchmark -P does: writes a batch, takes its answers. */
static double pipelined(struct sc_client *c, const uint64_t *grains, unsigned grain_count,
                        unsigned depth, double seconds)
{
    uint64_t start = sc_clock_mono_ns(), now = start, calls = 0;
    uint64_t until = start + (uint64_t)(seconds * 1e9);
    while (now < until) {
        for (unsigned i = 0; i < depth; i++)
            sc_client_queue_call(c, sc_client_id(c), grains[i % grain_count], ECHO, 0,
                                 span_of(payload, sizeof payload));
        need(c, sc_client_flush(c));
        for (unsigned i = 0; i < depth;) {
            struct sc_shim_response r;
            need(c, sc_client_next(c, &r));
            if (r.kind == SC_SHIM_ERROR) {
                fprintf(stderr, "bench_socket: %.*s\n", SPAN_ARG(r.text));
                exit(1);
            }
            i += r.kind == SC_SHIM_REPLY;
        }
        calls += depth;
        now = sc_clock_mono_ns();
    }
    double rate = (double)calls / ((double)(now - start) / 1e9);
    printf(
        "{\"bench\":\"socket_pipelined\",\"depth\":%u,\"grains\":%u,\"calls_per_second\":%.0f}\n",
        depth, grain_count, rate);
    fflush(stdout);
    return rate;
}

/* -- Redis, for comparison */

static pid_t start_redis(const char *socket)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(127);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
               "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static double redis_rate(const char *socket, unsigned depth, double seconds)
{
    char command[512], line[512];
    snprintf(command, sizeof command,
             "redis-benchmark -s %s -t get -c 1 -P %u -n %.0f -q --csv 2>/dev/null", socket, depth,
             1000000 * seconds);
    FILE *p = popen(command, "r");
    double rate = 0;
    while (p != NULL && fgets(line, sizeof line, p) != NULL)
        if (strncmp(line, "\"GET\",\"", 7) == 0)
            rate = atof(line + 7);
    if (p != NULL)
        pclose(p);
    return rate;
}

static void compare(struct test_daemon *d, const unsigned *depths, const double *ours, unsigned n,
                    double seconds)
{
    char socket[TEST_TREE_PATH_BYTES];
    if (system("command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null") !=
        0) {
        printf("{\"bench\":\"redis\",\"skipped\":\"redis-server is not installed\"}\n");
        return;
    }
    pid_t pid = start_redis(test_tree_path(&d->tree, "redis", socket));
    uint64_t until = sc_clock_mono_ns() + 10000000000ull;
    while (access(socket, F_OK) != 0 && sc_clock_mono_ns() < until)
        test_pause();
    for (unsigned i = 0; i < n; i++) {
        double redis = redis_rate(socket, depths[i], seconds);
        printf("{\"bench\":\"redis_get\",\"depth\":%u,\"calls_per_second\":%.0f,\"ratio\":%.2f}\n",
               depths[i], redis, redis > 0 ? ours[i] / redis : 0);
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    char spin[64];
    snprintf(spin, sizeof spin, "--device.spin_us=%s", argc > 2 ? argv[2] : "50");
    const char *const flags[] = {"--log.level=warn", spin, NULL};
    static const unsigned depths[] = {16, 64, 512};
    double rates[3];
    struct test_daemon d;
    struct sc_client c;
    uint64_t grains[16];
    test_daemon_init(&d);
    test_daemon_start(&d, flags);
    test_daemon_connect(&d, &c);
    for (unsigned i = 0; i < 16; i++) {
        char key[8];
        int n = snprintf(key, sizeof key, "g%u", i);
        need(&c, sc_client_activate(&c, span_of_str("echo"), span_of(key, (size_t)n), 0,
                                    span_of(NULL, 0), &grains[i]));
    }
    round_trips(&c, grains[0], seconds);
    for (unsigned i = 0; i < 3; i++)
        rates[i] = pipelined(&c, grains, 16, depths[i], seconds);
    pipelined(&c, grains, 1, 512, seconds);
    compare(&d, depths, rates, 2, seconds);
    sc_client_close(&c);
    test_daemon_fini(&d);
    return 0;
}
