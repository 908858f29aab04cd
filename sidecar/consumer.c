#include "sidecar/consumer.h"

#include "orleans-proto/client.h"
#include "orleans-proto/stream.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/silo_conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { GRACE_MS = 1000, ERROR_MAX = 512 };

struct subscription {
    struct subscription *next;
    struct sc_consumer *consumer;
    struct orl_guid id;
    char scope[33]; /* the observer's name: the id in hex */
    char *provider; /* owned, like the next two */
    char *stream_namespace;
    char *key;
    sc_consumer_fn fn;
    void *user;
    bool settled; /* register was answered in this session */
    enum sc_status status;
};

struct sc_consumer {
    struct sc_loop *loop;
    struct sc_log log;
    struct sc_silo_conn *conn;
    struct sc_silo_watch watch;
    struct sc_timer *timer;
    bool timed_out;
    struct orl_method call;
    struct orl_method send;
    struct orl_method subscribe;
    struct subscription *subscriptions;
    struct wbuf store; /* unpacked payload of a delivery */
    struct wbuf names; /* of the call being written */
    uint64_t events;
    char error[ERROR_MAX];
};

/* One blocking call. */
struct waiter {
    struct sc_consumer *consumer;
    int32_t type;
    struct span payload;
    struct wbuf *reply;
    bool done;
    enum sc_status status;
};

static void on_timer(void *user)
{
    struct sc_consumer *c = user;
    c->timed_out = true;
    sc_loop_stop(c->loop);
}

/* Runs the loop until *done or the time is over. */
static bool run_until(struct sc_consumer *c, const bool *done, uint32_t timeout_ms)
{
    c->timed_out = false;
    sc_timer_once(c->timer, timeout_ms);
    while (!*done && !c->timed_out)
        sc_loop_run(c->loop);
    sc_timer_cancel(c->timer);
    return *done;
}

static enum sc_status fail(struct sc_consumer *c, enum sc_status st, struct span text)
{
    snprintf(c->error, sizeof c->error, "%s: %.*s", sc_status_name(st), SPAN_ARG(text));
    return st;
}

static enum sc_status wait_up(struct sc_consumer *c, uint32_t timeout_ms)
{
    c->timed_out = false;
    sc_timer_once(c->timer, timeout_ms);
    while (!sc_silo_conn_up(c->conn) && !c->timed_out)
        sc_loop_run(c->loop);
    sc_timer_cancel(c->timer);
    if (sc_silo_conn_up(c->conn))
        return SC_OK;
    return fail(c, SC_ERR_UNAVAILABLE, span_of_str(sc_silo_conn_cause(c->conn)));
}

/* ---- events ---- */

static struct subscription *subscription_of(const struct sc_consumer *c, const struct orl_guid *id)
{
    struct subscription *s = c->subscriptions;
    while (s != NULL && memcmp(&s->id, id, sizeof *id) != 0)
        s = s->next;
    return s;
}

static void hand_over(struct sc_consumer *c, const struct subscription *s,
                      const struct orl_delivery *d)
{
    struct orl_events events;
    struct orl_value value;
    struct orl_type type;
    struct sc_consumer_event out = {
        .stream_namespace = d->stream.id.ns, .key = d->stream.id.key, .sequence = d->sequence};
    orl_events_init(&events, d->message.payload);
    for (; orl_events_next(&events, &value, &type); out.index++) {
        out.is_text = value.kind == ORL_KIND_STRING;
        if (!out.is_text && value.kind != ORL_KIND_BYTES) {
            SC_WARN(&c->log, "consumer %s/%s event of type %.*s skipped", s->stream_namespace,
                    s->key, SPAN_ARG(type.name));
            continue;
        }
        out.payload = value.bytes;
        s->fn(s->user, &out);
        c->events++;
    }
}

static enum sc_status take_delivery(struct sc_consumer *c, const struct orl_client_event *event)
{
    struct orl_reader r;
    struct orl_call call;
    struct orl_delivery d;
    wbuf_clear(&c->store);
    enum sc_status st = orl_call_open(&event->message, &r, &call);
    if (st == SC_OK)
        st = orl_delivery_read(&r, &c->store, &d);
    if (st != SC_OK)
        return st;
    const struct subscription *s = subscription_of(c, &d.subscription);
    if (s == NULL)
        return SC_ERR_NOT_FOUND;
    hand_over(c, s, &d);
    sc_loop_stop(c->loop);
    return SC_OK;
}

static void on_request(void *user, const struct orl_client_event *event, struct wbuf *w)
{
    struct sc_consumer *c = user;
    enum sc_status st = SC_ERR_NOT_FOUND;
    if (orl_call_is(&event->call, ORL_CONSUMER_INTERFACE, ORL_CONSUMER_GET_TOKEN))
        st = SC_OK;
    else if (orl_call_is(&event->call, ORL_CONSUMER_INTERFACE, ORL_CONSUMER_DELIVER))
        st = take_delivery(c, event);
    if (event->kind != ORL_CLIENT_REQUEST || !event->can_reply)
        return;
    struct orl_exception e = {span_of_str("System.InvalidOperationException"),
                              span_of_str(sc_status_name(st))};
    st = st == SC_OK ? orl_reply_completed(w, &event->reply)
                     : orl_reply_exception(w, &event->reply, &e);
    if (st != SC_OK)
        SC_WARN(&c->log, "consumer request unanswered status %s", sc_status_name(st));
}

/* ---- subscriptions ---- */

static void put_register(void *user, struct orl_args *args)
{
    struct subscription *s = user;
    struct wbuf *names = &s->consumer->names;
    wbuf_clear(names);
    sc_silo_conn_put_observer_key(s->consumer->conn, names, span_of_str(s->scope));
    const struct orl_subscription out = {
        .id = s->id,
        .stream = {{span_of_str(s->stream_namespace), span_of_str(s->key)},
                   span_of_str(s->provider)},
        .consumer = {span_of_str("sys.client"), wbuf_span(names)}};
    orl_args_register(args, &out);
}

static void on_registered(void *user, const struct sc_silo_answer *answer)
{
    struct subscription *s = user;
    s->settled = true;
    s->status = answer->status;
    if (answer->status != SC_OK)
        (void)fail(s->consumer, answer->status, answer->text);
    sc_loop_stop(s->consumer->loop);
}

static enum sc_status start_register(struct subscription *s, uint32_t timeout_ms)
{
    struct sc_consumer *c = s->consumer;
    const struct orl_qualified_stream_id stream = {
        {span_of_str(s->stream_namespace), span_of_str(s->key)}, span_of_str(s->provider)};
    struct wbuf key;
    wbuf_init(&key, 8192);
    orl_put_rendezvous_key(&key, &stream);
    struct sc_silo_call call = {.grain_type = span_of_str(ORL_RENDEZVOUS_GRAIN_TYPE),
                                .grain_key = wbuf_span(&key),
                                .method = &c->subscribe,
                                .timeout_ms = timeout_ms,
                                .put = put_register,
                                .done = on_registered,
                                .user = s};
    s->settled = false;
    enum sc_status st = key.failed ? SC_ERR_TOO_LARGE : sc_silo_conn_call(c->conn, &call);
    wbuf_fini(&key);
    return st;
}

/* A silo, or the whole cluster, may have forgotten us meanwhile: saying it again does no harm. */
static void on_link(void *user, bool up)
{
    struct sc_consumer *c = user;
    for (struct subscription *s = c->subscriptions; s != NULL && up; s = s->next) {
        enum sc_status st = start_register(s, 10000);
        if (st != SC_OK)
            SC_WARN(&c->log, "consumer %s/%s not subscribed again status %s", s->stream_namespace,
                    s->key, sc_status_name(st));
    }
    sc_loop_stop(c->loop);
}

static void subscription_free(struct subscription *s)
{
    if (s == NULL)
        return;
    free(s->provider);
    free(s->stream_namespace);
    free(s->key);
    free(s);
}

static struct subscription *subscription_new(struct sc_consumer *c, const char *provider,
                                             const char *stream_namespace, const char *key)
{
    struct subscription *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->consumer = c;
    s->provider = strdup(provider);
    s->stream_namespace = strdup(stream_namespace);
    s->key = strdup(key);
    bool good = s->provider != NULL && s->stream_namespace != NULL && s->key != NULL &&
                getrandom(s->id.b, sizeof s->id.b, 0) == (ssize_t)sizeof s->id.b;
    if (!good) {
        subscription_free(s);
        return NULL;
    }
    orl_guid_format(&s->id, s->scope);
    return s;
}

enum sc_status sc_consumer_subscribe(struct sc_consumer *c, const char *provider,
                                     const char *stream_namespace, const char *key,
                                     sc_consumer_fn fn, void *user, uint32_t timeout_ms)
{
    enum sc_status st = wait_up(c, timeout_ms);
    if (st != SC_OK)
        return st;
    struct subscription *s = subscription_new(c, provider, stream_namespace, key);
    if (s == NULL)
        return fail(c, SC_ERR_NO_MEMORY, span_of_str("subscription"));
    s->fn = fn;
    s->user = user;
    s->next = c->subscriptions;
    c->subscriptions = s;
    st = start_register(s, timeout_ms);
    if (st == SC_OK)
        st = run_until(c, &s->settled, timeout_ms + GRACE_MS) ? s->status : SC_ERR_DEADLINE;
    else
        (void)fail(c, st, span_of_str("register"));
    if (st == SC_OK)
        return SC_OK;
    sc_silo_conn_forget(c->conn, s);
    c->subscriptions = s->next;
    subscription_free(s);
    return st;
}

/* ---- calls ---- */

static void put_message(void *user, struct orl_args *args)
{
    const struct waiter *w = user;
    orl_args_int(args, w->type);
    orl_args_bytes(args, w->payload.ptr != NULL ? w->payload : span_of_str(""));
}

static void on_answer(void *user, const struct sc_silo_answer *answer)
{
    struct waiter *w = user;
    w->done = true;
    w->status = answer->status;
    if (answer->status != SC_OK)
        (void)fail(w->consumer, answer->status, answer->text);
    else if (answer->response->value.kind == ORL_KIND_BYTES)
        wb_span(w->reply, answer->response->value.bytes);
    sc_loop_stop(w->consumer->loop);
}

static struct sc_silo_call kgrain_call(const char *kernel, const char *key, struct waiter *w)
{
    return (struct sc_silo_call){.grain_type = span_of_str(kernel),
                                 .grain_key = span_of_str(key),
                                 .put = put_message,
                                 .user = w};
}

enum sc_status sc_consumer_call(struct sc_consumer *c, const char *kernel, const char *key,
                                int32_t type, struct span payload, uint32_t timeout_ms,
                                struct wbuf *reply)
{
    enum sc_status st = wait_up(c, timeout_ms);
    if (st != SC_OK)
        return st;
    struct waiter w = {.consumer = c, .type = type, .payload = payload, .reply = reply};
    struct sc_silo_call call = kgrain_call(kernel, key, &w);
    call.method = &c->call;
    call.timeout_ms = timeout_ms;
    call.done = on_answer;
    st = sc_silo_conn_call(c->conn, &call);
    if (st != SC_OK)
        return fail(c, st, span_of_str("not sent"));
    if (run_until(c, &w.done, timeout_ms + GRACE_MS))
        return reply->failed ? SC_ERR_NO_MEMORY : w.status;
    sc_silo_conn_forget(c->conn, &w);
    return fail(c, SC_ERR_DEADLINE, span_of_str("no answer"));
}

/* One more turn of the loop writes it. */
enum sc_status sc_consumer_send(struct sc_consumer *c, const char *kernel, const char *key,
                                int32_t type, struct span payload)
{
    struct waiter w = {.consumer = c, .type = type, .payload = payload};
    struct sc_silo_call call = kgrain_call(kernel, key, &w);
    call.method = &c->send;
    enum sc_status st = sc_silo_conn_call(c->conn, &call);
    if (st != SC_OK)
        return fail(c, st, span_of_str("not sent"));
    bool never = false;
    (void)run_until(c, &never, 0);
    return SC_OK;
}

enum sc_status sc_consumer_wait(struct sc_consumer *c, uint32_t timeout_ms)
{
    uint64_t before = c->events;
    c->timed_out = false;
    sc_timer_once(c->timer, timeout_ms);
    while (c->events == before && !c->timed_out)
        sc_loop_run(c->loop);
    sc_timer_cancel(c->timer);
    return c->events != before ? SC_OK : SC_AGAIN;
}

const char *sc_consumer_error(const struct sc_consumer *c)
{
    return c->error;
}

/* ---- opening and closing ---- */

static enum sc_status methods_init(struct sc_consumer *c)
{
    const struct orl_method_def call = {.interface = "gpu.kgrain", .id = "call"};
    const struct orl_method_def send = {.interface = "gpu.kgrain", .id = "send", .one_way = true};
    enum sc_status st = orl_method_init(&c->call, &call);
    if (st == SC_OK)
        st = orl_method_init(&c->send, &send);
    if (st == SC_OK)
        st = orl_stream_method_init(&c->subscribe, ORL_STREAM_REGISTER);
    return st;
}

static enum sc_status connect_to(struct sc_consumer *c, const char *host, uint16_t port,
                                 const char *cluster_id)
{
    char endpoint[300];
    bool v6 = strchr(host, ':') != NULL;
    int n = snprintf(endpoint, sizeof endpoint, v6 ? "[%s]:%u" : "%s:%u", host, port);
    if (n < 0 || (size_t)n >= sizeof endpoint)
        return SC_ERR_ARGUMENT;
    const struct sc_silo_conn_config config = {.endpoint = endpoint, .cluster_id = cluster_id};
    enum sc_status st = sc_silo_conn_open(c->loop, &c->log, &config, &c->conn);
    if (st != SC_OK)
        return st;
    c->watch = (struct sc_silo_watch){.fn = on_link, .user = c};
    sc_silo_conn_watch(c->conn, &c->watch);
    sc_silo_conn_on_request(c->conn, on_request, c);
    return SC_OK;
}

enum sc_status sc_consumer_open(const struct sc_log *log, const char *host, uint16_t port,
                                const char *cluster_id, uint32_t timeout_ms,
                                struct sc_consumer **consumer_out)
{
    struct sc_consumer *c = calloc(1, sizeof *c);
    if (c == NULL)
        return SC_ERR_NO_MEMORY;
    c->log = *log;
    wbuf_init(&c->store, 64 << 20);
    wbuf_init(&c->names, 256);
    enum sc_status st = sc_loop_open(&c->loop);
    if (st == SC_OK)
        st = methods_init(c);
    if (st == SC_OK)
        st = sc_timer_open(c->loop, on_timer, c, &c->timer);
    if (st == SC_OK)
        st = connect_to(c, host, port, cluster_id);
    if (st == SC_OK)
        st = wait_up(c, timeout_ms);
    if (st != SC_OK) {
        if (c->error[0] != '\0')
            SC_ERROR(log, "consumer %s:%u not connected cause \"%s\"", host, port, c->error);
        sc_consumer_close(c);
        return st;
    }
    *consumer_out = c;
    return SC_OK;
}

void sc_consumer_close(struct sc_consumer *c)
{
    if (c == NULL)
        return;
    sc_silo_conn_close(c->conn);
    sc_timer_close(c->timer);
    sc_loop_close(c->loop);
    while (c->subscriptions != NULL) {
        struct subscription *s = c->subscriptions;
        c->subscriptions = s->next;
        subscription_free(s);
    }
    wbuf_fini(&c->store);
    wbuf_fini(&c->names);
    free(c);
}
