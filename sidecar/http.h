/* A small HTTP server for probes and metrics: GET and HEAD of whole paths, nothing else. Loop
 * thread only. */
#ifndef SIDECAR_HTTP_H
#define SIDECAR_HTTP_H

#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"

struct sc_log;
struct sc_loop;
struct sc_http;

struct sc_http_reply {
    int code;                 /* 200 unless set */
    const char *content_type; /* text/plain; charset=utf-8 unless set */
    struct wbuf body;         /* starts empty */
};

/* Fills the answer for a path without its query. False: no such path, the answer is 404. */
typedef bool (*sc_http_fn)(void *user, const char *path, struct sc_http_reply *reply);

/* Listens on "ip:port" or "[ip6]:port"; port 0 takes a free one. SC_ERR_CONFIG: not an address;
 * SC_ERR_IO: cannot listen, e.g. the port is in use. Both are logged. */
SC_MUST_USE enum sc_status sc_http_open(struct sc_loop *loop, const char *address, sc_http_fn fn,
                                        void *user, const struct sc_log *log,
                                        struct sc_http **http_out);
void sc_http_close(struct sc_http *http);

/* The port it listens on. */
uint16_t sc_http_port(const struct sc_http *http);

#endif
