#include "orleans-proto/wire.h"

#include "orleans-proto/ids.h"

#include <assert.h>

enum {
    TAG_ID_MASK = 7,
    TAG_ID_VARINT = 7,
    TAG_SCHEMA_SHIFT = 3,
    TAG_WIRE_SHIFT = 5,
    TAG_END = 0xe0,
    TAG_END_BASE = 0xe8,
    TYPE_FORMAT_VERSION = 1
};

void orl_reader_fail(struct orl_reader *r, enum sc_status st)
{
    if (r->status == SC_OK)
        r->status = st;
}

/* Not one initializer for all: the tables are large and need no clearing. */
static void reader_start(struct orl_reader *r, struct span in, uint32_t objects)
{
    r->in = in;
    r->pos = 0;
    r->status = in.len <= UINT32_MAX ? SC_OK : SC_ERR_LIMIT;
    r->pending = false;
    r->depth = 0;
    r->replaying = 0;
    r->objects = objects;
    r->work_left = ORL_WORK_MAX;
    r->type_count = 0;
    r->mark_count = 0;
    r->mark_shift = 0;
    r->levels[0] = (struct orl_level){0};
}

void orl_reader_init(struct orl_reader *r, struct span in)
{
    reader_start(r, in, 0);
}

void orl_reader_init_raw(struct orl_reader *r, struct span in)
{
    reader_start(r, in, UINT32_MAX); /* the outermost field becomes number 0, its value 1 */
}

/* Remembers where object number r->objects begins. The table keeps every object at first, and
 * every second, fourth, ... as the body grows, so any object is a bounded scan away from a mark. */
static void mark_object(struct orl_reader *r, size_t at)
{
    uint32_t index = r->objects - 1;
    if (r->objects == 0 || (index & ((1u << r->mark_shift) - 1)) != 0)
        return;
    if (r->mark_count == ORL_MARKS_MAX) {
        for (uint32_t i = 0; i < ORL_MARKS_MAX / 2; i++)
            r->mark[i] = r->mark[2 * i];
        r->mark_count = ORL_MARKS_MAX / 2;
        r->mark_shift++;
        if ((index & ((1u << r->mark_shift) - 1)) != 0)
            return;
    }
    r->mark[r->mark_count++] = (uint32_t)at;
}

static struct span read_type_name(struct reader *in)
{
    if (rd_u8(in) != TYPE_FORMAT_VERSION)
        in->bad = true;
    rd_bytes(in, 4);
    uint64_t len = orl_varint_read(in);
    if (len > in->left)
        in->bad = true;
    return rd_bytes(in, (size_t)len);
}

static void read_type(struct orl_reader *r, struct reader *in, struct orl_field *f)
{
    uint64_t number;
    struct span name;
    switch (f->type.schema) {
    case ORL_SCHEMA_KNOWN:
        number = orl_varint_read(in);
        if (number > UINT32_MAX)
            in->bad = true;
        f->type.known = (uint32_t)number;
        break;
    case ORL_SCHEMA_NAMED:
        name = read_type_name(in);
        f->type.name = name;
        if (in->bad || r->replaying != 0)
            break;
        if (r->type_count < ORL_TYPES_MAX)
            r->type[r->type_count] = name;
        r->type_count++;
        break;
    case ORL_SCHEMA_REFERENCED:
        number = orl_varint_read(in);
        if (number == 0 || number > r->type_count)
            in->bad = true;
        else if (number <= ORL_TYPES_MAX)
            f->type.name = r->type[number - 1];
        f->type_ref = (uint32_t)number;
        break;
    default:
        break;
    }
}

static void read_payload(struct orl_reader *r, struct reader *in, struct orl_field *f)
{
    switch (f->wire) {
    case ORL_WIRE_VARINT:
        f->num = orl_varint_read(in);
        break;
    case ORL_WIRE_OBJECT:
        break;
    case ORL_WIRE_BYTES: {
        uint64_t len = orl_varint_read(in);
        if (len > in->left)
            in->bad = true;
        f->bytes = rd_bytes(in, (size_t)len);
        break;
    }
    case ORL_WIRE_FIXED32:
        f->num = rd_u32le(in);
        break;
    case ORL_WIRE_FIXED64:
        f->num = rd_u64le(in);
        break;
    case ORL_WIRE_REF:
        f->num = orl_varint_read(in);
        if (r->replaying == 0 && f->num >= f->object && f->num != 0)
            in->bad = true;
        break;
    default:
        in->bad = true;
        break;
    }
}

/* Fields that are read once more, for a reference, are paid for: a body can refer to itself often.
 */
static bool pay_for_replay(struct orl_reader *r)
{
    if (r->work_left == 0) {
        orl_reader_fail(r, SC_ERR_LIMIT);
        return false;
    }
    r->work_left--;
    return true;
}

/* Reads one tag with its type and payload. Depth, ids and objects to enter are the callers' part.
 */
static bool read_header(struct orl_reader *r, struct orl_field *f)
{
    if (r->replaying != 0 && !pay_for_replay(r))
        return false;
    struct reader in = {r->in.ptr + r->pos, r->in.len - r->pos, false};
    uint8_t tag = rd_u8(&in);
    *f = (struct orl_field){.wire = (enum orl_wire)(tag >> TAG_WIRE_SHIFT)};
    if (tag == TAG_END || tag == TAG_END_BASE) {
        f->wire = tag == TAG_END ? ORL_WIRE_END : ORL_WIRE_END_BASE;
    } else {
        f->delta = tag & TAG_ID_MASK;
        f->type.schema = (enum orl_schema)(tag >> TAG_SCHEMA_SHIFT & 3);
        if (f->delta == TAG_ID_VARINT) {
            uint64_t delta = orl_varint_read(&in);
            f->delta = (uint32_t)delta;
            if (delta > UINT32_MAX)
                in.bad = true;
        }
        if (r->replaying == 0) {
            f->object = ++r->objects;
            mark_object(r, r->pos);
        }
        read_type(r, &in, f);
        read_payload(r, &in, f);
    }
    if (in.bad) {
        orl_reader_fail(r, SC_ERR_PROTOCOL);
        return false;
    }
    r->pos = r->in.len - in.left;
    return true;
}

static bool push_level(struct orl_reader *r, uint32_t return_pos)
{
    if (r->depth == ORL_DEPTH_MAX) {
        orl_reader_fail(r, SC_ERR_LIMIT);
        return false;
    }
    r->levels[++r->depth] = (struct orl_level){.return_pos = return_pos};
    return true;
}

static void pop_level(struct orl_reader *r)
{
    uint32_t return_pos = r->levels[r->depth].return_pos;
    if (return_pos != 0) {
        r->pos = return_pos;
        r->replaying--;
    }
    r->depth--;
}

/* Gives a field its absolute id. Ids that pass 32 bits are no field of any class. */
static void place_field(struct orl_reader *r, struct orl_field *f)
{
    struct orl_level *level = &r->levels[r->depth];
    if (f->delta > UINT32_MAX - level->id)
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    level->id += f->delta;
    f->id = level->id;
    f->level = level->level;
}

bool orl_reader_token(struct orl_reader *r, struct orl_field *f_out)
{
    if (r->status != SC_OK)
        return false;
    if (r->pos == r->in.len) {
        if (r->depth != 0)
            orl_reader_fail(r, SC_ERR_PROTOCOL);
        return false;
    }
    if (!read_header(r, f_out))
        return false;
    if (f_out->wire == ORL_WIRE_END || f_out->wire == ORL_WIRE_END_BASE) {
        if (r->depth == 0) {
            orl_reader_fail(r, SC_ERR_PROTOCOL);
            return false;
        }
        if (f_out->wire == ORL_WIRE_END) {
            pop_level(r);
        } else {
            r->levels[r->depth].id = 0;
            r->levels[r->depth].level++;
        }
        return true;
    }
    place_field(r, f_out);
    if (f_out->wire == ORL_WIRE_OBJECT && !push_level(r, 0))
        return false;
    return r->status == SC_OK;
}

/* Reads on until the object whose header was just read has ended. */
static void skip_object(struct orl_reader *r)
{
    uint32_t depth = r->depth;
    struct orl_field f;
    if (!push_level(r, 0))
        return;
    while (r->depth > depth) {
        if (!orl_reader_token(r, &f)) {
            orl_reader_fail(r, SC_ERR_PROTOCOL);
            return;
        }
    }
}

bool orl_reader_next(struct orl_reader *r, struct orl_field *f_out)
{
    if (r->pending) {
        r->pending = false;
        skip_object(r);
    }
    for (;;) {
        if (r->status != SC_OK)
            return false;
        if (r->pos == r->in.len) {
            if (r->depth != 0)
                orl_reader_fail(r, SC_ERR_PROTOCOL);
            return false;
        }
        if (!read_header(r, f_out))
            return false;
        if (f_out->wire != ORL_WIRE_END && f_out->wire != ORL_WIRE_END_BASE)
            break;
        if (r->depth == 0) {
            orl_reader_fail(r, SC_ERR_PROTOCOL);
            return false;
        }
        if (f_out->wire == ORL_WIRE_END) {
            pop_level(r);
            return false;
        }
        r->levels[r->depth].id = 0;
        r->levels[r->depth].level++;
    }
    place_field(r, f_out);
    r->pending = f_out->wire == ORL_WIRE_OBJECT;
    return r->status == SC_OK;
}

/* Steps from the nearest mark to the header of object number n, which is at most r->objects.
 * Fields are flat on the wire, so numbers are counted without minding depth. */
static bool find_object(struct orl_reader *r, uint32_t number, size_t *pos_out)
{
    uint32_t index = (number - 1) >> r->mark_shift;
    uint32_t at = 1 + (index << r->mark_shift);
    if (index >= r->mark_count) {
        orl_reader_fail(r, SC_ERR_PROTOCOL);
        return false;
    }
    size_t back = r->pos;
    struct orl_field f = {.wire = ORL_WIRE_END};
    r->pos = r->mark[index];
    r->replaying++;
    while (r->status == SC_OK) {
        size_t start = r->pos;
        if (!read_header(r, &f) || f.wire == ORL_WIRE_END || f.wire == ORL_WIRE_END_BASE)
            continue;
        *pos_out = start;
        if (at++ == number)
            break;
    }
    r->replaying--;
    r->pos = back;
    return r->status == SC_OK;
}

bool orl_reader_resolve(struct orl_reader *r, const struct orl_field *ref, struct orl_field *f_out)
{
    size_t pos = 0;
    if (r->status != SC_OK)
        return false;
    assert(ref->wire == ORL_WIRE_REF);
    if (ref->num == 0 || ref->num > r->objects || !find_object(r, (uint32_t)ref->num, &pos)) {
        orl_reader_fail(r, SC_ERR_PROTOCOL);
        return false;
    }
    size_t back = r->pos;
    r->pos = pos;
    r->replaying++;
    bool ok = read_header(r, f_out);
    r->replaying--;
    r->pos = back;
    if (ok && f_out->wire == ORL_WIRE_REF) /* .NET never refers to a reference */
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return r->status == SC_OK;
}

bool orl_reader_enter(struct orl_reader *r, const struct orl_field *f)
{
    if (r->status != SC_OK || orl_field_is_null(f))
        return false;
    if (f->wire == ORL_WIRE_OBJECT && r->pending) {
        r->pending = false;
        return push_level(r, 0);
    }
    struct orl_field target;
    size_t pos = 0;
    if (f->wire != ORL_WIRE_REF || !orl_reader_resolve(r, f, &target) ||
        target.wire != ORL_WIRE_OBJECT || !find_object(r, (uint32_t)f->num, &pos)) {
        orl_reader_fail(r, SC_ERR_PROTOCOL);
        return false;
    }
    if (!push_level(r, (uint32_t)r->pos))
        return false;
    r->replaying++;
    r->pos = pos;
    if (!read_header(r, &target)) /* steps over the header, to the first field */
        return false;
    return true;
}

void orl_reader_leave(struct orl_reader *r)
{
    struct orl_field f;
    assert(r->depth > 0 || r->status != SC_OK);
    uint32_t depth = r->depth;
    while (r->status == SC_OK && r->depth == depth)
        orl_reader_next(r, &f);
}

enum sc_status orl_reader_finish(struct orl_reader *r)
{
    struct orl_field f;
    while (r->status == SC_OK && (r->depth != 0 || r->pos != r->in.len || r->pending))
        orl_reader_next(r, &f);
    return r->status;
}

void orl_reader_add_types(struct orl_reader *r, struct span fields)
{
    struct orl_reader names;
    struct orl_field f;
    assert(r->pos == 0);
    orl_reader_init(&names, fields);
    names.type_count = r->type_count;
    names.objects = UINT32_MAX / 2; /* it may refer to what came before it */
    while (orl_reader_token(&names, &f)) {
        if (f.type.schema == ORL_SCHEMA_NAMED && names.type_count <= ORL_TYPES_MAX)
            r->type[names.type_count - 1] = f.type.name;
    }
    r->type_count = names.type_count;
    if (names.status != SC_OK)
        orl_reader_fail(r, names.status);
}

/* The field itself, or what it refers to. */
static const struct orl_field *follow(struct orl_reader *r, const struct orl_field *f,
                                      struct orl_field *store)
{
    if (f->wire != ORL_WIRE_REF)
        return f;
    return orl_reader_resolve(r, f, store) ? store : NULL;
}

/* An integer's magnitude and sign. Fixed forms hold two's complement. */
int64_t orl_get_int(struct orl_reader *r, const struct orl_field *f, unsigned bits)
{
    int64_t v = 0;
    if (f->wire == ORL_WIRE_VARINT)
        v = orl_unzigzag(f->num);
    else if (f->wire == ORL_WIRE_FIXED32)
        v = (int32_t)(uint32_t)f->num;
    else if (f->wire == ORL_WIRE_FIXED64)
        v = (int64_t)f->num;
    else
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    int64_t max = (int64_t)(UINT64_MAX >> (65 - bits));
    if (v > max || v < -max - 1)
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return r->status == SC_OK ? v : 0;
}

uint64_t orl_get_uint(struct orl_reader *r, const struct orl_field *f, unsigned bits)
{
    if (f->wire != ORL_WIRE_VARINT && f->wire != ORL_WIRE_FIXED32 && f->wire != ORL_WIRE_FIXED64)
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    if (f->num > UINT64_MAX >> (64 - bits))
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return r->status == SC_OK ? f->num : 0;
}

bool orl_get_bool(struct orl_reader *r, const struct orl_field *f)
{
    return orl_get_uint(r, f, 8) == 1;
}

float orl_get_float(struct orl_reader *r, const struct orl_field *f)
{
    float v = 0;
    uint32_t bits = (uint32_t)f->num;
    if (f->wire == ORL_WIRE_FIXED32)
        memcpy(&v, &bits, sizeof v);
    else
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return v;
}

double orl_get_double(struct orl_reader *r, const struct orl_field *f)
{
    double v = 0;
    if (f->wire == ORL_WIRE_FIXED64)
        memcpy(&v, &f->num, sizeof v);
    else
        orl_reader_fail(r, SC_ERR_PROTOCOL);
    return v;
}

struct span orl_get_bytes(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_field store;
    if (r->status != SC_OK || orl_field_is_null(f))
        return (struct span){0};
    f = follow(r, f, &store);
    if (f == NULL || f->wire != ORL_WIRE_BYTES) {
        orl_reader_fail(r, SC_ERR_PROTOCOL);
        return (struct span){0};
    }
    return f->bytes;
}
