#include "orleans-proto/response.h"

enum { HRESULT_EXCEPTION = (int32_t)0x80131500 };

/* A system exception names its type in field 0 and its message in field 1; a generated one is named
 * by the field's type and has the message in field 0 of its base class part. */
struct orl_exception orl_get_exception(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_exception e = {.type = f->type.name};
    bool system = orl_type_is_known(&f->type, ORL_KNOWN_EXCEPTION);
    uint32_t message_id = system ? 1 : 0;
    struct orl_field in;
    if (f->wire != ORL_WIRE_OBJECT || !orl_reader_enter(r, f))
        return e;
    while (orl_reader_next(r, &in)) {
        if (in.level != 0 || (in.wire != ORL_WIRE_BYTES && in.wire != ORL_WIRE_REF))
            continue;
        if (system && in.id == 0)
            e.type = orl_get_bytes(r, &in);
        else if (in.id == message_id && e.message.ptr == NULL)
            e.message = orl_get_bytes(r, &in);
    }
    return e;
}

void orl_put_exception(struct wbuf *w, uint32_t delta, const struct orl_exception *e)
{
    orl_put_tag_known(w, ORL_WIRE_OBJECT, delta, ORL_KNOWN_EXCEPTION);
    orl_put_bytes(w, 0, e->type);
    orl_put_bytes(w, 1, e->message);
    orl_put_null(w, 1); /* stack trace */
    orl_put_null(w, 1); /* inner exception */
    orl_put_int(w, 1, HRESULT_EXCEPTION);
    orl_put_end(w);
}

const char *orl_rejection_name(enum orl_rejection rejection)
{
    static const char *const names[ORL_REJECTION_COUNT] = {
        [ORL_REJECTION_NONE] = "none",
        [ORL_REJECTION_TRANSIENT] = "transient",
        [ORL_REJECTION_OVERLOADED] = "overloaded",
        [ORL_REJECTION_UNRECOVERABLE] = "unrecoverable",
        [ORL_REJECTION_GATEWAY_TOO_BUSY] = "gateway_too_busy",
        [ORL_REJECTION_CACHE_INVALIDATION] = "cache_invalidation",
    };
    return rejection < ORL_REJECTION_COUNT ? names[rejection] : "unknown";
}

static void read_exception_response(struct orl_reader *r, struct orl_response *out)
{
    struct orl_field f;
    out->outcome = ORL_OUTCOME_EXCEPTION;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0)
            out->exception = orl_get_exception(r, &f);
    }
}

static void read_rejection(struct orl_reader *r, struct orl_response *out)
{
    struct orl_field f;
    out->outcome = ORL_OUTCOME_REJECTED;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0) {
            out->info = orl_get_bytes(r, &f);
        } else if (f.id == 1) {
            uint64_t v = orl_get_uint(r, &f, 8);
            out->rejection = v < ORL_REJECTION_COUNT ? (enum orl_rejection)v : ORL_REJECTION_NONE;
        } else if (f.id == 2) {
            out->exception = orl_get_exception(r, &f);
        }
    }
}

static void read_value(struct orl_reader *r, struct orl_response *out)
{
    struct orl_field f;
    enum orl_kind declared =
        out->type.schema == ORL_SCHEMA_KNOWN ? orl_kind_of_known(out->type.known) : ORL_KIND_OTHER;
    out->outcome = ORL_OUTCOME_VALUE;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0)
            out->value = orl_value_get(r, &f, declared);
    }
}

enum sc_status orl_response_decode(const struct orl_message *msg, struct orl_response *response_out)
{
    struct orl_response out = {.body = msg->body};
    struct orl_reader r;
    struct orl_field f;
    orl_body_reader_init(&r, msg);
    if (!orl_reader_next(&r, &f) || !orl_reader_enter(&r, &f))
        return SC_ERR_PROTOCOL;
    out.type = f.type;
    if (msg->response_type == ORL_RESPONSE_SUCCESS)
        read_value(&r, &out);
    else if (orl_type_is_known(&f.type, ORL_KNOWN_COMPLETED_RESPONSE))
        out.outcome = ORL_OUTCOME_COMPLETED;
    else if (orl_type_is_known(&f.type, ORL_KNOWN_EXCEPTION_RESPONSE))
        read_exception_response(&r, &out);
    else if (orl_type_is_known(&f.type, ORL_KNOWN_REJECTION_RESPONSE))
        read_rejection(&r, &out);
    else if (orl_type_is_known(&f.type, ORL_KNOWN_STATUS_RESPONSE))
        out.outcome = ORL_OUTCOME_STATUS;
    else
        out.outcome = ORL_OUTCOME_UNKNOWN;
    if (orl_reader_finish(&r) != SC_OK)
        return SC_ERR_PROTOCOL;
    *response_out = out;
    return SC_OK;
}

bool orl_response_value_open(const struct orl_message *msg, struct orl_reader *r,
                             struct orl_field *f_out)
{
    orl_body_reader_init(r, msg);
    if (!orl_reader_next(r, f_out) || !orl_reader_enter(r, f_out))
        return false;
    return orl_reader_next(r, f_out) && f_out->id == 0 && !orl_field_is_null(f_out);
}

void orl_put_completed(struct wbuf *w)
{
    orl_put_tag_known(w, ORL_WIRE_OBJECT, 0, ORL_KNOWN_COMPLETED_RESPONSE);
    orl_put_end(w);
}

void orl_put_raw_value(struct wbuf *w, const struct orl_value *v, enum orl_kind declared)
{
    enum orl_kind kind = v->kind == ORL_KIND_NULL ? declared : v->kind;
    if (orl_kind_known(kind) == ORL_KNOWN_VOID) {
        w->failed = true;
        return;
    }
    orl_put_tag_known(w, ORL_WIRE_OBJECT, 0, orl_kind_known(kind));
    if (v->kind != ORL_KIND_NULL)
        orl_put_value(w, 0, v);
    orl_put_end(w);
}

void orl_put_raw_null(struct wbuf *w, struct span type_name)
{
    orl_put_tag_named(w, ORL_WIRE_OBJECT, 0, type_name);
    orl_put_end(w);
}

void orl_put_exception_response(struct wbuf *w, const struct orl_exception *e)
{
    orl_put_tag_known(w, ORL_WIRE_OBJECT, 0, ORL_KNOWN_EXCEPTION_RESPONSE);
    orl_put_exception(w, 0, e);
    orl_put_end(w);
}

void orl_put_rejection(struct wbuf *w, enum orl_rejection rejection, struct span info)
{
    orl_put_tag_known(w, ORL_WIRE_OBJECT, 0, ORL_KNOWN_REJECTION_RESPONSE);
    orl_put_bytes(w, 0, info);
    orl_put_uint(w, 1, (uint32_t)rejection);
    orl_put_null(w, 1);
    orl_put_end(w);
}
