/* The local socket's server: accepts shims, speaks docs/socket-protocol.md with them, asks the
 * router on their behalf. Loop thread only. */
#ifndef SIDECAR_SHIM_CONN_H
#define SIDECAR_SHIM_CONN_H

#include "sidecar/base/status.h"
#include "sidecar/config.h"
#include "sidecar/shim_msg.h"

struct gpu_device;
struct sc_log;
struct sc_loop;
struct sc_metrics;
struct sc_router;
struct sc_shim;
struct sc_unix_listener;

struct sc_shim_config {
    struct sc_id_list allow_uids, allow_gids; /* empty: our own */
    uint32_t credits, connections_max, frame_max_bytes;
    uint64_t output_max_bytes;
};

/* Serves who connects to the listener, which stays the caller's and open. Keeps loop, router,
 * device, metrics and log, which must outlive it; closed before the router. */
SC_MUST_USE enum sc_status sc_shim_open(struct sc_loop *loop, const struct sc_shim_config *config,
                                        const struct sc_unix_listener *listener,
                                        struct sc_router *router, struct gpu_device *device,
                                        struct sc_metrics *metrics, const struct sc_log *log,
                                        struct sc_shim **shim_out);

/* Closes every connection. Accepts NULL. */
void sc_shim_close(struct sc_shim *shim);

/* Tells every connection the router's present state. */
void sc_shim_push_state(struct sc_shim *shim);

/* Reloadable part of the configuration. */
void sc_shim_set_output_max(struct sc_shim *shim, uint64_t output_max_bytes);

/* True when every answer owed has been written to its socket. */
bool sc_shim_is_idle(const struct sc_shim *shim);

#endif
