#include "sidecar/sock.h"

#include "sidecar/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_FIRST_BYTES = 32 << 10, /* input buffer; doubles up to what need says */
    READ_MAX_BYTES = 64 << 10, /* in one turn */
    KEEP_BYTES = 256 << 10,    /* buffers over this are freed when they run empty */
    CONSUME_BYTES = 64 << 10,  /* written output is dropped from the buffer in such steps */
    LINGER_MS = 2000
};

struct sc_sock {
    struct sc_loop *loop;
    const struct sc_sock_fns *fns;
    void *user;
    struct sc_watch *watch;
    struct sc_timer *linger; /* while finishing */
    int fd;
    int error;
    uint8_t *in; /* owned; [in_pos, in_len) waits to be taken */
    size_t in_pos;
    size_t in_len;
    size_t in_cap;
    struct wbuf out; /* the first `sent` bytes are written already */
    size_t sent;
    size_t output_max_bytes;
    uint64_t bytes_in;
    uint64_t bytes_out;
    unsigned laters; /* callbacks that the loop still owes us; the memory stays until they came */
    bool connecting;
    bool paused;
    bool finishing;
    bool shut;   /* our end of the stream is written */
    bool broken; /* writing failed; reading will tell why */
    bool closed;
    bool flush_queued;
    bool take_queued;
};

static void sock_free(struct sc_sock *s)
{
    free(s->in);
    wbuf_fini(&s->out);
    free(s);
}

static void on_later(struct sc_sock *s)
{
    assert(s->laters > 0);
    s->laters--;
    if (s->closed && s->laters == 0)
        sock_free(s);
}

static void on_later_free(void *user)
{
    on_later(user);
}

static void later(struct sc_sock *s, void (*fn)(void *user))
{
    s->laters++;
    sc_loop_later(s->loop, fn, s);
}

void sc_sock_close(struct sc_sock *s)
{
    if (s == NULL || s->closed)
        return;
    s->closed = true;
    sc_watch_close(s->watch);
    sc_timer_close(s->linger);
    close(s->fd);
    later(s, on_later_free);
}

static void end(struct sc_sock *s, enum sc_status st)
{
    size_t left = s->in_len - s->in_pos;
    sc_sock_close(s);
    s->fns->closed(s->user, st, left);
}

static void watch_what_is_due(struct sc_sock *s)
{
    unsigned what = 0;
    if (!s->paused && !s->connecting)
        what |= SC_WATCH_READ;
    if (s->connecting || (s->out.len > s->sent && !s->broken))
        what |= SC_WATCH_WRITE;
    sc_watch_set(s->watch, what);
}

static void drop_written(struct sc_sock *s)
{
    if (s->sent == s->out.len || s->broken) {
        size_t cap = s->out.cap;
        wbuf_clear(&s->out);
        s->sent = 0;
        if (cap > KEEP_BYTES) {
            wbuf_fini(&s->out);
            wbuf_init(&s->out, s->output_max_bytes);
        }
    } else if (s->sent >= CONSUME_BYTES && s->sent >= s->out.len / 2) {
        wbuf_consume(&s->out, s->sent);
        s->sent = 0;
    }
}

static void write_out(struct sc_sock *s)
{
    if (s->connecting)
        return;
    while (s->sent < s->out.len && !s->broken) {
        ssize_t n = send(s->fd, s->out.ptr + s->sent, s->out.len - s->sent, MSG_NOSIGNAL);
        if (n >= 0) {
            s->sent += (size_t)n;
            s->bytes_out += (uint64_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            s->error = errno;
            s->broken = true;
        }
    }
    drop_written(s);
    if (s->finishing && !s->shut && s->out.len == 0) {
        s->shut = true;
        (void)shutdown(s->fd, SHUT_WR);
    }
    watch_what_is_due(s);
}

static void take_input(struct sc_sock *s)
{
    if (s->finishing)
        s->in_pos = s->in_len = 0;
    while (!s->closed && !s->paused && s->in_pos < s->in_len) {
        size_t used = 0;
        enum sc_status st =
            s->fns->take(s->user, span_of(s->in + s->in_pos, s->in_len - s->in_pos), &used);
        if (s->closed || s->finishing || st == SC_AGAIN)
            return;
        if (st != SC_OK) {
            end(s, st);
            return;
        }
        assert(used > 0 && used <= s->in_len - s->in_pos);
        s->in_pos += used;
    }
}

/* Room for at least one more byte; grows by doubling, so that a peer has to send before we hold. */
static bool make_room(struct sc_sock *s)
{
    size_t held = s->in_len - s->in_pos;
    if (held == 0 && s->in_cap > KEEP_BYTES) {
        free(s->in);
        s->in = NULL;
        s->in_cap = 0;
    } else if (s->in_pos > 0) {
        memmove(s->in, s->in + s->in_pos, held);
    }
    s->in_pos = 0;
    s->in_len = held;
    if (held < s->in_cap)
        return true;
    size_t need = s->fns->need(s->user, span_of(s->in, held));
    size_t cap = s->in_cap == 0 ? IN_FIRST_BYTES : 2 * s->in_cap;
    if (s->in_cap != 0 && need < cap)
        cap = need > held ? need : held + 1;
    uint8_t *grown = realloc(s->in, cap);
    if (grown == NULL)
        return false;
    s->in = grown;
    s->in_cap = cap;
    return true;
}

static void read_in(struct sc_sock *s)
{
    if (!make_room(s)) {
        end(s, SC_ERR_NO_MEMORY);
        return;
    }
    size_t room = s->in_cap - s->in_len;
    ssize_t n = recv(s->fd, s->in + s->in_len, room < READ_MAX_BYTES ? room : READ_MAX_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        s->error = errno;
    if (n <= 0) {
        end(s, n == 0 || s->finishing ? SC_ERR_CLOSED : SC_ERR_IO);
        return;
    }
    s->in_len += (size_t)n;
    s->bytes_in += (uint64_t)n;
    take_input(s);
}

static void finish_connect(struct sc_sock *s)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        s->error = error;
        end(s, SC_ERR_IO);
        return;
    }
    s->connecting = false;
    s->fns->connected(s->user);
    if (!s->closed)
        write_out(s);
}

static void on_watch(void *user, unsigned what)
{
    struct sc_sock *s = user;
    if (s->connecting) {
        finish_connect(s);
        return;
    }
    if ((what & SC_WATCH_WRITE) != 0)
        write_out(s);
    if ((what & SC_WATCH_READ) != 0)
        read_in(s);
}

static void on_later_flush(void *user)
{
    struct sc_sock *s = user;
    s->flush_queued = false;
    if (!s->closed)
        write_out(s);
    on_later(s);
}

static void on_later_take(void *user)
{
    struct sc_sock *s = user;
    s->take_queued = false;
    if (!s->closed && !s->paused)
        take_input(s);
    on_later(s);
}

static void on_linger(void *user)
{
    struct sc_sock *s = user;
    end(s, SC_ERR_CLOSED);
}

enum sc_status sc_sock_open(struct sc_loop *loop, int fd, bool connecting, size_t output_max_bytes,
                            const struct sc_sock_fns *fns, void *user, struct sc_sock **sock_out)
{
    struct sc_sock *s = calloc(1, sizeof *s);
    if (s == NULL) {
        close(fd);
        return SC_ERR_NO_MEMORY;
    }
    *s = (struct sc_sock){.loop = loop,
                          .fns = fns,
                          .user = user,
                          .fd = fd,
                          .connecting = connecting,
                          .output_max_bytes = output_max_bytes};
    wbuf_init(&s->out, output_max_bytes);
    unsigned what = connecting ? SC_WATCH_WRITE : SC_WATCH_READ;
    enum sc_status st = sc_watch_open(loop, fd, what, on_watch, s, &s->watch);
    if (st != SC_OK) {
        close(fd);
        free(s);
        return st;
    }
    *sock_out = s;
    return SC_OK;
}

void sc_sock_finish(struct sc_sock *s)
{
    if (s->closed || s->finishing)
        return;
    s->finishing = true;
    s->paused = false;
    s->in_pos = s->in_len = 0;
    enum sc_status st = sc_timer_open(s->loop, on_linger, s, &s->linger);
    if (st == SC_OK)
        sc_timer_once(s->linger, LINGER_MS);
    sc_sock_flush(s);
}

struct wbuf *sc_sock_out(struct sc_sock *s)
{
    return &s->out;
}

void sc_sock_flush(struct sc_sock *s)
{
    if (s->closed || s->flush_queued || s->connecting)
        return;
    s->flush_queued = true;
    later(s, on_later_flush);
}

void sc_sock_flush_now(struct sc_sock *s)
{
    if (!s->closed)
        write_out(s);
}

void sc_sock_pause(struct sc_sock *s)
{
    if (s->closed || s->finishing || s->paused)
        return;
    s->paused = true;
    watch_what_is_due(s);
}

void sc_sock_resume(struct sc_sock *s)
{
    if (s->closed || !s->paused)
        return;
    s->paused = false;
    watch_what_is_due(s);
    if (!s->take_queued) {
        s->take_queued = true;
        later(s, on_later_take);
    }
}

int sc_sock_errno(const struct sc_sock *s)
{
    return s->error;
}

uint64_t sc_sock_bytes_in(const struct sc_sock *s)
{
    return s->bytes_in;
}

uint64_t sc_sock_bytes_out(const struct sc_sock *s)
{
    return s->bytes_out;
}
