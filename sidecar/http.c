#include "sidecar/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>

#include "sidecar/base/log.h"
#include "sidecar/loop.h"

enum {
    HEADERS_MAX_BYTES = 8192,
    BODY_MAX_BYTES = 1024, /* of a request: probes have none */
    REPLY_MAX_BYTES = 1 << 20,
    IDLE_TIMEOUT_S = 10,
    LISTEN_BACKLOG = 64
};

struct sc_http {
    struct evhttp *server;
    sc_http_fn fn;
    void *user;
    uint16_t port;
};

/* Sends the body, or for HEAD only its length. */
static void send_body(struct evhttp_request *req, int code, const char *reason, struct span body)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", body.len);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", length);
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
        evbuffer_add(evhttp_request_get_output_buffer(req), body.ptr, body.len);
    evhttp_send_reply(req, code, reason, NULL);
}

static void send_text(struct evhttp_request *req, int code, const char *reason, const char *text)
{
    send_body(req, code, reason, span_of_str(text));
}

static void send_reply(struct evhttp_request *req, struct sc_http_reply *reply)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    evhttp_add_header(headers, "Content-Type",
                      reply->content_type != NULL ? reply->content_type
                                                  : "text/plain; charset=utf-8");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    send_body(req, reply->code, reply->code == 200 ? "OK" : "Service Unavailable",
              wbuf_span(&reply->body));
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct sc_http *http = arg;
    enum evhttp_cmd_type method = evhttp_request_get_command(req);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        evhttp_add_header(headers, "Allow", "GET, HEAD");
        send_text(req, 405, "Method Not Allowed", "only GET and HEAD\n");
        return;
    }
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    struct sc_http_reply reply = {.code = 200};
    wbuf_init(&reply.body, REPLY_MAX_BYTES);
    if (path == NULL || !http->fn(http->user, path, &reply))
        send_text(req, 404, "Not Found", "no such path\n");
    else if (reply.body.failed)
        send_text(req, 500, "Internal Server Error", "answer too large\n");
    else
        send_reply(req, &reply);
    wbuf_fini(&reply.body);
}

static int listen_on(const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, addr, len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    if (addr.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&addr)->sin_port);
    return ntohs(((const struct sockaddr_in6 *)&addr)->sin6_port);
}

static enum sc_status start(struct sc_http *http, struct sc_loop *loop, int fd)
{
    http->server = evhttp_new(sc_loop_base(loop));
    if (http->server == NULL)
        return SC_ERR_NO_MEMORY;
    evhttp_set_max_headers_size(http->server, HEADERS_MAX_BYTES);
    evhttp_set_max_body_size(http->server, BODY_MAX_BYTES);
    evhttp_set_timeout(http->server, IDLE_TIMEOUT_S);
    evhttp_set_allowed_methods(http->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                                 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                                 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_gencb(http->server, on_request, http);
    if (evhttp_accept_socket(http->server, fd) != 0) {
        evhttp_free(http->server);
        return SC_ERR_SYSTEM;
    }
    return SC_OK;
}

enum sc_status sc_http_open(struct sc_loop *loop, const char *address, sc_http_fn fn, void *user,
                            const struct sc_log *log, struct sc_http **http_out)
{
    struct sockaddr_storage addr = {0};
    int addr_len = sizeof addr;
    if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&addr, &addr_len) != 0) {
        SC_ERROR(log, "http %s is not an ip:port", address);
        return SC_ERR_CONFIG;
    }
    int fd = listen_on((const struct sockaddr *)&addr, (socklen_t)addr_len);
    if (fd < 0) {
        SC_ERROR(log, "http %s cannot listen: %s", address, strerror(errno));
        return SC_ERR_SYSTEM;
    }
    enum sc_status st = SC_ERR_NO_MEMORY;
    struct sc_http *http = calloc(1, sizeof *http);
    if (http == NULL)
        goto err_fd;
    *http = (struct sc_http){.fn = fn, .user = user, .port = port_of(fd)};
    st = start(http, loop, fd);
    if (st != SC_OK)
        goto err_free;
    *http_out = http;
    return SC_OK;
err_free:
    free(http);
err_fd:
    SC_ERROR(log, "http %s cannot start: %s", address, sc_status_name(st));
    close(fd);
    return st;
}

void sc_http_close(struct sc_http *http)
{
    if (http == NULL)
        return;
    evhttp_free(http->server);
    free(http);
}

uint16_t sc_http_port(const struct sc_http *http)
{
    return http->port;
}
