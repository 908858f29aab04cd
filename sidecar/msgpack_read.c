#include "sidecar/msgpack_read.h"

enum { DEPTH_MAX = 8 };

/* Size of what follows a tag of fixed size; -1: the tag has none of fixed size. */
static int fixed_size(uint8_t tag)
{
    if (tag < 0x80 || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return 0;
    if (tag == 0xca)
        return 4;
    if (tag == 0xcb)
        return 8;
    if (tag >= 0xcc && tag <= 0xcf)
        return 1 << (tag - 0xcc);
    if (tag >= 0xd0 && tag <= 0xd3)
        return 1 << (tag - 0xd0);
    return -1;
}

static bool is_array(uint8_t tag)
{
    return (tag & 0xf0) == 0x90 || tag == 0xdc || tag == 0xdd;
}

void mp_skip(struct reader *r, uint32_t count, unsigned depth)
{
    uint32_t left[DEPTH_MAX + 1] = {count};
    unsigned level = 0;
    while (!r->bad) {
        if (left[level] == 0) {
            if (level == 0)
                return;
            level--;
            continue;
        }
        left[level]--;
        if (r->left == 0) {
            r->bad = true;
            return;
        }
        uint8_t tag = *r->pos;
        int size = fixed_size(tag);
        if (size >= 0) {
            rd_bytes(r, 1 + (size_t)size);
        } else if (is_array(tag)) {
            if (level == depth || level == DEPTH_MAX) {
                r->bad = true;
                return;
            }
            left[++level] = mp_array(r);
        } else {
            mp_bytes(r);
        }
    }
}
