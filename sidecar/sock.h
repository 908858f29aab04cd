/* A stream socket on the loop with its buffers: hands bytes to a decoder, writes what was put into
 * the output at the end of the turn. Knows no protocol. Loop thread only. */
#ifndef SIDECAR_SOCK_H
#define SIDECAR_SOCK_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"

struct sc_loop;
struct sc_sock;

struct sc_sock_fns {
    /* The connection is made; not for accepted sockets. */
    void (*connected)(void *user);
    /* Takes one message from the front of in. SC_AGAIN: more bytes are needed, or the socket was
     * paused. Any error ends the socket: closed is called with it. May close the socket. */
    enum sc_status (*take)(void *user, struct span in, size_t *used_out);
    /* Bytes that in must have before take can yield; what is held grows as they arrive. */
    size_t (*need)(void *user, struct span in);
    /* The end, nobody closed it before: the socket is gone when this returns, left bytes were not
     * taken. SC_ERR_CLOSED: the peer ended the stream, or sc_sock_finish is through; SC_ERR_IO:
     * sc_sock_errno; else what take said. */
    void (*closed)(void *user, enum sc_status st, size_t left);
};

/* Takes over fd. connecting: fd's connect is under way. fns is kept by pointer. output_max_bytes
 * caps what waits to be written. On failure fd is closed. */
SC_MUST_USE enum sc_status sc_sock_open(struct sc_loop *loop, int fd, bool connecting,
                                        size_t output_max_bytes, const struct sc_sock_fns *fns,
                                        void *user, struct sc_sock **sock_out);

/* No callback after this; what was not written is dropped. */
void sc_sock_close(struct sc_sock *sock);

/* Writes what waits, says that nothing more comes, and reads on, throwing away, until the peer
 * closes or 2 s are over: so the peer gets to see what was written. Then closed is called; before
 * that nothing else is. */
void sc_sock_finish(struct sc_sock *sock);

/* The output: append to it, then flush, which writes at the end of the turn. */
struct wbuf *sc_sock_out(struct sc_sock *sock);
void sc_sock_flush(struct sc_sock *sock);

/* Writes now what the kernel takes. For goodbyes; a failure shows later. */
void sc_sock_flush_now(struct sc_sock *sock);

/* Stops reading and taking, and goes on with both. */
void sc_sock_pause(struct sc_sock *sock);
void sc_sock_resume(struct sc_sock *sock);

int sc_sock_errno(const struct sc_sock *sock);
uint64_t sc_sock_bytes_in(const struct sc_sock *sock);
uint64_t sc_sock_bytes_out(const struct sc_sock *sock);

#endif
