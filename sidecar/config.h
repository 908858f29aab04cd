/* The configuration: one table of options (config_table.c), set from a YAML file, the environment
 * and flags, the later of these winning, into one immutable struct. */
#ifndef SIDECAR_CONFIG_H
#define SIDECAR_CONFIG_H

#include "sidecar/base/log.h"
#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct wbuf;

enum { SC_CONFIG_IDS_MAX = 16, SC_CONFIG_ERROR_BYTES = 512, SC_CONFIG_OPTIONS_MAX = 80 };

/* User or group ids. */
struct sc_id_list {
    uint32_t ids[SC_CONFIG_IDS_MAX];
    uint32_t count;
};

enum sc_config_stream { SC_CONFIG_STREAM_BRIDGE, SC_CONFIG_STREAM_MEMORY, SC_CONFIG_STREAM_OFF };
enum sc_device_backend { SC_BACKEND_CPU };

/* Where an option's value came from. */
enum sc_config_origin { SC_FROM_DEFAULT, SC_FROM_FILE, SC_FROM_ENV, SC_FROM_FLAG };

struct sc_config_source {
    enum sc_config_origin origin;
    uint32_t line; /* of the file */
};

/* Options as config_table.c documents them. Strings are never NULL; "" means none. */
struct sc_config {
    enum sc_log_level log_level;
    enum sc_log_format log_format;

    char *socket_path;
    uint32_t socket_mode;
    struct sc_id_list socket_allow_uids, socket_allow_gids;

    uint32_t shim_credits, shim_connections_max;
    uint64_t shim_output_max_bytes, shim_frame_max_bytes;

    char *http_address;

    enum sc_device_backend device_backend;
    uint32_t device_blocks, device_grains_max, device_messages_max;
    uint64_t device_heap_bytes, device_slab_bytes;
    uint32_t device_submit_slots, device_reply_slots, device_event_slots;
    uint32_t device_spin_us, device_hang_ms, device_restart_ms;

    char *kernels_root, *kernels_cache, *kernels_include, *kernels_compiler;

    uint32_t call_deadline_ms, drain_timeout_ms;

    char *silo_endpoint, *silo_cluster_id;
    uint32_t silo_reconnect_min_ms, silo_reconnect_max_ms;

    enum sc_config_stream stream_mode;
    char *stream_provider;
    uint32_t stream_queues, stream_batch_max, stream_retry_ms;
    uint64_t stream_backlog_bytes;

    char *gateway_listen, *gateway_cluster_id;
    uint32_t gateway_clients_max;
    uint64_t gateway_output_max_bytes;

    char *file;                                             /* the file read, or "" */
    struct sc_config_source sources[SC_CONFIG_OPTIONS_MAX]; /* by row of the table */
};

/* What a configuration is made from. */
struct sc_config_input {
    const char *file;         /* YAML file; NULL: SC_CONFIG_DEFAULT_FILE if it is there */
    const char *const *env;   /* NULL-terminated NAME=value, as environ */
    const char *const *flags; /* NULL-terminated; only options: --name=value, or --name and value */
};

#define SC_CONFIG_DEFAULT_FILE "/etc/gpu-sidecar/gpu-sidecar.yaml"
#define SC_CONFIG_ENV_PREFIX   "GPU_SIDECAR_"

/* Reads everything into *out. SC_ERR_CONFIG: error (SC_CONFIG_ERROR_BYTES) names the option, where
 * the value came from, the value and the range; *out is untouched. GPU_SIDECAR_CONFIG names the
 * file when `file` is NULL. The variables Kubernetes sets for a service called gpu-sidecar are
 * ignored. */
SC_MUST_USE enum sc_status sc_config_load(const struct sc_config_input *in, struct sc_config *out,
                                          char *error);

/* The same from text of a file, without environment and flags; for tests. */
SC_MUST_USE enum sc_status sc_config_load_text(struct span yaml, struct sc_config *out,
                                               char *error);

void sc_config_free(struct sc_config *config);

/* Takes the reloadable options of `next` into `current`. SC_ERR_CONFIG, and nothing is changed:
 * an option that needs a restart differs; error names it. */
SC_MUST_USE enum sc_status sc_config_reload(struct sc_config *current, const struct sc_config *next,
                                            char *error);

/* The effective configuration as YAML, a line an option with its source as comment. */
void sc_config_print(const struct sc_config *config, struct wbuf *out);

/* The option table as text for people, for `help` and docs/operations.md. */
void sc_config_describe(struct wbuf *out);

#endif
