/* A peer's first bytes: what decodes must encode, and decode to the same again. */
#include "orleans-proto/preamble.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct orl_preamble p;
    struct orl_preamble back;
    struct wbuf w;
    size_t used = 0;
    enum sc_status st = orl_preamble_decode(span_of(data, len), &p, &used);
    check(st != SC_AGAIN || orl_preamble_need(span_of(data, len)) > len);
    if (st != SC_OK)
        return 0;
    check(used <= len);
    wbuf_init(&w, 1 << 16);
    /* The hashes that .NET adds can make a preamble longer than the one that was read. */
    st = orl_preamble_encode(&w, &p);
    check(st == SC_OK || st == SC_ERR_TOO_LARGE);
    if (st == SC_OK) {
        check(orl_preamble_decode(wbuf_span(&w), &back, &used) == SC_OK);
        check(span_eq(back.cluster_id, p.cluster_id) && orl_silo_eq(&back.silo, &p.silo));
        check(orl_grain_id_eq(back.node, p.node) && back.version == p.version);
    }
    wbuf_fini(&w);
    return 0;
}
