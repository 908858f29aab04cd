#include "sidecar/demo.h"

#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"
#include "sidecar/base/wbuf.h"
#include "sidecar/client.h"
#include "sidecar/consumer.h"
#include "sidecar/deb822.h"
#include "sidecar/demo_ask.h"
#include "sidecar/demo_graph.h"
#include "sidecar/demo_load.h"
#include "sidecar/demo_options.h"
#include "sidecar/demo_pipe.h"
#include "sidecar/demo_report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIST_MAX_BYTES = 1 << 30, TIMEOUT_MS = 60000 };

/* Everything the command holds; zeroed, so that fini works from any point. */
struct demo {
    struct sc_demo_options options;
    struct wbuf list, expected;
    struct sc_graph graph;
    struct sc_client client;
    bool connected;
    struct sc_demo_pipe pipe;
    struct sc_demo_load load;
    struct sc_consumer *consumer;
    struct sc_demo_asking asking;
    uint64_t build_ns, load_ns;
};

static bool complain(const char *what, const char *why)
{
    fprintf(stderr, "gpu-sidecar demo: %s: %s\n", what, why);
    return false;
}

static bool read_file(const char *path, struct wbuf *to)
{
    int fd = strcmp(path, "-") == 0 ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    wbuf_init(to, LIST_MAX_BYTES);
    if (fd < 0)
        return complain(path, strerror(errno));
    ssize_t n = 1;
    while (n > 0 && !to->failed) {
        uint8_t *at = wbuf_reserve(to, 65536);
        n = at != NULL ? read(fd, at, 65536) : 0;
        if (n > 0)
            to->len += (size_t)n;
    }
    int cause = errno;
    close(fd);
    if (to->failed)
        return complain(path, "over 1 GiB");
    return n == 0 || complain(path, strerror(cause));
}

static bool build_graph(struct demo *d)
{
    char error[SC_DEB822_ERROR_BYTES];
    if (!read_file(d->options.packages, &d->list))
        return false;
    if (d->options.expect != NULL && !read_file(d->options.expect, &d->expected))
        return false;
    uint64_t start_ns = sc_clock_mono_ns();
    if (sc_graph_build(wbuf_span(&d->list), &d->graph, error) != SC_OK)
        return complain(d->options.packages, error);
    d->build_ns = sc_clock_mono_ns() - start_ns;
    return d->graph.package_count != 0 || complain(d->options.packages, "no installed packages");
}

static bool load_graph(struct demo *d)
{
    if (sc_client_open(&d->client, d->options.socket, "gpu-sidecar demo", TIMEOUT_MS) != SC_OK)
        return complain(d->options.socket, d->client.error);
    d->connected = true;
    if (sc_client_wait_ready(&d->client, TIMEOUT_MS) != SC_OK)
        return complain("the device is not ready", d->client.error);
    sc_demo_pipe_init(&d->pipe, &d->client);
    d->load =
        (struct sc_demo_load){.pipe = &d->pipe, .graph = &d->graph, .credits = d->options.credits};
    uint64_t start_ns = sc_clock_mono_ns();
    if (sc_demo_load(&d->load) != SC_OK)
        return complain("loading the graph", d->load.error);
    d->load_ns = sc_clock_mono_ns() - start_ns;
    return true;
}

static bool open_consumer(struct demo *d)
{
    const char *at = d->options.gateway;
    if (at == NULL)
        return true;
    struct sc_log log = {.fd = STDERR_FILENO, .level = SC_LOG_WARN, .format = SC_LOG_TEXT};
    char host[256];
    uint32_t port = 0;
    const char *colon = strrchr(at, ':');
    if (colon == NULL || (size_t)(colon - at) >= sizeof host ||
        !sc_demo_read_number(colon + 1, 65535, &port) || port == 0)
        return complain(at, "not HOST:PORT");
    snprintf(host, sizeof host, "%.*s", (int)(colon - at), at);
    if (sc_consumer_open(&log, host, (uint16_t)port, d->options.cluster_id, TIMEOUT_MS,
                         &d->consumer) != SC_OK)
        return complain(at, "the gateway does not answer");
    return true;
}

/* ---- what to ask ---- */

static bool ask_listed(struct demo *d, const char *list)
{
    while (*list != 0) {
        size_t n = strcspn(list, ",");
        int64_t at = sc_graph_find(&d->graph, span_of(list, n));
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(n < 200 ? n : 200), list);
        if (at < 0)
            return complain(name, "no such package in the list");
        if (sc_demo_asking_add(&d->asking, (uint32_t)at) != SC_OK)
            return complain(name, d->asking.error);
        list += n + (list[n] == ',');
    }
    return true;
}

/* Packages to ask about by their rank: the three most needed, then ever less needed ones, while
 * anybody needs them at all. */
static bool has_pick(const struct sc_graph *g, const uint32_t *order, uint32_t rank)
{
    return rank < g->package_count && g->nodes[order[rank]].edge_count != 0;
}

static uint32_t next_rank(uint32_t rank)
{
    return rank < 2 ? rank + 1 : rank * 3 - 1;
}

static bool ask_ranked(struct demo *d, const uint32_t *order)
{
    for (uint32_t rank = 0; has_pick(&d->graph, order, rank); rank = next_rank(rank))
        if (sc_demo_asking_add(&d->asking, order[rank]) != SC_OK)
            return complain("choosing packages", d->asking.error);
    return true;
}

static uint32_t *rank_packages(const struct sc_graph *g)
{
    uint32_t *order = malloc((g->package_count + (size_t)1) * sizeof order[0]);
    if (order == NULL)
        (void)complain("ranking packages", "out of memory");
    else
        sc_graph_rank(g, order);
    return order;
}

static bool pick(const struct demo *d)
{
    uint32_t *order = rank_packages(&d->graph);
    if (order == NULL)
        return false;
    for (uint32_t rank = 0; has_pick(&d->graph, order, rank); rank = next_rank(rank))
        printf("%s%.*s", rank != 0 ? "," : "", SPAN_ARG(d->graph.nodes[order[rank]].name));
    putchar('\n');
    free(order);
    return true;
}

static bool ask_all(struct demo *d)
{
    uint32_t *order = rank_packages(&d->graph);
    if (order == NULL)
        return false;
    bool good = d->options.ask != NULL ? ask_listed(d, d->options.ask) : ask_ranked(d, order);
    /* the latency figures are of a package that nobody needs: the call, not the spreading */
    uint32_t quiet_package = order[d->graph.package_count - 1];
    free(order);
    if (good && (sc_demo_asking_latency(&d->asking, quiet_package, d->options.calls) != SC_OK ||
                 sc_demo_asking_together(&d->asking, d->options.rounds) != SC_OK ||
                 sc_demo_asking_run(&d->asking) != SC_OK))
        good = complain("asking", d->asking.error);
    return good;
}

static bool run(struct demo *d)
{
    const struct sc_demo_options *o = &d->options;
    if (!build_graph(d))
        return false;
    if (o->pick)
        return pick(d);
    if (!o->json)
        printf("%s: %u packages, %u virtual names, %u edges\n", o->packages, d->graph.package_count,
               d->graph.node_count - d->graph.package_count, d->graph.edge_count);
    if (!load_graph(d) || !open_consumer(d))
        return false;
    d->asking = (struct sc_demo_asking){.graph = &d->graph,
                                        .pipe = &d->pipe,
                                        .consumer = d->consumer,
                                        .provider = o->provider,
                                        .grains = d->load.grains,
                                        .expected = wbuf_span(&d->expected),
                                        .quiet = o->json};
    if (!o->json)
        printf("%u grains active after %.0f ms\n", d->graph.node_count + 1,
               (double)d->load_ns / 1e6);
    if (!ask_all(d))
        return false;
    struct sc_demo_report report = {&d->graph, &d->asking, d->build_ns, d->load_ns};
    return o->json ? sc_demo_report_json(&report) : sc_demo_report_text(&report);
}

static void fini(struct demo *d)
{
    if (d->load.graph != NULL)
        sc_demo_unload(&d->load, d->options.keep);
    sc_consumer_close(d->consumer);
    if (d->connected)
        sc_client_close(&d->client);
    sc_demo_asking_fini(&d->asking);
    sc_graph_free(&d->graph);
    wbuf_fini(&d->expected);
    wbuf_fini(&d->list);
}

int sc_demo_main(int argc, char **argv)
{
    struct demo *d = calloc(1, sizeof *d);
    if (d == NULL)
        return 1;
    if (!sc_demo_options_read(&d->options, argc, argv)) {
        free(d);
        return 2;
    }
    bool good = run(d);
    fini(d);
    free(d);
    return good ? 0 : 1;
}
