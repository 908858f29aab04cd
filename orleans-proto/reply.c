#include "orleans-proto/reply.h"

/* What an answer repeats of its request (src/Orleans.Core/Messaging/MessageFactory.cs). */
enum {
    REPLY_FLAGS = ORL_FLAG_SYSTEM | ORL_FLAG_READ_ONLY | ORL_FLAG_ALWAYS_INTERLEAVE | ORL_FLAG_TTL
};

enum sc_status orl_reply_init(struct orl_reply *reply, const struct orl_message *request)
{
    const struct span ids[4] = {request->target.type, request->target.key, request->sender.type,
                                request->sender.key};
    size_t room = ORL_REPLY_IDS_MAX;
    for (int i = 0; i < 4; i++) {
        if (ids[i].len > room)
            return SC_ERR_TOO_LARGE;
        room -= ids[i].len;
    }
    reply->id = request->id;
    reply->flags = request->flags & REPLY_FLAGS;
    reply->ttl_ms = request->ttl_ms;
    reply->from_silo = (struct orl_silo){0};
    reply->to_silo = (struct orl_silo){0};
    reply->limits = (struct orl_limits){ORL_HEADER_MAX, ORL_BODY_MAX};
    uint8_t *to = reply->ids;
    for (int i = 0; i < 4; i++) {
        reply->len[i] = (uint16_t)ids[i].len;
        if (ids[i].len != 0)
            memcpy(to, ids[i].ptr, ids[i].len);
        to += ids[i].len;
    }
    return SC_OK;
}

enum sc_status orl_reply_begin(struct wbuf *w, const struct orl_reply *reply,
                               enum orl_response_type type, size_t *frame_at_out,
                               size_t *body_at_out)
{
    struct span ids[4];
    const uint8_t *from = reply->ids;
    for (int i = 0; i < 4; i++) {
        ids[i] = span_of(from, reply->len[i]);
        from += reply->len[i];
    }
    struct orl_message m = {
        .flags = reply->flags,
        .direction = ORL_DIRECTION_RESPONSE,
        .response_type = type,
        .id = reply->id,
        .sender = {ids[0], ids[1]},
        .target = {ids[2], ids[3]},
        .sender_silo = reply->from_silo,
        .target_silo = reply->to_silo,
        .ttl_ms = reply->ttl_ms,
    };
    size_t frame_at = orl_frame_begin(w);
    enum sc_status st = orl_message_encode(w, &m);
    if (st != SC_OK) {
        w->len = frame_at;
        w->failed = false;
        return st;
    }
    *frame_at_out = frame_at;
    *body_at_out = w->len;
    return SC_OK;
}

enum sc_status orl_reply_end(struct wbuf *w, const struct orl_reply *reply, size_t frame_at,
                             size_t body_at)
{
    return orl_frame_end(w, frame_at, body_at, &reply->limits);
}

enum sc_status orl_reply_completed(struct wbuf *w, const struct orl_reply *reply)
{
    size_t frame_at = 0;
    size_t body_at = 0;
    enum sc_status st = orl_reply_begin(w, reply, ORL_RESPONSE_NONE, &frame_at, &body_at);
    if (st != SC_OK)
        return st;
    orl_put_completed(w);
    return orl_reply_end(w, reply, frame_at, body_at);
}

enum sc_status orl_reply_value(struct wbuf *w, const struct orl_reply *reply,
                               const struct orl_value *v, enum orl_kind declared)
{
    size_t frame_at = 0;
    size_t body_at = 0;
    enum orl_kind kind = v->kind == ORL_KIND_NULL ? declared : v->kind;
    if (orl_kind_known(kind) == ORL_KNOWN_VOID)
        return SC_ERR_ARGUMENT;
    enum sc_status st = orl_reply_begin(w, reply, ORL_RESPONSE_SUCCESS, &frame_at, &body_at);
    if (st != SC_OK)
        return st;
    orl_put_raw_value(w, v, declared);
    return orl_reply_end(w, reply, frame_at, body_at);
}

enum sc_status orl_reply_exception(struct wbuf *w, const struct orl_reply *reply,
                                   const struct orl_exception *e)
{
    size_t frame_at = 0;
    size_t body_at = 0;
    enum sc_status st = orl_reply_begin(w, reply, ORL_RESPONSE_NONE, &frame_at, &body_at);
    if (st != SC_OK)
        return st;
    orl_put_exception_response(w, e);
    return orl_reply_end(w, reply, frame_at, body_at);
}

enum sc_status orl_reply_rejection(struct wbuf *w, const struct orl_reply *reply,
                                   enum orl_rejection rejection, struct span info)
{
    size_t frame_at = 0;
    size_t body_at = 0;
    enum sc_status st = orl_reply_begin(w, reply, ORL_RESPONSE_REJECTION, &frame_at, &body_at);
    if (st != SC_OK)
        return st;
    orl_put_rejection(w, rejection, info);
    return orl_reply_end(w, reply, frame_at, body_at);
}
