#ifndef ORLEANS_PROTO_VALUE_H
#define ORLEANS_PROTO_VALUE_H

#include "orleans-proto/ids.h"

/* Values whose type is found at run time. */

enum orl_kind {
    ORL_KIND_NULL,
    ORL_KIND_BOOL,
    ORL_KIND_SBYTE,
    ORL_KIND_SHORT,
    ORL_KIND_INT,
    ORL_KIND_LONG,
    ORL_KIND_BYTE,
    ORL_KIND_USHORT,
    ORL_KIND_CHAR, /* a UTF-16 unit in u */
    ORL_KIND_UINT,
    ORL_KIND_ULONG,
    ORL_KIND_FLOAT,
    ORL_KIND_DOUBLE,
    ORL_KIND_STRING,
    ORL_KIND_BYTES,
    ORL_KIND_GUID,
    ORL_KIND_OTHER, /* any other type; not read, only skipped */
    ORL_KIND_COUNT
};

struct orl_value {
    enum orl_kind kind;
    union {
        bool b;
        int64_t i;  /* sbyte, short, int, long */
        uint64_t u; /* byte, ushort, char, uint, ulong */
        float f;
        double d;
        struct span bytes; /* string, byte[]; borrowed */
        struct orl_guid guid;
    };
};

static inline struct orl_value orl_value_int(int32_t v)
{
    return (struct orl_value){.kind = ORL_KIND_INT, .i = v};
}

static inline struct orl_value orl_value_long(int64_t v)
{
    return (struct orl_value){.kind = ORL_KIND_LONG, .i = v};
}

static inline struct orl_value orl_value_string(struct span v)
{
    return (struct orl_value){.kind = v.ptr != NULL ? ORL_KIND_STRING : ORL_KIND_NULL, .bytes = v};
}

static inline struct orl_value orl_value_bytes(struct span v)
{
    return (struct orl_value){.kind = v.ptr != NULL ? ORL_KIND_BYTES : ORL_KIND_NULL, .bytes = v};
}

/* The well-known type id of a kind; ORL_KNOWN_VOID for NULL and OTHER. And back: ORL_KIND_OTHER for
 * ids that are not among the kinds. */
uint32_t orl_kind_known(enum orl_kind kind);
enum orl_kind orl_kind_of_known(uint32_t known);

/* Reads the value of the last field read. expected says what a field without a type is; pass
 * ORL_KIND_OTHER where nothing is known. An OTHER value is left to be entered or skipped. Failures
 * show in r->status. */
struct orl_value orl_value_get(struct orl_reader *r, const struct orl_field *f,
                               enum orl_kind expected);

/* Writes a value where its type is the expected one, and where it is not (object): then with its
 * well-known type. OTHER writes null. */
void orl_put_value(struct wbuf *w, uint32_t delta, const struct orl_value *v);
void orl_put_value_typed(struct wbuf *w, uint32_t delta, const struct orl_value *v);

#endif
