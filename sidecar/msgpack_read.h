/* A pull reader of msgpack over struct reader: no allocation, no recursion, no trust in counts.
 * msgpack-c's unpacker sizes its allocations from counts in the bytes, so a peer's bytes come here;
 * msgpack-c does the packing. A read of the wrong type sets bad. */
#ifndef SIDECAR_MSGPACK_READ_H
#define SIDECAR_MSGPACK_READ_H

#include "sidecar/base/span.h"

static inline uint64_t mp_be(struct reader *r, unsigned bytes)
{
    struct span s = rd_bytes(r, bytes);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.ptr[i];
    return v;
}

/* An unsigned integer of any width, at most max. */
static inline uint64_t mp_uint(struct reader *r, uint64_t max)
{
    uint8_t tag = rd_u8(r);
    uint64_t v = 0;
    if (tag < 0x80)
        v = tag;
    else if (tag >= 0xcc && tag <= 0xcf)
        v = mp_be(r, 1u << (tag - 0xcc));
    else
        r->bad = true;
    if (v > max)
        r->bad = true;
    return r->bad ? 0 : v;
}

static inline bool mp_bool(struct reader *r)
{
    uint8_t tag = rd_u8(r);
    if (tag != 0xc2 && tag != 0xc3)
        r->bad = true;
    return !r->bad && tag == 0xc3;
}

/* A bin or str of any width. */
static inline struct span mp_bytes(struct reader *r)
{
    uint8_t tag = rd_u8(r);
    uint64_t len = 0;
    if ((tag & 0xe0) == 0xa0)
        len = tag & 0x1f;
    else if (tag >= 0xc4 && tag <= 0xc6)
        len = mp_be(r, 1u << (tag - 0xc4));
    else if (tag >= 0xd9 && tag <= 0xdb)
        len = mp_be(r, 1u << (tag - 0xd9));
    else
        r->bad = true;
    return rd_bytes(r, (size_t)len);
}

/* An array's count, which is never over the bytes left: an element takes at least one. */
static inline uint32_t mp_array(struct reader *r)
{
    uint8_t tag = rd_u8(r);
    uint64_t count = 0;
    if ((tag & 0xf0) == 0x90)
        count = tag & 0x0f;
    else if (tag == 0xdc)
        count = mp_be(r, 2);
    else if (tag == 0xdd)
        count = mp_be(r, 4);
    else
        r->bad = true;
    if (count > r->left)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)count;
}

/* Passes over `count` values: nil, bool, numbers, str, bin, and arrays up to depth deep. Maps and
 * ext set bad. */
void mp_skip(struct reader *r, uint32_t count, unsigned depth);

#endif
