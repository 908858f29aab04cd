#include "sidecar/demo_ask.h"

#include "sidecar/base/clock.h"
#include "sidecar/base/wbuf.h"
#include "sidecar/consumer.h"
#include "sidecar/demo_expect.h"
#include "sidecar/demo_pipe.h"

#include <stdio.h>
#include <stdlib.h>

enum { CALL_MS = 60000, EVENTS_MS = 30000, SLICE_MS = 1000 };

#define NAMESPACE "impact"
#define KERNEL    "impact"

enum sc_status sc_demo_asking_add(struct sc_demo_asking *a, uint32_t package)
{
    if (a->ask_count == SC_DEMO_ASKS_MAX) {
        snprintf(a->error, sizeof a->error, "over %d packages to ask about", SC_DEMO_ASKS_MAX);
        return SC_ERR_LIMIT;
    }
    for (uint32_t i = 0; i < a->ask_count; i++)
        if (a->asks[i].package == package)
            return SC_OK;
    uint8_t *broken = calloc(a->graph->node_count, 1);
    if (broken == NULL)
        return SC_ERR_NO_MEMORY;
    a->asks[a->ask_count++] =
        (struct sc_demo_ask){.asking = a, .package = package, .broken = broken};
    return SC_OK;
}

void sc_demo_asking_fini(struct sc_demo_asking *a)
{
    for (uint32_t i = 0; i < a->ask_count; i++)
        free(a->asks[i].broken);
    free(a->latencies_ns);
    a->ask_count = 0;
    a->latencies_ns = NULL;
}

/* The package's name as a text for the consumer's functions. */
static const char *name_of(const struct sc_demo_asking *a, uint32_t package, char *to, size_t cap)
{
    snprintf(to, cap, "%.*s", SPAN_ARG(a->graph->nodes[package].name));
    return to;
}

static void on_event(void *user, const struct sc_consumer_event *event)
{
    struct sc_demo_ask *ask = user;
    const struct sc_graph *g = ask->asking->graph;
    int64_t node = sc_graph_find(g, event->payload);
    if (node < 0) {
        ask->strange++;
        return;
    }
    if (ask->broken[node]) {
        ask->repeats++;
        return;
    }
    ask->broken[node] = 1;
    ask->events++;
    if (!ask->asking->quiet && ask->events <= SC_DEMO_SHOWN_EVENTS)
        printf("    broken: %.*s\n", SPAN_ARG(event->payload));
}

/* ---- one call ---- */

struct answer {
    struct sc_demo_asking *asking;
    struct sc_graph_reply reply;
    bool came;
};

static void take_reply(struct answer *answer, struct span payload)
{
    if (sc_graph_read_reply(payload, &answer->reply) == SC_OK)
        answer->came = true;
    else
        snprintf(answer->asking->error, sizeof answer->asking->error,
                 "a reply of %zu bytes does not decode", payload.len);
}

static void on_answer(void *user, uint64_t tag, const struct sc_shim_response *r)
{
    (void)tag;
    struct answer *answer = user;
    if (r->kind == SC_SHIM_REPLY)
        take_reply(answer, r->payload);
    else
        snprintf(answer->asking->error, sizeof answer->asking->error, "%s: %.*s",
                 sc_status_name((enum sc_status)r->code), SPAN_ARG(r->text));
}

static enum sc_status submit(struct sc_demo_asking *a, uint32_t package, struct answer *answer)
{
    struct sc_shim_request r = {.kind = SC_SHIM_CALL,
                                .grain = a->grains[package],
                                .type = SC_GRAPH_MSG_IMPACT,
                                .deadline_ms = CALL_MS};
    *answer = (struct answer){.asking = a};
    enum sc_status st = sc_demo_pipe_ask(a->pipe, &r, on_answer, answer, 0);
    if (st != SC_OK)
        snprintf(a->error, sizeof a->error, "%s", a->pipe->client->error);
    return st;
}

static enum sc_status drain(struct sc_demo_asking *a)
{
    enum sc_status st = sc_demo_pipe_drain(a->pipe);
    if (st != SC_OK)
        snprintf(a->error, sizeof a->error, "%s", a->pipe->client->error);
    return st;
}

static enum sc_status call_gateway(struct sc_demo_asking *a, uint32_t package,
                                   struct answer *answer)
{
    char name[256];
    struct wbuf reply;
    wbuf_init(&reply, 4096);
    *answer = (struct answer){.asking = a};
    enum sc_status st =
        sc_consumer_call(a->consumer, KERNEL, name_of(a, package, name, sizeof name),
                         SC_GRAPH_MSG_IMPACT, span_of(NULL, 0), CALL_MS, &reply);
    if (st == SC_OK)
        take_reply(answer, wbuf_span(&reply));
    else
        snprintf(a->error, sizeof a->error, "%s: %s", sc_status_name(st),
                 sc_consumer_error(a->consumer));
    wbuf_fini(&reply);
    return st;
}

/* Calls through the gateway where there is one, else over the socket, and waits. */
static enum sc_status call(struct sc_demo_asking *a, uint32_t package, struct answer *answer)
{
    enum sc_status st = SC_OK;
    if (a->consumer != NULL) {
        st = call_gateway(a, package, answer);
    } else {
        st = submit(a, package, answer);
        if (st == SC_OK)
            st = drain(a);
    }
    return st == SC_OK && !answer->came ? SC_ERR_KERNEL : st;
}

/* ---- asking one after the other ---- */

/* Events are published after the reply, in batches; each new one renews the patience. Events of an
 * earlier question may still come in between, so it is time that counts, not wakings. */
static enum sc_status wait_events(struct sc_demo_asking *a, struct sc_demo_ask *ask)
{
    uint64_t until_ns = sc_clock_mono_ns() + (uint64_t)EVENTS_MS * 1000000;
    while (ask->events < ask->reply.packages && sc_clock_mono_ns() < until_ns) {
        uint32_t before = ask->events;
        enum sc_status st = sc_consumer_wait(a->consumer, SLICE_MS);
        if (st != SC_OK && st != SC_AGAIN) {
            snprintf(a->error, sizeof a->error, "waiting for events: %s",
                     sc_consumer_error(a->consumer));
            return st;
        }
        if (ask->events != before)
            until_ns = sc_clock_mono_ns() + (uint64_t)EVENTS_MS * 1000000;
    }
    return SC_OK;
}

static void judge_set(struct sc_demo_asking *a, struct sc_demo_ask *ask)
{
    struct sc_expect e = sc_expect_compare(a->expected, a->graph, ask->package, ask->broken);
    ask->right = sc_expect_equal(&e);
    if (!e.found)
        snprintf(ask->verdict, sizeof ask->verdict, "the oracle was not asked about it");
    else
        snprintf(ask->verdict, sizeof ask->verdict, "oracle %u, missing %u, extra %u%s%.*s",
                 e.expected, e.missing, e.extra, e.first.len != 0 ? ", first " : "",
                 SPAN_ARG(e.first));
}

/* Without events only the count can be compared. */
static void judge_count(struct sc_demo_asking *a, struct sc_demo_ask *ask)
{
    uint8_t *nothing = calloc(a->graph->node_count, 1);
    if (nothing == NULL)
        abort();
    struct sc_expect e = sc_expect_compare(a->expected, a->graph, ask->package, nothing);
    free(nothing);
    ask->right = e.found && e.whole && e.expected == ask->reply.packages;
    snprintf(ask->verdict, sizeof ask->verdict, "oracle %u, count only%s", e.expected,
             e.found ? "" : ", the oracle was not asked about it");
}

static void judge_by_host(struct sc_demo_asking *a, struct sc_demo_ask *ask)
{
    uint8_t *host = calloc(a->graph->node_count, 1);
    if (host == NULL)
        abort();
    uint32_t count = sc_graph_impact(a->graph, ask->package, host);
    uint32_t different = 0;
    for (uint32_t i = 0; i < a->graph->package_count && a->consumer != NULL; i++)
        different += host[i] != ask->broken[i];
    free(host);
    ask->right = different == 0 && count == ask->reply.packages;
    snprintf(ask->verdict, sizeof ask->verdict, "host %u, %s", count,
             a->consumer == NULL ? "count only"
             : different == 0    ? "same set"
                                 : "different set");
}

static void judge(struct sc_demo_asking *a, struct sc_demo_ask *ask)
{
    if (a->expected.len == 0)
        judge_by_host(a, ask);
    else if (a->consumer != NULL)
        judge_set(a, ask);
    else
        judge_count(a, ask);
    if (a->consumer != NULL && (ask->events != ask->reply.packages || ask->strange != 0))
        ask->right = false;
    if (a->together == 0 || (ask->together == ask->reply.packages && !ask->together_differs))
        return;
    ask->right = false;
    snprintf(ask->verdict, sizeof ask->verdict, "asked together with others: %u packages %.150s",
             ask->together, a->error);
}

static enum sc_status ask_one(struct sc_demo_asking *a, struct sc_demo_ask *ask)
{
    char name[256];
    struct answer answer;
    enum sc_status st = SC_OK;
    if (a->consumer != NULL)
        st = sc_consumer_subscribe(a->consumer, a->provider, NAMESPACE,
                                   name_of(a, ask->package, name, sizeof name), on_event, ask,
                                   CALL_MS);
    if (st != SC_OK) {
        snprintf(a->error, sizeof a->error, "subscribing: %s", sc_consumer_error(a->consumer));
        return st;
    }
    if (!a->quiet)
        printf("  remove %.*s\n", SPAN_ARG(a->graph->nodes[ask->package].name));
    uint64_t start_ns = sc_clock_mono_ns();
    st = call(a, ask->package, &answer);
    ask->ns = sc_clock_mono_ns() - start_ns;
    ask->answered = st == SC_OK;
    if (st != SC_OK)
        return st;
    ask->reply = answer.reply;
    if (a->consumer != NULL)
        st = wait_events(a, ask);
    ask->event_ns = sc_clock_mono_ns() - start_ns;
    if (st == SC_OK)
        judge(a, ask);
    return st;
}

static void print_ask(const struct sc_demo_asking *a, const struct sc_demo_ask *ask)
{
    if (a->quiet)
        return;
    printf("    %u packages break; %llu messages in %.2f ms; %u events after %.2f ms\n"
           "    %s: %s\n",
           ask->reply.packages, (unsigned long long)ask->reply.messages, (double)ask->ns / 1e6,
           ask->events, (double)ask->event_ns / 1e6, ask->right ? "right" : "WRONG", ask->verdict);
    (void)fflush(stdout);
}

enum sc_status sc_demo_asking_run(struct sc_demo_asking *a)
{
    enum sc_status st = SC_OK;
    for (uint32_t i = 0; i < a->ask_count && st == SC_OK; i++) {
        st = ask_one(a, &a->asks[i]);
        if (st == SC_OK)
            print_ask(a, &a->asks[i]);
    }
    return st;
}

/* ---- asking at once, and latency ---- */

static void keep_together(struct sc_demo_asking *a, const struct answer *answers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct sc_demo_ask *ask = &a->asks[i % a->ask_count];
        a->messages += answers[i].reply.messages;
        if (i < a->ask_count)
            ask->together = answers[i].reply.packages;
        if (!answers[i].came || answers[i].reply.packages != ask->together)
            ask->together_differs = true;
    }
}

enum sc_status sc_demo_asking_together(struct sc_demo_asking *a, uint32_t rounds)
{
    uint32_t count = a->ask_count * rounds;
    struct answer *answers = calloc(count != 0 ? count : 1, sizeof answers[0]);
    if (answers == NULL)
        return SC_ERR_NO_MEMORY;
    enum sc_status st = SC_OK;
    uint64_t start_ns = sc_clock_mono_ns();
    for (uint32_t i = 0; i < count && st == SC_OK; i++)
        st = submit(a, a->asks[i % a->ask_count].package, &answers[i]);
    if (st == SC_OK)
        st = drain(a);
    a->together_ns = sc_clock_mono_ns() - start_ns;
    a->together = count;
    if (st == SC_OK)
        keep_together(a, answers, count);
    free(answers);
    return st;
}

static int by_number(const void *left, const void *right)
{
    uint64_t x = *(const uint64_t *)left;
    uint64_t y = *(const uint64_t *)right;
    return (x > y) - (x < y);
}

enum sc_status sc_demo_asking_latency(struct sc_demo_asking *a, uint32_t package, uint32_t calls)
{
    free(a->latencies_ns);
    a->latency_count = 0;
    a->latencies_ns = calloc(calls != 0 ? calls : 1, sizeof a->latencies_ns[0]);
    if (a->latencies_ns == NULL)
        return SC_ERR_NO_MEMORY;
    enum sc_status st = SC_OK;
    for (uint32_t i = 0; i < calls && st == SC_OK; i++) {
        struct answer answer;
        uint64_t start_ns = sc_clock_mono_ns();
        st = call(a, package, &answer);
        if (st == SC_OK)
            a->latencies_ns[a->latency_count++] = sc_clock_mono_ns() - start_ns;
    }
    qsort(a->latencies_ns, a->latency_count, sizeof a->latencies_ns[0], by_number);
    return st;
}
