#include "sidecar/config_table.h"

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

#define AT(field) offsetof(struct sc_config, field)
#define STR(name, field, initial, min, max, help)                                 \
    {                                                                             \
        name, SC_OPTION_STRING, initial, "", min, max, "", false, AT(field), help \
    }
#define NUM(name, field, initial, unit, min, max, reload, help)                   \
    {                                                                             \
        name, SC_OPTION_U32, initial, unit, min, max, "", reload, AT(field), help \
    }
#define SIZE(name, field, initial, min, max, reload, help)                             \
    {                                                                                  \
        name, SC_OPTION_BYTES, initial, "bytes", min, max, "", reload, AT(field), help \
    }
#define CHOICE(name, field, initial, choices, reload, help)                         \
    {                                                                               \
        name, SC_OPTION_CHOICE, initial, "", 0, 0, choices, reload, AT(field), help \
    }

enum { STAYS = false, RELOADS = true };

const struct sc_option sc_options[] = {
    CHOICE("log.level", log_level, "info", "error|warn|info|debug", RELOADS,
           "most talkative level written"),
    CHOICE("log.format", log_format, "text", "text|json", RELOADS, "form of a log line"),

    STR("socket.path", socket_path, "/run/gpu-sidecar/gpu-sidecar.sock", 1, 107,
        "Unix socket for shims; its folder is made 0700 (0750 if socket.mode lets the group in)"),
    {"socket.mode", SC_OPTION_MODE, "0660", "octal", 0600, 0777, "", STAYS, AT(socket_mode),
     "permission bits of the socket"},
    {"socket.allow_uids", SC_OPTION_IDS, "", "list", 0, UINT32_MAX - 1, "", STAYS,
     AT(socket_allow_uids), "user ids that may connect; empty: the daemon's own"},
    {"socket.allow_gids", SC_OPTION_IDS, "", "list", 0, UINT32_MAX - 1, "", STAYS,
     AT(socket_allow_gids), "group ids that may connect; empty: the daemon's own"},

    NUM("shim.credits", shim_credits, "4096", "requests", 1, 1 << 20, STAYS,
        "requests a connection may have in flight"),
    NUM("shim.connections_max", shim_connections_max, "256", "connections", 1, 65536, STAYS,
        "connections at the same time"),
    SIZE("shim.output_max_bytes", shim_output_max_bytes, "64MiB", 64 * KIB, 4 * GIB, RELOADS,
         "a connection that leaves more than this unread is dropped"),
    SIZE("shim.frame_max_bytes", shim_frame_max_bytes, "16777215", 64 * KIB, 16 * MIB - 1, STAYS,
         "longest frame, and so the longest payload"),

    STR("http.address", http_address, "127.0.0.1:9464", 1, 255,
        "ip:port of probes and metrics; off: none"),

    CHOICE("device.backend", device_backend, "cpu", "cpu", STAYS, "what kernels run on"),
    NUM("device.blocks", device_blocks, "0", "threads", 0, 256, STAYS,
        "resident blocks; 0: one less than the cores, at least 1"),
    NUM("device.grains_max", device_grains_max, "262144", "grains", 1, 1 << 24, STAYS,
        "grains on the device; rounded up to a power of two"),
    NUM("device.messages_max", device_messages_max, "262144", "messages", 4096, 1 << 24, STAYS,
        "grain-to-grain messages in flight; rounded up to a power of two"),
    SIZE("device.heap_bytes", device_heap_bytes, "4GiB", MIB, 1024 * GIB, STAYS,
         "memory for grain states; committed as it is touched"),
    SIZE("device.slab_bytes", device_slab_bytes, "64MiB", MIB, 64 * GIB, STAYS,
         "shared memory for payloads over 80 bytes"),
    NUM("device.submit_slots", device_submit_slots, "16384", "messages", 64, 1 << 20, STAYS,
        "submission ring; a power of two"),
    NUM("device.reply_slots", device_reply_slots, "65536", "calls", 64, 1 << 20, STAYS,
        "reply ring, and the bound of calls in flight; a power of two"),
    NUM("device.event_slots", device_event_slots, "16384", "events", 64, 1 << 20, STAYS,
        "event ring; a power of two"),
    NUM("device.spin_us", device_spin_us, "50", "us", 0, 1000000, STAYS,
        "how long device and daemon poll before they sleep"),
    NUM("device.hang_ms", device_hang_ms, "1000", "ms", 10, 3600000, STAYS,
        "a kernel that stays in one message longer is hung, its worker is killed"),
    NUM("device.restart_ms", device_restart_ms, "100", "ms", 1, 60000, STAYS,
        "pause before a dead worker is started again; doubles up to 32 times"),

    STR("kernels.root", kernels_root, "/usr/share/gpu-sidecar/kernels", 1, 4095,
        "folder of kernel packages"),
    STR("kernels.cache", kernels_cache, "/var/cache/gpu-sidecar", 1, 4095,
        "folder for compiled kernels"),
    STR("kernels.include", kernels_include, "/usr/share/gpu-sidecar/include", 1, 4095,
        "folder of k_grain.h"),
    STR("kernels.compiler", kernels_compiler, "cc", 1, 4095, "C compiler, looked up in PATH"),

    NUM("call.deadline_ms", call_deadline_ms, "30000", "ms", 1, 86400000, RELOADS,
        "for calls that state no deadline"),
    NUM("drain.timeout_ms", drain_timeout_ms, "10000", "ms", 0, 3600000, RELOADS,
        "how long SIGTERM waits for calls in flight"),

    STR("silo.endpoint", silo_endpoint, "", 0, 255, "host:port of the silo's gateway; empty: none"),
    STR("silo.cluster_id", silo_cluster_id, "default", 1, 255, "the cluster's id"),
    NUM("silo.reconnect_min_ms", silo_reconnect_min_ms, "100", "ms", 1, 60000, STAYS,
        "first pause before connecting again"),
    NUM("silo.reconnect_max_ms", silo_reconnect_max_ms, "5000", "ms", 1, 600000, STAYS,
        "longest pause before connecting again"),

    CHOICE("stream.mode", stream_mode, "bridge", "bridge|memory|off", STAYS,
           "how events reach Orleans streams"),
    STR("stream.provider", stream_provider, "gpu", 1, 255, "name of the stream provider"),
    NUM("stream.queues", stream_queues, "8", "queues", 1, 4096, STAYS,
        "queues of the memory stream provider"),
    NUM("stream.batch_max", stream_batch_max, "128", "events", 1, 65536, STAYS,
        "events of one stream published in one message"),
    SIZE("stream.backlog_bytes", stream_backlog_bytes, "64MiB", 64 * KIB, 64 * GIB, STAYS,
         "events waiting for the silo before kernels that emit are held back"),
    NUM("stream.retry_ms", stream_retry_ms, "500", "ms", 1, 10000, STAYS,
        "pause before a refused batch is published again"),

    STR("gateway.listen", gateway_listen, "", 0, 255,
        "addr:port of the built-in gateway for Orleans clients; empty: none"),
    STR("gateway.cluster_id", gateway_cluster_id, "default", 1, 255,
        "the cluster id clients must name"),
    NUM("gateway.clients_max", gateway_clients_max, "256", "clients", 1, 65536, STAYS,
        "clients at the same time"),
    SIZE("gateway.output_max_bytes", gateway_output_max_bytes, "64MiB", 64 * KIB, 4 * GIB - 1,
         STAYS, "a client that leaves more than this unread is dropped"),
};

const uint32_t sc_option_count = sizeof sc_options / sizeof sc_options[0];

_Static_assert(sizeof sc_options / sizeof sc_options[0] <= SC_CONFIG_OPTIONS_MAX,
               "a source for every row");

int sc_option_find(struct span name)
{
    for (uint32_t i = 0; i < sc_option_count; i++)
        if (span_eq_str(name, sc_options[i].name))
            return (int)i;
    return -1;
}
