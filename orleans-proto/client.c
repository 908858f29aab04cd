#include "orleans-proto/client.h"

#include "orleans-proto/inflight.h"
#include "orleans-proto/outgoing.h"
#include "orleans-proto/preamble.h"

#include <assert.h>
#include <stdlib.h>

enum { CLIENT_KEY_LEN = 32, CLIENT_SENDER_MAX = 64, CLIENT_CLUSTER_MAX = 512 };

#define STOP_INTERFACE "Orleans.ClientObservers.IClientGatewayObserver"
#define STOP_METHOD    "AFB768FD"

enum client_state {
    CLIENT_NEW,      /* nothing sent */
    CLIENT_PREAMBLE, /* ours is sent, the gateway's is awaited */
    CLIENT_UP,
    CLIENT_OVER,
    CLIENT_STATE_COUNT
};

#define TO(s) (1u << (s))
static const uint8_t client_next_states[CLIENT_STATE_COUNT] = {
    [CLIENT_NEW] = TO(CLIENT_PREAMBLE) | TO(CLIENT_OVER),
    [CLIENT_PREAMBLE] = TO(CLIENT_UP) | TO(CLIENT_OVER),
    [CLIENT_UP] = TO(CLIENT_OVER),
};

struct orl_client {
    enum client_state state;
    enum orl_client_why why;
    bool got_frame;
    bool stopping; /* the gateway said that it shuts down */
    struct orl_limits limits;
    struct orl_inflight calls;
    uint64_t next_id;
    struct orl_silo silo;
    char key[CLIENT_KEY_LEN + 1];
    uint8_t sender[CLIENT_SENDER_MAX]; /* our grain id as it stands in a header */
    uint8_t sender_len;
    uint16_t cluster_len;
    uint8_t cluster[CLIENT_CLUSTER_MAX];
};

static void enter_state(struct orl_client *c, enum client_state next)
{
    bool legal = (client_next_states[c->state] & TO(next)) != 0;
    assert(legal);
    (void)legal; /* without asserts */
    c->state = next;
}

static void end_session(struct orl_client *c, enum orl_client_why why)
{
    if (c->state == CLIENT_OVER)
        return;
    enter_state(c, CLIENT_OVER);
    c->why = why;
}

/* Every message carries our id; it is encoded and hashed once. */
static void encode_sender(struct orl_client *c)
{
    struct wbuf w = {.ptr = c->sender, .cap = sizeof c->sender, .max_bytes = sizeof c->sender};
    orl_put_idspan_raw(&w, span_of_str(ORL_CLIENT_GRAIN_TYPE));
    orl_put_idspan_raw(&w, span_of(c->key, CLIENT_KEY_LEN));
    assert(!w.failed);
    c->sender_len = (uint8_t)w.len;
}

enum sc_status orl_client_open(const struct orl_client_config *config,
                               struct orl_client **client_out)
{
    if (config->cluster_id.len > CLIENT_CLUSTER_MAX || config->limits.header_max > ORL_HEADER_MAX ||
        config->limits.body_max > ORL_BODY_MAX)
        return SC_ERR_ARGUMENT;
    struct orl_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return SC_ERR_NO_MEMORY;
    enum sc_status st = orl_inflight_init(&c->calls, config->calls_max);
    if (st != SC_OK) {
        free(c);
        return st;
    }
    c->limits = config->limits;
    c->next_id = config->first_call_id;
    c->cluster_len = (uint16_t)config->cluster_id.len;
    if (c->cluster_len != 0)
        memcpy(c->cluster, config->cluster_id.ptr, c->cluster_len);
    orl_guid_format(&config->id, c->key);
    encode_sender(c);
    *client_out = c;
    return SC_OK;
}

void orl_client_close(struct orl_client *c)
{
    if (c == NULL)
        return;
    orl_inflight_fini(&c->calls);
    free(c);
}

struct orl_grain_id orl_client_grain_id(const struct orl_client *c)
{
    return (struct orl_grain_id){span_of_str(ORL_CLIENT_GRAIN_TYPE),
                                 span_of(c->key, CLIENT_KEY_LEN)};
}

enum sc_status orl_client_start(struct orl_client *c, struct wbuf *w)
{
    const struct orl_preamble p = {
        .version = ORL_PROTOCOL_VERSION,
        .node = orl_client_grain_id(c),
        .cluster_id = span_of(c->cluster, c->cluster_len),
    };
    assert(c->state == CLIENT_NEW);
    enum sc_status st = orl_preamble_encode(w, &p);
    if (st == SC_OK)
        enter_state(c, CLIENT_PREAMBLE);
    return st;
}

bool orl_client_ready(const struct orl_client *c)
{
    return c->state == CLIENT_UP;
}

const struct orl_silo *orl_client_silo(const struct orl_client *c)
{
    return &c->silo;
}

void orl_client_put_observer_key(const struct orl_client *c, struct wbuf *w, struct span scope)
{
    wb_bytes(w, c->key, CLIENT_KEY_LEN);
    wb_u8(w, '+');
    wb_span(w, scope);
}

/* The same bytes as orl_message_encode, from parts that were encoded before. */
static void put_header(struct wbuf *w, const struct orl_client *c,
                       const struct orl_client_call *call)
{
    const struct orl_method *m = call->method;
    bool has_ttl = call->timeout_ms != 0 && !m->one_way;
    enum orl_direction direction = m->one_way ? ORL_DIRECTION_ONE_WAY : ORL_DIRECTION_REQUEST;
    uint32_t word = m->flags | ORL_FLAG_INTERFACE_TYPE | (uint32_t)direction << 16;
    if (has_ttl)
        word |= ORL_FLAG_TTL;
    if (call->context_count != 0)
        word |= ORL_FLAG_CONTEXT;
    wb_u32le(w, word);
    wb_u64le(w, c->next_id);
    wb_bytes(w, c->sender, c->sender_len);
    orl_put_idspan_raw(w, call->target.type);
    orl_put_idspan_raw(w, call->target.key);
    orl_put_varint(w, 0); /* sending silo: the gateway's to fill in */
    orl_put_silo_raw(w, &call->target_silo);
    if (has_ttl)
        wb_u32le(w, call->timeout_ms <= INT32_MAX ? call->timeout_ms : INT32_MAX);
    wb_bytes(w, m->interface_raw, m->interface_len);
    if (call->context_count != 0) {
        orl_put_varint(w, call->context_count);
        wb_span(w, call->context);
    }
}

enum sc_status orl_client_call_begin(struct orl_client *c, struct wbuf *w,
                                     const struct orl_client_call *call,
                                     struct orl_call_frame *frame_out)
{
    if (c->state != CLIENT_PREAMBLE && c->state != CLIENT_UP)
        return SC_ERR_CLOSED;
    if (orl_is_system_target(call->target.type) && orl_silo_is_null(&call->target_silo))
        return SC_ERR_ARGUMENT;
    if (!call->method->one_way && c->calls.count == c->calls.max)
        return SC_ERR_BUSY;
    if (w->failed)
        return SC_ERR_NO_MEMORY;
    size_t frame_at = orl_frame_begin(w);
    put_header(w, c, call);
    *frame_out = (struct orl_call_frame){
        .frame_at = frame_at,
        .body_at = w->len,
        .id = c->next_id,
        .deadline_ns = orl_deadline_ns(call->now_ns, call->timeout_ms),
        .user = call->user,
        .one_way = call->method->one_way,
    };
    orl_args_begin(&frame_out->args, w, call->method);
    if (w->failed) {
        w->len = frame_at;
        w->failed = false;
        return SC_ERR_NO_MEMORY;
    }
    return SC_OK;
}

enum sc_status orl_client_call_end(struct orl_client *c, struct orl_call_frame *frame,
                                   uint64_t *id_out)
{
    enum sc_status st = orl_outgoing_end(frame, &c->calls, &c->limits);
    if (st != SC_OK)
        return st;
    c->next_id++;
    if (id_out != NULL)
        *id_out = frame->id;
    return SC_OK;
}

bool orl_client_forget(struct orl_client *c, uint64_t id, uint64_t *user_out)
{
    return orl_inflight_take(&c->calls, id, user_out);
}

static enum sc_status read_preamble(struct orl_client *c, struct span in, size_t *used_out,
                                    struct orl_client_event *event_out)
{
    struct orl_preamble p;
    enum sc_status st = orl_preamble_decode(in, &p, used_out);
    if (st == SC_AGAIN)
        return st;
    if (st != SC_OK) {
        end_session(c, ORL_WHY_BAD_PREAMBLE);
        return st;
    }
    if (!span_eq(p.cluster_id, span_of(c->cluster, c->cluster_len))) {
        end_session(c, ORL_WHY_CLUSTER);
        return SC_ERR_REFUSED;
    }
    c->silo = p.silo;
    enter_state(c, CLIENT_UP);
    event_out->kind = ORL_CLIENT_READY;
    return SC_OK;
}

/* A gateway that is too busy rejects our answers as well, under the caller's id: such a rejection
 * goes to the observer that answered, an answer to a call goes to our own id. */
static void take_response(struct orl_client *c, struct orl_client_event *ev)
{
    ev->id = ev->message.id;
    ev->kind = ORL_CLIENT_STRAY;
    if (!orl_grain_id_eq(ev->message.target, orl_client_grain_id(c)) ||
        !orl_inflight_find(&c->calls, ev->id, &ev->user))
        return;
    if (ev->message.response_type == ORL_RESPONSE_STATUS) {
        ev->kind = ORL_CLIENT_STATUS;
        return;
    }
    enum sc_status st = orl_response_decode(&ev->message, &ev->response);
    orl_inflight_take(&c->calls, ev->id, &ev->user);
    ev->kind = st == SC_OK ? ORL_CLIENT_RESPONSE : ORL_CLIENT_GARBLED;
}

static bool is_stop(const struct orl_message *m, const struct orl_call *call,
                    struct orl_silo *silo_out)
{
    struct orl_reader r;
    struct orl_call again;
    struct orl_field f;
    if (!orl_call_is(call, STOP_INTERFACE, STOP_METHOD) || orl_call_open(m, &r, &again) != SC_OK)
        return false;
    *silo_out = (struct orl_silo){0};
    while (orl_reader_next(&r, &f)) {
        if (f.id == 0)
            *silo_out = orl_get_silo(&r, &f);
    }
    return true;
}

static void take_request(struct orl_client *c, struct orl_client_event *ev)
{
    const struct orl_message *m = &ev->message;
    ev->id = m->id;
    if (orl_call_open(m, &ev->args, &ev->call) != SC_OK)
        ev->call = (struct orl_call){0};
    if (m->direction == ORL_DIRECTION_ONE_WAY) {
        ev->kind = ORL_CLIENT_ONE_WAY;
        if (is_stop(m, &ev->call, &ev->stopping)) {
            ev->kind = ORL_CLIENT_STOP;
            c->stopping = true;
        }
        return;
    }
    ev->kind = ORL_CLIENT_REQUEST;
    ev->can_reply = orl_reply_init(&ev->reply, m) == SC_OK;
    if (!ev->can_reply)
        return;
    ev->reply.to_silo = m->sender_silo;
    ev->reply.limits = c->limits;
}

static enum sc_status read_frame(struct orl_client *c, struct span in, size_t *used_out,
                                 struct orl_client_event *ev)
{
    struct orl_frame frame;
    size_t used = 0;
    enum sc_status st = orl_frame_decode(in, &c->limits, &frame, &used);
    if (st == SC_AGAIN)
        return st;
    if (st != SC_OK) {
        end_session(c, st == SC_ERR_LIMIT ? ORL_WHY_LIMIT : ORL_WHY_BAD_FRAME);
        return st;
    }
    c->got_frame = true;
    st = orl_message_decode(frame.header, &ev->message);
    if (st == SC_ERR_VERSION) {
        end_session(c, ORL_WHY_VERSION);
        return st;
    }
    ev->message.body = frame.body;
    if (st != SC_OK || ev->message.direction == ORL_DIRECTION_NONE)
        ev->kind = ORL_CLIENT_SKIPPED;
    else if (ev->message.direction == ORL_DIRECTION_RESPONSE)
        take_response(c, ev);
    else
        take_request(c, ev);
    *used_out = used;
    return SC_OK;
}

enum sc_status orl_client_next(struct orl_client *c, struct span in, size_t *used_out,
                               struct orl_client_event *event_out)
{
    assert(c->state != CLIENT_NEW);
    event_out->id = 0;
    event_out->user = 0;
    if (c->state == CLIENT_OVER)
        return SC_ERR_CLOSED;
    if (c->state == CLIENT_PREAMBLE)
        return read_preamble(c, in, used_out, event_out);
    return read_frame(c, in, used_out, event_out);
}

size_t orl_client_need(const struct orl_client *c, struct span in)
{
    if (c->state == CLIENT_UP)
        return orl_frame_need(in, &c->limits);
    return orl_preamble_need(in);
}

bool orl_client_expire(struct orl_client *c, uint64_t now_ns, uint64_t *id_out, uint64_t *user_out)
{
    return now_ns != UINT64_MAX && orl_inflight_expire(&c->calls, now_ns, id_out, user_out);
}

uint64_t orl_client_deadline_ns(const struct orl_client *c)
{
    return c->calls.earliest_ns;
}

bool orl_client_abandon(struct orl_client *c, uint64_t *id_out, uint64_t *user_out)
{
    return orl_inflight_expire(&c->calls, UINT64_MAX, id_out, user_out);
}

uint32_t orl_client_calls(const struct orl_client *c)
{
    return c->calls.count;
}

enum orl_client_why orl_client_ended(struct orl_client *c, size_t left)
{
    if (c->state == CLIENT_NEW || c->state == CLIENT_PREAMBLE)
        end_session(c, left == 0 ? ORL_WHY_NO_PREAMBLE : ORL_WHY_PARTIAL_PREAMBLE);
    else if (left != 0)
        end_session(c, ORL_WHY_PARTIAL_FRAME);
    else if (c->stopping)
        end_session(c, ORL_WHY_STOPPED);
    else
        end_session(c, c->got_frame ? ORL_WHY_CLOSED : ORL_WHY_IDENTITY);
    return c->why;
}

enum orl_client_why orl_client_why(const struct orl_client *c)
{
    return c->why;
}

const char *orl_client_why_text(enum orl_client_why why)
{
    static const char *const texts[ORL_WHY_COUNT] = {
        [ORL_WHY_NONE] = "the session is open",
        [ORL_WHY_NO_PREAMBLE] = "the gateway closed before its preamble: the silo is not ready, or "
                                "expects TLS, or over "
                                "TLS refused our certificate",
        [ORL_WHY_PARTIAL_PREAMBLE] = "the gateway closed within its preamble",
        [ORL_WHY_BAD_PREAMBLE] = "what answers is no orleans gateway, or expects TLS",
        [ORL_WHY_CLUSTER] = "the gateway belongs to another cluster id",
        [ORL_WHY_IDENTITY] =
            "the gateway closed right behind its preamble: it refused our identity or cluster id",
        [ORL_WHY_CLOSED] = "the gateway closed the connection",
        [ORL_WHY_STOPPED] = "the gateway shut down as it had announced",
        [ORL_WHY_PARTIAL_FRAME] = "the connection ended within a message",
        [ORL_WHY_BAD_FRAME] = "the gateway sent lengths that are no message's",
        [ORL_WHY_LIMIT] = "the gateway sent a message over our limits",
        [ORL_WHY_VERSION] = "the gateway uses a message header version that we do not know",
    };
    return why < ORL_WHY_COUNT ? texts[why] : "unknown";
}
