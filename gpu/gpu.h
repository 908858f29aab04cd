/* A device and its worker, seen from the daemon: activate grains, send them messages, take what
 * comes back. One worker process a device owns the device's context and runs the resident engine;
 * it dies and is started again without this side losing anything but the grains that lived there.
 *
 * All functions: loop thread only. No function blocks; none of them calls back except
 * gpu_device_poll and gpu_device_tick. */
#ifndef GPU_GPU_H
#define GPU_GPU_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_log;
struct gpu_device;
struct gpu_catalog;
struct gpu_manifest;

enum gpu_device_state {
    GPU_DEVICE_STARTING, /* the worker compiles and loads kernels */
    GPU_DEVICE_READY,
    GPU_DEVICE_DOWN, /* the worker died or hung; a new one starts after a pause */
    GPU_DEVICE_STOPPED
};

struct gpu_device_config {
    const char *name;         /* "cpu0"; for logs and metrics */
    const char *worker_path;  /* the program to run as `worker`; normally /proc/self/exe */
    const char *kernel_root;  /* folder of kernel packages */
    const char *kernel_cache; /* folder for compiled kernels */
    const char *include_dir;  /* folder of k_grain.h */
    const char *compiler;     /* the system C compiler, e.g. "cc" */
    uint32_t blocks;          /* resident blocks: threads of a CPU device, 1..GPU_BLOCKS_MAX */
    uint32_t grains_max;      /* rounded up to a power of two */
    uint32_t messages_max;    /* grain-to-grain messages in flight; rounded up to a power of two */
    uint64_t heap_bytes;      /* state heap; committed as it is touched */
    uint64_t slab_bytes;      /* payloads over GPU_INLINE_BYTES, in shared memory */
    uint32_t submit_slots;    /* powers of two */
    uint32_t reply_slots;     /* also the bound of calls in flight on the device */
    uint32_t event_slots;
    uint32_t payload_max_bytes; /* of one call, send or activation; < 16 MiB */
    uint32_t spin_us;           /* idle polling before a block parks */
    uint32_t hang_ms;  /* a block that stays in one message longer is hung: the worker is killed */
    uint32_t start_ms; /* a starting worker silent for longer is killed; compiling may take 60 s */
    uint32_t restart_ms; /* pause before the next worker starts; doubles, at most 32 times */
};

/* What the owner is told. `call` is the token given with the request. Payloads and texts are good
 * for the call only. */
struct gpu_device_ops {
    /* The call ended. status SC_OK: payload is the reply. Otherwise text says why, for its caller.
     */
    void (*on_reply)(void *user, uint64_t call, enum sc_status status, struct span payload,
                     struct span text);
    /* A grain emitted an event: `stream` is the grain whose stream gets it. Return SC_AGAIN to be
     * given the same event again by a later gpu_device_poll; the device then holds back kernels
     * that emit. */
    enum sc_status (*on_event)(void *user, uint64_t source, uint64_t stream, uint32_t kernel,
                               uint16_t event, struct span payload);
    /* The state changed. DOWN: every call in flight has been answered through on_reply before this,
     * and all grains are gone; cause names the kernel, grain and signal where known. READY after
     * DOWN: a new epoch. */
    void (*on_state)(void *user, enum gpu_device_state state, const char *cause);
};

struct gpu_device_stats {
    uint64_t messages_handled, messages_sent, events_emitted, messages_dropped;
    uint64_t pool_waits, event_waits, faults;
    uint64_t heartbeat_age_ns; /* of the stalest block */
    uint32_t grains, grains_max;
    uint32_t calls_in_flight;
    uint32_t submit_depth;
    uint64_t heap_used_bytes, heap_bytes, slab_used_bytes, slab_bytes;
    uint32_t restarts;
};

/* Lays out the region and starts the first worker. Copies *config with its strings; keeps ops, user
 * and log, which must outlive the device. SC_ERR_CONFIG: a number is out of range (logged). */
SC_MUST_USE enum sc_status gpu_device_open(const struct gpu_device_config *config,
                                           const struct gpu_device_ops *ops, void *user,
                                           const struct sc_log *log, struct gpu_device **dev_out);

/* Kills the worker if it still runs, frees everything. Calls nobody back. Accepts NULL. */
void gpu_device_close(struct gpu_device *dev);

/* Becomes readable when completions wait: then call gpu_device_poll. Stays the same over restarts.
 */
int gpu_device_notify_fd(const struct gpu_device *dev);

/* Takes up to `max` replies and as many events, and calls back for each. Before it returns SC_OK it
 * has asked the worker to notify again, and nothing was left. SC_AGAIN: `max` was reached, call
 * again soon, there may be no new notification. SC_ERR_BUSY: on_event held an event back, offer it
 * again after a while. Cheap when nothing is there. */
SC_MUST_USE enum sc_status gpu_device_poll(struct gpu_device *dev, uint32_t max);

/* Every 10..1000 ms: looks at the heartbeats, reaps a dead worker, kills a hung one, starts the
 * next. */
void gpu_device_tick(struct gpu_device *dev, uint64_t now_ns);

/* Asks the worker to leave after the messages in hand; on_state(STOPPED) follows from a tick. */
void gpu_device_stop(struct gpu_device *dev);

enum gpu_device_state gpu_device_state(const struct gpu_device *dev);

/* Counts workers started; a grain address is good within one epoch. */
uint32_t gpu_device_epoch(const struct gpu_device *dev);

void gpu_device_stats(const struct gpu_device *dev, uint64_t now_ns, struct gpu_device_stats *out);

/* The kernels this device knows, whether they built or not; borrowed for the device's life. */
const struct gpu_catalog *gpu_device_catalog(const struct gpu_device *dev);

/* Creates a grain of kernel `kernel` (index in the catalog). state_bytes 0: the manifest's size.
 * The handle is good at once: later messages queue behind the activation. on_reply(call) tells how
 * it went; when it fails, the grain is gone again. init is copied. SC_AGAIN: the submission ring is
 * full, try after the next poll. SC_ERR_UNAVAILABLE: not ready. SC_ERR_NOT_FOUND: no such kernel.
 * SC_ERR_KERNEL: it did not build (gpu_device_kernel_error). SC_ERR_BUSY: no slot, state memory or
 * slab is left. SC_ERR_TOO_LARGE: state_bytes or init over limit. */
SC_MUST_USE enum sc_status gpu_device_activate(struct gpu_device *dev, uint32_t kernel,
                                               uint32_t state_bytes, struct span init,
                                               uint64_t call, uint64_t *handle_out);

/* Ends a grain after the messages already sent to it. on_reply(call) tells when it is gone. */
SC_MUST_USE enum sc_status gpu_device_deactivate(struct gpu_device *dev, uint64_t handle,
                                                 uint64_t call);

/* Sends a message and expects a reply through on_reply(call). `call` must be non-zero and unused by
 * other calls in flight of this device. Copies the payload. SC_ERR_NOT_FOUND: the address is no
 * live grain; SC_ERR_ARGUMENT: the kernel's manifest has no such message type; SC_ERR_TOO_LARGE,
 * SC_ERR_BUSY, SC_AGAIN, SC_ERR_UNAVAILABLE as above. */
SC_MUST_USE enum sc_status gpu_device_call(struct gpu_device *dev, uint64_t handle, uint16_t type,
                                           struct span payload, uint64_t call);

/* Sends a message nobody waits for. Errors as gpu_device_call. */
SC_MUST_USE enum sc_status gpu_device_send(struct gpu_device *dev, uint64_t handle, uint16_t type,
                                           struct span payload);

/* Which bound the last SC_ERR_BUSY or SC_ERR_TOO_LARGE met, for people: names the option and its
 * value. Good until the next request. */
const char *gpu_device_limit(const struct gpu_device *dev);

/* What the compiler or loader said about a kernel that is unusable, else "". */
const char *gpu_device_kernel_error(const struct gpu_device *dev, uint32_t kernel);

#endif
