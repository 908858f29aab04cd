/* What app.c (life), app_probe.c (probes and metrics) and app_link.c (the Orleans side) share. */
#ifndef SIDECAR_APP_IMPL_H
#define SIDECAR_APP_IMPL_H

#include "sidecar/app.h"
#include "sidecar/metrics.h"
#include "sidecar/unix_listen.h"

struct sc_event;
struct sc_gateway;
struct sc_http_reply;
struct sc_silo_conn;
struct sc_stream;

enum app_state {
    APP_STARTING,
    APP_SERVING,
    APP_DRAINING, /* no new calls; waits for those in flight */
    APP_STOPPING, /* the device is leaving */
    APP_STOPPED,
    APP_STATE_COUNT
};

struct app {
    struct sc_config *config;
    const struct sc_config_input *input;
    struct sc_log log;
    enum app_state state;
    bool was_ready;       /* the device has served */
    uint64_t deadline_ns; /* of draining and stopping */
    struct sc_metrics metrics;
    struct sc_loop *loop;
    struct sc_signal *on_term, *on_int, *on_hup;
    struct sc_timer *drain_timer, *window_timer;
    struct sc_router *router;
    struct gpu_device *device;
    struct sc_unix_listener listener;
    struct sc_shim *shim;
    struct sc_http *http;
    struct sc_gateway *gateway; /* NULL: not configured */
    struct sc_silo_conn *silo;  /* NULL: not configured */
    struct sc_stream *stream;   /* NULL: no silo, or stream.mode off */
};

/* Answers /livez, /readyz, /startupz and /metrics. */
bool app_probe(void *user, const char *path, struct sc_http_reply *reply);

/* app_link.c: opening steps, the router's way to the publisher, metrics, and closing in reverse. */
SC_MUST_USE enum sc_status app_open_gateway(struct app *app);
SC_MUST_USE enum sc_status app_open_silo(struct app *app);
SC_MUST_USE enum sc_status app_offer(void *user, const struct sc_event *event);
void app_write_link(const struct app *app, struct wbuf *out);
void app_close_link(struct app *app);

#endif
