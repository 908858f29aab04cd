#include "orleans-proto/wire.h"

static uint64_t load_u64le(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* n - 1 zero bits, a one bit, the value: n bytes little-endian. n is 9 or 10 here. */
static uint64_t varint_read_widest(struct reader *r)
{
    uint8_t second = r->left > 1 ? r->pos[1] : 0;
    unsigned n = (second & 1) != 0 ? 9 : 10;
    if (n == 10 && (second & 2) == 0)
        r->bad = true;
    struct span s = rd_bytes(r, n);
    if (r->bad)
        return 0;
    uint64_t low = load_u64le(s.ptr) >> n;
    uint64_t high = s.ptr[8];
    if (n == 10)
        high |= (uint64_t)s.ptr[9] << 8;
    if (high >> n != 0) {
        r->bad = true;
        return 0;
    }
    return low | high << (64 - n);
}

uint64_t orl_varint_read_long(struct reader *r)
{
    if (r->bad || r->left == 0) {
        r->bad = true;
        return 0;
    }
    uint8_t first = r->pos[0];
    if (first == 0)
        return varint_read_widest(r);
    unsigned n = (unsigned)__builtin_ctz(first) + 1;
    struct span s = rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v |= (uint64_t)s.ptr[i] << (8 * i);
    return v >> n;
}

void orl_put_varint_long(struct wbuf *w, uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
    unsigned n = (bits + 6) / 7;
    uint8_t *to = wbuf_reserve(w, n);
    if (to == NULL)
        return;
    uint64_t low = v << n | (uint64_t)1 << (n - 1);
    uint64_t high = n > 8 ? v >> (64 - n) : 0;
    for (unsigned i = 0; i < n; i++)
        to[i] = (uint8_t)(i < 8 ? low >> (8 * i) : high >> (8 * (i - 8)));
    w->len += n;
}
