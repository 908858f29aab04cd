#include "sidecar/app.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/gpu.h"
#include "sidecar/app_impl.h"
#include "sidecar/http.h"
#include "sidecar/loop.h"
#include "sidecar/router.h"
#include "sidecar/shim_conn.h"
#include "sidecar/stream.h"

enum {
    DRAIN_LOOK_MS = 5,
    DEVICE_STOP_MS = 2000, /* for the worker to leave; then it is killed */
    WINDOW_MS = 10000,
    START_MS = 90000,          /* a worker that starts says something at least this often */
    FRAME_OVERHEAD_BYTES = 512 /* of a frame beside its payload */
};

#define TO(s) (1u << (s))
static const uint8_t state_next[APP_STATE_COUNT] = {
    [APP_STARTING] = TO(APP_SERVING),
    [APP_SERVING] = TO(APP_DRAINING) | TO(APP_STOPPED),
    [APP_DRAINING] = TO(APP_STOPPING) | TO(APP_STOPPED),
    [APP_STOPPING] = TO(APP_STOPPED),
};

static void go(struct app *app, enum app_state state)
{
    assert((state_next[app->state] & TO(state)) != 0);
    app->state = state;
    uint64_t now = sc_loop_now_ns(app->loop);
    switch (state) {
    case APP_SERVING:
        SC_INFO(&app->log, "daemon serves version %s pid %d", SC_VERSION, (int)getpid());
        break;
    case APP_DRAINING:
        app->deadline_ns = now + (uint64_t)app->config->drain_timeout_ms * 1000000;
        SC_INFO(&app->log, "daemon drains timeout_ms %u", app->config->drain_timeout_ms);
        sc_router_drain(app->router);
        sc_timer_every(app->drain_timer, DRAIN_LOOK_MS);
        break;
    case APP_STOPPING:
        app->deadline_ns = now + (uint64_t)DEVICE_STOP_MS * 1000000;
        gpu_device_stop(app->device);
        break;
    case APP_STOPPED:
        sc_timer_cancel(app->drain_timer);
        sc_loop_stop(app->loop);
        break;
    case APP_STARTING:
    case APP_STATE_COUNT:
        break;
    }
}

/* -- what happens while it runs */

static bool is_drained(const struct app *app)
{
    struct sc_router_view view;
    sc_router_view(app->router, &view);
    return view.calls == 0 && sc_shim_is_idle(app->shim) &&
           (app->stream == NULL || sc_stream_idle(app->stream));
}

static void on_drain_timer(void *user)
{
    struct app *app = user;
    bool late = sc_loop_now_ns(app->loop) >= app->deadline_ns;
    if (app->state == APP_DRAINING && (late || is_drained(app))) {
        struct sc_router_view view;
        sc_router_view(app->router, &view);
        if (late)
            SC_WARN(&app->log, "daemon drained not in time calls_left %u", view.calls);
        else
            SC_INFO(&app->log, "daemon drained");
        go(app, APP_STOPPING);
    } else if (app->state == APP_STOPPING &&
               (late || gpu_device_state(app->device) != GPU_DEVICE_READY)) {
        go(app, APP_STOPPED);
    }
}

static void on_terminate(void *user)
{
    struct app *app = user;
    if (app->state == APP_SERVING) {
        go(app, APP_DRAINING);
    } else if (app->state != APP_STOPPED) {
        SC_WARN(&app->log, "daemon stops now: second signal");
        go(app, APP_STOPPED);
    }
}

static void apply(struct app *app)
{
    app->log.level = app->config->log_level;
    app->log.format = app->config->log_format;
    sc_router_set_deadline(app->router, app->config->call_deadline_ms);
    sc_shim_set_output_max(app->shim, app->config->shim_output_max_bytes);
}

static void on_reload(void *user)
{
    struct app *app = user;
    struct sc_config next;
    char error[SC_CONFIG_ERROR_BYTES];
    enum sc_status st = sc_config_load(app->input, &next, error);
    if (st == SC_OK) {
        st = sc_config_reload(app->config, &next, error);
        sc_config_free(&next);
    }
    if (st != SC_OK) {
        SC_ERROR(&app->log, "config not reloaded, nothing changed: %s", error);
        return;
    }
    apply(app);
    SC_INFO(&app->log, "config reloaded file %s", app->config->file);
}

static void on_window(void *user)
{
    struct app *app = user;
    sc_metrics_turn_window(&app->metrics);
}

static void on_router_state(void *user)
{
    struct app *app = user;
    if (gpu_device_state(app->device) == GPU_DEVICE_READY)
        app->was_ready = true;
    if (app->shim != NULL)
        sc_shim_push_state(app->shim);
}

/* -- start, in order; each step undoes what it began when it fails */

static enum sc_status open_loop(struct app *app)
{
    enum sc_status st = sc_loop_open(&app->loop);
    if (st != SC_OK) {
        SC_ERROR(&app->log, "daemon not started: event loop: %s", sc_status_name(st));
        return st;
    }
    signal(SIGPIPE, SIG_IGN);
    st = sc_signal_open(app->loop, SIGTERM, on_terminate, app, &app->on_term);
    if (st == SC_OK)
        st = sc_signal_open(app->loop, SIGINT, on_terminate, app, &app->on_int);
    if (st == SC_OK)
        st = sc_signal_open(app->loop, SIGHUP, on_reload, app, &app->on_hup);
    if (st == SC_OK)
        st = sc_timer_open(app->loop, on_drain_timer, app, &app->drain_timer);
    if (st == SC_OK)
        st = sc_timer_open(app->loop, on_window, app, &app->window_timer);
    if (st != SC_OK) {
        SC_ERROR(&app->log, "daemon not started: signals: %s", sc_status_name(st));
        return st;
    }
    sc_timer_every(app->window_timer, WINDOW_MS);
    return SC_OK;
}

static enum sc_status open_router(struct app *app)
{
    const struct sc_config *c = app->config;
    const struct sc_router_config config = {.calls_max = c->device_reply_slots,
                                            .grains_max = c->device_grains_max,
                                            .deadline_ms = c->call_deadline_ms};
    const struct sc_router_ops ops = {.offer = app_offer, .on_state = on_router_state};
    enum sc_status st =
        sc_router_open(app->loop, &config, &ops, app, &app->metrics, &app->log, &app->router);
    if (st != SC_OK)
        SC_ERROR(&app->log, "daemon not started: router: %s", sc_status_name(st));
    return st;
}

/* One less than the cores this process may use. */
static uint32_t default_blocks(void)
{
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0)
        return 1;
    int count = CPU_COUNT(&cores);
    return count <= 2 ? 1 : count > 256 ? 256 : (uint32_t)count - 1;
}

static enum sc_status open_device(struct app *app)
{
    const struct sc_config *c = app->config;
    const struct gpu_device_config config = {
        .name = "cpu0",
        .worker_path = "/proc/self/exe",
        .kernel_root = c->kernels_root,
        .kernel_cache = c->kernels_cache,
        .include_dir = c->kernels_include,
        .compiler = c->kernels_compiler,
        .blocks = c->device_blocks != 0 ? c->device_blocks : default_blocks(),
        .grains_max = c->device_grains_max,
        .messages_max = c->device_messages_max,
        .heap_bytes = c->device_heap_bytes,
        .slab_bytes = c->device_slab_bytes,
        .submit_slots = c->device_submit_slots,
        .reply_slots = c->device_reply_slots,
        .event_slots = c->device_event_slots,
        .payload_max_bytes = (uint32_t)c->shim_frame_max_bytes - FRAME_OVERHEAD_BYTES,
        .spin_us = c->device_spin_us,
        .hang_ms = c->device_hang_ms,
        .start_ms = START_MS,
        .restart_ms = c->device_restart_ms};
    enum sc_status st =
        gpu_device_open(&config, sc_router_device_ops(), app->router, &app->log, &app->device);
    if (st != SC_OK)
        return st;
    return sc_router_attach(app->router, app->device, c->device_spin_us);
}

/* Before the device: a second daemon leaves before it starts a worker. Nobody is accepted before
 * the loop runs. */
static enum sc_status open_socket(struct app *app)
{
    const char *path = app->config->socket_path;
    enum sc_status st = sc_unix_listen(path, app->config->socket_mode, &app->log, &app->listener);
    if (st == SC_OK)
        SC_INFO(&app->log, "socket %s listens", path);
    return st;
}

static enum sc_status open_shim(struct app *app)
{
    const struct sc_config *c = app->config;
    const struct sc_shim_config config = {.allow_uids = c->socket_allow_uids,
                                          .allow_gids = c->socket_allow_gids,
                                          .credits = c->shim_credits,
                                          .connections_max = c->shim_connections_max,
                                          .frame_max_bytes = (uint32_t)c->shim_frame_max_bytes,
                                          .output_max_bytes = c->shim_output_max_bytes};
    return sc_shim_open(app->loop, &config, &app->listener, app->router, app->device, &app->metrics,
                        &app->log, &app->shim);
}

static enum sc_status open_http(struct app *app)
{
    const char *address = app->config->http_address;
    if (strcmp(address, "off") == 0)
        return SC_OK;
    enum sc_status st = sc_http_open(app->loop, address, app_probe, app, &app->log, &app->http);
    if (st == SC_OK)
        SC_INFO(&app->log, "http %s listens port %u", address, sc_http_port(app->http));
    return st;
}

/* In reverse. Safe for what was never opened. */
static void close_all(struct app *app)
{
    if (app->loop == NULL)
        return;
    sc_http_close(app->http);
    sc_shim_close(app->shim);
    app_close_link(app);
    sc_router_close(app->router);
    gpu_device_close(app->device);
    sc_unix_listener_close(&app->listener);
    sc_timer_close(app->window_timer);
    sc_timer_close(app->drain_timer);
    sc_signal_close(app->on_hup);
    sc_signal_close(app->on_int);
    sc_signal_close(app->on_term);
    sc_loop_close(app->loop);
}

int sc_app_serve(struct sc_config *config, const struct sc_config_input *input)
{
    struct app app = {
        .config = config,
        .input = input,
        .listener = {.fd = -1, .lock_fd = -1},
        .log = {.fd = STDERR_FILENO, .level = config->log_level, .format = config->log_format}};
    enum sc_status (*const steps[])(struct app *) = {open_loop,     open_socket, open_http,
                                                     open_router,   open_device, app_open_gateway,
                                                     app_open_silo, open_shim};
    enum sc_status st = SC_OK;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && st == SC_OK; i++)
        st = steps[i](&app);
    if (st == SC_OK) {
        go(&app, APP_SERVING);
        sc_loop_run(app.loop);
        SC_INFO(&app.log, "daemon stopped");
    }
    close_all(&app);
    return st == SC_OK ? SC_EXIT_OK : st == SC_ERR_CONFIG ? SC_EXIT_CONFIG : SC_EXIT_FAILED;
}
