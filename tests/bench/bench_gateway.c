/* Calls to K-Grains through an Orleans gateway over TCP: gpu.kgrain.call(1, byte[64]) on
 * echo/bench, one connection, one thread, `depth` calls in flight. Usage: bench_gateway HOST PORT
 * CLUSTER [CALLS]. The same program runs against the built-in gateway and against a silo with a
 * KGrain of type echo. */
#include "orleans-proto/client.h"
#include "sidecar/base/clock.h"
#include "tests/bench/samples.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAYLOAD = 64, IN_BYTES = 1 << 20, DEPTH_MAX = 512 };

struct bench {
    int fd;
    struct orl_client *client;
    struct orl_method method;
    struct wbuf out;
    uint8_t *in;
    size_t in_len;
    uint64_t *latency_ns;
    uint64_t done;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_gateway: %s\n", what);
    exit(1);
}

static void flush(struct bench *b)
{
    size_t at = 0;
    while (at < b->out.len) {
        ssize_t n = write(b->fd, b->out.ptr + at, b->out.len - at);
        if (n <= 0)
            die("the gateway closed the connection");
        at += (size_t)n;
    }
    wbuf_clear(&b->out);
}

static void add_call(struct bench *b)
{
    static const uint8_t payload[PAYLOAD];
    struct orl_call_frame frame;
    uint64_t now = sc_clock_mono_ns();
    struct orl_client_call call = {
        .target = {.type = span_of_str("echo"), .key = span_of_str("bench")},
        .method = &b->method,
        .timeout_ms = 30000,
        .now_ns = now,
        .user = now,
    };
    if (orl_client_call_begin(b->client, &b->out, &call, &frame) != SC_OK)
        die("cannot encode");
    orl_args_int(&frame.args, 1);
    orl_args_bytes(&frame.args, span_of(payload, PAYLOAD));
    if (orl_client_call_end(b->client, &frame, NULL) != SC_OK)
        die("cannot encode");
}

/* Reads once and takes every answer in what came. Returns how many. */
static uint32_t take_answers(struct bench *b)
{
    ssize_t n = read(b->fd, b->in + b->in_len, IN_BYTES - b->in_len);
    if (n <= 0)
        die("the gateway closed the connection");
    b->in_len += (size_t)n;
    uint64_t now = sc_clock_mono_ns();
    uint32_t answers = 0;
    size_t at = 0, used;
    struct orl_client_event ev;
    while (orl_client_next(b->client, span_of(b->in + at, b->in_len - at), &used, &ev) == SC_OK) {
        at += used;
        if (ev.kind != ORL_CLIENT_RESPONSE)
            continue;
        if (ev.response.value.bytes.len != PAYLOAD) {
            fprintf(stderr, "bench_gateway: %.*s %.*s\n", SPAN_ARG(ev.response.exception.message),
                    SPAN_ARG(ev.response.info));
            exit(1);
        }
        b->latency_ns[b->done++] = now - ev.user;
        answers++;
    }
    b->in_len -= at;
    if (b->in_len != 0)
        memmove(b->in, b->in + at, b->in_len);
    return answers;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run(struct bench *b, uint32_t depth, uint64_t calls)
{
    b->done = 0;
    uint64_t sent = 0;
    double cpu = cpu_s();
    uint64_t start = sc_clock_mono_ns();
    for (; sent < depth && sent < calls; sent++)
        add_call(b);
    flush(b);
    while (b->done < calls) {
        for (uint32_t n = take_answers(b); n != 0 && sent < calls; n--, sent++)
            add_call(b);
        flush(b);
    }
    double s = (double)(sc_clock_mono_ns() - start) / 1e9;
    cpu = cpu_s() - cpu;
    samples_sort(b->latency_ns, calls);
    printf("{\"bench\":\"gateway\",\"depth\":%u,\"payload_bytes\":%d,\"calls\":%llu,\"calls_per_"
           "s\":%.0f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"client_cpu_us\":%."
           "2f}\n",
           depth, PAYLOAD, (unsigned long long)calls, (double)calls / s,
           (double)samples_at(b->latency_ns, calls, 500) / 1e3,
           (double)samples_at(b->latency_ns, calls, 990) / 1e3,
           (double)samples_at(b->latency_ns, calls, 999) / 1e3,
           (double)samples_at(b->latency_ns, calls, 1000) / 1e3, cpu / (double)calls * 1e6);
}

static void join(struct bench *b, const char *host, uint16_t port, const char *cluster)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    b->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || b->fd < 0 ||
        connect(b->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect");
    setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct orl_client_config c = {.cluster_id = span_of_str(cluster),
                                  .first_call_id = 1,
                                  .calls_max = DEPTH_MAX,
                                  .limits = {1 << 20, 1 << 20}};
    uint64_t now = sc_clock_mono_ns() ^ (uint64_t)getpid() << 40;
    memcpy(c.id.b, &now, sizeof now);
    struct orl_method_def def = {.interface = "gpu.kgrain", .id = "call"};
    if (orl_client_open(&c, &b->client) != SC_OK || orl_method_init(&b->method, &def) != SC_OK ||
        orl_client_start(b->client, &b->out) != SC_OK)
        die("cannot start a session");
    flush(b);
    while (!orl_client_ready(b->client))
        take_answers(b);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        die("usage: bench_gateway HOST PORT CLUSTER [CALLS]");
    uint64_t calls = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000000;
    struct bench b = {.fd = -1};
    wbuf_init(&b.out, 1 << 24);
    b.in = malloc(IN_BYTES);
    b.latency_ns = malloc(calls * sizeof *b.latency_ns);
    if (b.in == NULL || b.latency_ns == NULL || calls < 1000)
        die("needs at least 1000 calls and memory for them");
    join(&b, argv[1], (uint16_t)atoi(argv[2]), argv[3]);
    run(&b, 1, calls / 10);
    run(&b, 64, calls);
    run(&b, DEPTH_MAX, calls);
    orl_client_close(b.client);
    wbuf_fini(&b.out);
    free(b.in);
    free(b.latency_ns);
    close(b.fd);
    return 0;
}
