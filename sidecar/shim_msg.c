#include "sidecar/shim_msg.h"

#include <msgpack.h>

#include "sidecar/msgpack_read.h"

enum sc_status sc_shim_frame(struct span in, uint32_t frame_max, struct span *body_out,
                             size_t *used_out)
{
    struct reader r = reader_of(in);
    uint32_t len = rd_u32le(&r);
    if (r.bad) {
        *used_out = SC_SHIM_FRAME_PREFIX;
        return SC_AGAIN;
    }
    if (len == 0)
        return SC_ERR_PROTOCOL;
    if (len > frame_max)
        return SC_ERR_LIMIT;
    *used_out = SC_SHIM_FRAME_PREFIX + (size_t)len;
    if (len > r.left)
        return SC_AGAIN;
    *body_out = span_of(r.pos, len);
    return SC_OK;
}

/* Opens the frame's array, whose first element is the kind. left_out: elements after it. */
static uint64_t open_frame(struct reader *r, uint32_t *left_out)
{
    uint32_t count = mp_array(r);
    uint64_t kind = mp_uint(r, UINT8_MAX);
    if (count == 0)
        r->bad = true;
    *left_out = count - 1;
    return kind;
}

/* After the known elements: passes over those a newer peer added, and nothing may follow. */
static bool close_frame(struct reader *r, uint32_t count, uint32_t known)
{
    if (count < known)
        return false;
    mp_skip(r, count - known, SC_SHIM_NEST_MAX);
    return !r->bad && r->left == 0;
}

enum sc_status sc_shim_request_decode(struct span body, struct sc_shim_request *out)
{
    struct reader r = reader_of(body);
    uint32_t count;
    struct sc_shim_request q = {.kind = (enum sc_shim_kind)open_frame(&r, &count)};
    uint32_t known = 0;
    switch (q.kind) {
    case SC_SHIM_CALL:
        q.id = mp_uint(&r, UINT64_MAX);
        q.grain = mp_uint(&r, UINT64_MAX);
        q.type = (uint16_t)mp_uint(&r, UINT16_MAX);
        q.deadline_ms = (uint32_t)mp_uint(&r, UINT32_MAX);
        q.payload = mp_bytes(&r);
        known = 5;
        break;
    case SC_SHIM_SEND:
        q.grain = mp_uint(&r, UINT64_MAX);
        q.type = (uint16_t)mp_uint(&r, UINT16_MAX);
        q.payload = mp_bytes(&r);
        known = 3;
        break;
    case SC_SHIM_ACTIVATE:
        q.id = mp_uint(&r, UINT64_MAX);
        q.kernel = mp_bytes(&r);
        q.key = mp_bytes(&r);
        q.state_bytes = (uint32_t)mp_uint(&r, UINT32_MAX);
        q.payload = mp_bytes(&r);
        known = 5;
        break;
    case SC_SHIM_DEACTIVATE:
        q.id = mp_uint(&r, UINT64_MAX);
        q.grain = mp_uint(&r, UINT64_MAX);
        known = 2;
        break;
    case SC_SHIM_CANCEL:
    case SC_SHIM_CAPACITY:
    case SC_SHIM_KERNELS:
        q.id = mp_uint(&r, UINT64_MAX);
        known = 1;
        break;
    case SC_SHIM_HELLO:
        q.version = (uint32_t)mp_uint(&r, UINT32_MAX);
        q.client = mp_bytes(&r);
        q.tenant = mp_bytes(&r);
        known = 3;
        break;
    case SC_SHIM_GOODBYE:
        break;
    default:
        return SC_ERR_PROTOCOL;
    }
    if (!close_frame(&r, count, known))
        return SC_ERR_PROTOCOL;
    *out = q;
    return SC_OK;
}

static void read_capacity(struct reader *r, struct sc_shim_response *p)
{
    struct sc_shim_capacity *c = &p->capacity;
    p->id = mp_uint(r, UINT64_MAX);
    p->epoch = mp_uint(r, UINT64_MAX);
    c->ready = mp_bool(r);
    c->draining = mp_bool(r);
    c->grains = (uint32_t)mp_uint(r, UINT32_MAX);
    c->grains_max = (uint32_t)mp_uint(r, UINT32_MAX);
    c->calls = (uint32_t)mp_uint(r, UINT32_MAX);
    c->calls_max = (uint32_t)mp_uint(r, UINT32_MAX);
    c->heap_used_bytes = mp_uint(r, UINT64_MAX);
    c->heap_bytes = mp_uint(r, UINT64_MAX);
    c->p95_us = (uint32_t)mp_uint(r, UINT32_MAX);
    c->device = mp_bytes(r);
}

enum sc_status sc_shim_response_decode(struct span body, struct sc_shim_response *out)
{
    struct reader r = reader_of(body);
    uint32_t count;
    struct sc_shim_response p = {.kind = (enum sc_shim_kind)open_frame(&r, &count)};
    uint32_t known = 0;
    switch (p.kind) {
    case SC_SHIM_REPLY:
        p.id = mp_uint(&r, UINT64_MAX);
        p.payload = mp_bytes(&r);
        known = 2;
        break;
    case SC_SHIM_OK:
        p.id = mp_uint(&r, UINT64_MAX);
        known = 1;
        break;
    case SC_SHIM_ERROR:
        p.id = mp_uint(&r, UINT64_MAX);
        p.code = (uint32_t)mp_uint(&r, UINT32_MAX);
        p.text = mp_bytes(&r);
        known = 3;
        break;
    case SC_SHIM_ACTIVATED:
        p.id = mp_uint(&r, UINT64_MAX);
        p.grain = mp_uint(&r, UINT64_MAX);
        p.epoch = mp_uint(&r, UINT64_MAX);
        p.created = mp_bool(&r);
        known = 4;
        break;
    case SC_SHIM_HELLO_OK:
        p.version = (uint32_t)mp_uint(&r, UINT32_MAX);
        p.text = mp_bytes(&r);
        p.epoch = mp_uint(&r, UINT64_MAX);
        p.credits = (uint32_t)mp_uint(&r, UINT32_MAX);
        p.frame_max = (uint32_t)mp_uint(&r, UINT32_MAX);
        known = 5;
        break;
    case SC_SHIM_CAPACITY_REPORT:
        read_capacity(&r, &p);
        known = 12;
        break;
    case SC_SHIM_KERNEL_LIST: {
        p.id = mp_uint(&r, UINT64_MAX);
        const uint8_t *start = r.pos;
        mp_skip(&r, 1, SC_SHIM_NEST_MAX);
        p.kernels = span_of(start, (size_t)(r.pos - start));
        known = 2;
        break;
    }
    case SC_SHIM_STATE:
        p.epoch = mp_uint(&r, UINT64_MAX);
        p.ready = mp_bool(&r);
        p.draining = mp_bool(&r);
        p.text = mp_bytes(&r);
        known = 4;
        break;
    default:
        return SC_ERR_PROTOCOL;
    }
    if (!close_frame(&r, count, known))
        return SC_ERR_PROTOCOL;
    *out = p;
    return SC_OK;
}

void sc_shim_kernels_init(struct sc_shim_kernels *it, struct span kernels)
{
    *it = (struct sc_shim_kernels){.r = reader_of(kernels)};
    it->left = mp_array(&it->r);
}

bool sc_shim_kernels_next(struct sc_shim_kernels *it, struct sc_shim_kernel *out)
{
    mp_skip(&it->r, it->messages_left, 1);
    it->messages_left = 0;
    if (it->left == 0 || it->r.bad)
        return false;
    it->left--;
    if (mp_array(&it->r) != 5)
        it->r.bad = true;
    struct sc_shim_kernel k = {.id = mp_bytes(&it->r)};
    k.version = mp_bytes(&it->r);
    k.ok = mp_bool(&it->r);
    k.error = mp_bytes(&it->r);
    k.message_count = mp_array(&it->r);
    if (it->r.bad)
        return false;
    it->messages_left = k.message_count;
    *out = k;
    return true;
}

bool sc_shim_kernels_next_message(struct sc_shim_kernels *it, struct span *name_out,
                                  uint16_t *type_out)
{
    if (it->messages_left == 0 || it->r.bad)
        return false;
    it->messages_left--;
    if (mp_array(&it->r) != 2)
        it->r.bad = true;
    struct span name = mp_bytes(&it->r);
    uint16_t type = (uint16_t)mp_uint(&it->r, UINT16_MAX);
    if (it->r.bad)
        return false;
    *name_out = name;
    *type_out = type;
    return true;
}

static inline int append(void *data, const char *bytes, size_t len)
{
    wb_bytes(data, bytes, len);
    return 0;
}

/* Leaves room for the length and opens the array of kind and `count` more. Returns where the frame
 * starts. */
static size_t begin(struct wbuf *w, msgpack_packer *pk, enum sc_shim_kind kind, size_t count)
{
    size_t start = w->len;
    wb_u32le(w, 0);
    msgpack_packer_init(pk, w, append);
    msgpack_pack_array(pk, count + 1);
    msgpack_pack_uint8(pk, (uint8_t)kind);
    return start;
}

/* Fills the length in, or takes the half frame back. */
static void end(struct wbuf *w, size_t start)
{
    if (w->failed) {
        w->len = start;
        return;
    }
    uint32_t len = (uint32_t)(w->len - start - SC_SHIM_FRAME_PREFIX);
    for (int i = 0; i < SC_SHIM_FRAME_PREFIX; i++)
        w->ptr[start + (size_t)i] = (uint8_t)(len >> (8 * i));
}

static void pack_bin(msgpack_packer *pk, struct span s)
{
    msgpack_pack_bin(pk, s.len);
    msgpack_pack_bin_body(pk, s.ptr, s.len);
}

static void pack_str(msgpack_packer *pk, struct span s)
{
    msgpack_pack_str(pk, s.len);
    msgpack_pack_str_body(pk, s.ptr, s.len);
}

static void pack_bool(msgpack_packer *pk, bool v)
{
    if (v)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
}

void sc_shim_call_encode(struct wbuf *w, uint64_t id, uint64_t grain, uint16_t type,
                         uint32_t deadline_ms, struct span payload)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_CALL, 5);
    msgpack_pack_uint64(&pk, id);
    msgpack_pack_uint64(&pk, grain);
    msgpack_pack_uint16(&pk, type);
    msgpack_pack_uint32(&pk, deadline_ms);
    pack_bin(&pk, payload);
    end(w, start);
}

void sc_shim_reply_encode(struct wbuf *w, uint64_t id, struct span payload)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_REPLY, 2);
    msgpack_pack_uint64(&pk, id);
    pack_bin(&pk, payload);
    end(w, start);
}

static void encode_hello(struct wbuf *w, const struct sc_shim_request *q)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_HELLO, 3);
    msgpack_pack_uint32(&pk, q->version);
    pack_str(&pk, q->client);
    pack_str(&pk, q->tenant);
    end(w, start);
}

static void encode_activate(struct wbuf *w, const struct sc_shim_request *q)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_ACTIVATE, 5);
    msgpack_pack_uint64(&pk, q->id);
    pack_str(&pk, q->kernel);
    pack_bin(&pk, q->key);
    msgpack_pack_uint32(&pk, q->state_bytes);
    pack_bin(&pk, q->payload);
    end(w, start);
}

static void encode_send(struct wbuf *w, const struct sc_shim_request *q)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_SEND, 3);
    msgpack_pack_uint64(&pk, q->grain);
    msgpack_pack_uint16(&pk, q->type);
    pack_bin(&pk, q->payload);
    end(w, start);
}

static void encode_ids(struct wbuf *w, enum sc_shim_kind kind, const uint64_t *ids, size_t count)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, kind, count);
    for (size_t i = 0; i < count; i++)
        msgpack_pack_uint64(&pk, ids[i]);
    end(w, start);
}

void sc_shim_request_encode(struct wbuf *w, const struct sc_shim_request *q)
{
    const uint64_t ids[2] = {q->id, q->grain};
    switch (q->kind) {
    case SC_SHIM_HELLO:
        encode_hello(w, q);
        break;
    case SC_SHIM_ACTIVATE:
        encode_activate(w, q);
        break;
    case SC_SHIM_CALL:
        sc_shim_call_encode(w, q->id, q->grain, q->type, q->deadline_ms, q->payload);
        break;
    case SC_SHIM_SEND:
        encode_send(w, q);
        break;
    case SC_SHIM_DEACTIVATE:
        encode_ids(w, q->kind, ids, 2);
        break;
    case SC_SHIM_CANCEL:
    case SC_SHIM_CAPACITY:
    case SC_SHIM_KERNELS:
        encode_ids(w, q->kind, ids, 1);
        break;
    case SC_SHIM_GOODBYE:
        encode_ids(w, q->kind, ids, 0);
        break;
    default:
        w->failed = true;
        break;
    }
}

static void encode_hello_ok(struct wbuf *w, const struct sc_shim_response *p)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_HELLO_OK, 5);
    msgpack_pack_uint32(&pk, p->version);
    pack_str(&pk, p->text);
    msgpack_pack_uint64(&pk, p->epoch);
    msgpack_pack_uint32(&pk, p->credits);
    msgpack_pack_uint32(&pk, p->frame_max);
    end(w, start);
}

static void encode_activated(struct wbuf *w, const struct sc_shim_response *p)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_ACTIVATED, 4);
    msgpack_pack_uint64(&pk, p->id);
    msgpack_pack_uint64(&pk, p->grain);
    msgpack_pack_uint64(&pk, p->epoch);
    pack_bool(&pk, p->created);
    end(w, start);
}

static void encode_error(struct wbuf *w, const struct sc_shim_response *p)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_ERROR, 3);
    msgpack_pack_uint64(&pk, p->id);
    msgpack_pack_uint32(&pk, p->code);
    pack_str(&pk, p->text);
    end(w, start);
}

static void encode_capacity(struct wbuf *w, const struct sc_shim_response *p)
{
    const struct sc_shim_capacity *c = &p->capacity;
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_CAPACITY_REPORT, 12);
    msgpack_pack_uint64(&pk, p->id);
    msgpack_pack_uint64(&pk, p->epoch);
    pack_bool(&pk, c->ready);
    pack_bool(&pk, c->draining);
    msgpack_pack_uint32(&pk, c->grains);
    msgpack_pack_uint32(&pk, c->grains_max);
    msgpack_pack_uint32(&pk, c->calls);
    msgpack_pack_uint32(&pk, c->calls_max);
    msgpack_pack_uint64(&pk, c->heap_used_bytes);
    msgpack_pack_uint64(&pk, c->heap_bytes);
    msgpack_pack_uint32(&pk, c->p95_us);
    pack_str(&pk, c->device);
    end(w, start);
}

static void encode_state(struct wbuf *w, const struct sc_shim_response *p)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_STATE, 4);
    msgpack_pack_uint64(&pk, p->epoch);
    pack_bool(&pk, p->ready);
    pack_bool(&pk, p->draining);
    pack_str(&pk, p->text);
    end(w, start);
}

void sc_shim_response_encode(struct wbuf *w, const struct sc_shim_response *p)
{
    switch (p->kind) {
    case SC_SHIM_HELLO_OK:
        encode_hello_ok(w, p);
        break;
    case SC_SHIM_ACTIVATED:
        encode_activated(w, p);
        break;
    case SC_SHIM_OK:
        encode_ids(w, p->kind, &p->id, 1);
        break;
    case SC_SHIM_REPLY:
        sc_shim_reply_encode(w, p->id, p->payload);
        break;
    case SC_SHIM_ERROR:
        encode_error(w, p);
        break;
    case SC_SHIM_CAPACITY_REPORT:
        encode_capacity(w, p);
        break;
    case SC_SHIM_STATE:
        encode_state(w, p);
        break;
    default:
        w->failed = true;
        break;
    }
}

size_t sc_shim_kernels_begin(struct wbuf *w, uint64_t id, uint32_t kernel_count)
{
    msgpack_packer pk;
    size_t start = begin(w, &pk, SC_SHIM_KERNEL_LIST, 2);
    msgpack_pack_uint64(&pk, id);
    msgpack_pack_array(&pk, kernel_count);
    return start;
}

void sc_shim_kernels_kernel(struct wbuf *w, const struct sc_shim_kernel *k)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, w, append);
    msgpack_pack_array(&pk, 5);
    pack_str(&pk, k->id);
    pack_str(&pk, k->version);
    pack_bool(&pk, k->ok);
    pack_str(&pk, k->error);
    msgpack_pack_array(&pk, k->message_count);
}

void sc_shim_kernels_message(struct wbuf *w, struct span name, uint16_t type)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, w, append);
    msgpack_pack_array(&pk, 2);
    pack_str(&pk, name);
    msgpack_pack_uint16(&pk, type);
}

void sc_shim_kernels_end(struct wbuf *w, size_t start)
{
    end(w, start);
}
