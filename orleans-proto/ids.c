#include "orleans-proto/ids.h"

#include <xxhash.h>

uint32_t orl_hash32(struct span s)
{
    return s.len != 0 ? XXH32(s.ptr, s.len, 0) : XXH32("", 0, 0);
}

uint32_t orl_stable_hash(struct span s)
{
    return __builtin_bswap32(orl_hash32(s));
}

static void put_u32be(struct wbuf *w, uint32_t v)
{
    wb_u32le(w, __builtin_bswap32(v));
}

bool orl_silo_eq(const struct orl_silo *a, const struct orl_silo *b)
{
    return a->ip_len == b->ip_len && a->port == b->port && a->generation == b->generation &&
           memcmp(a->ip, b->ip, a->ip_len) == 0;
}

bool orl_is_system_target(struct span grain_type)
{
    const struct span prefix = span_of_str("sys.svc.");
    return grain_type.len >= prefix.len && span_eq(span_of(grain_type.ptr, prefix.len), prefix);
}

bool orl_is_observer_of(struct orl_grain_id observer, struct orl_grain_id client)
{
    struct span key = observer.key;
    return span_eq(observer.type, client.type) && key.len > client.key.len &&
           key.ptr[client.key.len] == '+' && span_eq(span_of(key.ptr, client.key.len), client.key);
}

struct span orl_idspan_read(struct reader *r)
{
    uint64_t len = orl_varint_read(r);
    if (len == 0)
        return (struct span){0};
    rd_bytes(r, 4);
    if (len > r->left)
        r->bad = true;
    return rd_bytes(r, (size_t)len);
}

void orl_put_idspan_raw(struct wbuf *w, struct span v)
{
    orl_put_varint(w, v.len);
    if (v.len == 0)
        return;
    put_u32be(w, orl_hash32(v));
    wb_span(w, v);
}

/* An address of another length than IPv4 and IPv6 have, or a port over 16 bits, is none: then null
 * and false. */
static bool silo_set(struct orl_silo *silo, struct span ip, uint64_t port, int32_t generation)
{
    *silo = (struct orl_silo){0};
    if ((ip.len != 4 && ip.len != 16) || port > UINT16_MAX)
        return false;
    memcpy(silo->ip, ip.ptr, ip.len);
    silo->ip_len = (uint8_t)ip.len;
    silo->port = (uint16_t)port;
    silo->generation = generation;
    return true;
}

void orl_silo_read(struct reader *r, struct orl_silo *silo_out)
{
    *silo_out = (struct orl_silo){0};
    uint64_t len = orl_varint_read(r);
    if (len == 0)
        return;
    if (len > r->left)
        r->bad = true;
    struct reader in = reader_of(rd_bytes(r, (size_t)len));
    rd_bytes(&in, 4);
    uint64_t ip_len = orl_varint_read(&in);
    struct span ip = rd_bytes(&in, ip_len <= 16 ? (size_t)ip_len : SIZE_MAX);
    uint64_t port = orl_varint_read(&in);
    uint32_t generation = rd_u32le(&in);
    if (in.bad || in.left != 0 || !silo_set(silo_out, ip, port, (int32_t)generation))
        r->bad = true;
}

/* Over the address padded with zeros to 16 bytes, port and generation
 * (src/Orleans.Core.Abstractions/IDs/SiloAddress.cs). */
static uint32_t silo_hash(const struct orl_silo *silo)
{
    uint8_t b[24] = {0};
    memcpy(b, silo->ip, silo->ip_len);
    b[16] = (uint8_t)silo->port;
    b[17] = (uint8_t)(silo->port >> 8);
    for (int i = 0; i < 4; i++)
        b[20 + i] = (uint8_t)((uint32_t)silo->generation >> (8 * i));
    return orl_hash32(span_of(b, sizeof b));
}

void orl_put_silo_raw(struct wbuf *w, const struct orl_silo *silo)
{
    if (orl_silo_is_null(silo)) {
        orl_put_varint(w, 0);
        return;
    }
    size_t port_len = silo->port < 1u << 7 ? 1 : silo->port < 1u << 14 ? 2 : 3;
    orl_put_varint(w, 4 + 1 + silo->ip_len + port_len + 4);
    put_u32be(w, silo_hash(silo));
    orl_put_varint(w, silo->ip_len);
    wb_bytes(w, silo->ip, silo->ip_len);
    orl_put_varint(w, silo->port);
    wb_u32le(w, (uint32_t)silo->generation);
}

/* .NET writes the hash as an int, so one in 2048 is a varint. */
void orl_put_idspan(struct wbuf *w, uint32_t delta, struct span v)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_int(w, 0, v.len != 0 ? (int32_t)orl_stable_hash(v) : 0);
    orl_put_bytes(w, 1, v.len != 0 ? v : (struct span){0});
    orl_put_end(w);
}

void orl_put_grain_type(struct wbuf *w, uint32_t delta, struct span v)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_idspan(w, 0, v);
    orl_put_end(w);
}

void orl_put_grain_id(struct wbuf *w, uint32_t delta, struct orl_grain_id id)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_grain_type(w, 0, id.type);
    orl_put_idspan(w, 1, id.key);
    orl_put_end(w);
}

/* Port and generation are left out when 0 (src/Orleans.Core.Abstractions/IDs/
 * SiloAddressCodec.cs). */
void orl_put_silo(struct wbuf *w, uint32_t delta, const struct orl_silo *silo)
{
    if (orl_silo_is_null(silo)) {
        orl_put_null(w, delta);
        return;
    }
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_bytes(w, 0, span_of(silo->ip, silo->ip_len));
    if (silo->port != 0)
        orl_put_uint(w, 1, silo->port);
    if (silo->generation != 0)
        orl_put_int(w, silo->port != 0 ? 1 : 2, silo->generation);
    orl_put_end(w);
}

void orl_put_guid(struct wbuf *w, uint32_t delta, const struct orl_guid *guid)
{
    orl_put_bytes(w, delta, span_of(guid->b, sizeof guid->b));
}

void orl_put_guid_id(struct wbuf *w, uint32_t delta, const struct orl_guid *guid)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_guid(w, 0, guid);
    orl_put_end(w);
}

struct span orl_get_idspan(struct orl_reader *r, const struct orl_field *f)
{
    struct span v = {0};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return v;
    while (orl_reader_next(r, &in)) {
        if (in.id == 1)
            v = orl_get_bytes(r, &in);
    }
    return v;
}

struct span orl_get_grain_type(struct orl_reader *r, const struct orl_field *f)
{
    struct span v = {0};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return v;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            v = orl_get_idspan(r, &in);
    }
    return v;
}

struct orl_grain_id orl_get_grain_id(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_grain_id id = {0};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return id;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            id.type = orl_get_grain_type(r, &in);
        else if (in.id == 1)
            id.key = orl_get_idspan(r, &in);
    }
    return id;
}

struct orl_silo orl_get_silo(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_silo silo = {0};
    struct span ip = {0};
    uint64_t port = 0;
    int32_t generation = 0;
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return silo;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            ip = orl_get_bytes(r, &in);
        else if (in.id == 1)
            port = orl_get_uint(r, &in, 32);
        else if (in.id == 2)
            generation = (int32_t)orl_get_int(r, &in, 32);
    }
    if (r->status == SC_OK && !silo_set(&silo, ip, port, generation))
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return silo;
}

struct orl_guid orl_get_guid(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_guid guid = {{0}};
    struct span v = orl_get_bytes(r, f);
    if (v.len == sizeof guid.b)
        memcpy(guid.b, v.ptr, sizeof guid.b);
    else
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return guid;
}

struct orl_guid orl_get_guid_id(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_guid guid = {{0}};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return guid;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            guid = orl_get_guid(r, &in);
    }
    return guid;
}

void orl_put_reference(struct wbuf *w, uint32_t delta, const struct orl_reference *ref)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_grain_id(w, 0, ref->grain);
    orl_put_grain_type(w, 1, ref->interface);
    orl_put_end(w);
}

struct orl_reference orl_get_reference(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_reference ref = {0};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return ref;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            ref.grain = orl_get_grain_id(r, &in);
        else if (in.id == 1)
            ref.interface = orl_get_grain_type(r, &in);
    }
    return ref;
}
