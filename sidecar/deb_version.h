/* Debian version numbers, [epoch:]upstream[-revision], ordered as dpkg orders them. Pure. */
#ifndef SIDECAR_DEB_VERSION_H
#define SIDECAR_DEB_VERSION_H

#include "sidecar/base/span.h"

enum sc_deb_relation {
    SC_DEB_ANY, /* no version asked for */
    SC_DEB_BELOW,
    SC_DEB_AT_MOST,
    SC_DEB_EQUAL,
    SC_DEB_AT_LEAST,
    SC_DEB_ABOVE
};

/* Below, at or above zero. Any bytes are ordered, well-formed or not. */
int sc_deb_version_compare(struct span a, struct span b);

/* Whether `have` stands in the relation to `asked`. */
bool sc_deb_version_satisfies(struct span have, enum sc_deb_relation relation, struct span asked);

#endif
