/* The frames of the local socket (docs/socket-protocol.md): msgpack to struct and back. Pure; both
 * directions, so daemon, client and tests share one reader. Decoding allocates nothing and borrows
 * from its input. */
#ifndef SIDECAR_SHIM_MSG_H
#define SIDECAR_SHIM_MSG_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"

enum {
    SC_SHIM_VERSION = 1,
    SC_SHIM_FRAME_PREFIX = 4,
    SC_SHIM_HELLO_FRAME_MAX = 64 * 1024, /* longest frame before HELLO_OK */
    SC_SHIM_NEST_MAX = 4                 /* arrays within the frame's array */
};

enum sc_shim_kind {
    SC_SHIM_HELLO = 1,
    SC_SHIM_ACTIVATE = 2,
    SC_SHIM_DEACTIVATE = 3,
    SC_SHIM_CALL = 4,
    SC_SHIM_SEND = 5,
    SC_SHIM_CANCEL = 6,
    SC_SHIM_CAPACITY = 7,
    SC_SHIM_KERNELS = 8,
    SC_SHIM_GOODBYE = 9,

    SC_SHIM_HELLO_OK = 129,
    SC_SHIM_ACTIVATED = 130,
    SC_SHIM_OK = 131,
    SC_SHIM_REPLY = 132,
    SC_SHIM_ERROR = 133,
    SC_SHIM_CAPACITY_REPORT = 134,
    SC_SHIM_KERNEL_LIST = 135,
    SC_SHIM_STATE = 136
};

/* Client to daemon. A kind uses the fields the protocol gives it, the others are zero. */
struct sc_shim_request {
    enum sc_shim_kind kind;
    uint64_t id;
    uint64_t grain;
    uint16_t type;
    uint32_t deadline_ms;
    uint32_t version;
    uint32_t state_bytes;
    struct span client, tenant;
    struct span kernel, key;
    struct span payload; /* of ACTIVATE: init */
};

struct sc_shim_capacity {
    bool ready, draining;
    uint32_t grains, grains_max;
    uint32_t calls, calls_max;
    uint64_t heap_used_bytes, heap_bytes;
    uint32_t p95_us;
    struct span device;
};

/* Daemon to client. */
struct sc_shim_response {
    enum sc_shim_kind kind;
    uint64_t id;
    uint64_t grain;
    uint64_t epoch;
    bool created;
    uint32_t version, credits, frame_max;
    uint32_t code;    /* of ERROR: enum sc_status */
    struct span text; /* of ERROR; of HELLO_OK: the daemon's name; of STATE: the cause */
    struct span payload;
    bool ready, draining; /* of STATE */
    struct sc_shim_capacity capacity;
    struct span kernels; /* of KERNEL_LIST: for sc_shim_kernels */
};

/* Finds the first frame in `in`. SC_AGAIN: not all of it is there; used_out then holds how many
 * bytes it takes as far as is known (4, or all of it). SC_ERR_LIMIT: longer than frame_max;
 * SC_ERR_PROTOCOL: empty. */
SC_MUST_USE enum sc_status sc_shim_frame(struct span in, uint32_t frame_max, struct span *body_out,
                                         size_t *used_out);

/* Decodes a frame's body. SC_ERR_PROTOCOL: not a request or response of ours; *out is untouched. */
SC_MUST_USE enum sc_status sc_shim_request_decode(struct span body, struct sc_shim_request *out);
SC_MUST_USE enum sc_status sc_shim_response_decode(struct span body, struct sc_shim_response *out);

/* Appends a whole frame, or nothing when the buffer has no room (w->failed). KERNEL_LIST takes
 * sc_shim_kernels_begin instead. */
void sc_shim_request_encode(struct wbuf *w, const struct sc_shim_request *request);
void sc_shim_response_encode(struct wbuf *w, const struct sc_shim_response *response);

/* The call and the reply, the two frames that must be fast. */
void sc_shim_call_encode(struct wbuf *w, uint64_t id, uint64_t grain, uint16_t type,
                         uint32_t deadline_ms, struct span payload);
void sc_shim_reply_encode(struct wbuf *w, uint64_t id, struct span payload);

/* A KERNEL_LIST, piece by piece: begin, then per kernel one _kernel followed by its messages, then
 * end with what begin returned. */
struct sc_shim_kernel {
    struct span id, version, error;
    bool ok;
    uint32_t message_count;
};
size_t sc_shim_kernels_begin(struct wbuf *w, uint64_t id, uint32_t kernel_count);
void sc_shim_kernels_kernel(struct wbuf *w, const struct sc_shim_kernel *kernel);
void sc_shim_kernels_message(struct wbuf *w, struct span name, uint16_t type);
void sc_shim_kernels_end(struct wbuf *w, size_t start);

/* Reads a KERNEL_LIST's kernels: init once, next until false, _message message_count times after
 * each next. bad is set by bytes that do not decode. */
struct sc_shim_kernels {
    struct reader r;
    uint32_t left;
    uint32_t messages_left;
};
void sc_shim_kernels_init(struct sc_shim_kernels *it, struct span kernels);
bool sc_shim_kernels_next(struct sc_shim_kernels *it, struct sc_shim_kernel *out);
bool sc_shim_kernels_next_message(struct sc_shim_kernels *it, struct span *name_out,
                                  uint16_t *type_out);

#endif
