#ifndef ORLEANS_PROTO_WIRE_H
#define ORLEANS_PROTO_WIRE_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"

/* The Orleans serialization format (src/Orleans.Serialization/): every value is a field, a tag plus
 * a payload whose end can be found without knowing the type.
 *
 *   tag       bits 7..5 wire type, 4..3 schema type, 2..0 field id delta (7: a varint follows)
 *   [varint]  the delta, when bits 2..0 are 7
 *   [type]    by schema type: nothing | varint id | 01 hash[4] varint len name | varint number
 *   payload   by wire type
 *
 * Objects are fields up to an E0; an E8 inside ends the fields of a base class and the ids start
 * again from 0. Every field takes the next object number, from 1; a Reference payload names one. */

enum orl_wire {
    ORL_WIRE_VARINT = 0,
    ORL_WIRE_OBJECT = 1, /* .NET: TagDelimited */
    ORL_WIRE_BYTES = 2,  /* .NET: LengthPrefixed */
    ORL_WIRE_FIXED32 = 3,
    ORL_WIRE_FIXED64 = 4,
    ORL_WIRE_REF = 6, /* to an earlier object by number; 0 is null */
    ORL_WIRE_END = 7, /* E0; only orl_reader_token shows this and the next */
    ORL_WIRE_END_BASE = 8
};

enum orl_schema {
    ORL_SCHEMA_EXPECTED,   /* the type that the reader expects at this place */
    ORL_SCHEMA_KNOWN,      /* by well-known id */
    ORL_SCHEMA_NAMED,      /* by name (.NET: Encoded) */
    ORL_SCHEMA_REFERENCED, /* by the number of a name earlier in the frame */
    ORL_SCHEMA_COUNT
};

/* Well-known type ids, src/Orleans.Serialization/Configuration/DefaultTypeManifestProvider.cs. */
enum orl_known {
    ORL_KNOWN_VOID = 0,
    ORL_KNOWN_INT = 1,
    ORL_KNOWN_STRING = 2,
    ORL_KNOWN_BOOL = 3,
    ORL_KNOWN_SHORT = 4,
    ORL_KNOWN_LONG = 5,
    ORL_KNOWN_SBYTE = 6,
    ORL_KNOWN_UINT = 7,
    ORL_KNOWN_USHORT = 8,
    ORL_KNOWN_ULONG = 9,
    ORL_KNOWN_BYTE = 10,
    ORL_KNOWN_FLOAT = 11,
    ORL_KNOWN_DOUBLE = 12,
    ORL_KNOWN_DECIMAL = 13,
    ORL_KNOWN_CHAR = 14,
    ORL_KNOWN_GUID = 15,
    ORL_KNOWN_DATE_TIME = 16,
    ORL_KNOWN_TIME_SPAN = 17,
    ORL_KNOWN_OBJECT = 19,
    ORL_KNOWN_DOTNET_SERIALIZABLE = 20,
    ORL_KNOWN_EXCEPTION = 21,
    ORL_KNOWN_BYTES = 22,
    ORL_KNOWN_OBJECT_ARRAY = 23,
    ORL_KNOWN_INT_ARRAY = 25,
    ORL_KNOWN_STRING_ARRAY = 26,
    ORL_KNOWN_EXCEPTION_RESPONSE = 35,
    ORL_KNOWN_COMPLETED_RESPONSE = 36,
    ORL_KNOWN_REJECTION_RESPONSE = 102,
    ORL_KNOWN_STATUS_RESPONSE = 103
};

enum {
    ORL_DEPTH_MAX = 64,    /* objects within objects */
    ORL_TYPES_MAX = 32,    /* type names of a frame that are remembered for references */
    ORL_MARKS_MAX = 64,    /* object offsets that are remembered, thinned out as a body grows */
    ORL_VARINT_MAX = 10,   /* bytes of the longest varint */
    ORL_WORK_MAX = 1 << 24 /* fields that one reader visits to follow references */
};

struct orl_type {
    enum orl_schema schema;
    uint32_t known;   /* ORL_SCHEMA_KNOWN: enum orl_known or an application's id */
    struct span name; /* NAMED and REFERENCED; empty when past ORL_TYPES_MAX */
};

/* One field's header and, unless it is an object, its payload. Borrows from the input. */
struct orl_field {
    enum orl_wire wire;
    uint32_t id;       /* within its object and level */
    uint32_t delta;    /* as written */
    uint32_t level;    /* base class fields have 0, the next class's 1, ... */
    uint32_t object;   /* this field's object number; 0: an END, or not numbered */
    uint32_t type_ref; /* REFERENCED: the number as written */
    struct orl_type type;
    uint64_t num;      /* VARINT, FIXED32, FIXED64; REF: the object number */
    struct span bytes; /* BYTES */
};

/* Walks the fields of one span without copying and without allocating; plain data, about 3.5 KiB,
 * never shared between threads. The first failure sticks in status and ends every loop:
 *
 *     while (orl_reader_next(&r, &f))
 *         if (f.id == 0)
 *             name = orl_get_bytes(&r, &f);
 *     if (r.status != SC_OK) ...
 *
 * An object field that is not entered is skipped by the next call. */
struct orl_reader {
    struct span in;
    size_t pos;
    enum sc_status status; /* SC_ERR_PROTOCOL, or SC_ERR_LIMIT for depth and work */
    bool pending;          /* an object's header was read, its fields were not */
    uint32_t depth;
    uint32_t replaying; /* levels that were entered through references */
    uint32_t objects;   /* object numbers given so far */
    uint32_t work_left;
    uint32_t type_count;
    uint32_t mark_count;
    uint32_t mark_shift; /* mark[i] is the offset of object 1 + (i << mark_shift) */
    struct orl_level {
        uint32_t id;
        uint32_t level;
        uint32_t return_pos; /* where to go on after a reference was entered; 0: not entered so */
    } levels[ORL_DEPTH_MAX + 1];
    uint32_t mark[ORL_MARKS_MAX];
    struct span type[ORL_TYPES_MAX];
};

/* Starts at the first field of in, which must stay valid. At most 4 GiB. */
void orl_reader_init(struct orl_reader *r, struct span in);

/* The same for the body of a raw response: its outermost field takes no object number
 * (src/Orleans.Core/Messaging/MessageSerializer.cs). */
void orl_reader_init_raw(struct orl_reader *r, struct span in);

/* Reads over a span that comes before the reader's own in the same frame, only to number the type
 * names in it. Before the first orl_reader_next. */
void orl_reader_add_types(struct orl_reader *r, struct span fields);

/* The next field of the current object, or of the input outside any object. False at the object's
 * end (which leaves it), at the end of the input, and on failure. */
bool orl_reader_next(struct orl_reader *r, struct orl_field *f_out);

/* Enters the object that f, the last field read, is or refers to; orl_reader_next then yields its
 * fields. False for null, and with status set for anything that is no object. */
bool orl_reader_enter(struct orl_reader *r, const struct orl_field *f);

/* Leaves the current object, skipping what is left of it. */
void orl_reader_leave(struct orl_reader *r);

/* Skips what is left at the top level; SC_ERR_PROTOCOL when fields are cut short. */
SC_MUST_USE enum sc_status orl_reader_finish(struct orl_reader *r);

/* Every header as written, flat: OBJECT, its fields, END_BASE, END. For dumps and re-encoding; not
 * to be mixed with orl_reader_next. False at the end of the input and on failure. */
bool orl_reader_token(struct orl_reader *r, struct orl_field *f_out);

/* Marks the input as broken. */
void orl_reader_fail(struct orl_reader *r, enum sc_status st);

/* Finds the field that a Reference names. Needed by callers only for a field of unknown type; the
 * orl_get functions and orl_reader_enter follow references themselves. */
bool orl_reader_resolve(struct orl_reader *r, const struct orl_field *ref, struct orl_field *f_out);

static inline bool orl_field_is_null(const struct orl_field *f)
{
    return f->wire == ORL_WIRE_REF && f->num == 0;
}

static inline bool orl_type_is_known(const struct orl_type *t, uint32_t known)
{
    return t->schema == ORL_SCHEMA_KNOWN && t->known == known;
}

/* Payloads. An integer is accepted in any integral form and range-checked against bits; other
 * wire types set SC_ERR_PROTOCOL and yield zero (src/Orleans.Serialization/Codecs/IntegerCodec.cs).
 * orl_get_bytes: string or byte[]; null has ptr NULL, empty has not. */
int64_t orl_get_int(struct orl_reader *r, const struct orl_field *f, unsigned bits);
uint64_t orl_get_uint(struct orl_reader *r, const struct orl_field *f, unsigned bits);
bool orl_get_bool(struct orl_reader *r, const struct orl_field *f);
float orl_get_float(struct orl_reader *r, const struct orl_field *f);
double orl_get_double(struct orl_reader *r, const struct orl_field *f);
struct span orl_get_bytes(struct orl_reader *r, const struct orl_field *f);

/* Prefix varints, not LEB128 (src/Orleans.Serialization/Buffers/Writer.VarInt.cs). Reading sets bad
 * on a value over 64 bits. */
uint64_t orl_varint_read_long(struct reader *r);
void orl_put_varint_long(struct wbuf *w, uint64_t v);

static inline uint64_t orl_varint_read(struct reader *r)
{
    if (r->bad || r->left == 0 || (r->pos[0] & 1) == 0)
        return orl_varint_read_long(r);
    r->left--;
    return *r->pos++ >> 1; /* one byte, as most are */
}

static inline void orl_put_varint(struct wbuf *w, uint64_t v)
{
    if (v < 128)
        wb_u8(w, (uint8_t)(v << 1 | 1));
    else
        orl_put_varint_long(w, v);
}

static inline uint64_t orl_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static inline int64_t orl_unzigzag(uint64_t u)
{
    return (int64_t)((u >> 1) ^ (~(u & 1) + 1));
}

/* Writers. delta is the field id less the previous one in the same object; a scalar is written in
 * the form that .NET 7.1 and later would choose. Failure shows in w->failed, as with every wb_
 * function. */
void orl_put_tag(struct wbuf *w, enum orl_wire wire, uint32_t delta);
void orl_put_tag_known(struct wbuf *w, enum orl_wire wire, uint32_t delta, uint32_t known);
void orl_put_tag_named(struct wbuf *w, enum orl_wire wire, uint32_t delta, struct span name);
void orl_put_tag_referenced(struct wbuf *w, enum orl_wire wire, uint32_t delta, uint32_t number);
void orl_put_tag_typed(struct wbuf *w, enum orl_wire wire, uint32_t delta,
                       const struct orl_type *type);

void orl_put_end(struct wbuf *w);
void orl_put_end_base(struct wbuf *w);
void orl_put_null(struct wbuf *w, uint32_t delta);
void orl_put_bool(struct wbuf *w, uint32_t delta, bool v);
void orl_put_int(struct wbuf *w, uint32_t delta, int32_t v); /* int, short, sbyte */
void orl_put_uint(struct wbuf *w, uint32_t delta, uint32_t v);
void orl_put_long(struct wbuf *w, uint32_t delta, int64_t v);
void orl_put_ulong(struct wbuf *w, uint32_t delta, uint64_t v);
void orl_put_fixed32(struct wbuf *w, uint32_t delta, uint32_t v);
void orl_put_fixed64(struct wbuf *w, uint32_t delta, uint64_t v);
void orl_put_float(struct wbuf *w, uint32_t delta, float v);
void orl_put_double(struct wbuf *w, uint32_t delta, double v);

/* A string or byte[]; a span with ptr NULL is written as null, an empty one as empty. */
void orl_put_bytes(struct wbuf *w, uint32_t delta, struct span v);

/* Sets wire and num as .NET would write the integer; for building fields for orl_put_token. */
void orl_field_set_int(struct orl_field *f, int64_t v);
void orl_field_set_uint(struct orl_field *f, uint64_t v);

/* Writes one field, or what orl_reader_token read: that byte for byte. */
void orl_put_token(struct wbuf *w, const struct orl_field *f);

#endif
