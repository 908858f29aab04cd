#include "sidecar/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/net.h"

enum {
    HEADERS_MAX_BYTES = 8192,
    BODY_MAX_BYTES = 1024, /* of a request: probes have none */
    REPLY_MAX_BYTES = 1 << 20,
    IDLE_TIMEOUT_S = 10,
    ACCEPT_PAUSE_MS = 1000 /* at most, after the process ran out of descriptors */
};

struct sc_http {
    struct evhttp *server;
    struct evconnlistener *listener; /* the server's */
    struct sc_timer *resume;
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

/* Out of descriptors: the connection stays in the queue, so accepting again at once would turn the
 * loop for nothing. The argument is evhttp's own; on_resume starts the listener again. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    evconnlistener_disable(listener);
}

static void on_resume(void *user)
{
    struct sc_http *http = user;
    evconnlistener_enable(http->listener);
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
    enum sc_status st = sc_timer_open(loop, on_resume, http, &http->resume);
    struct evhttp_bound_socket *bound =
        st == SC_OK ? evhttp_accept_socket_with_handle(http->server, fd) : NULL;
    if (bound == NULL) {
        sc_timer_close(http->resume);
        evhttp_free(http->server);
        return st != SC_OK ? st : SC_ERR_SYSTEM;
    }
    http->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(http->listener, on_accept_error);
    sc_timer_every(http->resume, ACCEPT_PAUSE_MS);
    return SC_OK;
}

enum sc_status sc_http_open(struct sc_loop *loop, const char *address, sc_http_fn fn, void *user,
                            const struct sc_log *log, struct sc_http **http_out)
{
    char host[SC_HOST_MAX];
    uint16_t port = 0;
    int fd = -1;
    struct sc_address at;
    enum sc_status st = sc_address_split(address, host, &port);
    if (st == SC_OK)
        st = sc_address_numeric(host, port, &at);
    if (st != SC_OK) {
        SC_ERROR(log, "http %s is not an ip:port", address);
        return SC_ERR_CONFIG;
    }
    st = sc_net_listen(&at, &fd, &port);
    if (st != SC_OK) {
        SC_ERROR(log, "http %s cannot listen: %m", address);
        return st;
    }
    st = SC_ERR_NO_MEMORY;
    struct sc_http *http = calloc(1, sizeof *http);
    if (http == NULL)
        goto err_fd;
    *http = (struct sc_http){.fn = fn, .user = user, .port = port};
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
    sc_timer_close(http->resume);
    evhttp_free(http->server);
    free(http);
}

uint16_t sc_http_port(const struct sc_http *http)
{
    return http->port;
}
