#ifndef ORLEANS_PROTO_REPLY_H
#define ORLEANS_PROTO_REPLY_H

#include "orleans-proto/response.h"

/* Where an answer goes. Owns its bytes, so a request can be answered after its frame is gone; plain
 * data, copied freely. */

enum { ORL_REPLY_IDS_MAX = 448 };

struct orl_reply {
    uint64_t id;
    uint16_t flags;
    int32_t ttl_ms;
    struct orl_silo from_silo;
    struct orl_silo to_silo;
    struct orl_limits limits;
    uint16_t len[4]; /* raw IdSpans of who answers (type, key) and whom (type, key) */
    uint8_t ids[ORL_REPLY_IDS_MAX];
};

/* Takes the address from a request; the sessions do this. SC_ERR_TOO_LARGE: its ids are over
 * ORL_REPLY_IDS_MAX. */
SC_MUST_USE enum sc_status orl_reply_init(struct orl_reply *reply,
                                          const struct orl_message *request);

/* One answer as a frame to the end of w. Each leaves w as it was on failure: SC_ERR_NO_MEMORY,
 * SC_ERR_TOO_LARGE, SC_ERR_ARGUMENT (a system target whose silo is unknown). */
SC_MUST_USE enum sc_status orl_reply_completed(struct wbuf *w, const struct orl_reply *reply);
SC_MUST_USE enum sc_status orl_reply_value(struct wbuf *w, const struct orl_reply *reply,
                                           const struct orl_value *v, enum orl_kind declared);
SC_MUST_USE enum sc_status orl_reply_exception(struct wbuf *w, const struct orl_reply *reply,
                                               const struct orl_exception *e);
SC_MUST_USE enum sc_status orl_reply_rejection(struct wbuf *w, const struct orl_reply *reply,
                                               enum orl_rejection rejection, struct span info);

/* For any other body: begin, write the body into w, end. begin returns the frame's offset. */
SC_MUST_USE enum sc_status orl_reply_begin(struct wbuf *w, const struct orl_reply *reply,
                                           enum orl_response_type type, size_t *frame_at_out,
                                           size_t *body_at_out);
SC_MUST_USE enum sc_status orl_reply_end(struct wbuf *w, const struct orl_reply *reply,
                                         size_t frame_at, size_t body_at);

#endif
