/* A hostile client: its bytes arrive in chunks of the first byte's size; requests are answered, and
 * an observer is called. */
#include "orleans-proto/gateway.h"
#include "orleans-proto/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void answer(const struct orl_gateway_event *ev, struct wbuf *w)
{
    struct orl_reader r;
    struct orl_call call;
    struct orl_field f;
    const struct orl_value v = orl_value_string(span_of_str("ok"));
    check(orl_call_open(&ev->message, &r, &call) == SC_OK);
    while (orl_reader_next(&r, &f))
        orl_value_get(&r, &f, ORL_KIND_STRING);
    enum sc_status st = orl_reply_value(w, &ev->reply, &v, ORL_KIND_STRING);
    check(st == SC_OK || st == SC_ERR_ARGUMENT);
}

static void call_observer(struct orl_gateway *g, struct wbuf *w)
{
    struct orl_method m;
    struct orl_call_frame frame;
    struct wbuf key;
    const struct orl_guid id = {{1}};
    wbuf_init(&key, 4096);
    wb_printf(&key, "%.*s+o", SPAN_ARG(orl_gateway_client(g).key));
    const struct orl_gateway_call call = {
        .sender = {span_of_str("sys.svc.stream.agent"), span_of_str("s")},
        .target = {orl_gateway_client(g).type, wbuf_span(&key)},
        .method = &m,
        .timeout_ms = 1000,
    };
    check(orl_stream_method_init(&m, ORL_STREAM_GET_TOKEN) == SC_OK);
    if (orl_gateway_call_begin(g, w, &call, &frame) == SC_OK) {
        orl_args_get_token(&frame.args, &id);
        check(orl_gateway_call_end(g, &frame, NULL) == SC_OK);
    }
    wbuf_fini(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct orl_gateway_config config = {
        .cluster_id = span_of_str("dev"),
        .first_call_id = 1,
        .calls_max = 4,
        .limits = {1 << 16, 1 << 20},
        .silo = {.ip = {127, 0, 0, 1}, .ip_len = 4, .port = 11111, .generation = 1},
    };
    struct orl_gateway *g = NULL;
    struct orl_gateway_event ev;
    struct wbuf w;
    if (len == 0)
        return 0;
    size_t chunk = (size_t)data[0] + 1;
    check(orl_gateway_open(&config, &g) == SC_OK);
    wbuf_init(&w, 1 << 20);
    size_t taken = 1;
    size_t there = 1;
    enum sc_status st = SC_AGAIN;
    while (st == SC_AGAIN && there < len) {
        there = chunk < len - there ? there + chunk : len;
        size_t used = 0;
        for (;;) {
            struct span in = span_of(data + taken, there - taken);
            st = orl_gateway_next(g, in, &used, &w, &ev);
            check(st != SC_AGAIN || orl_gateway_need(g, in) > in.len);
            if (st != SC_OK)
                break;
            check(used > 0 && used <= in.len);
            if (ev.kind == ORL_GATEWAY_REQUEST)
                answer(&ev, &w);
            if (ev.kind == ORL_GATEWAY_READY || ev.kind == ORL_GATEWAY_RESPONSE)
                call_observer(g, &w);
            taken += used;
            wbuf_clear(&w);
        }
    }
    wbuf_fini(&w);
    orl_gateway_close(g);
    return 0;
}
