/* Frames of the local socket, both directions: what our reader takes, msgpack-c takes too and reads
 * as the same kind, and it survives being written and read again. */
#include <stdlib.h>

#include <msgpack.h>

#include "sidecar/shim_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

static void check_with_msgpack_c(struct span body, unsigned kind)
{
    msgpack_unpacked un;
    msgpack_unpacked_init(&un);
    size_t off = 0;
    require(msgpack_unpack_next(&un, (const char *)body.ptr, body.len, &off) ==
            MSGPACK_UNPACK_SUCCESS);
    require(off == body.len && un.data.type == MSGPACK_OBJECT_ARRAY);
    require(un.data.via.array.size >= 1 && un.data.via.array.ptr[0].via.u64 == kind);
    msgpack_unpacked_destroy(&un);
}

static void check_again(const struct sc_shim_request *q)
{
    struct wbuf one, two;
    wbuf_init(&one, 1 << 20);
    wbuf_init(&two, 1 << 20);
    sc_shim_request_encode(&one, q);
    struct span body = {0};
    size_t used;
    struct sc_shim_request again;
    require(!one.failed && sc_shim_frame(wbuf_span(&one), UINT32_MAX, &body, &used) == SC_OK);
    require(sc_shim_request_decode(body, &again) == SC_OK);
    sc_shim_request_encode(&two, &again);
    require(span_eq(wbuf_span(&one), wbuf_span(&two)));
    wbuf_fini(&one);
    wbuf_fini(&two);
}

static void walk_kernels(struct span list)
{
    struct sc_shim_kernels it;
    struct sc_shim_kernel k;
    struct span name;
    uint16_t type;
    sc_shim_kernels_init(&it, list);
    while (sc_shim_kernels_next(&it, &k))
        while (sc_shim_kernels_next_message(&it, &name, &type))
            require(name.len <= list.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size), body;
    size_t used;
    if (sc_shim_frame(in, 4096, &body, &used) == SC_OK)
        require(used <= size && body.len + SC_SHIM_FRAME_PREFIX == used);
    struct sc_shim_request q;
    if (sc_shim_request_decode(in, &q) == SC_OK) {
        check_with_msgpack_c(in, q.kind);
        check_again(&q);
    }
    struct sc_shim_response p;
    if (sc_shim_response_decode(in, &p) == SC_OK) {
        check_with_msgpack_c(in, p.kind);
        if (p.kind == SC_SHIM_KERNEL_LIST)
            walk_kernels(p.kernels);
    }
    return 0;
}
