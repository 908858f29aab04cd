#ifndef ORLEANS_PROTO_DUMP_H
#define ORLEANS_PROTO_DUMP_H

#include "orleans-proto/message.h"
#include "orleans-proto/preamble.h"

/* Readable text of what is on the wire, for people; one line per message and per field. Control
 * characters are written as \xNN, long values are cut. */

void orl_dump_preamble(struct wbuf *w, const struct orl_preamble *preamble);

/* One message: header lines, then its body's fields. */
void orl_dump_message(struct wbuf *w, const struct orl_message *msg);

/* The fields of any serialized span, indented by depth. */
void orl_dump_fields(struct wbuf *w, struct orl_reader *r);

/* A whole recorded direction: preamble (unless left out), then frames. Returns how many messages
 * decoded; *rest_out is what did not, empty when all did. */
size_t orl_dump_stream(struct wbuf *w, struct span in, bool has_preamble,
                       const struct orl_limits *lim, struct span *rest_out);

#endif
