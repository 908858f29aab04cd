/* What shim_conn.c (listener, sockets) and shim_serve.c (requests and answers) share. */
#ifndef SIDECAR_SHIM_IMPL_H
#define SIDECAR_SHIM_IMPL_H

#include "sidecar/base/wbuf.h"
#include "sidecar/router.h"
#include "sidecar/shim_conn.h"

enum shim_state {
    SHIM_HELLO, /* nothing but HELLO is understood */
    SHIM_OPEN,
    SHIM_LEAVING, /* GOODBYE came: answers what is in flight, reads no more */
    SHIM_BROKEN,  /* a protocol error: the ERROR frame goes out, then it closes */
    SHIM_CLOSED,
    SHIM_STATE_COUNT
};

enum { SHIM_CHUNK_BYTES = 128 * 1024, SHIM_NAME_BYTES = 48 };

struct shim_conn {
    struct sc_shim *shim;
    struct shim_conn *next, *prev;
    struct shim_conn *next_dirty;
    struct sc_watch *watch;
    int fd;
    enum shim_state state;
    bool dirty;      /* among shim->dirty */
    bool stalled;    /* waits for room in the device's ring */
    bool write_full; /* the kernel took less than we had */
    bool used;       /* since the last look of the housekeeper */
    uint32_t in_flight;
    uint64_t opened_ns;
    struct wbuf in;  /* bytes of frames not yet handled; empty between frames */
    struct wbuf out; /* from out_at on: not yet written */
    size_t out_at;
    struct sc_room room;
    uint64_t number; /* for the log */
    char name[SHIM_NAME_BYTES];
};

struct sc_shim {
    struct sc_loop *loop;
    struct sc_shim_config config;
    struct sc_router *router;
    struct gpu_device *device;
    struct sc_metrics *metrics;
    const struct sc_log *log;
    int listen_fd;
    struct sc_watch *accept_watch;
    struct sc_timer *accept_timer, *housekeeper;
    struct shim_conn *conns;
    struct shim_conn *dirty;
    uint32_t conn_count;
    uint64_t numbers;
    bool flushing, closed; /* flushing: flush_dirty is among the loop's later functions */
    uint8_t chunk[SHIM_CHUNK_BYTES];
};

/* Handles a frame's body. SC_AGAIN: no room on the device, the same frame again later. Other
 * errors: the connection is broken. */
SC_MUST_USE enum sc_status shim_serve(struct shim_conn *conn, struct span body);

/* Appends one answer; schedules the write. */
void shim_answer(struct shim_conn *conn, const struct sc_shim_response *response);
void shim_answer_error(struct shim_conn *conn, uint64_t id, enum sc_status code, const char *text);
void shim_answer_state(struct shim_conn *conn);

/* conn->out has more bytes: written when the turn ends. */
void shim_conn_dirty(struct shim_conn *conn);

/* Writes at once when much is waiting; may close the connection, so the last thing a caller does.
 */
void shim_conn_relieve(struct shim_conn *conn);

/* The one place where a connection's state changes. */
void shim_conn_to(struct shim_conn *conn, enum shim_state state);

#endif
