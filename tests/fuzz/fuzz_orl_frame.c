/* One frame with its header: what decodes must encode, and decode to the same again. */
#include "orleans-proto/invoke.h"
#include "orleans-proto/response.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct orl_limits lim = {1 << 16, 1 << 20};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_round_trip(const struct orl_message *m)
{
    struct orl_message back;
    struct orl_frame frame;
    struct wbuf w;
    size_t used = 0;
    wbuf_init(&w, 1 << 22);
    enum sc_status st = orl_message_write(&w, m, &lim);
    check(st == SC_OK || st == SC_ERR_TOO_LARGE ||
          (st == SC_ERR_ARGUMENT && orl_is_system_target(m->target.type)));
    if (st == SC_OK) {
        check(orl_frame_decode(wbuf_span(&w), &lim, &frame, &used) == SC_OK && used == w.len);
        check(orl_message_decode(frame.header, &back) == SC_OK);
        check(back.id == m->id && back.flags == m->flags && back.direction == m->direction);
        check(orl_grain_id_eq(back.sender, m->sender) && orl_grain_id_eq(back.target, m->target));
        check(orl_silo_eq(&back.target_silo, &m->target_silo) && back.ttl_ms == m->ttl_ms);
        check(span_eq(back.context, m->context) && span_eq(frame.body, m->body));
        check(span_eq(back.cache_update_list, m->cache_update_list));
    }
    wbuf_fini(&w);
}

static void read_context(const struct orl_message *m)
{
    struct span rest = m->context;
    struct span key;
    struct span value;
    enum sc_status st = SC_OK;
    uint32_t count = 0;
    while (orl_context_next(&rest, &key, &value, &st))
        count++;
    check(st == SC_OK && count == m->context_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct orl_frame frame;
    struct orl_message m;
    struct orl_response response;
    struct orl_reader r;
    struct orl_call call;
    size_t used = 0;
    enum sc_status st = orl_frame_decode(span_of(data, len), &lim, &frame, &used);
    check(st != SC_AGAIN || orl_frame_need(span_of(data, len), &lim) > len);
    if (st != SC_OK || orl_message_decode(frame.header, &m) != SC_OK)
        return 0;
    m.body = frame.body;
    check_round_trip(&m);
    read_context(&m);
    if (orl_response_decode(&m, &response) == SC_OK)
        check(response.exception.message.len <= len);
    if (orl_call_open(&m, &r, &call) == SC_OK)
        check(call.method.len <= call.type.len && orl_reader_finish(&r) != SC_AGAIN);
    return 0;
}
