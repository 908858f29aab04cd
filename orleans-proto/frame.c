#include "orleans-proto/frame.h"

enum sc_status orl_frame_decode(struct span in, const struct orl_limits *lim,
                                struct orl_frame *frame_out, size_t *used_out)
{
    struct reader r = reader_of(in);
    uint32_t header_len = rd_u32le(&r);
    uint32_t body_len = rd_u32le(&r);
    if (r.bad)
        return SC_AGAIN;
    if (header_len == 0 || header_len > INT32_MAX || body_len > INT32_MAX)
        return SC_ERR_PROTOCOL;
    if (header_len > lim->header_max || body_len > lim->body_max)
        return SC_ERR_LIMIT;
    struct span header = rd_bytes(&r, header_len);
    struct span body = rd_bytes(&r, body_len);
    if (r.bad)
        return SC_AGAIN;
    *frame_out = (struct orl_frame){.header = header, .body = body};
    *used_out = in.len - r.left;
    return SC_OK;
}

size_t orl_frame_need(struct span in, const struct orl_limits *lim)
{
    struct reader r = reader_of(in);
    uint32_t header_len = rd_u32le(&r);
    uint32_t body_len = rd_u32le(&r);
    if (r.bad || header_len > lim->header_max || body_len > lim->body_max)
        return ORL_FRAME_PREFIX;
    return (size_t)ORL_FRAME_PREFIX + header_len + body_len;
}

size_t orl_frame_begin(struct wbuf *w)
{
    size_t frame_at = w->len;
    wb_u64le(w, 0);
    return frame_at;
}

static void patch_u32le(struct wbuf *w, size_t at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        w->ptr[at + (size_t)i] = (uint8_t)(v >> (8 * i));
}

enum sc_status orl_frame_end(struct wbuf *w, size_t frame_at, size_t body_at,
                             const struct orl_limits *lim)
{
    enum sc_status st = SC_ERR_NO_MEMORY;
    if (w->failed)
        goto err_take_back;
    size_t header_len = body_at - frame_at - ORL_FRAME_PREFIX;
    size_t body_len = w->len - body_at;
    st = SC_ERR_TOO_LARGE;
    if (header_len > lim->header_max || body_len > lim->body_max)
        goto err_take_back;
    patch_u32le(w, frame_at, (uint32_t)header_len);
    patch_u32le(w, frame_at + 4, (uint32_t)body_len);
    return SC_OK;
err_take_back:
    w->len = frame_at;
    w->failed = false;
    return st;
}
