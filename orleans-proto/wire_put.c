#include "orleans-proto/ids.h"
#include "orleans-proto/wire.h"

#include <assert.h>

enum { TAG_END = 0xe0, TAG_END_BASE = 0xe8, TAG_ID_VARINT = 7, TYPE_FORMAT_VERSION = 1 };

static void put_tag(struct wbuf *w, enum orl_wire wire, enum orl_schema schema, uint32_t delta)
{
    uint8_t id = (uint8_t)(delta < TAG_ID_VARINT ? delta : TAG_ID_VARINT);
    assert(wire <= ORL_WIRE_REF);
    wb_u8(w, (uint8_t)((unsigned)wire << 5 | (unsigned)schema << 3 | id));
    if (delta >= TAG_ID_VARINT)
        orl_put_varint(w, delta);
}

void orl_put_tag(struct wbuf *w, enum orl_wire wire, uint32_t delta)
{
    put_tag(w, wire, ORL_SCHEMA_EXPECTED, delta);
}

void orl_put_tag_known(struct wbuf *w, enum orl_wire wire, uint32_t delta, uint32_t known)
{
    put_tag(w, wire, ORL_SCHEMA_KNOWN, delta);
    orl_put_varint(w, known);
}

void orl_put_tag_named(struct wbuf *w, enum orl_wire wire, uint32_t delta, struct span name)
{
    uint32_t hash = orl_hash32(name);
    uint8_t head[5] = {TYPE_FORMAT_VERSION, (uint8_t)(hash >> 24), (uint8_t)(hash >> 16),
                       (uint8_t)(hash >> 8), (uint8_t)hash};
    put_tag(w, wire, ORL_SCHEMA_NAMED, delta);
    wb_bytes(w, head, sizeof head);
    orl_put_varint(w, name.len);
    wb_span(w, name);
}

void orl_put_tag_referenced(struct wbuf *w, enum orl_wire wire, uint32_t delta, uint32_t number)
{
    put_tag(w, wire, ORL_SCHEMA_REFERENCED, delta);
    orl_put_varint(w, number);
}

void orl_put_tag_typed(struct wbuf *w, enum orl_wire wire, uint32_t delta,
                       const struct orl_type *type)
{
    if (type->schema == ORL_SCHEMA_KNOWN)
        orl_put_tag_known(w, wire, delta, type->known);
    else if (type->schema == ORL_SCHEMA_EXPECTED)
        orl_put_tag(w, wire, delta);
    else
        orl_put_tag_named(w, wire, delta, type->name);
}

void orl_put_end(struct wbuf *w)
{
    wb_u8(w, TAG_END);
}

void orl_put_end_base(struct wbuf *w)
{
    wb_u8(w, TAG_END_BASE);
}

void orl_put_null(struct wbuf *w, uint32_t delta)
{
    orl_put_tag(w, ORL_WIRE_REF, delta);
    orl_put_varint(w, 0);
}

void orl_put_fixed32(struct wbuf *w, uint32_t delta, uint32_t v)
{
    orl_put_tag(w, ORL_WIRE_FIXED32, delta);
    wb_u32le(w, v);
}

void orl_put_fixed64(struct wbuf *w, uint32_t delta, uint64_t v)
{
    orl_put_tag(w, ORL_WIRE_FIXED64, delta);
    wb_u64le(w, v);
}

void orl_put_bool(struct wbuf *w, uint32_t delta, bool v)
{
    orl_put_ulong(w, delta, v ? 1 : 0);
}

/* The borders are those of src/Orleans.Serialization/Codecs/IntegerCodec.cs from 7.1 on. */
static enum orl_wire int_wire(int64_t v)
{
    const int64_t small = (int64_t)1 << 20;
    const int64_t border = (int64_t)1 << 48;
    if (v > -small && v < small)
        return ORL_WIRE_VARINT;
    if (v >= INT32_MIN && v <= INT32_MAX)
        return ORL_WIRE_FIXED32;
    return v > -border && v < border ? ORL_WIRE_VARINT : ORL_WIRE_FIXED64;
}

static enum orl_wire uint_wire(uint64_t v)
{
    if (v < 1u << 21)
        return ORL_WIRE_VARINT;
    if (v <= UINT32_MAX)
        return ORL_WIRE_FIXED32;
    return v < (uint64_t)1 << 49 ? ORL_WIRE_VARINT : ORL_WIRE_FIXED64;
}

void orl_field_set_int(struct orl_field *f, int64_t v)
{
    f->wire = int_wire(v);
    f->num = f->wire == ORL_WIRE_VARINT ? orl_zigzag(v) : (uint64_t)v;
}

void orl_field_set_uint(struct orl_field *f, uint64_t v)
{
    f->wire = uint_wire(v);
    f->num = v;
}

static void put_number(struct wbuf *w, enum orl_wire wire, uint64_t num)
{
    if (wire == ORL_WIRE_VARINT)
        orl_put_varint(w, num);
    else if (wire == ORL_WIRE_FIXED32)
        wb_u32le(w, (uint32_t)num);
    else
        wb_u64le(w, num);
}

void orl_put_int(struct wbuf *w, uint32_t delta, int32_t v)
{
    orl_put_long(w, delta, v);
}

void orl_put_uint(struct wbuf *w, uint32_t delta, uint32_t v)
{
    orl_put_ulong(w, delta, v);
}

void orl_put_long(struct wbuf *w, uint32_t delta, int64_t v)
{
    enum orl_wire wire = int_wire(v);
    orl_put_tag(w, wire, delta);
    put_number(w, wire, wire == ORL_WIRE_VARINT ? orl_zigzag(v) : (uint64_t)v);
}

void orl_put_ulong(struct wbuf *w, uint32_t delta, uint64_t v)
{
    enum orl_wire wire = uint_wire(v);
    orl_put_tag(w, wire, delta);
    put_number(w, wire, v);
}

void orl_put_float(struct wbuf *w, uint32_t delta, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    orl_put_fixed32(w, delta, bits);
}

void orl_put_double(struct wbuf *w, uint32_t delta, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    orl_put_fixed64(w, delta, bits);
}

void orl_put_bytes(struct wbuf *w, uint32_t delta, struct span v)
{
    if (v.ptr == NULL) {
        orl_put_null(w, delta);
        return;
    }
    orl_put_tag(w, ORL_WIRE_BYTES, delta);
    orl_put_varint(w, v.len);
    wb_span(w, v);
}

static void put_token_payload(struct wbuf *w, const struct orl_field *f)
{
    if (f->wire == ORL_WIRE_BYTES) {
        orl_put_varint(w, f->bytes.len);
        wb_span(w, f->bytes);
    } else if (f->wire == ORL_WIRE_REF) {
        orl_put_varint(w, f->num);
    } else if (f->wire != ORL_WIRE_OBJECT) {
        put_number(w, f->wire, f->num);
    }
}

void orl_put_token(struct wbuf *w, const struct orl_field *f)
{
    if (f->wire == ORL_WIRE_END) {
        orl_put_end(w);
        return;
    }
    if (f->wire == ORL_WIRE_END_BASE) {
        orl_put_end_base(w);
        return;
    }
    if (f->type.schema == ORL_SCHEMA_REFERENCED)
        orl_put_tag_referenced(w, f->wire, f->delta, f->type_ref);
    else
        orl_put_tag_typed(w, f->wire, f->delta, &f->type);
    put_token_payload(w, f);
}
