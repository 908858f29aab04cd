#include "orleans-proto/preamble.h"

enum { PREAMBLE_PREFIX = 4 };

static void read_fields(struct orl_reader *r, struct orl_preamble *p)
{
    struct orl_field f;
    while (orl_reader_next(r, &f)) {
        switch (f.id) {
        case 0:
            p->version = (uint32_t)orl_get_uint(r, &f, 8);
            break;
        case 1:
            p->node = orl_get_grain_id(r, &f);
            break;
        case 2:
            p->silo = orl_get_silo(r, &f);
            break;
        case 3:
            p->cluster_id = orl_get_bytes(r, &f);
            break;
        default:
            break;
        }
    }
}

enum sc_status orl_preamble_decode(struct span in, struct orl_preamble *preamble_out,
                                   size_t *used_out)
{
    struct reader prefix = reader_of(in);
    uint32_t len = rd_u32le(&prefix);
    if (prefix.bad)
        return SC_AGAIN;
    if (len == 0 || len > ORL_PREAMBLE_MAX)
        return SC_ERR_LIMIT;
    struct span object = rd_bytes(&prefix, len);
    if (prefix.bad)
        return SC_AGAIN;

    struct orl_preamble p = {0};
    struct orl_reader r;
    struct orl_field f;
    orl_reader_init(&r, object);
    if (!orl_reader_next(&r, &f) || !orl_reader_enter(&r, &f))
        return SC_ERR_PROTOCOL;
    read_fields(&r, &p);
    if (r.status != SC_OK || r.pos != object.len)
        return SC_ERR_PROTOCOL;
    *preamble_out = p;
    *used_out = PREAMBLE_PREFIX + (size_t)len;
    return SC_OK;
}

size_t orl_preamble_need(struct span in)
{
    struct reader prefix = reader_of(in);
    uint32_t len = rd_u32le(&prefix);
    if (prefix.bad || len > ORL_PREAMBLE_MAX)
        return PREAMBLE_PREFIX;
    return PREAMBLE_PREFIX + (size_t)len;
}

enum sc_status orl_preamble_encode(struct wbuf *w, const struct orl_preamble *preamble)
{
    size_t start = w->len;
    wb_u32le(w, 0);
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    /* An enum without a serializer of its own goes out as its underlying type, named. */
    orl_put_tag_known(w, ORL_WIRE_VARINT, 0, ORL_KNOWN_BYTE);
    orl_put_varint(w, preamble->version);
    orl_put_grain_id(w, 1, preamble->node);
    orl_put_silo(w, 1, &preamble->silo);
    orl_put_bytes(w, 1, preamble->cluster_id);
    orl_put_end(w);
    enum sc_status st = SC_ERR_NO_MEMORY;
    if (w->failed)
        goto err_take_back;
    size_t len = w->len - start - PREAMBLE_PREFIX;
    st = SC_ERR_TOO_LARGE;
    if (len > ORL_PREAMBLE_MAX)
        goto err_take_back;
    w->ptr[start] = (uint8_t)len;
    w->ptr[start + 1] = (uint8_t)(len >> 8);
    return SC_OK;
err_take_back:
    w->len = start;
    w->failed = false;
    return st;
}
