/* Requests of a shim and their answers. */
#include <stdio.h>

#include "gpu/catalog.h"
#include "gpu/gpu.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/metrics.h"
#include "sidecar/shim_impl.h"

/* -- answers */

void shim_answer(struct shim_conn *conn, const struct sc_shim_response *response)
{
    sc_shim_response_encode(&conn->out, response);
    shim_conn_dirty(conn);
}

void shim_answer_error(struct shim_conn *conn, uint64_t id, enum sc_status code, const char *text)
{
    shim_answer(conn, &(struct sc_shim_response){.kind = SC_SHIM_ERROR,
                                                 .id = id,
                                                 .code = (uint32_t)code,
                                                 .text = span_of_str(text)});
}

void shim_answer_state(struct shim_conn *conn)
{
    struct sc_router_view view;
    sc_router_view(conn->shim->router, &view);
    shim_answer(conn, &(struct sc_shim_response){.kind = SC_SHIM_STATE,
                                                 .epoch = view.epoch,
                                                 .ready = view.ready,
                                                 .draining = view.draining,
                                                 .text = span_of_str(view.cause)});
}

static void settle(struct shim_conn *conn, const struct sc_reply *reply,
                   struct sc_shim_response good)
{
    conn->in_flight--;
    good.id = reply->id;
    if (reply->status == SC_OK)
        shim_answer(conn, &good);
    else
        shim_answer(conn, &(struct sc_shim_response){.kind = SC_SHIM_ERROR,
                                                     .id = reply->id,
                                                     .code = (uint32_t)reply->status,
                                                     .text = reply->text});
    shim_conn_relieve(conn);
}

static void on_called(void *user, const struct sc_reply *reply)
{
    struct shim_conn *conn = user;
    if (reply->status != SC_OK) {
        settle(conn, reply, (struct sc_shim_response){.kind = SC_SHIM_REPLY});
        return;
    }
    conn->in_flight--;
    sc_shim_reply_encode(&conn->out, reply->id, reply->payload);
    shim_conn_dirty(conn);
    shim_conn_relieve(conn);
}

static void on_activated(void *user, const struct sc_reply *reply)
{
    struct shim_conn *conn = user;
    struct sc_router_view view;
    sc_router_view(conn->shim->router, &view);
    settle(conn, reply,
           (struct sc_shim_response){.kind = SC_SHIM_ACTIVATED,
                                     .grain = reply->value,
                                     .epoch = view.epoch,
                                     .created = reply->created});
}

static void on_deactivated(void *user, const struct sc_reply *reply)
{
    settle(user, reply, (struct sc_shim_response){.kind = SC_SHIM_OK});
}

/* -- requests */

static enum sc_status serve_hello(struct shim_conn *conn, const struct sc_shim_request *q)
{
    if (q->version != SC_SHIM_VERSION) {
        char text[96];
        snprintf(text, sizeof text, "version %u is not spoken here, only %u", q->version,
                 SC_SHIM_VERSION);
        shim_answer_error(conn, 0, SC_ERR_VERSION, text);
        return SC_ERR_VERSION;
    }
    size_t len = q->client.len < SHIM_NAME_BYTES - 1 ? q->client.len : SHIM_NAME_BYTES - 1;
    if (len != 0)
        memcpy(conn->name, q->client.ptr, len);
    shim_conn_to(conn, SHIM_OPEN);
    SC_INFO(conn->shim->log, "shim %llu open client %s", (unsigned long long)conn->number,
            conn->name);
    struct sc_router_view view;
    sc_router_view(conn->shim->router, &view);
    shim_answer(conn, &(struct sc_shim_response){.kind = SC_SHIM_HELLO_OK,
                                                 .version = SC_SHIM_VERSION,
                                                 .text = span_of_str("gpu-sidecar " SC_VERSION),
                                                 .epoch = view.epoch,
                                                 .credits = conn->shim->config.credits,
                                                 .frame_max = conn->shim->config.frame_max_bytes});
    /* HELLO_OK has no room for it, and a shim must not wait for a change to learn it. */
    shim_answer_state(conn);
    return SC_OK;
}

static void serve_capacity(struct shim_conn *conn, uint64_t id)
{
    struct sc_shim *shim = conn->shim;
    struct sc_router_view view;
    struct gpu_device_stats stats;
    sc_router_view(shim->router, &view);
    gpu_device_stats(shim->device, sc_loop_now_ns(shim->loop), &stats);
    struct sc_shim_response report = {.kind = SC_SHIM_CAPACITY_REPORT, .id = id};
    report.epoch = view.epoch;
    report.capacity = (struct sc_shim_capacity){.ready = view.ready,
                                                .draining = view.draining,
                                                .grains = stats.grains,
                                                .grains_max = stats.grains_max,
                                                .calls = view.calls,
                                                .calls_max = view.calls_max,
                                                .heap_used_bytes = stats.heap_used_bytes,
                                                .heap_bytes = stats.heap_bytes,
                                                .p95_us = sc_metrics_p95_us(shim->metrics),
                                                .device = span_of_str("cpu0")};
    shim_answer(conn, &report);
}

static void serve_kernels(struct shim_conn *conn, uint64_t id)
{
    const struct gpu_catalog *catalog = gpu_device_catalog(conn->shim->device);
    struct wbuf *out = &conn->out;
    size_t start = sc_shim_kernels_begin(out, id, catalog->count);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const struct gpu_catalog_entry *entry = &catalog->entries[i];
        const struct gpu_manifest *m = &entry->manifest;
        const char *error =
            entry->error[0] != '\0' ? entry->error : gpu_device_kernel_error(conn->shim->device, i);
        sc_shim_kernels_kernel(out, &(struct sc_shim_kernel){.id = span_of_str(m->id),
                                                             .version = span_of_str(m->version),
                                                             .ok = error[0] == '\0',
                                                             .error = span_of_str(error),
                                                             .message_count = m->message_count});
        for (uint32_t j = 0; j < m->message_count; j++)
            sc_shim_kernels_message(out, span_of_str(m->messages[j].name), m->messages[j].type);
    }
    sc_shim_kernels_end(out, start);
    shim_conn_dirty(conn);
}

/* Asks the router; what it does not accept is answered here. */
static enum sc_status serve_routed(struct shim_conn *conn, const struct sc_shim_request *q)
{
    struct sc_router *router = conn->shim->router;
    if (conn->in_flight >= conn->shim->config.credits) {
        char text[96];
        snprintf(text, sizeof text, "%u requests are in flight, the bound is shim.credits",
                 conn->in_flight);
        shim_answer_error(conn, q->id, SC_ERR_BUSY, text);
        return SC_OK;
    }
    struct sc_caller caller = {.user = conn, .id = q->id, .deadline_ms = q->deadline_ms};
    enum sc_status st;
    if (q->kind == SC_SHIM_CALL) {
        caller.fn = on_called;
        st = sc_router_call(router, q->grain, q->type, q->payload, &caller);
    } else if (q->kind == SC_SHIM_ACTIVATE) {
        caller.fn = on_activated;
        st = sc_router_activate(router, q->kernel, q->key, q->state_bytes, q->payload, &caller);
    } else {
        caller.fn = on_deactivated;
        st = sc_router_deactivate(router, q->grain, &caller);
    }
    if (st == SC_OK) {
        conn->in_flight++;
    } else if (st != SC_AGAIN) {
        shim_answer_error(conn, q->id, st, sc_router_why(router));
        st = SC_OK;
    }
    return st;
}

enum sc_status shim_serve(struct shim_conn *conn, struct span body)
{
    struct sc_shim_request q;
    enum sc_status st = sc_shim_request_decode(body, &q);
    if (st != SC_OK)
        return st;
    if ((conn->state == SHIM_HELLO) != (q.kind == SC_SHIM_HELLO))
        return SC_ERR_PROTOCOL;
    switch (q.kind) {
    case SC_SHIM_HELLO:
        return serve_hello(conn, &q);
    case SC_SHIM_CALL:
    case SC_SHIM_ACTIVATE:
    case SC_SHIM_DEACTIVATE:
        return serve_routed(conn, &q);
    case SC_SHIM_SEND:
        /* Anything but a full ring is counted by the router, nobody waits for an answer. */
        return sc_router_send(conn->shim->router, q.grain, q.type, q.payload) == SC_AGAIN ? SC_AGAIN
                                                                                          : SC_OK;
    case SC_SHIM_CANCEL:
        sc_router_cancel(conn->shim->router, conn, q.id);
        return SC_OK;
    case SC_SHIM_CAPACITY:
        serve_capacity(conn, q.id);
        return SC_OK;
    case SC_SHIM_KERNELS:
        serve_kernels(conn, q.id);
        return SC_OK;
    case SC_SHIM_GOODBYE:
        shim_conn_to(conn, SHIM_LEAVING);
        return SC_OK;
    default:
        return SC_ERR_PROTOCOL;
    }
}
