#include "sidecar/shim_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/metrics.h"
#include "sidecar/shim_impl.h"
#include "sidecar/unix_listen.h"

enum {
    ACCEPTS_PER_TURN = 16,
    ACCEPT_PAUSE_MS = 100,
    HOUSEKEEPING_MS = 1000,
    HELLO_TIMEOUT_MS = 10000,
    FLUSH_EARLY_BYTES = 256 * 1024, /* do not let one turn's answers pile up higher */
    KEEP_BYTES = 256 * 1024         /* buffers up to this stay while a connection is in use */
};

#define TO(s) (1u << (s))
static const uint8_t state_next[SHIM_STATE_COUNT] = {
    [SHIM_HELLO] = TO(SHIM_OPEN) | TO(SHIM_BROKEN) | TO(SHIM_CLOSED),
    [SHIM_OPEN] = TO(SHIM_LEAVING) | TO(SHIM_BROKEN) | TO(SHIM_CLOSED),
    [SHIM_LEAVING] = TO(SHIM_CLOSED),
    [SHIM_BROKEN] = TO(SHIM_CLOSED),
};

static void take_leave(struct shim_conn *conn)
{
    struct sc_shim *shim = conn->shim;
    SC_INFO(shim->log, "shim %llu closed client %s in_flight %u", (unsigned long long)conn->number,
            conn->name, conn->in_flight);
    if (conn->in_flight != 0)
        sc_router_forget(shim->router, conn);
    sc_router_room_cancel(&conn->room);
    sc_watch_close(conn->watch);
    close(conn->fd);
    wbuf_fini(&conn->in);
    wbuf_fini(&conn->out);
    conn->out_at = 0;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        shim->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    shim->conn_count--;
    shim->metrics->connections_open--;
    /* Its memory goes when flush_dirty comes by: callers up the stack still look at the state. */
    shim_conn_dirty(conn);
}

static bool is_reading(const struct shim_conn *conn)
{
    return (conn->state == SHIM_HELLO || conn->state == SHIM_OPEN) && !conn->stalled;
}

static void set_watch(struct shim_conn *conn)
{
    sc_watch_set(conn->watch, (is_reading(conn) ? SC_WATCH_READ : 0u) |
                                  (conn->write_full ? SC_WATCH_WRITE : 0u));
}

void shim_conn_to(struct shim_conn *conn, enum shim_state state)
{
    assert((state_next[conn->state] & TO(state)) != 0);
    conn->state = state;
    if (state == SHIM_CLOSED) {
        take_leave(conn);
        return;
    }
    set_watch(conn);
    shim_conn_dirty(conn);
}

/* -- writing */

/* One answer may always be added to what a client may leave unread. */
static size_t output_cap(const struct sc_shim *shim)
{
    return shim->config.output_max_bytes + shim->config.frame_max_bytes + FLUSH_EARLY_BYTES;
}

static size_t waiting_bytes(const struct shim_conn *conn)
{
    return conn->out.len - conn->out_at;
}

static bool has_output(const struct shim_conn *conn)
{
    return waiting_bytes(conn) != 0;
}

/* Writes what the kernel takes. Closes the connection when it is broken, too slow, or done. */
static void flush(struct shim_conn *conn)
{
    struct sc_shim *shim = conn->shim;
    conn->write_full = false;
    while (has_output(conn)) {
        ssize_t n = send(conn->fd, conn->out.ptr + conn->out_at, waiting_bytes(conn), MSG_NOSIGNAL);
        if (n > 0) {
            conn->out_at += (size_t)n;
            shim->metrics->bytes_out += (uint64_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            conn->write_full = true;
            break;
        } else if (errno != EINTR) {
            shim_conn_to(conn, SHIM_CLOSED);
            return;
        }
    }
    if (!has_output(conn)) {
        conn->out_at = 0;
        wbuf_clear(&conn->out);
        if (conn->out.cap > KEEP_BYTES)
            wbuf_fini(&conn->out);
        conn->out.max_bytes = output_cap(shim);
        if (conn->state == SHIM_BROKEN || (conn->state == SHIM_LEAVING && conn->in_flight == 0)) {
            shim_conn_to(conn, SHIM_CLOSED);
            return;
        }
    } else if (conn->out_at > conn->out.len / 2) {
        wbuf_consume(&conn->out, conn->out_at);
        conn->out_at = 0;
    }
    set_watch(conn);
}

/* A client that does not read its answers must not cost memory without bound. */
static bool is_too_slow(const struct shim_conn *conn)
{
    return conn->out.failed || waiting_bytes(conn) > conn->shim->config.output_max_bytes;
}

static void drop_slow(struct shim_conn *conn)
{
    struct sc_shim *shim = conn->shim;
    SC_WARN(shim->log, "shim %llu dropped client %s reason does_not_read waiting_bytes %zu",
            (unsigned long long)conn->number, conn->name, waiting_bytes(conn));
    shim->metrics->connections_dropped_slow++;
    shim_conn_to(conn, SHIM_CLOSED);
}

void shim_conn_relieve(struct shim_conn *conn)
{
    if (waiting_bytes(conn) > FLUSH_EARLY_BYTES && !conn->write_full)
        flush(conn);
}

static void flush_dirty(void *user)
{
    struct sc_shim *shim = user;
    struct shim_conn *list = shim->dirty;
    shim->dirty = NULL;
    shim->flushing = false;
    while (list != NULL) {
        struct shim_conn *conn = list;
        list = conn->next_dirty;
        if (conn->state != SHIM_CLOSED) {
            conn->dirty = false;
            if (!conn->write_full)
                flush(conn);
            if (conn->state != SHIM_CLOSED && is_too_slow(conn))
                drop_slow(conn);
        } else {
            free(conn);
        }
    }
    if (shim->closed)
        free(shim);
}

void shim_conn_dirty(struct shim_conn *conn)
{
    struct sc_shim *shim = conn->shim;
    conn->used = true;
    if (!conn->dirty) {
        conn->dirty = true;
        conn->next_dirty = shim->dirty;
        shim->dirty = conn;
    }
    if (!shim->flushing) {
        shim->flushing = true;
        sc_loop_later(shim->loop, flush_dirty, shim);
    }
}

/* -- reading */

static uint32_t frame_max(const struct shim_conn *conn)
{
    return conn->state == SHIM_HELLO ? (uint32_t)SC_SHIM_HELLO_FRAME_MAX
                                     : conn->shim->config.frame_max_bytes;
}

static void broken(struct shim_conn *conn, enum sc_status st)
{
    struct sc_shim *shim = conn->shim;
    SC_WARN(shim->log, "shim %llu refused client %s reason %s", (unsigned long long)conn->number,
            conn->name, sc_status_name(st));
    shim->metrics->connections_protocol_error++;
    char text[96] = "not a frame of this protocol";
    if (st == SC_ERR_LIMIT)
        snprintf(text, sizeof text, "a frame is over %u bytes%s", frame_max(conn),
                 conn->state == SHIM_HELLO ? " before HELLO_OK" : " (shim.frame_max_bytes)");
    if (st != SC_ERR_VERSION) /* that one has been answered, with the versions */
        shim_answer_error(conn, 0, st, text);
    if (conn->in_flight != 0) {
        sc_router_forget(shim->router, conn);
        conn->in_flight = 0;
    }
    shim_conn_to(conn, SHIM_BROKEN);
}

static void on_room(void *user);

static void stall(struct shim_conn *conn)
{
    conn->stalled = true;
    set_watch(conn);
    conn->room.fn = on_room;
    conn->room.user = conn;
    sc_router_room(conn->shim->router, &conn->room);
}

/* Handles whole frames at the front of `in`; returns the bytes of them. want_out: bytes from there
 * on that the next frame takes as far as is known. */
static size_t handle_frames(struct shim_conn *conn, struct span in, size_t *want_out)
{
    struct sc_metrics *m = conn->shim->metrics;
    size_t used = 0;
    *want_out = 0;
    while (is_reading(conn)) {
        struct span body;
        size_t size;
        enum sc_status st =
            sc_shim_frame(span_of(in.ptr + used, in.len - used), frame_max(conn), &body, &size);
        if (st == SC_AGAIN) {
            *want_out = size;
            break;
        }
        if (st == SC_OK)
            st = shim_serve(conn, body);
        if (st == SC_AGAIN) {
            stall(conn);
            break;
        }
        if (st != SC_OK) {
            broken(conn, st);
            break;
        }
        m->frames_in++;
        used += size;
        shim_conn_relieve(conn);
    }
    return used;
}

static bool read_failed(struct shim_conn *conn, ssize_t n)
{
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return true;
    if (n > 0)
        return false;
    shim_conn_to(conn, SHIM_CLOSED);
    return true;
}

/* The usual road: a chunk that belongs to the shim is read and handled in place; only the tail of a
 * frame that is not all there is copied, so an idle connection holds no buffer. */
static void read_chunk(struct shim_conn *conn)
{
    struct sc_shim *shim = conn->shim;
    size_t tail = conn->in.len;
    if (tail != 0)
        memcpy(shim->chunk, conn->in.ptr, tail);
    ssize_t n = recv(conn->fd, shim->chunk + tail, sizeof shim->chunk - tail, 0);
    if (read_failed(conn, n))
        return;
    shim->metrics->bytes_in += (uint64_t)n;
    size_t want, have = tail + (size_t)n;
    size_t used = handle_frames(conn, span_of(shim->chunk, have), &want);
    if (conn->state == SHIM_CLOSED)
        return;
    wbuf_clear(&conn->in);
    wb_bytes(&conn->in, shim->chunk + used, have - used);
    if (conn->in.failed)
        shim_conn_to(conn, SHIM_CLOSED);
}

/* The rest of a frame longer than the chunk; memory grows with what has come, not with what its
 * length claims. */
static void read_large(struct shim_conn *conn, size_t size)
{
    size_t missing = size - conn->in.len;
    size_t step = missing < SHIM_CHUNK_BYTES ? missing : SHIM_CHUNK_BYTES;
    uint8_t *to = wbuf_reserve(&conn->in, step);
    if (to == NULL) {
        shim_conn_to(conn, SHIM_CLOSED);
        return;
    }
    ssize_t n = recv(conn->fd, to, step, 0);
    if (read_failed(conn, n))
        return;
    conn->shim->metrics->bytes_in += (uint64_t)n;
    conn->in.len += (size_t)n;
    if (conn->in.len < size)
        return;
    size_t want;
    size_t used = handle_frames(conn, wbuf_span(&conn->in), &want);
    if (conn->state == SHIM_CLOSED)
        return;
    wbuf_consume(&conn->in, used);
    if (conn->in.len == 0 && conn->in.cap > KEEP_BYTES)
        wbuf_fini(&conn->in);
    conn->in.max_bytes = SIZE_MAX;
}

static void on_readable(struct shim_conn *conn)
{
    struct span body;
    size_t size;
    conn->used = true;
    bool large = conn->in.len >= SC_SHIM_FRAME_PREFIX &&
                 sc_shim_frame(wbuf_span(&conn->in), UINT32_MAX, &body, &size) == SC_AGAIN &&
                 size > SHIM_CHUNK_BYTES;
    if (large)
        read_large(conn, size);
    else
        read_chunk(conn);
}

/* The frames that waited come first. */
static void on_room(void *user)
{
    struct shim_conn *conn = user;
    conn->stalled = false;
    size_t want;
    size_t used = handle_frames(conn, wbuf_span(&conn->in), &want);
    if (conn->state == SHIM_CLOSED)
        return;
    wbuf_consume(&conn->in, used);
    set_watch(conn);
}

static void on_socket(void *user, unsigned what)
{
    struct shim_conn *conn = user;
    if ((what & SC_WATCH_WRITE) != 0)
        flush(conn);
    if ((what & SC_WATCH_READ) != 0 && is_reading(conn))
        on_readable(conn);
}

/* -- accepting */

static bool is_listed(const struct sc_id_list *list, uint32_t own, uint32_t id)
{
    if (list->count == 0)
        return id == own;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->ids[i] == id)
            return true;
    return false;
}

/* By user, or by group: containers of one pod share a group, not a user. */
static bool is_allowed(const struct sc_shim *shim, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (is_listed(&shim->config.allow_uids, geteuid(), peer.uid) ||
        is_listed(&shim->config.allow_gids, getegid(), peer.gid))
        return true;
    SC_WARN(shim->log, "shim refused uid %u gid %u reason not_allowed", peer.uid, peer.gid);
    return false;
}

static void refuse(struct sc_shim *shim, int fd, enum sc_status st, const char *text)
{
    struct wbuf out;
    wbuf_init(&out, 512);
    sc_shim_response_encode(&out, &(struct sc_shim_response){.kind = SC_SHIM_ERROR,
                                                             .code = (uint32_t)st,
                                                             .text = span_of_str(text)});
    ssize_t n = send(fd, out.ptr, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* a courtesy */
    wbuf_fini(&out);
    close(fd);
    shim->metrics->connections_refused++;
}

static enum sc_status add_conn(struct sc_shim *shim, int fd)
{
    struct shim_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return SC_ERR_NO_MEMORY;
    *conn = (struct shim_conn){.shim = shim,
                               .fd = fd,
                               .number = ++shim->numbers,
                               .opened_ns = sc_loop_now_ns(shim->loop),
                               .next = shim->conns,
                               .name = "?"};
    wbuf_init(&conn->in, SIZE_MAX);
    wbuf_init(&conn->out, output_cap(shim));
    enum sc_status st = sc_watch_open(shim->loop, fd, SC_WATCH_READ, on_socket, conn, &conn->watch);
    if (st != SC_OK) {
        free(conn);
        return st;
    }
    if (shim->conns != NULL)
        shim->conns->prev = conn;
    shim->conns = conn;
    shim->conn_count++;
    shim->metrics->connections_opened++;
    shim->metrics->connections_open++;
    return SC_OK;
}

static void resume_accepting(void *user)
{
    struct sc_shim *shim = user;
    sc_watch_set(shim->accept_watch, SC_WATCH_READ);
}

static void on_accept(void *user, unsigned what)
{
    (void)what;
    struct sc_shim *shim = user;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(shim->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                SC_WARN(shim->log, "shim accepting paused: %s", strerror(errno));
                sc_watch_set(shim->accept_watch, 0);
                sc_timer_once(shim->accept_timer, ACCEPT_PAUSE_MS);
            }
            return;
        }
        if (!is_allowed(shim, fd))
            refuse(shim, fd, SC_ERR_REFUSED, "not allowed");
        else if (shim->conn_count >= shim->config.connections_max)
            refuse(shim, fd, SC_ERR_BUSY, "too many connections");
        else if (add_conn(shim, fd) != SC_OK)
            refuse(shim, fd, SC_ERR_BUSY, "no memory");
    }
}

/* Has nothing more to say to us, or never had. */
static bool is_overdue(const struct shim_conn *conn, uint64_t now_ns)
{
    if (conn->state == SHIM_HELLO)
        return now_ns - conn->opened_ns > HELLO_TIMEOUT_MS * (uint64_t)1000000;
    return (conn->state == SHIM_BROKEN || conn->state == SHIM_LEAVING) && conn->in_flight == 0 &&
           !conn->used;
}

/* Gives memory of idle connections back; closes those that are overdue. */
static void keep_house(void *user)
{
    struct sc_shim *shim = user;
    uint64_t now = sc_loop_now_ns(shim->loop);
    struct shim_conn *next;
    for (struct shim_conn *conn = shim->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (is_overdue(conn, now)) {
            shim_conn_to(conn, SHIM_CLOSED);
            continue;
        }
        if (!conn->used && conn->in.len == 0 && !has_output(conn)) {
            wbuf_fini(&conn->in);
            wbuf_fini(&conn->out);
            wbuf_init(&conn->in, SIZE_MAX);
            wbuf_init(&conn->out, output_cap(shim));
            conn->out_at = 0;
        }
        conn->used = false;
    }
}

/* -- life */

enum sc_status sc_shim_open(struct sc_loop *loop, const struct sc_shim_config *config,
                            const struct sc_unix_listener *listener, struct sc_router *router,
                            struct gpu_device *device, struct sc_metrics *metrics,
                            const struct sc_log *log, struct sc_shim **shim_out)
{
    struct sc_shim *shim = malloc(sizeof *shim);
    if (shim == NULL)
        return SC_ERR_NO_MEMORY;
    memset(shim, 0, offsetof(struct sc_shim, chunk));
    shim->loop = loop;
    shim->config = *config;
    shim->router = router;
    shim->device = device;
    shim->metrics = metrics;
    shim->log = log;
    shim->listen_fd = listener->fd;
    enum sc_status st = sc_timer_open(loop, resume_accepting, shim, &shim->accept_timer);
    if (st == SC_OK)
        st = sc_timer_open(loop, keep_house, shim, &shim->housekeeper);
    if (st == SC_OK)
        st = sc_watch_open(loop, shim->listen_fd, SC_WATCH_READ, on_accept, shim,
                           &shim->accept_watch);
    if (st != SC_OK)
        goto err_open;
    sc_timer_every(shim->housekeeper, HOUSEKEEPING_MS);
    *shim_out = shim;
    return SC_OK;
err_open:
    sc_timer_close(shim->housekeeper);
    sc_timer_close(shim->accept_timer);
    free(shim);
    return st;
}

void sc_shim_close(struct sc_shim *shim)
{
    if (shim == NULL)
        return;
    while (shim->conns != NULL)
        shim_conn_to(shim->conns, SHIM_CLOSED);
    sc_watch_close(shim->accept_watch);
    sc_timer_close(shim->accept_timer);
    sc_timer_close(shim->housekeeper);
    shim->closed = true;
    if (!shim->flushing)
        free(shim);
}

void sc_shim_push_state(struct sc_shim *shim)
{
    for (struct shim_conn *conn = shim->conns; conn != NULL; conn = conn->next)
        if (conn->state == SHIM_OPEN)
            shim_answer_state(conn);
}

void sc_shim_set_output_max(struct sc_shim *shim, uint64_t output_max_bytes)
{
    shim->config.output_max_bytes = output_max_bytes;
}

bool sc_shim_is_idle(const struct sc_shim *shim)
{
    for (const struct shim_conn *conn = shim->conns; conn != NULL; conn = conn->next)
        if (conn->in_flight != 0 || has_output(conn))
            return false;
    return true;
}
