/* A hostile silo: its bytes arrive in chunks of the first byte's size, while calls are in flight.
 */
#include "orleans-proto/client.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void call(struct orl_client *c, struct wbuf *w, const struct orl_method *m, uint64_t user)
{
    const struct orl_client_call call = {
        .target = {span_of_str("echo"), span_of_str("k")},
        .method = m,
        .timeout_ms = 1000,
        .user = user,
    };
    struct orl_call_frame frame;
    if (orl_client_call_begin(c, w, &call, &frame) != SC_OK)
        return;
    orl_args_string(&frame.args, span_of_str("x"));
    check(orl_client_call_end(c, &frame, NULL) == SC_OK);
}

static void handle(struct orl_client_event *ev, struct wbuf *w)
{
    struct orl_reader r;
    struct orl_call call;
    struct orl_field f;
    if (ev->kind == ORL_CLIENT_REQUEST && ev->can_reply) {
        enum sc_status st = orl_reply_completed(w, &ev->reply);
        check(st == SC_OK || st == SC_ERR_ARGUMENT);
    }
    if ((ev->kind == ORL_CLIENT_REQUEST || ev->kind == ORL_CLIENT_ONE_WAY) &&
        orl_call_open(&ev->message, &r, &call) == SC_OK) {
        while (orl_reader_next(&r, &f))
            continue;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct orl_method_def def = {
        .interface = "I.E", .assembly = "A", .signature = "global::I.E.Echo(string)"};
    const struct orl_client_config config = {
        .cluster_id = span_of_str("dev"),
        .first_call_id = 1,
        .calls_max = 4,
        .limits = {1 << 16, 1 << 20},
    };
    struct orl_client *c = NULL;
    struct orl_client_event ev;
    struct orl_method m;
    struct wbuf w;
    if (len == 0)
        return 0;
    size_t chunk = (size_t)data[0] + 1;
    check(orl_method_init(&m, &def) == SC_OK);
    check(orl_client_open(&config, &c) == SC_OK);
    wbuf_init(&w, 1 << 20);
    check(orl_client_start(c, &w) == SC_OK);
    for (uint64_t user = 0; user < 5; user++)
        call(c, &w, &m, user);
    size_t taken = 1;
    size_t there = 1;
    enum sc_status st = SC_AGAIN;
    while (st == SC_AGAIN && there < len) {
        there = chunk < len - there ? there + chunk : len;
        size_t used = 0;
        for (;;) {
            struct span in = span_of(data + taken, there - taken);
            st = orl_client_next(c, in, &used, &ev);
            check(st != SC_AGAIN || orl_client_need(c, in) > in.len);
            if (st != SC_OK)
                break;
            check(used > 0 && used <= in.len);
            handle(&ev, &w);
            taken += used;
            wbuf_clear(&w);
        }
    }
    uint64_t id = 0;
    uint64_t user = 0;
    check(orl_client_ended(c, len - taken) != ORL_WHY_NONE);
    uint32_t left = orl_client_calls(c);
    for (uint32_t i = 0; i < left; i++)
        check(orl_client_abandon(c, &id, &user) && user < 5);
    check(!orl_client_abandon(c, &id, &user));
    wbuf_fini(&w);
    orl_client_close(c);
    return 0;
}
