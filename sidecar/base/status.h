#ifndef SIDECAR_BASE_STATUS_H
#define SIDECAR_BASE_STATUS_H

#define SC_MUST_USE __attribute__((warn_unused_result))

/* Every failure in the product. The hundreds say how far the damage reaches: 1 one call fails, its
 * connection goes on; 2 the connection closes, others go on; 3 the device's worker restarts; 4 the
 * daemon stops. The numbers are part of the socket protocol (docs/socket-protocol.md): never
 * renumber, only add. SC_AGAIN is no error: more bytes, or no room yet. */
enum sc_status {
    SC_OK = 0,
    SC_AGAIN = 1,

    SC_ERR_NOT_FOUND = 0x100,   /* no such grain, kernel or call */
    SC_ERR_ARGUMENT = 0x101,    /* a value is out of its documented range */
    SC_ERR_TOO_LARGE = 0x102,   /* a payload is over its limit */
    SC_ERR_BUSY = 0x103,        /* a bounded resource is full; trying later can help */
    SC_ERR_DEADLINE = 0x104,    /* the caller's time ran out */
    SC_ERR_CANCELLED = 0x105,   /* the caller took the call back */
    SC_ERR_UNAVAILABLE = 0x106, /* no device serves this now: starting, restarting or draining */
    SC_ERR_KERNEL = 0x107,      /* the kernel refused, crashed or broke its manifest's limits */
    SC_ERR_REJECTED = 0x108,    /* the silo rejected the call */
    SC_ERR_EXCEPTION = 0x109,   /* the grain's method threw */

    SC_ERR_PROTOCOL = 0x200, /* the peer's bytes do not decode */
    SC_ERR_LIMIT = 0x201,    /* a declared length is over our limit */
    SC_ERR_VERSION = 0x202,  /* the peer speaks a version we do not know */
    SC_ERR_CLOSED = 0x203,   /* end of stream, or connection lost */
    SC_ERR_REFUSED = 0x204,  /* the peer, or we, refused the connection */
    SC_ERR_IO = 0x205,

    SC_ERR_DEVICE = 0x300, /* worker died, hangs, or broke the region's protocol */

    SC_ERR_CONFIG = 0x400,
    SC_ERR_SYSTEM = 0x401,
    SC_ERR_NO_MEMORY = 0x402
};

/* A stable lower-case word for logs, metrics and the socket protocol, e.g. "not_found". */
const char *sc_status_name(enum sc_status st);

#endif
