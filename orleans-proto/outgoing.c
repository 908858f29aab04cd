#include "orleans-proto/outgoing.h"

enum { NS_PER_MS = 1000000 };

uint64_t orl_deadline_ns(uint64_t now_ns, uint32_t timeout_ms)
{
    uint64_t timeout_ns = (uint64_t)timeout_ms * NS_PER_MS;
    if (timeout_ns == 0 || timeout_ns > UINT64_MAX - 1 - now_ns)
        return UINT64_MAX;
    return now_ns + timeout_ns;
}

enum sc_status orl_outgoing_end(struct orl_call_frame *frame, struct orl_inflight *calls,
                                const struct orl_limits *lim)
{
    struct wbuf *w = frame->args.w;
    orl_args_end(&frame->args);
    enum sc_status st = orl_frame_end(w, frame->frame_at, frame->body_at, lim);
    if (st != SC_OK || frame->one_way)
        return st;
    st = orl_inflight_add(calls, frame->id, frame->deadline_ns, frame->user);
    if (st != SC_OK)
        w->len = frame->frame_at;
    return st;
}
