#include "orleans-proto/manifest.h"
#include "sidecar/gateway_client.h"
#include "sidecar/sock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define KGRAIN_INTERFACE "gpu.kgrain"
#define KGRAIN_ASSEMBLY  "Orleans.GpuSidecar"
#define STREAM_ASSEMBLY  "Orleans.Streaming"
/* IPubSubRendezvousGrain.GetAllSubscriptions(QualifiedStreamId, GrainId) */
#define RENDEZVOUS_GET_ALL "7DBE84FA"

enum { NO_CALL = UINT32_MAX, CALLS_FIRST = 16, TEXT_MAX = 512 };

/* ---- answers ---- */

static bool has_answer(const struct orl_gateway_event *event)
{
    return event->kind == ORL_GATEWAY_REQUEST;
}

static struct wbuf *out_of(struct gateway_client *c)
{
    return sc_sock_out(c->sock);
}

static enum sc_status answer_exception(struct gateway_client *c, const struct orl_reply *reply,
                                       const char *type, const char *text)
{
    struct orl_exception e = {span_of_str(type), span_of_str(text)};
    return orl_reply_exception(out_of(c), reply, &e);
}

static enum sc_status refuse(struct gateway_client *c, const struct orl_gateway_event *event,
                             const char *type, const char *text)
{
    return has_answer(event) ? answer_exception(c, &event->reply, type, text) : SC_OK;
}

static enum sc_status reject(struct gateway_client *c, const struct orl_gateway_event *event,
                             enum orl_rejection rejection, const char *text)
{
    if (!has_answer(event))
        return SC_OK;
    return orl_reply_rejection(out_of(c), &event->reply, rejection, span_of_str(text));
}

/* Something bounded is full: what, how many, and of whom. */
static enum sc_status reject_full(struct gateway_client *c, const struct orl_gateway_event *event,
                                  uint64_t bound, const char *what)
{
    char text[96];
    snprintf(text, sizeof text, "all %llu %s are taken", (unsigned long long)bound, what);
    return reject(c, event, ORL_REJECTION_OVERLOADED, text);
}

/* Peer's bytes in our text: what is not printable ASCII becomes '?'; cut to fit. */
static void put_clean(char *out, size_t size, size_t *at, struct span s)
{
    for (size_t i = 0; i < s.len && *at + 1 < size; i++)
        out[(*at)++] = s.ptr[i] >= 0x20 && s.ptr[i] < 0x7f ? (char)s.ptr[i] : '?';
    out[*at] = '\0';
}

static void grain_text(struct orl_grain_id id, char out[GATEWAY_GRAIN_TEXT_MAX])
{
    size_t at = 0;
    put_clean(out, GATEWAY_GRAIN_TEXT_MAX, &at, id.type);
    put_clean(out, GATEWAY_GRAIN_TEXT_MAX, &at, span_of_str("/"));
    put_clean(out, GATEWAY_GRAIN_TEXT_MAX, &at, id.key);
}

static const char *exception_type(enum sc_status st)
{
    switch (st) {
    case SC_ERR_DEADLINE:
        return "System.TimeoutException";
    case SC_ERR_CANCELLED:
        return "System.OperationCanceledException";
    case SC_ERR_ARGUMENT:
    case SC_ERR_TOO_LARGE:
        return "System.ArgumentException";
    default:
        return "System.InvalidOperationException";
    }
}

static enum sc_status answer_failure(struct gateway_client *c, const struct orl_reply *reply,
                                     const char *grain, enum sc_status st, struct span why)
{
    char text[TEXT_MAX];
    c->gateway->stats.calls_failed++;
    int n = snprintf(text, sizeof text, "K-Grain %s: ", grain);
    size_t at = n > 0 ? (size_t)n : 0;
    put_clean(text, sizeof text, &at, why.len != 0 ? why : span_of_str(sc_status_name(st)));
    return answer_exception(c, reply, exception_type(st), text);
}

/* ---- calls in flight ---- */

static bool calls_grow(struct gateway_client *c)
{
    uint32_t cap = c->calls_cap == 0 ? CALLS_FIRST : 2 * c->calls_cap;
    if (cap > c->gateway->config.calls_max)
        cap = c->gateway->config.calls_max;
    if (cap == c->calls_cap)
        return false;
    struct gateway_call **grown = realloc(c->calls, cap * sizeof(struct gateway_call *));
    if (grown == NULL)
        return false;
    c->calls = grown;
    for (; c->calls_cap < cap; c->calls_cap++) {
        struct gateway_call *call = calloc(1, sizeof *call);
        if (call == NULL)
            return c->free_call != NO_CALL;
        call->next_free = c->free_call;
        c->calls[c->calls_cap] = call;
        c->free_call = c->calls_cap;
    }
    return true;
}

static struct gateway_call *call_take(struct gateway_client *c, uint64_t *id_out)
{
    if (c->free_call == NO_CALL && !calls_grow(c))
        return NULL;
    uint32_t slot = c->free_call;
    struct gateway_call *call = c->calls[slot];
    c->free_call = call->next_free;
    call->used = true;
    c->in_flight++;
    *id_out = (uint64_t)call->generation << 32 | slot;
    return call;
}

static struct gateway_call *call_of(const struct gateway_client *c, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    if (slot >= c->calls_cap || !c->calls[slot]->used ||
        c->calls[slot]->generation != (uint32_t)(id >> 32))
        return NULL;
    return c->calls[slot];
}

static void call_put(struct gateway_client *c, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    c->calls[slot]->used = false;
    c->in_flight--;
    c->calls[slot]->generation++;
    c->calls[slot]->next_free = c->free_call;
    c->free_call = slot;
}

static void on_reply(void *user, const struct sc_reply *reply)
{
    struct gateway_client *c = user;
    struct gateway_call *call = call_of(c, reply->id);
    if (call == NULL || c->closed)
        return;
    enum sc_status st = SC_OK;
    if (reply->status != SC_OK) {
        st = answer_failure(c, &call->reply, call->grain, reply->status, reply->text);
    } else {
        /* An empty reply is an empty array, not null. */
        struct span payload = reply->payload.len != 0 ? reply->payload : span_of_str("");
        struct orl_value value = orl_value_bytes(payload);
        st = orl_reply_value(out_of(c), &call->reply, &value, ORL_KIND_BYTES);
        if (st == SC_ERR_TOO_LARGE)
            st = answer_failure(c, &call->reply, call->grain, st, reply->text);
    }
    call_put(c, reply->id);
    if (st == SC_ERR_NO_MEMORY)
        gateway_client_too_slow(c);
    else
        gateway_client_flush(c);
}

/* ---- K-Grains ---- */

static bool read_message(const struct orl_gateway_event *event, uint16_t *type_out,
                         struct span *payload_out)
{
    struct orl_reader r = event->args; /* a copy: the message may have to be served again */
    struct orl_field f;
    int64_t type = -1;
    struct span payload = {0};
    while (orl_reader_next(&r, &f)) {
        if (f.id == 0)
            type = orl_get_int(&r, &f, 32);
        else if (f.id == 1)
            payload = orl_get_bytes(&r, &f);
    }
    if (r.status != SC_OK || type < 0 || type > UINT16_MAX)
        return false;
    *type_out = (uint16_t)type;
    *payload_out = payload;
    return true;
}

static void on_room(void *user)
{
    gateway_client_resume(user);
}

/* The device takes nothing now: this client's reading stops until it does. */
static enum sc_status wait_for_room(struct gateway_client *c)
{
    c->room.fn = on_room;
    c->room.user = c;
    sc_sock_pause(c->sock);
    sc_router_room(c->gateway->router, &c->room);
    return SC_AGAIN;
}

static struct span why_not(const struct gateway_client *c)
{
    return span_of_str(sc_router_why(c->gateway->router));
}

static enum sc_status serve_send(struct gateway_client *c, const struct orl_gateway_event *event,
                                 uint16_t type, struct span payload)
{
    const struct orl_message *m = &event->message;
    enum sc_status st =
        sc_router_send_key(c->gateway->router, m->target.type, m->target.key, type, payload);
    if (st == SC_AGAIN)
        return wait_for_room(c);
    c->gateway->stats.calls++;
    if (!has_answer(event)) {
        c->gateway->stats.calls_failed += st != SC_OK;
        return SC_OK;
    }
    char grain[GATEWAY_GRAIN_TEXT_MAX];
    grain_text(m->target, grain);
    return st == SC_OK ? orl_reply_completed(out_of(c), &event->reply)
                       : answer_failure(c, &event->reply, grain, st, why_not(c));
}

static enum sc_status serve_call(struct gateway_client *c, const struct orl_gateway_event *event,
                                 uint16_t type, struct span payload)
{
    const struct orl_message *m = &event->message;
    uint64_t id = 0;
    struct gateway_call *call = call_take(c, &id);
    if (call == NULL)
        return reject_full(c, event, c->gateway->config.calls_max, "calls of this client");
    call->reply = event->reply;
    grain_text(m->target, call->grain);
    struct sc_caller caller = {.fn = on_reply, .user = c, .id = id};
    if ((m->flags & ORL_FLAG_TTL) != 0)
        caller.deadline_ms = (uint32_t)m->ttl_ms;
    enum sc_status st = sc_router_call_key(c->gateway->router, m->target.type, m->target.key, type,
                                           payload, &caller);
    if (st == SC_OK) {
        c->gateway->stats.calls++;
        return SC_OK;
    }
    if (st == SC_AGAIN) {
        call_put(c, id);
        return wait_for_room(c);
    }
    c->gateway->stats.calls++;
    st = answer_failure(c, &event->reply, call->grain, st, why_not(c));
    call_put(c, id);
    return st;
}

static enum sc_status serve_kernel(struct gateway_client *c, const struct orl_gateway_event *event)
{
    uint16_t type = 0;
    struct span payload = {0};
    bool is_call = orl_call_is(&event->call, KGRAIN_INTERFACE, "call");
    if (!span_eq_str(event->call.interface, KGRAIN_INTERFACE))
        return refuse(c, event, "System.InvalidCastException",
                      "a K-Grain has the interface gpu.kgrain and no other");
    if (!is_call && !orl_call_is(&event->call, KGRAIN_INTERFACE, "send"))
        return refuse(c, event, "System.NotImplementedException",
                      "gpu.kgrain has the methods call and send");
    if (!read_message(event, &type, &payload))
        return refuse(c, event, "System.ArgumentException",
                      "gpu.kgrain takes (int type 0 to 65535, byte[] payload)");
    if (is_call && has_answer(event))
        return serve_call(c, event, type, payload);
    return serve_send(c, event, type, payload);
}

/* ---- memory streams ---- */

static enum sc_status serve_queue(struct gateway_client *c, const struct orl_gateway_event *event)
{
    if (!orl_call_is(&event->call, ORL_QUEUE_INTERFACE, ORL_QUEUE_ENQUEUE))
        return refuse(c, event, "System.NotImplementedException",
                      "this gateway's queue grains know Enqueue only");
    struct orl_reader r = event->args;
    struct orl_memory_message m;
    struct wbuf *store = &c->gateway->store;
    wbuf_clear(store);
    enum sc_status st = orl_enqueue_read(&r, store, &m);
    if (st == SC_OK)
        st = sc_broker_publish(c->gateway->broker, event->message.target.key, &m);
    wbuf_clear(store);
    if (st == SC_ERR_BUSY)
        return reject(c, event, ORL_REJECTION_OVERLOADED,
                      "the stream's consumers are behind, or all queues together are full");
    if (st == SC_ERR_TOO_LARGE)
        return refuse(c, event, "System.ArgumentException",
                      "the message would be too large for its consumers");
    if (st != SC_OK)
        return refuse(c, event, "System.ArgumentException", "this is no message for a queue");
    return has_answer(event) ? orl_reply_completed(out_of(c), &event->reply) : SC_OK;
}

static enum sc_status serve_get_all(struct gateway_client *c, const struct orl_gateway_event *event)
{
    struct orl_reader r = event->args;
    struct orl_field f;
    struct orl_qualified_stream_id stream = {0};
    struct orl_grain_id consumer = {0};
    while (orl_reader_next(&r, &f)) {
        if (f.id == 0)
            stream = orl_get_qualified_stream_id(&r, &f);
        else if (f.id == 1)
            consumer = orl_get_grain_id(&r, &f);
    }
    if (r.status != SC_OK)
        return refuse(c, event, "System.ArgumentException", "this is no stream");
    if (!has_answer(event))
        return SC_OK;
    size_t frame_at = 0, body_at = 0;
    enum sc_status st =
        orl_reply_begin(out_of(c), &event->reply, ORL_RESPONSE_SUCCESS, &frame_at, &body_at);
    if (st != SC_OK)
        return st;
    sc_broker_put_subscriptions(c->gateway->broker, &stream, consumer, out_of(c));
    return orl_reply_end(out_of(c), &event->reply, frame_at, body_at);
}

static enum sc_status serve_rendezvous(struct gateway_client *c,
                                       const struct orl_gateway_event *event)
{
    struct orl_reader r = event->args;
    struct orl_subscription s;
    if (orl_call_is(&event->call, ORL_RENDEZVOUS_INTERFACE, RENDEZVOUS_GET_ALL))
        return serve_get_all(c, event);
    bool add = orl_call_is(&event->call, ORL_RENDEZVOUS_INTERFACE, ORL_RENDEZVOUS_REGISTER);
    if (!add && !orl_call_is(&event->call, ORL_RENDEZVOUS_INTERFACE, ORL_RENDEZVOUS_UNREGISTER))
        return refuse(c, event, "System.NotImplementedException",
                      "this gateway's rendezvous grains know RegisterConsumer, "
                      "UnregisterConsumer and GetAllSubscriptions only");
    enum sc_status st = orl_subscription_read(&r, &s);
    if (st == SC_OK && add && !orl_is_observer_of(s.consumer, orl_gateway_client(c->session)))
        return refuse(c, event, "System.ArgumentException",
                      "the consumer is not an observer of this client");
    if (st == SC_OK && add)
        st = sc_broker_subscribe(c->gateway->broker, &s);
    else if (st == SC_OK)
        sc_broker_unsubscribe(c->gateway->broker, &s.id);
    if (st == SC_ERR_BUSY)
        return reject_full(c, event, c->gateway->config.subscriptions_max, "subscriptions");
    if (st != SC_OK)
        return refuse(c, event, "System.ArgumentException", "this is no subscription");
    return has_answer(event) ? orl_reply_completed(out_of(c), &event->reply) : SC_OK;
}

/* ---- the cluster manifest ---- */

static void put_manifest(struct wbuf *w, const struct sc_gateway *g,
                         struct orl_manifest_grain *grains)
{
    const struct orl_manifest_interface interfaces[] = {
        {span_of_str(KGRAIN_INTERFACE), span_of_str(KGRAIN_ASSEMBLY)},
        {span_of_str(ORL_QUEUE_INTERFACE), span_of_str(STREAM_ASSEMBLY)},
        {span_of_str(ORL_RENDEZVOUS_INTERFACE), span_of_str(STREAM_ASSEMBLY)},
    };
    grains[0] = (struct orl_manifest_grain){
        .type = span_of_str(ORL_QUEUE_GRAIN_TYPE),
        .class = span_of_str("Orleans.Providers.MemoryStreamQueueGrain"),
        .assembly = span_of_str(STREAM_ASSEMBLY),
        .interface_count = 1,
        .interfaces = {interfaces[1].name}};
    grains[1] =
        (struct orl_manifest_grain){.type = span_of_str(ORL_RENDEZVOUS_GRAIN_TYPE),
                                    .class = span_of_str("Orleans.Streams.PubSubRendezvousGrain"),
                                    .assembly = span_of_str(STREAM_ASSEMBLY),
                                    .interface_count = 1,
                                    .interfaces = {interfaces[2].name}};
    for (size_t i = 0; i < g->kernel_count; i++)
        grains[2 + i] = (struct orl_manifest_grain){.type = g->kernels[i],
                                                    .class = g->kernels[i],
                                                    .assembly = span_of_str(KGRAIN_ASSEMBLY),
                                                    .interface_count = 1,
                                                    .interfaces = {interfaces[0].name}};
    const struct orl_manifest manifest = {.major = g->manifest_version,
                                          .silo = g->silo,
                                          .interfaces = interfaces,
                                          .interface_count =
                                              sizeof interfaces / sizeof interfaces[0],
                                          .grains = grains,
                                          .grain_count = 2 + g->kernel_count};
    orl_put_manifest_update(w, &manifest);
}

static enum sc_status serve_manifest(struct gateway_client *c,
                                     const struct orl_gateway_event *event)
{
    const struct sc_gateway *g = c->gateway;
    struct orl_reader r = event->args;
    int64_t major = 0, minor = 0;
    if (!orl_call_is(&event->call, ORL_MANIFEST_INTERFACE, ORL_MANIFEST_GET_UPDATE))
        return refuse(c, event, "System.NotImplementedException",
                      "the manifest is had by GetClusterManifestUpdate");
    enum sc_status st = orl_manifest_version_read(&r, &major, &minor);
    if (st != SC_OK)
        return refuse(c, event, "System.ArgumentException", "this is no manifest version");
    if (!has_answer(event))
        return SC_OK;
    struct orl_manifest_grain *grains = calloc(2 + g->kernel_count, sizeof *grains);
    if (grains == NULL)
        return reject(c, event, ORL_REJECTION_OVERLOADED, "no memory");
    size_t frame_at = 0, body_at = 0;
    st = orl_reply_begin(out_of(c), &event->reply, ORL_RESPONSE_SUCCESS, &frame_at, &body_at);
    if (st == SC_OK) {
        if (major == g->manifest_version)
            orl_put_manifest_unchanged(out_of(c));
        else
            put_manifest(out_of(c), g, grains);
        st = orl_reply_end(out_of(c), &event->reply, frame_at, body_at);
    }
    free(grains);
    return st;
}

/* ---- dispatch ---- */

static enum sc_status serve_unknown(struct gateway_client *c, const struct orl_gateway_event *event)
{
    char text[TEXT_MAX] = "";
    char grain[GATEWAY_GRAIN_TEXT_MAX];
    grain_text(event->message.target, grain);
    snprintf(text, sizeof text, "no kernel serves the grain %s here", grain);
    return reject(c, event, ORL_REJECTION_UNRECOVERABLE, text);
}

enum sc_status gateway_serve(struct gateway_client *c, const struct orl_gateway_event *event)
{
    struct span type = event->message.target.type;
    const struct sc_router *router = c->gateway->router;
    if (span_eq_str(type, ORL_QUEUE_GRAIN_TYPE))
        return serve_queue(c, event);
    if (span_eq_str(type, ORL_RENDEZVOUS_GRAIN_TYPE))
        return serve_rendezvous(c, event);
    if (span_eq_str(type, ORL_MANIFEST_GRAIN_TYPE))
        return serve_manifest(c, event);
    if (router != NULL && sc_router_has_kernel(router, type))
        return serve_kernel(c, event);
    return serve_unknown(c, event);
}
