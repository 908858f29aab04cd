/* Debian's control format as dpkg's status file and apt's package lists use it: paragraphs of
 * "Name: value" fields, and relations like "a (>= 1) | b:any, c" inside the values. Pure; results
 * borrow from the input. */
#ifndef SIDECAR_DEB822_H
#define SIDECAR_DEB822_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/deb_version.h"

enum { SC_DEB822_FIELDS_MAX = 128, SC_DEB822_ERROR_BYTES = 200, SC_DEB822_NAME_MAX = 200 };

struct sc_deb822_field {
    struct span name;
    struct span value; /* without outer blanks; with the newlines of its continuation lines */
    uint32_t line;
};

struct sc_deb822_paragraph {
    struct sc_deb822_field fields[SC_DEB822_FIELDS_MAX];
    uint32_t count;
};

/* A position in a file; start with {text, 1}. */
struct sc_deb822 {
    struct span left;
    uint32_t line; /* number of the next line */
};

/* Takes the next paragraph; count is 0 at the end of the file. SC_ERR_PROTOCOL: error
 * (SC_DEB822_ERROR_BYTES) names the line and what is wrong with it. */
SC_MUST_USE enum sc_status sc_deb822_next(struct sc_deb822 *in, struct sc_deb822_paragraph *out,
                                          char *error);

/* A field by name, letters in either case; NULL when the paragraph has none. */
const struct sc_deb822_field *sc_deb822_find(const struct sc_deb822_paragraph *p, const char *name);

/* One alternative of a clause, or one entry of Provides. */
struct sc_deb_alternative {
    struct span name;
    struct span qualifier; /* behind ':', e.g. "any" */
    enum sc_deb_relation relation;
    struct span version;
    bool starts_clause; /* the first alternative of its clause */
};

/* A position in a field of relations; start with {value, line of the field, true}. */
struct sc_deb_relations {
    struct span left;
    uint32_t line;
    bool at_clause;
};

/* Takes the next alternative; name.len is 0 at the end. SC_ERR_PROTOCOL as above. */
SC_MUST_USE enum sc_status sc_deb_relations_next(struct sc_deb_relations *in,
                                                 struct sc_deb_alternative *out, char *error);

#endif
