#ifndef ORLEANS_PROTO_FRAME_H
#define ORLEANS_PROTO_FRAME_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"

/* int32 LE header length (1 or more), int32 LE body length (0 or more), header, body
 * (src/Orleans.Core/Messaging/MessageSerializer.cs). */

enum { ORL_FRAME_PREFIX = 8, ORL_HEADER_MAX = 10 << 20, ORL_BODY_MAX = 100 << 20 };

struct orl_limits {
    uint32_t header_max; /* bytes, at most ORL_HEADER_MAX */
    uint32_t body_max;   /* bytes, at most ORL_BODY_MAX */
};

struct orl_frame {
    struct span header;
    struct span body;
};

/* SC_AGAIN: more bytes. SC_ERR_LIMIT: a length is over its limit, known from the first 8 bytes;
 * SC_ERR_PROTOCOL: no header or a negative length. The result borrows from in. */
SC_MUST_USE enum sc_status orl_frame_decode(struct span in, const struct orl_limits *lim,
                                            struct orl_frame *frame_out, size_t *used_out);

/* Bytes that in must have before orl_frame_decode can yield its first frame; for sizing a read.
 * Lengths over their limits count as the prefix alone. */
size_t orl_frame_need(struct span in, const struct orl_limits *lim);

/* Writing: begin, header, mark, body, end. begin returns the frame's offset in w. end patches the
 * lengths, or takes the whole frame back: SC_ERR_NO_MEMORY when w failed (failed is cleared, what
 * came before the frame stays), SC_ERR_TOO_LARGE when a part is over lim. */
size_t orl_frame_begin(struct wbuf *w);
SC_MUST_USE enum sc_status orl_frame_end(struct wbuf *w, size_t frame_at, size_t body_at,
                                         const struct orl_limits *lim);

#endif
