#ifndef SIDECAR_BASE_SPAN_H
#define SIDECAR_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes somebody else owns. Never NUL-terminated by promise; ptr may be NULL when len is 0. */
struct span {
    const uint8_t *ptr;
    size_t len;
};

static inline struct span span_of(const void *ptr, size_t len)
{
    return (struct span){(const uint8_t *)ptr, len};
}

static inline struct span span_of_str(const char *text)
{
    return span_of(text, strlen(text));
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_eq_str(struct span a, const char *text)
{
    return span_eq(a, span_of_str(text));
}

/* Arguments for "%.*s". */
#define SPAN_ARG(s) (int)(s).len, (const char *)(s).ptr

/* A cursor over foreign bytes. A read past the end sets bad, yields zero and consumes nothing;
 * every later read yields zero too. So a decoder reads its fields in statements and tests bad once.
 */
struct reader {
    const uint8_t *pos;
    size_t left;
    bool bad;
};

static inline struct reader reader_of(struct span in)
{
    return (struct reader){in.ptr, in.len, false};
}

/* Takes n bytes without copying; an empty span when fewer are left. */
static inline struct span rd_bytes(struct reader *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        return (struct span){0};
    }
    struct span out = {r->pos, n};
    r->pos += n;
    r->left -= n;
    return out;
}

static inline uint8_t rd_u8(struct reader *r)
{
    struct span s = rd_bytes(r, 1);
    return r->bad ? 0 : s.ptr[0];
}

static inline uint16_t rd_u16le(struct reader *r)
{
    struct span s = rd_bytes(r, 2);
    return r->bad ? 0 : (uint16_t)(s.ptr[0] | (uint16_t)s.ptr[1] << 8);
}

static inline uint32_t rd_u32le(struct reader *r)
{
    struct span s = rd_bytes(r, 4);
    if (r->bad)
        return 0;
    return s.ptr[0] | (uint32_t)s.ptr[1] << 8 | (uint32_t)s.ptr[2] << 16 | (uint32_t)s.ptr[3] << 24;
}

static inline uint64_t rd_u64le(struct reader *r)
{
    if (r->bad || r->left < 8) {
        r->bad = true;
        return 0;
    }
    uint64_t lo = rd_u32le(r);
    uint64_t hi = rd_u32le(r);
    return lo | hi << 32;
}

#endif
