#ifndef SIDECAR_BASE_WBUF_H
#define SIDECAR_BASE_WBUF_H

#include "sidecar/base/span.h"

/* A growing write buffer with a cap. A write that does not fit in max_bytes, or finds no memory,
 * sets failed and writes nothing; every later write does nothing. So an encoder writes its fields
 * and tests failed once. Not shared between threads. */
struct wbuf {
    uint8_t *ptr; /* owned */
    size_t len;
    size_t cap;
    size_t max_bytes;
    bool failed;
};

/* Starts empty; allocates nothing until the first write. */
void wbuf_init(struct wbuf *w, size_t max_bytes);
void wbuf_fini(struct wbuf *w);

/* Empties the buffer and clears failed; keeps the memory. */
void wbuf_clear(struct wbuf *w);

/* Makes room for n more bytes and returns where they go, without counting them; NULL on failure.
 * The pointer holds until the next call that writes. */
uint8_t *wbuf_reserve_slow(struct wbuf *w, size_t n);

/* Drops the first n bytes (n <= len) by moving the rest to the front. */
void wbuf_consume(struct wbuf *w, size_t n);

static inline uint8_t *wbuf_reserve(struct wbuf *w, size_t n)
{
    if (!w->failed && w->ptr != NULL && n <= w->cap - w->len)
        return w->ptr + w->len;
    return wbuf_reserve_slow(w, n);
}

static inline struct span wbuf_span(const struct wbuf *w)
{
    return span_of(w->ptr, w->len);
}

/* What was written from offset `at` on; empty when there is nothing. */
static inline struct span wbuf_from(const struct wbuf *w, size_t at)
{
    return at < w->len ? span_of(w->ptr + at, w->len - at) : span_of(NULL, 0);
}

static inline void wb_bytes(struct wbuf *w, const void *data, size_t n)
{
    uint8_t *to = wbuf_reserve(w, n);
    if (to == NULL)
        return;
    if (n != 0)
        memcpy(to, data, n);
    w->len += n;
}

static inline void wb_span(struct wbuf *w, struct span s)
{
    wb_bytes(w, s.ptr, s.len);
}

static inline void wb_u8(struct wbuf *w, uint8_t v)
{
    wb_bytes(w, &v, 1);
}

static inline void wb_u32le(struct wbuf *w, uint32_t v)
{
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    wb_bytes(w, b, sizeof b);
}

static inline void wb_u64le(struct wbuf *w, uint64_t v)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    wb_bytes(w, b, sizeof b);
}

/* Appends formatted text without the terminating NUL. */
void wb_printf(struct wbuf *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
