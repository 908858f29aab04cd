#ifndef ORLEANS_PROTO_PREAMBLE_H
#define ORLEANS_PROTO_PREAMBLE_H

#include "orleans-proto/ids.h"

/* What both sides send first: int32 LE length, then one serialized object
 * (src/Orleans.Core/Networking/ConnectionPreamble.cs). */

enum { ORL_PREAMBLE_MAX = 1024, ORL_PROTOCOL_VERSION = 1 };

#define ORL_CLIENT_GRAIN_TYPE "sys.client"
#define ORL_SILO_GRAIN_TYPE   "sys.silo"
#define ORL_SILO_GRAIN_KEY    "01111111-1111-1111-1111-111111111111"

struct orl_preamble {
    uint32_t version;
    struct orl_grain_id node; /* sys.client/<id> or sys.silo/... */
    struct orl_silo silo;     /* null from clients */
    struct span cluster_id;
};

/* SC_AGAIN: more bytes; SC_ERR_LIMIT: declared length over 1024 or not positive; SC_ERR_PROTOCOL:
 * does not decode. The result borrows from in. */
SC_MUST_USE enum sc_status orl_preamble_decode(struct span in, struct orl_preamble *preamble_out,
                                               size_t *used_out);

/* Bytes that in must have before orl_preamble_decode can yield; for sizing a read. */
size_t orl_preamble_need(struct span in);

/* SC_ERR_TOO_LARGE: over 1024 bytes, nothing written; SC_ERR_NO_MEMORY: w is full. */
SC_MUST_USE enum sc_status orl_preamble_encode(struct wbuf *w, const struct orl_preamble *preamble);

#endif
