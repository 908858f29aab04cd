/* A listening Unix socket, made so that nobody can connect or swap it before its permissions are
 * set, and so that two daemons never share a path. */
#ifndef SIDECAR_UNIX_LISTEN_H
#define SIDECAR_UNIX_LISTEN_H

#include <stdint.h>
#include <sys/types.h>

#include "sidecar/base/status.h"

struct sc_log;

struct sc_unix_listener {
    int fd;      /* non-blocking; -1: not open */
    int lock_fd; /* <path>.lock, held while the socket is ours */
    char path[108];
    dev_t dev; /* of the socket file */
    ino_t ino;
};

/* Makes the folder if it is missing (0700, or 0750 when mode lets the group in), takes the lock,
 * removes a stale socket, binds, sets the mode, listens. SC_ERR_SYSTEM: cannot, e.g. another daemon
 * serves the path, or no permission; SC_ERR_CONFIG: the path is too long. Logged in one line. A
 * folder that everyone may write to is a warning. */
SC_MUST_USE enum sc_status sc_unix_listen(const char *path, uint32_t mode, const struct sc_log *log,
                                          struct sc_unix_listener *listener_out);

/* Closes, and removes the socket file if it is still ours. */
void sc_unix_listener_close(struct sc_unix_listener *listener);

#endif
