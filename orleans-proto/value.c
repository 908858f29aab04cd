#include "orleans-proto/value.h"

/* What decides how a kind is written and read. */
enum value_form {
    FORM_NONE,
    FORM_BOOL,
    FORM_INT,
    FORM_UINT,
    FORM_FLOAT,
    FORM_DOUBLE,
    FORM_BYTES,
    FORM_GUID
};

static const struct kind_row {
    enum value_form form;
    uint8_t bits;
    uint8_t known;
} kinds[ORL_KIND_COUNT] = {
    [ORL_KIND_NULL] = {FORM_NONE, 0, ORL_KNOWN_VOID},
    [ORL_KIND_BOOL] = {FORM_BOOL, 8, ORL_KNOWN_BOOL},
    [ORL_KIND_SBYTE] = {FORM_INT, 8, ORL_KNOWN_SBYTE},
    [ORL_KIND_SHORT] = {FORM_INT, 16, ORL_KNOWN_SHORT},
    [ORL_KIND_INT] = {FORM_INT, 32, ORL_KNOWN_INT},
    [ORL_KIND_LONG] = {FORM_INT, 64, ORL_KNOWN_LONG},
    [ORL_KIND_BYTE] = {FORM_UINT, 8, ORL_KNOWN_BYTE},
    [ORL_KIND_USHORT] = {FORM_UINT, 16, ORL_KNOWN_USHORT},
    [ORL_KIND_CHAR] = {FORM_UINT, 16, ORL_KNOWN_CHAR},
    [ORL_KIND_UINT] = {FORM_UINT, 32, ORL_KNOWN_UINT},
    [ORL_KIND_ULONG] = {FORM_UINT, 64, ORL_KNOWN_ULONG},
    [ORL_KIND_FLOAT] = {FORM_FLOAT, 32, ORL_KNOWN_FLOAT},
    [ORL_KIND_DOUBLE] = {FORM_DOUBLE, 64, ORL_KNOWN_DOUBLE},
    [ORL_KIND_STRING] = {FORM_BYTES, 0, ORL_KNOWN_STRING},
    [ORL_KIND_BYTES] = {FORM_BYTES, 0, ORL_KNOWN_BYTES},
    [ORL_KIND_GUID] = {FORM_GUID, 0, ORL_KNOWN_GUID},
    [ORL_KIND_OTHER] = {FORM_NONE, 0, ORL_KNOWN_VOID},
};

uint32_t orl_kind_known(enum orl_kind kind)
{
    return kinds[kind].known;
}

enum orl_kind orl_kind_of_known(uint32_t known)
{
    for (int k = ORL_KIND_BOOL; k < ORL_KIND_OTHER; k++) {
        if (kinds[k].known == known)
            return (enum orl_kind)k;
    }
    return ORL_KIND_OTHER;
}

/* The kind that a field's own type, or else the expected one, gives it. */
static enum orl_kind kind_of(const struct orl_type *type, enum orl_kind expected)
{
    if (type->schema == ORL_SCHEMA_EXPECTED)
        return expected;
    if (type->schema == ORL_SCHEMA_KNOWN)
        return orl_kind_of_known(type->known);
    return ORL_KIND_OTHER;
}

struct orl_value orl_value_get(struct orl_reader *r, const struct orl_field *f,
                               enum orl_kind expected)
{
    struct orl_value v = {.kind = kind_of(&f->type, expected)};
    struct orl_field target;
    if (orl_field_is_null(f)) {
        v.kind = ORL_KIND_NULL;
        return v;
    }
    if (f->wire == ORL_WIRE_REF && v.kind == ORL_KIND_OTHER) {
        if (!orl_reader_resolve(r, f, &target))
            return (struct orl_value){0};
        v.kind = kind_of(&target.type, ORL_KIND_OTHER);
        if (v.kind == ORL_KIND_OTHER)
            return v;
    }
    switch (kinds[v.kind].form) {
    case FORM_BOOL:
        v.b = orl_get_bool(r, f);
        break;
    case FORM_INT:
        v.i = orl_get_int(r, f, kinds[v.kind].bits);
        break;
    case FORM_UINT:
        v.u = orl_get_uint(r, f, kinds[v.kind].bits);
        break;
    case FORM_FLOAT:
        v.f = orl_get_float(r, f);
        break;
    case FORM_DOUBLE:
        v.d = orl_get_double(r, f);
        break;
    case FORM_BYTES:
        v.bytes = orl_get_bytes(r, f);
        break;
    case FORM_GUID:
        v.guid = orl_get_guid(r, f);
        break;
    default:
        break;
    }
    return v;
}

/* A field that is to be written: all but delta and type. False for kinds without a form. */
static bool field_of_value(const struct orl_value *v, struct orl_field *f)
{
    switch (kinds[v->kind].form) {
    case FORM_BOOL:
        orl_field_set_uint(f, v->b ? 1 : 0);
        return true;
    case FORM_INT:
        orl_field_set_int(f, v->i);
        return true;
    case FORM_UINT:
        orl_field_set_uint(f, v->u);
        return true;
    case FORM_FLOAT: {
        uint32_t bits;
        memcpy(&bits, &v->f, sizeof bits);
        f->wire = ORL_WIRE_FIXED32;
        f->num = bits;
        return true;
    }
    case FORM_DOUBLE:
        f->wire = ORL_WIRE_FIXED64;
        memcpy(&f->num, &v->d, sizeof f->num);
        return true;
    case FORM_BYTES:
        f->wire = ORL_WIRE_BYTES;
        f->bytes = v->bytes;
        return true;
    case FORM_GUID:
        f->wire = ORL_WIRE_BYTES;
        f->bytes = span_of(v->guid.b, sizeof v->guid.b);
        return true;
    default:
        return false;
    }
}

static void put_value(struct wbuf *w, uint32_t delta, const struct orl_value *v,
                      enum orl_schema schema)
{
    struct orl_field f = {.delta = delta, .type = {.schema = schema}};
    f.type.known = kinds[v->kind].known;
    if (field_of_value(v, &f))
        orl_put_token(w, &f);
    else
        orl_put_null(w, delta);
}

void orl_put_value(struct wbuf *w, uint32_t delta, const struct orl_value *v)
{
    put_value(w, delta, v, ORL_SCHEMA_EXPECTED);
}

void orl_put_value_typed(struct wbuf *w, uint32_t delta, const struct orl_value *v)
{
    put_value(w, delta, v, ORL_SCHEMA_KNOWN);
}
