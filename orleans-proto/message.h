#ifndef ORLEANS_PROTO_MESSAGE_H
#define ORLEANS_PROTO_MESSAGE_H

#include "orleans-proto/frame.h"
#include "orleans-proto/ids.h"

/* Message headers: fixed order, no tags (src/Orleans.Core/Messaging/MessageSerializer.cs). */

enum orl_direction {
    ORL_DIRECTION_NONE,
    ORL_DIRECTION_REQUEST,
    ORL_DIRECTION_RESPONSE,
    ORL_DIRECTION_ONE_WAY
};

enum orl_response_type {
    ORL_RESPONSE_NONE,    /* void, or the method threw */
    ORL_RESPONSE_SUCCESS, /* a raw value */
    ORL_RESPONSE_ERROR,   /* the request did not decode at the other side */
    ORL_RESPONSE_REJECTION,
    ORL_RESPONSE_STATUS /* still running; does not complete the call */
};

/* src/Orleans.Core/Messaging/Message.cs. Unlisted bits are carried along, except ORL_FLAG_RESERVED:
 * it may add header fields that cannot be skipped. */
enum orl_flag {
    ORL_FLAG_SYSTEM = 0x0001,
    ORL_FLAG_READ_ONLY = 0x0002,
    ORL_FLAG_ALWAYS_INTERLEAVE = 0x0004,
    ORL_FLAG_UNORDERED = 0x0008,
    ORL_FLAG_CONTEXT = 0x0010,
    ORL_FLAG_INTERFACE_VERSION = 0x0020,
    ORL_FLAG_INTERFACE_TYPE = 0x0040,
    ORL_FLAG_CACHE_INVALIDATION = 0x0080,
    ORL_FLAG_TTL = 0x0100,
    ORL_FLAG_LOCAL_ONLY = 0x0200,
    ORL_FLAG_SUPPRESS_KEEP_ALIVE = 0x0400,
    ORL_FLAG_RESERVED = 0x8000
};

struct orl_message {
    uint16_t flags; /* which of the optional parts below are there, and more */
    enum orl_direction direction;
    enum orl_response_type response_type;
    uint8_t forward_count;
    uint64_t id; /* correlation id, the sender's choice */
    struct orl_grain_id sender;
    struct orl_grain_id target;
    struct orl_silo sender_silo;
    struct orl_silo target_silo;
    int32_t ttl_ms;                /* ORL_FLAG_TTL: time left when sent */
    struct span interface;         /* ORL_FLAG_INTERFACE_TYPE */
    uint16_t interface_version;    /* ORL_FLAG_INTERFACE_VERSION */
    uint32_t cache_updates;        /* ORL_FLAG_CACHE_INVALIDATION: entries in */
    struct span cache_update_list; /* ... these fields, GrainAddressCacheUpdate each */
    uint32_t context_count;        /* ORL_FLAG_CONTEXT: entries in */
    struct span context;           /* ... these bytes, for orl_context_next */
    struct span body;              /* filled by who holds the frame; not part of the header */
};

/* Decodes a whole header; the result borrows from it. SC_ERR_VERSION: ORL_FLAG_RESERVED is set, the
 * frame cannot be understood. SC_ERR_PROTOCOL: anything else, including bytes left over. */
SC_MUST_USE enum sc_status orl_message_decode(struct span header, struct orl_message *msg_out);

/* Writes the header, optional parts as flags says. Writes nothing and says SC_ERR_ARGUMENT for a
 * system target without target_silo, whatever the direction: it would kill the silo. */
SC_MUST_USE enum sc_status orl_message_encode(struct wbuf *w, const struct orl_message *msg);

/* One whole frame: header and msg->body. Nothing is left in w on failure. */
SC_MUST_USE enum sc_status orl_message_write(struct wbuf *w, const struct orl_message *msg,
                                             const struct orl_limits *lim);

/* Prepares a reader for msg->body: raw responses by their own numbering, and with the type names
 * that were first given in the header, which the body may refer to. */
void orl_body_reader_init(struct orl_reader *r, const struct orl_message *msg);

/* Request context: key and one typed value per entry (src/Orleans.Core.Abstractions/Runtime/
 * RequestContext.cs). *rest starts as msg->context; false at the end or on failure (status). The
 * value is the one field in *value_out; read it with a reader of its own, for which a reference to
 * an earlier entry is an error. */
bool orl_context_next(struct span *rest, struct span *key_out, struct span *value_out,
                      enum sc_status *status_out);

/* Writes one string entry; count entries in orl_message.context_count. */
void orl_context_put_string(struct wbuf *w, struct span key, struct span value);

#endif
