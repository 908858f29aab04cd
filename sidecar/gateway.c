#include "sidecar/gateway.h"

#include "sidecar/base/clock.h"
#include "sidecar/gateway_client.h"
#include "sidecar/loop.h"
#include "sidecar/sock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ACCEPT_MAX = 32,       /* connections in one turn */
    ACCEPT_RETRY_MS = 200, /* when descriptors ran out */
    HEADER_MAX_BYTES = 64 << 10,
    EPOCH_2010_S = 1262304000,
    NO_CALL = UINT32_MAX
};

static uint64_t or_default(uint64_t v, uint64_t standard)
{
    return v != 0 ? v : standard;
}

/* ---- clients ---- */

static void client_free(void *user)
{
    struct gateway_client *c = user;
    for (uint32_t i = 0; i < c->calls_cap; i++)
        free(c->calls[i]);
    free(c->calls);
    orl_gateway_close(c->session);
    free(c);
}

static void client_unlink(struct gateway_client *c)
{
    struct sc_gateway *g = c->gateway;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        g->clients = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    g->stats.clients--;
}

/* The newest connection of a client is the one that gets its messages. */
static struct gateway_client *client_of(const struct sc_gateway *g, struct orl_grain_id observer)
{
    for (struct gateway_client *c = g->clients; c != NULL; c = c->next) {
        if (c->ready && !c->slow && orl_is_observer_of(observer, orl_gateway_client(c->session)))
            return c;
    }
    return NULL;
}

static bool is_connected(const struct sc_gateway *g, struct orl_grain_id id)
{
    for (const struct gateway_client *c = g->clients; c != NULL; c = c->next)
        if (c->ready && orl_grain_id_eq(orl_gateway_client(c->session), id))
            return true;
    return false;
}

static void client_close(struct gateway_client *c)
{
    struct sc_gateway *g = c->gateway;
    if (c->closed)
        return;
    c->closed = true;
    client_unlink(c);
    sc_sock_close(c->sock);
    sc_timer_close(c->timer);
    sc_router_room_cancel(&c->room);
    if (c->in_flight != 0) /* this looks at every call there is */
        sc_router_forget(g->router, c);
    uint64_t id = 0, token = 0;
    while (orl_gateway_abandon(c->session, &id, &token))
        sc_broker_answered(g->broker, token, SC_ERR_CLOSED);
    if (c->ready) {
        struct orl_grain_id client = orl_gateway_client(c->session);
        sc_broker_client_down(g->broker, client);
        if (is_connected(g, client))
            sc_broker_client_up(g->broker, client);
    }
    sc_loop_later(g->loop, client_free, c);
}

void gateway_client_flush(struct gateway_client *c)
{
    if (!c->closed)
        sc_sock_flush(c->sock);
}

void gateway_client_too_slow(struct gateway_client *c)
{
    if (c->closed || c->slow)
        return;
    c->slow = true;
    sc_timer_once(c->timer, 0);
}

void gateway_client_resume(struct gateway_client *c)
{
    if (!c->closed)
        sc_sock_resume(c->sock);
}

static void arm_expiry(struct gateway_client *c)
{
    uint64_t due_ns = orl_gateway_deadline_ns(c->session);
    if (c->slow || due_ns >= c->timer_ns)
        return;
    uint64_t now_ns = sc_clock_mono_ns();
    c->timer_ns = due_ns;
    sc_timer_once(c->timer, due_ns <= now_ns ? 0 : (due_ns - now_ns + 999999) / 1000000);
}

static void on_timer(void *user)
{
    struct gateway_client *c = user;
    struct sc_gateway *g = c->gateway;
    if (c->slow || !c->ready) {
        SC_WARN(&g->log, "gateway client %s dropped reason %s", c->name,
                c->slow ? "it does not read its answers" : "no preamble in time");
        g->stats.dropped++;
        client_close(c);
        return;
    }
    uint64_t now_ns = sc_clock_mono_ns();
    uint64_t id = 0, token = 0;
    c->timer_ns = UINT64_MAX;
    while (orl_gateway_expire(c->session, now_ns, &id, &token))
        sc_broker_answered(g->broker, token, SC_ERR_DEADLINE);
    arm_expiry(c);
}

/* The broker calls a consumer. */
static enum sc_status call_consumer(void *user, struct orl_grain_id consumer,
                                    const struct orl_method *method, uint32_t timeout_ms,
                                    void (*put)(void *put_user, struct orl_args *args),
                                    void *put_user, uint64_t token)
{
    struct sc_gateway *g = user;
    struct gateway_client *c = client_of(g, consumer);
    if (c == NULL)
        return SC_ERR_UNAVAILABLE;
    char silo[ORL_SILO_TEXT_MAX];
    orl_silo_format(&g->silo, silo);
    struct orl_gateway_call call = {
        .sender = {span_of_str("sys.svc.stream.agent"), span_of_str(silo)},
        .target = consumer,
        .method = method,
        .timeout_ms = timeout_ms,
        .now_ns = sc_clock_mono_ns(),
        .user = token};
    struct orl_call_frame frame;
    enum sc_status st = orl_gateway_call_begin(c->session, sc_sock_out(c->sock), &call, &frame);
    if (st == SC_OK) {
        put(put_user, &frame.args);
        st = orl_gateway_call_end(c->session, &frame, NULL);
    }
    if (st == SC_ERR_NO_MEMORY)
        gateway_client_too_slow(c);
    if (st != SC_OK)
        return st;
    arm_expiry(c);
    sc_sock_flush(c->sock);
    return SC_OK;
}

static const struct sc_broker_ops broker_ops = {.call = call_consumer};

/* ---- messages ---- */

static void on_ready(struct gateway_client *c)
{
    struct orl_grain_id id = orl_gateway_client(c->session);
    c->ready = true;
    sc_timer_cancel(c->timer);
    SC_INFO(&c->gateway->log, "gateway client %s connected id %.*s", c->name, SPAN_ARG(id.key));
    sc_broker_client_up(c->gateway->broker, id);
}

static void on_response(struct gateway_client *c, const struct orl_gateway_event *event)
{
    enum sc_status st = SC_ERR_PROTOCOL;
    if (event->kind == ORL_GATEWAY_RESPONSE) {
        bool good = event->response.outcome == ORL_OUTCOME_COMPLETED ||
                    event->response.outcome == ORL_OUTCOME_VALUE;
        st = good ? SC_OK : SC_ERR_EXCEPTION;
    }
    sc_broker_answered(c->gateway->broker, event->user, st);
}

static enum sc_status on_event(struct gateway_client *c, const struct orl_gateway_event *event)
{
    enum sc_status st = SC_OK;
    switch (event->kind) {
    case ORL_GATEWAY_READY:
        on_ready(c);
        break;
    case ORL_GATEWAY_REQUEST:
    case ORL_GATEWAY_ONE_WAY:
        st = gateway_serve(c, event);
        break;
    case ORL_GATEWAY_RESPONSE:
    case ORL_GATEWAY_GARBLED:
        on_response(c, event);
        break;
    case ORL_GATEWAY_STATUS:
    case ORL_GATEWAY_STRAY:
    case ORL_GATEWAY_REFUSED:
    case ORL_GATEWAY_EXPIRED:
    case ORL_GATEWAY_SKIPPED:
        break;
    }
    if (st == SC_ERR_NO_MEMORY)
        gateway_client_too_slow(c);
    else if (st != SC_OK && st != SC_AGAIN)
        SC_DEBUG(&c->gateway->log, "gateway client %s request unanswered status %s", c->name,
                 sc_status_name(st));
    gateway_client_flush(c);
    return st == SC_AGAIN ? SC_AGAIN : SC_OK;
}

/* Its goodbye is our preamble, which names our cluster. */
static void refuse_client(struct gateway_client *c)
{
    SC_WARN(&c->gateway->log, "gateway client %s refused reason %s", c->name,
            "another cluster id, or no client");
    c->gateway->stats.refused++;
    sc_sock_finish(c->sock);
}

static enum sc_status on_take(void *user, struct span in, size_t *used_out)
{
    struct gateway_client *c = user;
    struct orl_gateway_event event;
    if (c->slow)
        return SC_AGAIN;
    enum sc_status st = orl_gateway_next(c->session, in, used_out, sc_sock_out(c->sock), &event);
    if (st == SC_ERR_REFUSED) {
        refuse_client(c);
        return SC_AGAIN;
    }
    if (st == SC_ERR_NO_MEMORY) {
        gateway_client_too_slow(c);
        return SC_AGAIN;
    }
    return st == SC_OK ? on_event(c, &event) : st;
}

static size_t on_need(void *user, struct span in)
{
    struct gateway_client *c = user;
    return orl_gateway_need(c->session, in);
}

static void on_closed(void *user, enum sc_status st, size_t left)
{
    struct gateway_client *c = user;
    struct sc_gateway *g = c->gateway;
    if (st == SC_ERR_CLOSED || st == SC_ERR_IO) {
        SC_INFO(&g->log, "gateway client %s left unread_bytes %zu", c->name, left);
    } else {
        SC_WARN(&g->log, "gateway client %s dropped reason %s", c->name, sc_status_name(st));
        g->stats.dropped++;
    }
    client_close(c);
}

static const struct sc_sock_fns sock_fns = {.take = on_take, .need = on_need, .closed = on_closed};

/* ---- accepting ---- */

static enum sc_status client_open(struct sc_gateway *g, int fd, const struct sc_address *address)
{
    struct gateway_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return SC_ERR_NO_MEMORY;
    }
    *c = (struct gateway_client){.gateway = g, .timer_ns = UINT64_MAX, .free_call = NO_CALL};
    sc_address_format(address, c->name);
    struct orl_gateway_config config = {
        .cluster_id = span_of_str(g->cluster_id),
        .silo = g->silo,
        .first_call_id = 1,
        .calls_max = g->config.calls_max,
        .limits = {.header_max = HEADER_MAX_BYTES, .body_max = g->config.body_max_bytes}};
    enum sc_status st = orl_gateway_open(&config, &c->session);
    if (st != SC_OK) {
        close(fd);
        goto err_free;
    }
    st = sc_sock_open(g->loop, fd, false, g->config.output_max_bytes, &sock_fns, c, &c->sock);
    if (st != SC_OK)
        goto err_session;
    st = sc_timer_open(g->loop, on_timer, c, &c->timer);
    if (st != SC_OK)
        goto err_sock;
    sc_timer_once(c->timer, g->config.preamble_ms);
    c->next = g->clients;
    if (c->next != NULL)
        c->next->prev = c;
    g->clients = c;
    g->stats.clients++;
    g->stats.accepted++;
    return SC_OK;
err_sock:
    sc_sock_close(c->sock);
err_session:
    orl_gateway_close(c->session);
err_free:
    free(c);
    return st;
}

static void accept_pause(struct sc_gateway *g, const char *why)
{
    if (!g->accept_warned)
        SC_WARN(&g->log, "gateway cannot take a connection cause \"%s\"", why);
    g->accept_warned = true;
    sc_watch_set(g->watch, 0);
    sc_timer_once(g->accept_timer, ACCEPT_RETRY_MS);
}

static void on_accept_timer(void *user)
{
    struct sc_gateway *g = user;
    sc_watch_set(g->watch, SC_WATCH_READ);
}

static void on_accept(void *user, unsigned what)
{
    (void)what;
    struct sc_gateway *g = user;
    for (int i = 0; i < ACCEPT_MAX; i++) {
        int fd = -1;
        struct sc_address address;
        enum sc_status st = sc_net_accept(g->listen_fd, &fd, &address);
        if (st == SC_AGAIN)
            return;
        if (st != SC_OK) {
            accept_pause(g, strerror(errno));
            return;
        }
        if (g->stats.clients >= g->config.clients_max) {
            close(fd);
            g->stats.refused++;
            accept_pause(g, "clients_max are connected");
            return;
        }
        st = client_open(g, fd, &address);
        if (st != SC_OK) {
            accept_pause(g, sc_status_name(st));
            return;
        }
        g->accept_warned = false;
    }
}

/* ---- opening, closing, looking ---- */

static void take_config(struct sc_gateway *g, const struct sc_gateway_config *config)
{
    struct sc_gateway_config *own = &g->config;
    *own = *config;
    own->listen = NULL;
    own->cluster_id = g->cluster_id;
    own->clients_max = (uint32_t)or_default(own->clients_max, 256);
    own->calls_max = (uint32_t)or_default(own->calls_max, 1024);
    own->output_max_bytes = (uint32_t)or_default(own->output_max_bytes, 8 << 20);
    own->body_max_bytes = (uint32_t)or_default(own->body_max_bytes, 4 << 20);
    own->preamble_ms = (uint32_t)or_default(own->preamble_ms, 5000);
    own->client_drop_ms = (uint32_t)or_default(own->client_drop_ms, 60000);
    own->subscriptions_max = (uint32_t)or_default(own->subscriptions_max, 4096);
    own->queue_max_messages = (uint32_t)or_default(own->queue_max_messages, 1024);
    own->queue_max_bytes = or_default(own->queue_max_bytes, 64 << 20);
    own->deliver_ms = (uint32_t)or_default(own->deliver_ms, 30000);
    own->deliver_retry_ms = (uint32_t)or_default(own->deliver_retry_ms, 2000);
    own->deliver_tries = (uint32_t)or_default(own->deliver_tries, 8);
}

static enum sc_status start_listening(struct sc_gateway *g, const char *where)
{
    char host[SC_HOST_MAX];
    uint16_t port = 0;
    struct sc_address address;
    enum sc_status st = sc_address_split(where, host, &port);
    if (st == SC_OK)
        st = sc_address_numeric(host, port, &address);
    if (st != SC_OK) {
        SC_ERROR(&g->log, "gateway listen %s is not address:port", where);
        return SC_ERR_CONFIG;
    }
    st = sc_net_listen(&address, &g->listen_fd, &g->port);
    if (st != SC_OK) {
        SC_ERROR(&g->log, "gateway cannot listen on %s cause \"%m\"", where);
        return st;
    }
    bool v6 = address.to.any.sa_family == AF_INET6;
    g->silo =
        (struct orl_silo){.ip_len = v6 ? 16 : 4,
                          .port = g->port,
                          .generation = (int32_t)(sc_clock_wall_ns() / 1000000000 - EPOCH_2010_S)};
    memcpy(g->silo.ip,
           v6 ? (const void *)&address.to.v6.sin6_addr : (const void *)&address.to.v4.sin_addr,
           g->silo.ip_len);
    return SC_OK;
}

static void gateway_free(void *user)
{
    struct sc_gateway *g = user;
    wbuf_fini(&g->store);
    free(g->kernel_text);
    free(g->kernels);
    free(g->cluster_id);
    free(g);
}

static enum sc_status open_parts(struct sc_gateway *g)
{
    const struct sc_gateway_config *own = &g->config;
    const struct sc_broker_config broker = {
        .client_drop_ms = own->client_drop_ms,
        .subscriptions_max = own->subscriptions_max,
        .queue_max_messages = own->queue_max_messages,
        .queue_max_bytes = own->queue_max_bytes,
        .delivery_max_bytes = own->body_max_bytes < own->output_max_bytes ? own->body_max_bytes
                                                                          : own->output_max_bytes,
        .deliver_ms = own->deliver_ms,
        .deliver_retry_ms = own->deliver_retry_ms,
        .deliver_tries = own->deliver_tries};
    enum sc_status st = sc_broker_open(g->loop, &g->log, &broker, &broker_ops, g, &g->broker);
    if (st != SC_OK)
        return st;
    st = sc_timer_open(g->loop, on_accept_timer, g, &g->accept_timer);
    if (st != SC_OK)
        goto err_broker;
    st = sc_watch_open(g->loop, g->listen_fd, SC_WATCH_READ, on_accept, g, &g->watch);
    if (st != SC_OK)
        goto err_timer;
    return SC_OK;
err_timer:
    sc_timer_close(g->accept_timer);
err_broker:
    sc_broker_close(g->broker);
    return st;
}

enum sc_status sc_gateway_open(struct sc_loop *loop, const struct sc_log *log,
                               const struct sc_gateway_config *config, struct sc_router *router,
                               struct sc_gateway **gateway_out)
{
    struct sc_gateway *g = calloc(1, sizeof *g);
    if (g == NULL)
        return SC_ERR_NO_MEMORY;
    g->loop = loop;
    g->log = *log;
    g->router = router;
    g->manifest_version = 1;
    g->cluster_id = strdup(config->cluster_id);
    take_config(g, config);
    wbuf_init(&g->store, g->config.body_max_bytes);
    enum sc_status st = SC_ERR_NO_MEMORY;
    if (g->cluster_id == NULL)
        goto err_free;
    st = start_listening(g, config->listen);
    if (st != SC_OK)
        goto err_free;
    st = open_parts(g);
    if (st != SC_OK)
        goto err_listen;
    SC_INFO(log, "gateway listens on %s port %u cluster %s", config->listen, g->port,
            g->cluster_id);
    *gateway_out = g;
    return SC_OK;
err_listen:
    close(g->listen_fd);
err_free:
    gateway_free(g);
    return st;
}

static void say_stop(struct gateway_client *c)
{
    struct sc_gateway *g = c->gateway;
    struct orl_silo address = g->silo;
    address.generation = 0;
    if (!c->ready)
        return;
    enum sc_status st = orl_gateway_put_stop(c->session, sc_sock_out(c->sock), &address);
    if (st != SC_OK)
        SC_DEBUG(&g->log, "gateway client %s not told of the stop status %s", c->name,
                 sc_status_name(st));
    sc_sock_flush_now(c->sock);
}

void sc_gateway_close(struct sc_gateway *g)
{
    if (g == NULL)
        return;
    sc_watch_close(g->watch);
    sc_timer_close(g->accept_timer);
    close(g->listen_fd);
    while (g->clients != NULL) {
        struct gateway_client *c = g->clients;
        say_stop(c);
        if (!c->closed)
            client_close(c);
    }
    sc_broker_close(g->broker);
    sc_loop_later(g->loop, gateway_free, g);
}

uint16_t sc_gateway_port(const struct sc_gateway *g)
{
    return g->port;
}

enum sc_status sc_gateway_set_kernels(struct sc_gateway *g, const struct span *ids, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += ids[i].len;
    char *text = malloc(bytes + 1);
    struct span *kernels = calloc(count + 1, sizeof *kernels);
    if (text == NULL || kernels == NULL) {
        free(text);
        free(kernels);
        return SC_ERR_NO_MEMORY;
    }
    char *to = text;
    for (size_t i = 0; i < count; i++) {
        if (ids[i].len != 0)
            memcpy(to, ids[i].ptr, ids[i].len);
        kernels[i] = span_of(to, ids[i].len);
        to += ids[i].len;
    }
    free(g->kernel_text);
    free(g->kernels);
    g->kernel_text = text;
    g->kernels = kernels;
    g->kernel_count = count;
    g->manifest_version++;
    return SC_OK;
}

void sc_gateway_stats(const struct sc_gateway *g, struct sc_gateway_stats *stats_out)
{
    struct sc_broker_stats broker;
    sc_broker_stats(g->broker, &broker);
    *stats_out = g->stats;
    stats_out->subscriptions = broker.subscriptions;
    stats_out->published = broker.published;
    stats_out->delivered = broker.delivered;
    stats_out->unheard = broker.unheard;
    stats_out->overflowed = broker.overflowed;
}
