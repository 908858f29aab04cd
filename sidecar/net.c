#include "sidecar/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 128 };

static bool port_parse(const char *text, uint16_t *port_out)
{
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 5)
        return false;
    char *end = NULL;
    unsigned long port = strtoul(text, &end, 10);
    if (*end != '\0' || port > UINT16_MAX)
        return false;
    *port_out = (uint16_t)port;
    return true;
}

enum sc_status sc_address_split(const char *text, char host_out[SC_HOST_MAX], uint16_t *port_out)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !port_parse(colon + 1, port_out))
        return SC_ERR_CONFIG;
    struct span host = span_of(text, (size_t)(colon - text));
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = span_of(host.ptr + 1, host.len - 2);
    if (host.len == 0 || host.len >= SC_HOST_MAX)
        return SC_ERR_CONFIG;
    bool has_colon = memchr(host.ptr, ':', host.len) != NULL;
    if (has_colon != bracketed || memchr(host.ptr, '[', host.len) != NULL)
        return SC_ERR_CONFIG;
    memcpy(host_out, host.ptr, host.len);
    host_out[host.len] = '\0';
    return SC_OK;
}

enum sc_status sc_address_numeric(const char *host, uint16_t port, struct sc_address *address_out)
{
    struct sc_address a = {0};
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &a.to.v4.sin_addr) == 1) {
        a.to.v4.sin_family = AF_INET;
        a.to.v4.sin_port = htons(port);
        a.len = sizeof a.to.v4;
    } else if (inet_pton(AF_INET6, host, &a.to.v6.sin6_addr) == 1) {
        a.to.v6.sin6_family = AF_INET6;
        a.to.v6.sin6_port = htons(port);
        a.len = sizeof a.to.v6;
    } else {
        return SC_ERR_NOT_FOUND;
    }
    *address_out = a;
    return SC_OK;
}

void sc_address_format(const struct sc_address *address, char out[SC_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->to.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->to.v6.sin6_addr, host, sizeof host);
        snprintf(out, SC_ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address->to.v6.sin6_port));
        return;
    }
    inet_ntop(AF_INET, &address->to.v4.sin_addr, host, sizeof host);
    snprintf(out, SC_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address->to.v4.sin_port));
}

/* As .NET's client has it: no delay, keep-alive after 90 s, every 30 s, 10 probes. A socket that
 * refuses an option still works. */
static void tune(int fd)
{
    int on = 1, idle_s = 90, interval_s = 30, probes = 10;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void close_keep_errno(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
}

enum sc_status sc_net_connect(const struct sc_address *address, int *fd_out)
{
    int fd = socket(address->to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return SC_ERR_IO;
    tune(fd);
    if (connect(fd, &address->to.any, address->len) != 0 && errno != EINPROGRESS) {
        close_keep_errno(fd);
        return SC_ERR_IO;
    }
    *fd_out = fd;
    return SC_OK;
}

enum sc_status sc_net_listen(const struct sc_address *address, int *fd_out, uint16_t *port_out)
{
    int fd = socket(address->to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return SC_ERR_IO;
    int on = 1;
    struct sc_address bound = {.len = sizeof bound.to};
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &address->to.any, address->len) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, &bound.to.any, &bound.len) != 0) {
        close_keep_errno(fd);
        return SC_ERR_IO;
    }
    *port_out =
        ntohs(bound.to.any.sa_family == AF_INET6 ? bound.to.v6.sin6_port : bound.to.v4.sin_port);
    *fd_out = fd;
    return SC_OK;
}

enum sc_status sc_net_accept(int listen_fd, int *fd_out, struct sc_address *address_out)
{
    struct sc_address a = {.len = sizeof a.to};
    int fd = accept4(listen_fd, &a.to.any, &a.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        return passing ? SC_AGAIN : SC_ERR_IO;
    }
    tune(fd);
    *fd_out = fd;
    *address_out = a;
    return SC_OK;
}
