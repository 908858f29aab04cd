#ifndef ORLEANS_PROTO_INVOKE_H
#define ORLEANS_PROTO_INVOKE_H

#include "orleans-proto/message.h"
#include "orleans-proto/value.h"

/* Request bodies: one object whose type names interface and method, the arguments as fields
 * numbered by parameter (src/Orleans.CodeGenerator/InvokableGenerator.cs). */

enum { ORL_METHOD_HEAD_MAX = 640, ORL_INTERFACE_MAX = 192 };

/* What a method is called on the wire. Text is NUL-terminated and only read by orl_method_init. */
struct orl_method_def {
    const char *interface; /* header name: "Sample.IEchoGrain", or the interface's alias */
    const char *assembly;  /* "Sample.Interfaces"; NULL when interface is an alias */
    const char *declaring; /* interface that declares the method, if another (8.0 and later) */
    const char *id;        /* [Id] or [Alias] of the method; NULL: from signature */
    const char *signature; /* "global::Sample.IEchoGrain.Echo(string)" */
    const char *generic;   /* "`1[[int]]" for a constructed generic method, or NULL */
    bool extension;        /* a grain extension's method */
    bool one_way;          /* no answer is sent, not even for failures */
    uint16_t flags;        /* ORL_FLAG_READ_ONLY, ORL_FLAG_ALWAYS_INTERLEAVE */
};

/* A method ready to be called: its names are encoded and hashed once. Plain data, immutable after
 * init, shared freely. */
struct orl_method {
    uint16_t flags;
    bool one_way;
    uint16_t interface_len;
    uint16_t head_len;
    uint8_t interface_raw[ORL_INTERFACE_MAX + 8]; /* as it stands in a message header */
    uint8_t head[ORL_METHOD_HEAD_MAX];            /* the body up to the first argument */
};

/* SC_ERR_TOO_LARGE: names over the sizes above; SC_ERR_ARGUMENT: neither id nor signature. */
SC_MUST_USE enum sc_status orl_method_init(struct orl_method *m, const struct orl_method_def *def);

/* The interface's header name, borrowed from m. */
struct span orl_method_interface(const struct orl_method *m);

/* Writes the arguments of one request in parameter order; failure shows in w->failed. A type that
 * fits several parameters (T[], List<T>) is written as the parameter's own type. */
struct orl_args {
    struct wbuf *w;
    uint32_t delta; /* of the next argument */
};

void orl_args_begin(struct orl_args *a, struct wbuf *w, const struct orl_method *m);
void orl_args_end(struct orl_args *a);
void orl_args_skip(struct orl_args *a); /* a CancellationToken parameter: not written */
void orl_args_null(struct orl_args *a);
void orl_args_bool(struct orl_args *a, bool v);
void orl_args_int(struct orl_args *a, int32_t v);
void orl_args_long(struct orl_args *a, int64_t v);
void orl_args_double(struct orl_args *a, double v);
void orl_args_string(struct orl_args *a, struct span v); /* ptr NULL: null */
void orl_args_bytes(struct orl_args *a, struct span v);  /* ptr NULL: null */
void orl_args_bytes_list(struct orl_args *a, const struct span *v, size_t count); /* byte[][] */
void orl_args_guid(struct orl_args *a, const struct orl_guid *v);
void orl_args_reference(struct orl_args *a, const struct orl_reference *v);
void orl_args_value(struct orl_args *a, const struct orl_value *v);
void orl_args_object(struct orl_args *a, const struct orl_value *v); /* an object parameter */

/* For arguments of other shapes: the delta to write the next field with. */
uint32_t orl_args_next(struct orl_args *a);

/* A request that is being written by a session, between its call_begin and call_end. The caller
 * writes the arguments through args and touches nothing else. */
struct orl_call_frame {
    struct orl_args args;
    size_t frame_at;
    size_t body_at;
    uint64_t id;
    uint64_t deadline_ns;
    uint64_t user;
    bool one_way;
};

/* A list of byte[] (byte[][] or List<byte[]>), element by element. Enter yields the declared count,
 * which is the peer's word and sizes nothing. */
bool orl_list_enter(struct orl_reader *r, const struct orl_field *f, uint64_t *count_out);
bool orl_list_next(struct orl_reader *r, struct orl_field *f_out);

/* The names in a request body, borrowed from it. */
struct orl_call {
    struct span type;      /* the whole type name */
    struct span interface; /* declaring interface, "Sample.IEchoGrain" or an alias */
    struct span assembly;  /* empty for aliases */
    struct span method;    /* 8 hex digits, an [Id] or an alias */
    struct span generic;   /* "`1[[int]]", empty for none */
    bool extension;
};

/* Opens msg->body and enters the invokable: orl_reader_next then yields the arguments, f.id being
 * the parameter's position. SC_ERR_PROTOCOL: not a request body. */
SC_MUST_USE enum sc_status orl_call_open(const struct orl_message *msg, struct orl_reader *r,
                                         struct orl_call *call_out);

/* The same from a type name alone. */
SC_MUST_USE enum sc_status orl_call_parse(struct span type, struct orl_call *call_out);

/* True when the call is to this interface (without assembly) and method id. */
bool orl_call_is(const struct orl_call *call, const char *interface, const char *method);

#endif
