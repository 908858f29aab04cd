#include "sidecar/silo_impl.h"

#include "sidecar/base/clock.h"
#include "sidecar/loop.h"
#include "sidecar/resolve.h"
#include "sidecar/sock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    STABLE_MS = 10000, /* a session this long sets the backoff back */
    LEAVE_MS = 60000,  /* a gateway that said stop closes within this, or we do */
    HEADER_MAX_BYTES = 1 << 20
};

#define TO(s) (1u << (s))
static const uint8_t silo_next[SILO_STATE_COUNT] = {
    [SILO_WAITING] = TO(SILO_WAITING) | TO(SILO_RESOLVING) | TO(SILO_CONNECTING),
    [SILO_RESOLVING] = TO(SILO_CONNECTING) | TO(SILO_WAITING),
    [SILO_CONNECTING] = TO(SILO_PREAMBLE) | TO(SILO_WAITING),
    [SILO_PREAMBLE] = TO(SILO_READY) | TO(SILO_WAITING),
    [SILO_READY] = TO(SILO_LEAVING) | TO(SILO_WAITING),
    [SILO_LEAVING] = TO(SILO_WAITING),
};

static uint32_t or_default(uint32_t v, uint32_t standard)
{
    return v != 0 ? v : standard;
}

static uint64_t random_u64(void)
{
    uint64_t v = sc_clock_mono_ns();
    ssize_t n = getrandom(&v, sizeof v, GRND_NONBLOCK);
    (void)n; /* the clock will do for jitter */
    return v;
}

/* Ids are no secret, but two daemons must not have the same. */
static void renew_id(struct sc_silo_conn *c)
{
    uint64_t half[2] = {random_u64(), random_u64() ^ sc_clock_wall_ns()};
    memcpy(c->id.b, half, sizeof c->id.b);
    c->id_changes++;
}

static void tell_watches(struct sc_silo_conn *c, bool up)
{
    struct sc_silo_watch *next = NULL;
    for (struct sc_silo_watch *w = c->watches; w != NULL && !c->closed; w = next) {
        next = w->next;
        w->fn(w->user, up);
    }
}

static void enter(struct sc_silo_conn *c, enum silo_state state)
{
    assert((silo_next[c->state] & TO(state)) != 0);
    bool was_up = c->state == SILO_READY;
    c->state = state;
    sc_timer_cancel(c->timer);
    if (state == SILO_READY) {
        c->cause[0] = '\0';
        tell_watches(c, true);
    } else if (was_up) {
        tell_watches(c, false);
    }
}

/* ---- sessions ---- */

static void add_socket_stats(const struct sc_silo_conn *c, struct sc_silo_conn_stats *stats)
{
    if (c->sock == NULL)
        return;
    stats->bytes_in += sc_sock_bytes_in(c->sock);
    stats->bytes_out += sc_sock_bytes_out(c->sock);
}

/* A cause is logged when it is new; the same again is only counted. */
static void log_down(struct sc_silo_conn *c, bool needs_person, uint32_t retry_ms)
{
    enum sc_log_level level = needs_person ? SC_LOG_ERROR : SC_LOG_WARN;
    if (strcmp(c->cause, c->logged_cause) == 0)
        level = SC_LOG_DEBUG;
    if (sc_log_enabled(&c->log, level))
        sc_log_write(&c->log, level, "silo %s down cause \"%s\" attempt %u retry_ms %u",
                     c->endpoint, c->cause, c->attempts, retry_ms);
    memcpy(c->logged_cause, c->cause, sizeof c->cause);
}

/* Ends whatever is under way and waits for the next attempt. */
static void go_down(struct sc_silo_conn *c, bool needs_person, const char *cause)
{
    uint64_t now_ns = sc_clock_mono_ns();
    bool was_ready = c->state == SILO_READY || c->state == SILO_LEAVING;
    if (was_ready)
        c->lost_ns = now_ns;
    if (was_ready && now_ns - c->ready_ns >= (uint64_t)STABLE_MS * 1000000)
        c->backoff_ms = c->config.backoff_min_ms;
    c->stats.failures++;
    c->attempts++;
    snprintf(c->cause, sizeof c->cause, "%s", cause);
    uint32_t half = c->backoff_ms / 2;
    uint32_t delay_ms = half + (uint32_t)(random_u64() % (half + 1));
    c->backoff_ms = c->backoff_ms >= c->config.backoff_max_ms / 2 ? c->config.backoff_max_ms
                                                                  : 2 * c->backoff_ms;
    log_down(c, needs_person, delay_ms);

    add_socket_stats(c, &c->stats);
    sc_sock_close(c->sock);
    c->sock = NULL;
    sc_resolve_close(c->resolve);
    c->resolve = NULL;
    struct orl_client *session = c->session;
    c->session = NULL;
    c->expiry_ns = UINT64_MAX;
    sc_timer_cancel(c->expiry);
    enter(c, SILO_WAITING);
    if (!c->closed)
        sc_timer_once(c->timer, delay_ms);
    uint64_t id = 0, slot = 0;
    while (session != NULL && orl_client_abandon(session, &id, &slot))
        silo_call_failed(c, slot, SC_ERR_CLOSED, c->cause);
    orl_client_close(session);
}

static void on_ready(struct sc_silo_conn *c)
{
    char silo[ORL_SILO_TEXT_MAX];
    orl_silo_format(orl_client_silo(c->session), silo);
    char id[33];
    orl_guid_format(&c->id, id);
    SC_INFO(&c->log, "silo %s connected silo %s client %s attempts %u", c->endpoint, silo, id,
            c->attempts + 1);
    c->logged_cause[0] = '\0';
    c->attempts = 0;
    c->silent_calls = 0;
    c->ready_ns = sc_clock_mono_ns();
    c->stats.connects++;
    enter(c, SILO_READY);
}

static void on_stop(struct sc_silo_conn *c)
{
    if (c->state != SILO_READY)
        return;
    SC_INFO(&c->log, "silo %s shuts down its gateway in_flight %u", c->endpoint,
            c->stats.in_flight);
    snprintf(c->cause, sizeof c->cause, "the silo shuts down");
    enter(c, SILO_LEAVING);
    if (!c->closed)
        sc_timer_once(c->timer, LEAVE_MS);
}

static void on_request(struct sc_silo_conn *c, const struct orl_client_event *event)
{
    struct wbuf *out = sc_sock_out(c->sock);
    if (c->request_fn != NULL) {
        c->request_fn(c->request_user, event, out);
    } else if (event->kind == ORL_CLIENT_REQUEST && event->can_reply) {
        struct orl_exception e = {span_of_str("System.NotSupportedException"),
                                  span_of_str("this client hosts no such observer")};
        enum sc_status st = orl_reply_exception(out, &event->reply, &e);
        if (st != SC_OK)
            SC_DEBUG(&c->log, "silo %s request unanswered status %s", c->endpoint,
                     sc_status_name(st));
    }
    if (!c->closed && c->sock != NULL)
        sc_sock_flush(c->sock);
}

static void on_event(struct sc_silo_conn *c, const struct orl_client_event *event)
{
    c->silent_calls = 0;
    switch (event->kind) {
    case ORL_CLIENT_READY:
        on_ready(c);
        break;
    case ORL_CLIENT_RESPONSE:
        silo_call_answered(c, event->user, &event->response);
        break;
    case ORL_CLIENT_GARBLED:
        silo_call_failed(c, event->user, SC_ERR_PROTOCOL, "the answer does not decode");
        break;
    case ORL_CLIENT_REQUEST:
    case ORL_CLIENT_ONE_WAY:
        on_request(c, event);
        break;
    case ORL_CLIENT_STOP:
        on_stop(c);
        break;
    case ORL_CLIENT_SKIPPED:
        SC_DEBUG(&c->log, "silo %s message skipped, it does not decode", c->endpoint);
        break;
    case ORL_CLIENT_STATUS:
    case ORL_CLIENT_STRAY:
        break;
    }
}

static enum sc_status on_take(void *user, struct span in, size_t *used_out)
{
    struct sc_silo_conn *c = user;
    struct orl_client_event event;
    enum sc_status st = orl_client_next(c->session, in, used_out, &event);
    if (st == SC_OK)
        on_event(c, &event);
    return st;
}

static size_t on_need(void *user, struct span in)
{
    struct sc_silo_conn *c = user;
    return orl_client_need(c->session, in);
}

static void on_closed(void *user, enum sc_status st, size_t left)
{
    struct sc_silo_conn *c = user;
    enum orl_client_why why = ORL_WHY_NONE;
    if (st == SC_ERR_CLOSED && c->session != NULL)
        why = orl_client_ended(c->session, left);
    else if (st != SC_ERR_IO && c->session != NULL)
        why = orl_client_why(c->session);
    char text[SILO_CAUSE_MAX];
    if (why != ORL_WHY_NONE)
        snprintf(text, sizeof text, "%s", orl_client_why_text(why));
    else if (st == SC_ERR_IO)
        snprintf(text, sizeof text, "%s", strerror(sc_sock_errno(c->sock)));
    else
        snprintf(text, sizeof text, "%s", sc_status_name(st));
    bool needs_person = why == ORL_WHY_CLUSTER || why == ORL_WHY_IDENTITY ||
                        why == ORL_WHY_BAD_PREAMBLE || why == ORL_WHY_VERSION;
    go_down(c, needs_person, text);
}

static void on_connected(void *user)
{
    struct sc_silo_conn *c = user;
    enter(c, SILO_PREAMBLE);
    sc_timer_once(c->timer, c->config.connect_ms);
    enum sc_status st = orl_client_start(c->session, sc_sock_out(c->sock));
    if (st != SC_OK)
        go_down(c, true, "the cluster id does not fit into a preamble");
}

static const struct sc_sock_fns sock_fns = {
    .connected = on_connected, .take = on_take, .need = on_need, .closed = on_closed};

static void start_session(struct sc_silo_conn *c, const struct sc_address *address)
{
    if (c->lost_ns != 0 &&
        sc_clock_mono_ns() - c->lost_ns > (uint64_t)c->config.id_keep_ms * 1000000) {
        renew_id(c);
        c->lost_ns = 0;
    }
    enter(c, SILO_CONNECTING);
    sc_timer_once(c->timer, c->config.connect_ms);
    struct orl_client_config config = {
        .cluster_id = span_of_str(c->cluster_id),
        .id = c->id,
        .first_call_id = random_u64() >> 1,
        .calls_max = c->config.calls_max,
        .limits = {.header_max = HEADER_MAX_BYTES, .body_max = c->config.body_max_bytes}};
    enum sc_status st = orl_client_open(&config, &c->session);
    int fd = -1;
    if (st == SC_OK)
        st = sc_net_connect(address, &fd);
    if (st == SC_ERR_IO) {
        char text[SILO_CAUSE_MAX];
        snprintf(text, sizeof text, "%m");
        go_down(c, false, text);
        return;
    }
    if (st == SC_OK)
        st = sc_sock_open(c->loop, fd, true, c->config.output_max_bytes, &sock_fns, c, &c->sock);
    if (st != SC_OK)
        go_down(c, st != SC_ERR_NO_MEMORY, sc_status_name(st));
}

static void on_resolved(void *user, enum sc_status st, const struct sc_address *address,
                        const char *text)
{
    struct sc_silo_conn *c = user;
    c->resolve = NULL;
    if (st == SC_OK) {
        start_session(c, address);
        return;
    }
    char cause[SILO_CAUSE_MAX];
    snprintf(cause, sizeof cause, "host name: %s", text);
    go_down(c, false, cause);
}

static void attempt(struct sc_silo_conn *c)
{
    struct sc_address address;
    if (sc_address_numeric(c->host, c->port, &address) == SC_OK) {
        start_session(c, &address);
        return;
    }
    enter(c, SILO_RESOLVING);
    sc_timer_once(c->timer, c->config.connect_ms);
    enum sc_status st = sc_resolve_open(c->loop, c->host, c->port, on_resolved, c, &c->resolve);
    if (st != SC_OK)
        go_down(c, false, "host name: the resolver cannot be started");
}

static void on_timer(void *user)
{
    struct sc_silo_conn *c = user;
    char text[SILO_CAUSE_MAX];
    switch (c->state) {
    case SILO_WAITING:
        attempt(c);
        break;
    case SILO_RESOLVING:
        go_down(c, false, "host name: no answer in time");
        break;
    case SILO_CONNECTING:
        snprintf(text, sizeof text, "no connection within %u ms", c->config.connect_ms);
        go_down(c, false, text);
        break;
    case SILO_PREAMBLE:
        snprintf(text, sizeof text,
                 "no preamble within %u ms: the silo is not started, or no Orleans gateway",
                 c->config.connect_ms);
        go_down(c, false, text);
        break;
    case SILO_LEAVING:
        go_down(c, false, "the silo shuts down");
        break;
    case SILO_READY:
    case SILO_STATE_COUNT:
        break;
    }
}

/* A gateway can lose the way to a client whose id it knew before, and a stopped silo answers
 * nothing at all: then a new connection under a new id helps, or shows that the silo is gone. */
void silo_give_up(struct sc_silo_conn *c)
{
    renew_id(c);
    go_down(c, false, "many calls in a row ran out of time without any answer");
}

/* ---- opening, closing, looking ---- */

static void conn_free(void *user)
{
    struct sc_silo_conn *c = user;
    free(c->calls);
    free(c->endpoint);
    free(c->cluster_id);
    free(c);
}

static void take_config(struct sc_silo_conn *c, const struct sc_silo_conn_config *config)
{
    c->config = *config;
    struct sc_silo_conn_config *own = &c->config;
    own->endpoint = c->endpoint;
    own->cluster_id = c->cluster_id;
    own->connect_ms = or_default(own->connect_ms, 5000);
    own->backoff_min_ms = or_default(own->backoff_min_ms, 100);
    own->backoff_max_ms = or_default(own->backoff_max_ms, 5000);
    own->id_keep_ms = or_default(own->id_keep_ms, 60000);
    own->calls_max = or_default(own->calls_max, 4096);
    own->output_max_bytes = or_default(own->output_max_bytes, 16 << 20);
    own->body_max_bytes = or_default(own->body_max_bytes, 16 << 20);
    c->backoff_ms = own->backoff_min_ms;
}

enum sc_status sc_silo_conn_open(struct sc_loop *loop, const struct sc_log *log,
                                 const struct sc_silo_conn_config *config,
                                 struct sc_silo_conn **conn_out)
{
    struct sc_silo_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return SC_ERR_NO_MEMORY;
    *c = (struct sc_silo_conn){
        .loop = loop, .log = *log, .expiry_ns = UINT64_MAX, .free_call = SILO_NO_CALL};
    snprintf(c->cause, sizeof c->cause, "not connected yet");
    enum sc_status st = SC_ERR_NO_MEMORY;
    c->endpoint = strdup(config->endpoint);
    c->cluster_id = strdup(config->cluster_id);
    if (c->endpoint == NULL || c->cluster_id == NULL)
        goto err_free;
    take_config(c, config);
    c->calls = calloc(c->config.calls_max, sizeof *c->calls);
    if (c->calls == NULL)
        goto err_free;
    st = sc_address_split(c->endpoint, c->host, &c->port);
    if (st != SC_OK) {
        SC_ERROR(log, "silo %s endpoint is not host:port", c->endpoint);
        goto err_free;
    }
    st = sc_timer_open(loop, on_timer, c, &c->timer);
    if (st != SC_OK)
        goto err_free;
    st = sc_timer_open(loop, silo_calls_expire, c, &c->expiry);
    if (st != SC_OK)
        goto err_timer;
    renew_id(c);
    sc_timer_once(c->timer, 0);
    *conn_out = c;
    return SC_OK;
err_timer:
    sc_timer_close(c->timer);
err_free:
    conn_free(c);
    return st;
}

void sc_silo_conn_close(struct sc_silo_conn *c)
{
    if (c == NULL || c->closed)
        return;
    c->closed = true;
    sc_sock_close(c->sock);
    sc_resolve_close(c->resolve);
    sc_timer_close(c->timer);
    sc_timer_close(c->expiry);
    orl_client_close(c->session);
    c->session = NULL;
    sc_loop_later(c->loop, conn_free, c);
}

bool sc_silo_conn_up(const struct sc_silo_conn *c)
{
    return c->state == SILO_READY && !c->closed;
}

const char *sc_silo_conn_cause(const struct sc_silo_conn *c)
{
    return c->cause;
}

void sc_silo_conn_watch(struct sc_silo_conn *c, struct sc_silo_watch *watch)
{
    watch->next = c->watches;
    c->watches = watch;
}

void sc_silo_conn_unwatch(struct sc_silo_conn *c, struct sc_silo_watch *watch)
{
    for (struct sc_silo_watch **at = &c->watches; *at != NULL; at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            return;
        }
    }
}

void sc_silo_conn_on_request(struct sc_silo_conn *c, sc_silo_request_fn fn, void *user)
{
    c->request_fn = fn;
    c->request_user = user;
}

/* The key by the id, not by the session: it is wanted between sessions too. */
void sc_silo_conn_put_observer_key(const struct sc_silo_conn *c, struct wbuf *w, struct span scope)
{
    char id[33];
    orl_guid_format(&c->id, id);
    wb_bytes(w, id, 32);
    wb_u8(w, '+');
    wb_span(w, scope);
}

uint64_t sc_silo_conn_id_changes(const struct sc_silo_conn *c)
{
    return c->id_changes;
}

void sc_silo_conn_stats(const struct sc_silo_conn *c, struct sc_silo_conn_stats *stats_out)
{
    *stats_out = c->stats;
    add_socket_stats(c, stats_out);
}
