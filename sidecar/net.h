/* TCP sockets: addresses, listening, connecting. All descriptors are non-blocking and close on
 * exec. */
#ifndef SIDECAR_NET_H
#define SIDECAR_NET_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

#include <netinet/in.h>

/* By value. */
struct sc_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to;
    socklen_t len;
};

enum { SC_ADDRESS_TEXT_MAX = 64, SC_HOST_MAX = 256 };

/* "host:port" or "[v6]:port" into its parts; the brackets are dropped. SC_ERR_CONFIG. */
SC_MUST_USE enum sc_status sc_address_split(const char *text, char host_out[SC_HOST_MAX],
                                            uint16_t *port_out);

/* A numeric host, or localhost (127.0.0.1). SC_ERR_NOT_FOUND: a name, to be resolved. */
SC_MUST_USE enum sc_status sc_address_numeric(const char *host, uint16_t port,
                                              struct sc_address *address_out);

/* "127.0.0.1:30000", "[::1]:30000"; NUL-terminated. */
void sc_address_format(const struct sc_address *address, char out[SC_ADDRESS_TEXT_MAX]);

/* Starts to connect; writable when done or failed. SC_ERR_IO: failed at once, errno says why. */
SC_MUST_USE enum sc_status sc_net_connect(const struct sc_address *address, int *fd_out);

/* SC_ERR_IO: errno says why. *port_out: the port listened on. */
SC_MUST_USE enum sc_status sc_net_listen(const struct sc_address *address, int *fd_out,
                                         uint16_t *port_out);

/* SC_AGAIN: nobody waits, or none can be taken just now; SC_ERR_IO: errno says why. */
SC_MUST_USE enum sc_status sc_net_accept(int listen_fd, int *fd_out,
                                         struct sc_address *address_out);

#endif
