/* Probes and metrics: gathers the facts, health.c and metrics.c write them. */
#include "gpu/gpu.h"
#include "sidecar/app_impl.h"
#include "sidecar/health.h"
#include "sidecar/http.h"
#include "sidecar/loop.h"
#include "sidecar/router.h"
#include "sidecar/silo_conn.h"

/* A hung kernel takes the device down after device.hang_ms. An idle device that is starved of its
 * core is given longer, here and by its supervision, which gives it up at ten times that. */
enum { HEARTBEAT_FACTOR = 5 };

static void gather(const struct app *app, struct sc_health *out)
{
    struct sc_router_view view;
    struct gpu_device_stats stats;
    sc_router_view(app->router, &view);
    gpu_device_stats(app->device, sc_loop_now_ns(app->loop), &stats);
    *out = (struct sc_health){.was_ready = app->was_ready,
                              .device_ready = gpu_device_state(app->device) == GPU_DEVICE_READY,
                              .device_cause = view.cause,
                              .heartbeat_age_ms = stats.heartbeat_age_ns / 1000000,
                              .heartbeat_max_ms =
                                  HEARTBEAT_FACTOR * (uint64_t)app->config->device_hang_ms,
                              .silo_wanted = app->silo != NULL,
                              .silo_up = app->silo != NULL && sc_silo_conn_up(app->silo),
                              .silo_cause = app->silo != NULL ? sc_silo_conn_cause(app->silo) : "",
                              .draining = view.draining};
}

static void write_device(const struct app *app, struct wbuf *out)
{
    struct sc_router_view view;
    struct gpu_device_stats s;
    sc_router_view(app->router, &view);
    gpu_device_stats(app->device, sc_loop_now_ns(app->loop), &s);
    const struct sc_metric rows[] = {
        {"ready", "gauge", "1 while the device serves and the daemon is not draining.", view.ready},
        {"draining", "gauge", "1 while the daemon is draining.", view.draining},
        {"epoch", "gauge", "Workers started.", (double)view.epoch},
        {"calls_in_flight", "gauge", "Calls in flight.", view.calls},
        {"calls_max", "gauge", "Bound of calls in flight.", view.calls_max},
        {"call_p95_seconds", "gauge", "95th percentile of recent calls.",
         sc_metrics_p95_us(&app->metrics) / 1e6},
        {"device_heartbeat_age_seconds", "gauge", "Since the stalest block was last heard.",
         (double)s.heartbeat_age_ns / 1e9},
        {"device_restarts_total", "counter", "Times a dead or hung worker was replaced.",
         s.restarts},
        {"device_grains", "gauge", "Grains on the device.", s.grains},
        {"device_grains_max", "gauge", "Grains the device can hold.", s.grains_max},
        {"device_submit_depth", "gauge", "Messages in the submission ring.", s.submit_depth},
        {"device_heap_used_bytes", "gauge", "State memory in use.", (double)s.heap_used_bytes},
        {"device_heap_bytes", "gauge", "State memory.", (double)s.heap_bytes},
        {"device_slab_used_bytes", "gauge", "Payload memory in use.", (double)s.slab_used_bytes},
        {"device_slab_bytes", "gauge", "Payload memory.", (double)s.slab_bytes},
        {"device_messages_total", "counter", "Messages handled since the worker started.",
         (double)s.messages_handled},
        {"device_messages_sent_total", "counter", "Messages between grains.",
         (double)s.messages_sent},
        {"device_events_total", "counter", "Events emitted by kernels.", (double)s.events_emitted},
        {"device_messages_dropped_total", "counter", "Messages to grains that are gone.",
         (double)s.messages_dropped},
        {"device_pool_waits_total", "counter", "Grains held back: message pool exhausted.",
         (double)s.pool_waits},
        {"device_event_waits_total", "counter", "Grains held back: event ring full.",
         (double)s.event_waits},
        {"device_faults_total", "counter", "Faults of kernels.", (double)s.faults},
    };
    sc_metrics_lines(out, rows, sizeof rows / sizeof rows[0]);
}

bool app_probe(void *user, const char *path, struct sc_http_reply *reply)
{
    struct app *app = user;
    struct sc_health health;
    bool good = true;
    if (strcmp(path, "/livez") == 0) {
        wb_printf(&reply->body, "ok loop\n");
    } else if (strcmp(path, "/readyz") == 0) {
        gather(app, &health);
        good = sc_health_ready(&health, &reply->body);
    } else if (strcmp(path, "/startupz") == 0) {
        gather(app, &health);
        good = sc_health_started(&health, &reply->body);
    } else if (strcmp(path, "/metrics") == 0) {
        reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
        sc_metrics_write(&app->metrics, &reply->body);
        write_device(app, &reply->body);
        app_write_link(app, &reply->body);
    } else {
        return false;
    }
    reply->code = good ? 200 : 503;
    return true;
}
