#include "orleans-proto/gateway.h"

#include "orleans-proto/inflight.h"
#include "orleans-proto/outgoing.h"
#include "orleans-proto/preamble.h"

#include <assert.h>
#include <stdlib.h>

enum { GATEWAY_CLUSTER_MAX = 512 };

enum gateway_state { GATEWAY_PREAMBLE, GATEWAY_UP, GATEWAY_OVER, GATEWAY_STATE_COUNT };

#define TO(s) (1u << (s))
static const uint8_t gateway_next_states[GATEWAY_STATE_COUNT] = {
    [GATEWAY_PREAMBLE] = TO(GATEWAY_UP) | TO(GATEWAY_OVER),
    [GATEWAY_UP] = TO(GATEWAY_OVER),
};

struct orl_gateway {
    enum gateway_state state;
    struct orl_limits limits;
    struct orl_silo silo;
    struct orl_inflight calls; /* to observers */
    uint64_t next_id;
    uint16_t cluster_len;
    uint16_t client_type_len;
    uint16_t client_key_len;
    uint8_t cluster[GATEWAY_CLUSTER_MAX];
    uint8_t client[ORL_PREAMBLE_MAX]; /* type, then key */
};

static void enter_state(struct orl_gateway *g, enum gateway_state next)
{
    bool legal = (gateway_next_states[g->state] & TO(next)) != 0;
    assert(legal);
    (void)legal; /* without asserts */
    g->state = next;
}

enum sc_status orl_gateway_open(const struct orl_gateway_config *config,
                                struct orl_gateway **gateway_out)
{
    if (config->cluster_id.len > GATEWAY_CLUSTER_MAX || orl_silo_is_null(&config->silo) ||
        config->limits.header_max > ORL_HEADER_MAX || config->limits.body_max > ORL_BODY_MAX)
        return SC_ERR_ARGUMENT;
    struct orl_gateway *g = calloc(1, sizeof *g);
    if (g == NULL)
        return SC_ERR_NO_MEMORY;
    enum sc_status st = orl_inflight_init(&g->calls, config->calls_max);
    if (st != SC_OK) {
        free(g);
        return st;
    }
    g->limits = config->limits;
    g->silo = config->silo;
    g->next_id = config->first_call_id;
    g->cluster_len = (uint16_t)config->cluster_id.len;
    if (g->cluster_len != 0)
        memcpy(g->cluster, config->cluster_id.ptr, g->cluster_len);
    *gateway_out = g;
    return SC_OK;
}

void orl_gateway_close(struct orl_gateway *g)
{
    if (g == NULL)
        return;
    orl_inflight_fini(&g->calls);
    free(g);
}

bool orl_gateway_ready(const struct orl_gateway *g)
{
    return g->state == GATEWAY_UP;
}

struct orl_grain_id orl_gateway_client(const struct orl_gateway *g)
{
    return (struct orl_grain_id){span_of(g->client, g->client_type_len),
                                 span_of(g->client + g->client_type_len, g->client_key_len)};
}

static bool has_prefix(struct span text, struct span prefix)
{
    return text.len >= prefix.len && span_eq(span_of(text.ptr, prefix.len), prefix);
}

/* By references one part of a preamble can stand for both, so together they may be too long. */
static bool keep_client(struct orl_gateway *g, struct orl_grain_id id)
{
    if (id.type.len > sizeof g->client || id.key.len > sizeof g->client - id.type.len)
        return false;
    g->client_type_len = (uint16_t)id.type.len;
    g->client_key_len = (uint16_t)id.key.len;
    memcpy(g->client, id.type.ptr, id.type.len);
    if (id.key.len != 0)
        memcpy(g->client + id.type.len, id.key.ptr, id.key.len);
    return true;
}

static enum sc_status put_preamble(const struct orl_gateway *g, struct wbuf *w)
{
    const struct orl_preamble own = {
        .version = ORL_PROTOCOL_VERSION,
        .node = {span_of_str(ORL_SILO_GRAIN_TYPE), span_of_str(ORL_SILO_GRAIN_KEY)},
        .silo = g->silo,
        .cluster_id = span_of(g->cluster, g->cluster_len),
    };
    return orl_preamble_encode(w, &own);
}

/* As a silo does: read, always write our own, only then check, so that a refused client learns the
 * cluster id (src/Orleans.Runtime/Networking/GatewayInboundConnection.cs). */
static enum sc_status read_preamble(struct orl_gateway *g, struct span in, size_t *used_out,
                                    struct wbuf *w, struct orl_gateway_event *event_out)
{
    struct orl_preamble p;
    size_t used = 0;
    enum sc_status st = orl_preamble_decode(in, &p, &used);
    if (st == SC_AGAIN)
        return st;
    if (st == SC_OK)
        st = put_preamble(g, w);
    if (st == SC_OK &&
        (!has_prefix(p.node.type, span_of_str(ORL_CLIENT_GRAIN_TYPE)) ||
         !span_eq(p.cluster_id, span_of(g->cluster, g->cluster_len)) || !keep_client(g, p.node)))
        st = SC_ERR_REFUSED;
    if (st != SC_OK) {
        enter_state(g, GATEWAY_OVER);
        return st;
    }
    enter_state(g, GATEWAY_UP);
    event_out->kind = ORL_GATEWAY_READY;
    event_out->client = orl_gateway_client(g);
    *used_out = used;
    return SC_OK;
}

/* A request that is no call gets an Error response, as from a silo that lacks the method. */
static enum sc_status refuse_request(const struct orl_reply *reply, struct wbuf *w)
{
    const struct orl_exception e = {span_of_str("System.InvalidOperationException"),
                                    span_of_str("the request's body is not a method call")};
    size_t frame_at = 0;
    size_t body_at = 0;
    enum sc_status st = orl_reply_begin(w, reply, ORL_RESPONSE_ERROR, &frame_at, &body_at);
    if (st != SC_OK)
        return st;
    orl_put_exception_response(w, &e);
    return orl_reply_end(w, reply, frame_at, body_at);
}

static enum sc_status take_request(struct orl_gateway *g, struct orl_gateway_event *ev,
                                   struct wbuf *w)
{
    const struct orl_message *m = &ev->message;
    bool one_way = m->direction == ORL_DIRECTION_ONE_WAY;
    ev->id = m->id;
    if ((m->flags & ORL_FLAG_TTL) != 0 && m->ttl_ms <= 0) {
        ev->kind = ORL_GATEWAY_EXPIRED;
        return SC_OK;
    }
    enum sc_status st = orl_call_open(m, &ev->args, &ev->call);
    if (one_way) {
        ev->kind = st == SC_OK ? ORL_GATEWAY_ONE_WAY : ORL_GATEWAY_SKIPPED;
        return SC_OK;
    }
    if (orl_reply_init(&ev->reply, m) != SC_OK) {
        ev->kind = ORL_GATEWAY_SKIPPED;
        return SC_OK;
    }
    ev->reply.from_silo = g->silo;
    ev->reply.limits = g->limits;
    ev->kind = st == SC_OK ? ORL_GATEWAY_REQUEST : ORL_GATEWAY_REFUSED;
    return st == SC_OK ? SC_OK : refuse_request(&ev->reply, w);
}

static void take_response(struct orl_gateway *g, struct orl_gateway_event *ev)
{
    ev->id = ev->message.id;
    ev->kind = ORL_GATEWAY_STRAY;
    if (!orl_inflight_find(&g->calls, ev->id, &ev->user))
        return;
    if (ev->message.response_type == ORL_RESPONSE_STATUS) {
        ev->kind = ORL_GATEWAY_STATUS;
        return;
    }
    enum sc_status st = orl_response_decode(&ev->message, &ev->response);
    orl_inflight_take(&g->calls, ev->id, &ev->user);
    ev->kind = st == SC_OK ? ORL_GATEWAY_RESPONSE : ORL_GATEWAY_GARBLED;
}

static enum sc_status read_frame(struct orl_gateway *g, struct span in, size_t *used_out,
                                 struct wbuf *w, struct orl_gateway_event *ev)
{
    struct orl_frame frame;
    size_t used = 0;
    enum sc_status st = orl_frame_decode(in, &g->limits, &frame, &used);
    if (st == SC_AGAIN)
        return st;
    if (st == SC_OK) {
        st = orl_message_decode(frame.header, &ev->message);
        if (st == SC_ERR_PROTOCOL) { /* the next frame's border is still known */
            ev->kind = ORL_GATEWAY_SKIPPED;
            *used_out = used;
            return SC_OK;
        }
    }
    if (st != SC_OK) {
        enter_state(g, GATEWAY_OVER);
        return st;
    }
    ev->message.body = frame.body;
    if (ev->message.direction == ORL_DIRECTION_NONE)
        ev->kind = ORL_GATEWAY_SKIPPED;
    else if (ev->message.direction == ORL_DIRECTION_RESPONSE)
        take_response(g, ev);
    else
        st = take_request(g, ev, w);
    if (st == SC_OK)
        *used_out = used;
    return st;
}

enum sc_status orl_gateway_next(struct orl_gateway *g, struct span in, size_t *used_out,
                                struct wbuf *w, struct orl_gateway_event *event_out)
{
    event_out->id = 0;
    event_out->user = 0;
    if (g->state == GATEWAY_OVER)
        return SC_ERR_CLOSED;
    if (g->state == GATEWAY_PREAMBLE)
        return read_preamble(g, in, used_out, w, event_out);
    return read_frame(g, in, used_out, w, event_out);
}

size_t orl_gateway_need(const struct orl_gateway *g, struct span in)
{
    if (g->state == GATEWAY_UP)
        return orl_frame_need(in, &g->limits);
    return orl_preamble_need(in);
}

enum sc_status orl_gateway_call_begin(struct orl_gateway *g, struct wbuf *w,
                                      const struct orl_gateway_call *call,
                                      struct orl_call_frame *frame_out)
{
    const struct orl_method *method = call->method;
    if (g->state != GATEWAY_UP)
        return SC_ERR_CLOSED;
    if (!orl_is_observer_of(call->target, orl_gateway_client(g)))
        return SC_ERR_ARGUMENT;
    if (!method->one_way && g->calls.count == g->calls.max)
        return SC_ERR_BUSY;
    if (w->failed)
        return SC_ERR_NO_MEMORY;
    struct orl_message m = {
        .flags = method->flags | ORL_FLAG_INTERFACE_TYPE,
        .direction = method->one_way ? ORL_DIRECTION_ONE_WAY : ORL_DIRECTION_REQUEST,
        .id = g->next_id,
        .sender = call->sender,
        .target = call->target,
        .sender_silo = g->silo,
        .ttl_ms = call->timeout_ms <= INT32_MAX ? (int32_t)call->timeout_ms : INT32_MAX,
        .interface = orl_method_interface(method),
    };
    if (call->timeout_ms != 0 && !method->one_way)
        m.flags |= ORL_FLAG_TTL;
    size_t frame_at = orl_frame_begin(w);
    enum sc_status st = orl_message_encode(w, &m);
    *frame_out = (struct orl_call_frame){
        .frame_at = frame_at,
        .body_at = w->len,
        .id = g->next_id,
        .deadline_ns = orl_deadline_ns(call->now_ns, call->timeout_ms),
        .user = call->user,
        .one_way = method->one_way,
    };
    orl_args_begin(&frame_out->args, w, method);
    if (st == SC_OK && w->failed)
        st = SC_ERR_NO_MEMORY;
    if (st != SC_OK) {
        w->len = frame_at;
        w->failed = false;
    }
    return st;
}

enum sc_status orl_gateway_call_end(struct orl_gateway *g, struct orl_call_frame *frame,
                                    uint64_t *id_out)
{
    enum sc_status st = orl_outgoing_end(frame, &g->calls, &g->limits);
    if (st != SC_OK)
        return st;
    g->next_id++;
    if (id_out != NULL)
        *id_out = frame->id;
    return SC_OK;
}

enum sc_status orl_gateway_put_stop(struct orl_gateway *g, struct wbuf *w,
                                    const struct orl_silo *address)
{
    const struct orl_method_def def = {
        .interface = "Orleans.ClientObservers.IClientGatewayObserver",
        .assembly = "Orleans.Core",
        .id = "AFB768FD",
        .one_way = true,
    };
    struct orl_method method;
    struct wbuf text;
    enum sc_status st = orl_method_init(&method, &def);
    if (st != SC_OK)
        return st;
    char silo[ORL_SILO_TEXT_MAX];
    orl_silo_format(&g->silo, silo);
    struct orl_grain_id client = orl_gateway_client(g);
    wbuf_init(&text, 2 * ORL_PREAMBLE_MAX);
    wb_printf(&text, "hosted-%s", silo);
    size_t target_at = text.len;
    wb_span(&text, client.key);
    wb_printf(&text, "+ClientGatewayObserver");
    const struct orl_gateway_call call = {
        .sender = {span_of_str(ORL_CLIENT_GRAIN_TYPE), span_of(text.ptr, target_at)},
        .target = {client.type, span_of(text.ptr + target_at, text.len - target_at)},
        .method = &method,
    };
    struct orl_call_frame frame;
    st = text.failed ? SC_ERR_NO_MEMORY : orl_gateway_call_begin(g, w, &call, &frame);
    if (st == SC_OK) {
        orl_put_silo(w, orl_args_next(&frame.args), address);
        st = orl_gateway_call_end(g, &frame, NULL);
    }
    wbuf_fini(&text);
    return st;
}

bool orl_gateway_expire(struct orl_gateway *g, uint64_t now_ns, uint64_t *id_out,
                        uint64_t *user_out)
{
    return now_ns != UINT64_MAX && orl_inflight_expire(&g->calls, now_ns, id_out, user_out);
}

uint64_t orl_gateway_deadline_ns(const struct orl_gateway *g)
{
    return g->calls.earliest_ns;
}

bool orl_gateway_abandon(struct orl_gateway *g, uint64_t *id_out, uint64_t *user_out)
{
    return orl_inflight_expire(&g->calls, UINT64_MAX, id_out, user_out);
}
