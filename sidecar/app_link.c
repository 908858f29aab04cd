/* The Orleans side of the daemon: built-in gateway, silo link, stream publisher. */
#include "gpu/catalog.h"
#include "gpu/gpu.h"
#include "sidecar/app_impl.h"
#include "sidecar/gateway.h"
#include "sidecar/silo_conn.h"
#include "sidecar/stream.h"

/* Lists every kernel in the gateway's manifest, so that a .NET client finds it by grain type. */
static enum sc_status list_kernels(struct app *app)
{
    const struct gpu_catalog *catalog = gpu_device_catalog(app->device);
    struct span ids[GPU_KERNELS_MAX];
    for (uint32_t i = 0; i < catalog->count; i++)
        ids[i] = span_of_str(catalog->entries[i].manifest.id);
    return sc_gateway_set_kernels(app->gateway, ids, catalog->count);
}

enum sc_status app_open_gateway(struct app *app)
{
    const struct sc_config *c = app->config;
    if (c->gateway_listen[0] == '\0')
        return SC_OK;
    const struct sc_gateway_config config = {.listen = c->gateway_listen,
                                             .cluster_id = c->gateway_cluster_id,
                                             .clients_max = c->gateway_clients_max,
                                             .output_max_bytes =
                                                 (uint32_t)c->gateway_output_max_bytes};
    enum sc_status st = sc_gateway_open(app->loop, &app->log, &config, app->router, &app->gateway);
    if (st != SC_OK)
        return st;
    return list_kernels(app);
}

enum sc_status app_open_silo(struct app *app)
{
    const struct sc_config *c = app->config;
    if (c->silo_endpoint[0] == '\0')
        return SC_OK;
    const struct sc_silo_conn_config link = {.endpoint = c->silo_endpoint,
                                             .cluster_id = c->silo_cluster_id,
                                             .backoff_min_ms = c->silo_reconnect_min_ms,
                                             .backoff_max_ms = c->silo_reconnect_max_ms};
    enum sc_status st = sc_silo_conn_open(app->loop, &app->log, &link, &app->silo);
    if (st != SC_OK || c->stream_mode == SC_CONFIG_STREAM_OFF)
        return st;
    const struct sc_stream_config stream = {
        .mode = c->stream_mode == SC_CONFIG_STREAM_MEMORY ? SC_STREAM_MEMORY : SC_STREAM_BRIDGE,
        .provider = c->stream_provider,
        .queue_count = c->stream_queues,
        .backlog_bytes = c->stream_backlog_bytes,
        .batch_max_events = c->stream_batch_max,
        .retry_min_ms = c->stream_retry_ms};
    return sc_stream_open(app->loop, &app->log, &stream, app->silo, &app->stream);
}

/* Without a stream publisher an event has nowhere to go: counted by the router as dropped. */
enum sc_status app_offer(void *user, const struct sc_event *event)
{
    struct app *app = user;
    return app->stream != NULL ? sc_stream_offer(app->stream, event) : SC_ERR_UNAVAILABLE;
}

void app_close_link(struct app *app)
{
    sc_stream_close(app->stream);
    sc_silo_conn_close(app->silo);
    sc_gateway_close(app->gateway);
}

void app_write_link(const struct app *app, struct wbuf *out)
{
    struct sc_silo_conn_stats link = {0};
    struct sc_stream_stats stream = {0};
    struct sc_gateway_stats gateway = {0};
    if (app->silo != NULL)
        sc_silo_conn_stats(app->silo, &link);
    if (app->stream != NULL)
        sc_stream_stats(app->stream, &stream);
    if (app->gateway != NULL)
        sc_gateway_stats(app->gateway, &gateway);
    const struct sc_metric rows[] = {
        {"silo_up", "gauge", "1 while the link to the silo is up.",
         app->silo != NULL && sc_silo_conn_up(app->silo)},
        {"silo_connects_total", "counter", "Sessions with the silo.", (double)link.connects},
        {"silo_failures_total", "counter", "Attempts and sessions that ended.",
         (double)link.failures},
        {"silo_calls_total", "counter", "Calls made to the silo.", (double)link.calls},
        {"silo_calls_failed_total", "counter", "Calls to the silo that failed.",
         (double)link.calls_failed},
        {"stream_events_accepted_total", "counter", "Events taken for publishing.",
         (double)stream.accepted},
        {"stream_events_published_total", "counter", "Events the silo acknowledged.",
         (double)stream.published},
        {"stream_batch_retries_total", "counter", "Batches published again.",
         (double)stream.retries},
        {"stream_events_held_total", "counter", "Times an event was held back on the device.",
         (double)stream.held},
        {"stream_backlog_events", "gauge", "Events waiting for the silo.",
         (double)stream.backlog_events},
        {"stream_backlog_bytes", "gauge", "Bytes waiting for the silo.",
         (double)stream.backlog_bytes},
        {"stream_troubled", "gauge", "Streams the silo refused at their last try.",
         stream.troubled},
        {"gateway_clients", "gauge", "Orleans clients of the built-in gateway.", gateway.clients},
        {"gateway_clients_dropped_total", "counter", "Clients too slow, or out of protocol.",
         (double)gateway.dropped},
        {"gateway_calls_total", "counter", "Calls to K-Grains by Orleans clients.",
         (double)gateway.calls},
        {"gateway_calls_failed_total", "counter", "Those answered by an exception or rejection.",
         (double)gateway.calls_failed},
        {"gateway_stream_published_total", "counter", "Stream messages taken.",
         (double)gateway.published},
        {"gateway_stream_delivered_total", "counter", "Stream messages consumers acknowledged.",
         (double)gateway.delivered},
        {"gateway_stream_overflowed_total", "counter",
         "Stream messages dropped for slow consumers.", (double)gateway.overflowed},
    };
    sc_metrics_lines(out, rows, sizeof rows / sizeof rows[0]);
}
