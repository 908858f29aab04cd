#include "sidecar/client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "sidecar/base/clock.h"

enum { READ_BYTES = 64 * 1024 };

static enum sc_status fail(struct sc_client *c, enum sc_status st, const char *why)
{
    snprintf(c->error, sizeof c->error, "%s", why);
    return st;
}

void sc_client_set_timeout(struct sc_client *client, uint32_t timeout_ms)
{
    if (timeout_ms == client->timeout_ms)
        return;
    client->timeout_ms = timeout_ms;
    struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = (long)(timeout_ms % 1000) * 1000};
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}

static enum sc_status say_hello(struct sc_client *c, const char *name)
{
    struct sc_shim_response r;
    sc_client_queue(c, &(struct sc_shim_request){.kind = SC_SHIM_HELLO,
                                                 .version = SC_SHIM_VERSION,
                                                 .client = span_of_str(name)});
    enum sc_status sent = sc_client_flush(c);
    /* A daemon that refuses us may have closed already: what it said can still be read. */
    enum sc_status st = sc_client_next(c, &r);
    if (st != SC_OK && sent != SC_OK)
        return sent;
    if (st == SC_AGAIN)
        return fail(c, SC_ERR_DEADLINE, "the daemon did not answer");
    if (st != SC_OK)
        return st;
    if (r.kind == SC_SHIM_ERROR) {
        snprintf(c->error, sizeof c->error, "%.*s", SPAN_ARG(r.text));
        return (enum sc_status)r.code;
    }
    if (r.kind != SC_SHIM_HELLO_OK)
        return fail(c, SC_ERR_PROTOCOL, "the first answer is no HELLO_OK");
    c->credits = r.credits;
    c->frame_max = r.frame_max;
    c->epoch = r.epoch;
    c->out.max_bytes = SIZE_MAX;
    return SC_OK;
}

enum sc_status sc_client_open(struct sc_client *client, const char *path, const char *name,
                              uint32_t timeout_ms)
{
    *client = (struct sc_client){.fd = -1, .next_id = 1, .frame_max = UINT32_MAX};
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        return fail(client, SC_ERR_ARGUMENT, "the socket's path is too long");
    memcpy(addr.sun_path, path, strlen(path));
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return fail(client, SC_ERR_SYSTEM, strerror(errno));
    wbuf_init(&client->in, SIZE_MAX);
    wbuf_init(&client->out, SIZE_MAX);
    enum sc_status st;
    if (connect(client->fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        snprintf(client->error, sizeof client->error, "socket %s: %s", path, strerror(errno));
        st = SC_ERR_IO;
    } else {
        sc_client_set_timeout(client, timeout_ms);
        st = say_hello(client, name);
    }
    if (st != SC_OK)
        sc_client_close(client);
    return st;
}

void sc_client_close(struct sc_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    wbuf_fini(&client->in);
    wbuf_fini(&client->out);
}

uint64_t sc_client_id(struct sc_client *client)
{
    return client->next_id++;
}

void sc_client_queue(struct sc_client *client, const struct sc_shim_request *request)
{
    sc_shim_request_encode(&client->out, request);
}

void sc_client_queue_call(struct sc_client *client, uint64_t id, uint64_t grain, uint16_t type,
                          uint32_t deadline_ms, struct span payload)
{
    sc_shim_call_encode(&client->out, id, grain, type, deadline_ms, payload);
}

enum sc_status sc_client_flush(struct sc_client *client)
{
    size_t at = 0;
    if (client->out.failed)
        return fail(client, SC_ERR_NO_MEMORY, "no memory for the request");
    while (at < client->out.len) {
        ssize_t n = send(client->fd, client->out.ptr + at, client->out.len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (errno != EINTR)
            break;
    }
    bool all = at == client->out.len;
    int cause = errno;
    wbuf_clear(&client->out);
    /* Half a frame may be out: there is no way on. */
    return all ? SC_OK
               : fail(client, SC_ERR_CLOSED,
                      cause == EAGAIN ? "the daemon does not read" : strerror(cause));
}

static enum sc_status read_more(struct sc_client *c)
{
    if (c->in_at != 0) {
        wbuf_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
    uint8_t *to = wbuf_reserve(&c->in, READ_BYTES);
    if (to == NULL)
        return fail(c, SC_ERR_NO_MEMORY, "no memory for the answer");
    for (;;) {
        ssize_t n = recv(c->fd, to, READ_BYTES, 0);
        if (n > 0) {
            c->in.len += (size_t)n;
            return SC_OK;
        }
        if (n == 0)
            return fail(c, SC_ERR_CLOSED, "the daemon closed the connection");
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return SC_AGAIN;
        if (errno != EINTR)
            return fail(c, SC_ERR_CLOSED, strerror(errno));
    }
}

enum sc_status sc_client_next(struct sc_client *client, struct sc_shim_response *response_out)
{
    for (;;) {
        struct span body;
        size_t size;
        enum sc_status st =
            sc_shim_frame(wbuf_from(&client->in, client->in_at), UINT32_MAX, &body, &size);
        if (st == SC_AGAIN) {
            st = read_more(client);
            if (st != SC_OK)
                return st;
            continue;
        }
        if (st == SC_OK)
            st = sc_shim_response_decode(body, response_out);
        if (st != SC_OK)
            return fail(client, st, "the daemon's answer does not decode");
        client->in_at += size;
        if (response_out->kind == SC_SHIM_STATE) {
            client->epoch = response_out->epoch;
            client->ready = response_out->ready;
            client->draining = response_out->draining;
        }
        return SC_OK;
    }
}

enum sc_status sc_client_ask(struct sc_client *client, const struct sc_shim_request *request,
                             struct sc_shim_response *response_out)
{
    sc_client_queue(client, request);
    enum sc_status st = sc_client_flush(client);
    while (st == SC_OK) {
        st = sc_client_next(client, response_out);
        if (st != SC_OK)
            break;
        bool ours = response_out->kind != SC_SHIM_STATE && response_out->id == request->id;
        /* An ERROR with id 0 is about the connection. */
        if (response_out->kind == SC_SHIM_ERROR && (ours || response_out->id == 0)) {
            snprintf(client->error, sizeof client->error, "%.*s", SPAN_ARG(response_out->text));
            return (enum sc_status)response_out->code;
        }
        if (ours)
            return SC_OK;
    }
    return st == SC_AGAIN ? fail(client, SC_ERR_DEADLINE, "the daemon did not answer in time") : st;
}

enum sc_status sc_client_activate(struct sc_client *client, struct span kernel, struct span key,
                                  uint32_t state_bytes, struct span init, uint64_t *grain_out)
{
    struct sc_shim_response r;
    struct sc_shim_request q = {.kind = SC_SHIM_ACTIVATE,
                                .id = sc_client_id(client),
                                .kernel = kernel,
                                .key = key,
                                .state_bytes = state_bytes,
                                .payload = init};
    enum sc_status st = sc_client_ask(client, &q, &r);
    if (st == SC_OK)
        *grain_out = r.grain;
    return st;
}

enum sc_status sc_client_deactivate(struct sc_client *client, uint64_t grain)
{
    struct sc_shim_response r;
    struct sc_shim_request q = {
        .kind = SC_SHIM_DEACTIVATE, .id = sc_client_id(client), .grain = grain};
    return sc_client_ask(client, &q, &r);
}

enum sc_status sc_client_call(struct sc_client *client, uint64_t grain, uint16_t type,
                              struct span payload, uint32_t deadline_ms, struct span *reply_out)
{
    struct sc_shim_response r;
    struct sc_shim_request q = {.kind = SC_SHIM_CALL,
                                .id = sc_client_id(client),
                                .grain = grain,
                                .type = type,
                                .deadline_ms = deadline_ms,
                                .payload = payload};
    enum sc_status st = sc_client_ask(client, &q, &r);
    if (st == SC_OK)
        *reply_out = r.payload;
    return st;
}

static bool is_message(struct span message, struct span name, uint16_t type)
{
    char number[8];
    int n = snprintf(number, sizeof number, "%u", type);
    return span_eq(message, name) || span_eq(message, span_of(number, (size_t)n));
}

enum sc_status sc_client_message_type(struct sc_client *client, struct span kernel,
                                      struct span message, uint16_t *type_out)
{
    struct sc_shim_response r;
    struct sc_shim_request q = {.kind = SC_SHIM_KERNELS, .id = sc_client_id(client)};
    enum sc_status st = sc_client_ask(client, &q, &r);
    if (st != SC_OK)
        return st;
    struct sc_shim_kernels it;
    struct sc_shim_kernel k;
    struct span name;
    uint16_t type;
    sc_shim_kernels_init(&it, r.kernels);
    while (sc_shim_kernels_next(&it, &k)) {
        if (!span_eq(k.id, kernel))
            continue;
        while (sc_shim_kernels_next_message(&it, &name, &type)) {
            if (!is_message(message, name, type))
                continue;
            *type_out = type;
            return SC_OK;
        }
        snprintf(client->error, sizeof client->error, "kernel %.*s has no message %.*s",
                 SPAN_ARG(kernel), SPAN_ARG(message));
        return SC_ERR_NOT_FOUND;
    }
    snprintf(client->error, sizeof client->error, "no kernel %.*s", SPAN_ARG(kernel));
    return SC_ERR_NOT_FOUND;
}

enum sc_status sc_client_wait_ready(struct sc_client *client, uint32_t timeout_ms)
{
    uint64_t until = sc_clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    uint32_t before = client->timeout_ms;
    enum sc_status st = SC_OK;
    while (!client->ready && st == SC_OK) {
        uint64_t now = sc_clock_mono_ns();
        struct sc_shim_response r;
        if (now >= until)
            break;
        sc_client_set_timeout(client, (uint32_t)((until - now) / 1000000) + 1);
        st = sc_client_next(client, &r);
    }
    sc_client_set_timeout(client, before);
    if (st != SC_OK && st != SC_AGAIN)
        return st;
    return client->ready ? SC_OK : fail(client, SC_ERR_UNAVAILABLE, "the device is not ready");
}
