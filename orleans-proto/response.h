#ifndef ORLEANS_PROTO_RESPONSE_H
#define ORLEANS_PROTO_RESPONSE_H

#include "orleans-proto/message.h"
#include "orleans-proto/value.h"

/* The bodies of responses, and the exceptions in them. */

/* The three forms of exceptions: system ones, generated ones, and by entry lists (src/
 * Orleans.Serialization/ISerializableSerializer/ExceptionCodec.cs). message has ptr NULL when it
 * was not found. */
struct orl_exception {
    struct span type; /* .NET type name, with assembly for other than core types */
    struct span message;
};
struct orl_exception orl_get_exception(struct orl_reader *r, const struct orl_field *f);

/* A system exception without stack trace; type e.g. "System.Exception". */
void orl_put_exception(struct wbuf *w, uint32_t delta, const struct orl_exception *e);

enum orl_outcome {
    ORL_OUTCOME_COMPLETED, /* void */
    ORL_OUTCOME_VALUE,
    ORL_OUTCOME_EXCEPTION,
    ORL_OUTCOME_REJECTED,
    ORL_OUTCOME_STATUS, /* still running */
    ORL_OUTCOME_UNKNOWN /* a type that we cannot read; the call is over */
};

enum orl_rejection {
    ORL_REJECTION_NONE,
    ORL_REJECTION_TRANSIENT,
    ORL_REJECTION_OVERLOADED,
    ORL_REJECTION_UNRECOVERABLE,
    ORL_REJECTION_GATEWAY_TOO_BUSY,
    ORL_REJECTION_CACHE_INVALIDATION,
    ORL_REJECTION_COUNT
};

/* Lower-case word for logs, e.g. "gateway_too_busy". */
const char *orl_rejection_name(enum orl_rejection rejection);

/* A response's body, borrowed from the message. */
struct orl_response {
    enum orl_outcome outcome;
    struct orl_type type;           /* VALUE: the method's result type T */
    struct orl_value value;         /* VALUE: NULL when null or default; OTHER: see body */
    struct span body;               /* the whole body, for reading an OTHER value */
    struct orl_exception exception; /* EXCEPTION; REJECTED when it carries one, else empty */
    enum orl_rejection rejection;   /* REJECTED */
    struct span info;               /* REJECTED: text for people */
};

/* SC_ERR_PROTOCOL: the body does not decode; the call should fail, the connection can go on. */
SC_MUST_USE enum sc_status orl_response_decode(const struct orl_message *msg,
                                               struct orl_response *response_out);

/* Positions r at field 0 of a raw value of any type, already read into *f_out; false: null or
 * default. For OTHER values: enter it and read its fields. */
bool orl_response_value_open(const struct orl_message *msg, struct orl_reader *r,
                             struct orl_field *f_out);

/* Bodies of responses (src/Orleans.Serialization/Invocation/Response.cs). A value goes with
 * ORL_RESPONSE_SUCCESS, completed and exception with NONE, rejection with REJECTION. declared is
 * the method's result type when the value is null; OTHER is refused. */
void orl_put_completed(struct wbuf *w);
void orl_put_raw_value(struct wbuf *w, const struct orl_value *v, enum orl_kind declared);
void orl_put_raw_null(struct wbuf *w, struct span type_name);
void orl_put_exception_response(struct wbuf *w, const struct orl_exception *e);
void orl_put_rejection(struct wbuf *w, enum orl_rejection rejection, struct span info);

#endif
