#include "sidecar/unix_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sidecar/base/log.h"

enum { BACKLOG = 128 };

/* The folder part of a path; "." when there is none. */
static void folder_of(const char *path, char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        snprintf(out, cap, ".");
    else
        snprintf(out, cap, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static enum sc_status check_folder(const char *path, uint32_t mode, const struct sc_log *log)
{
    char folder[108];
    struct stat st;
    folder_of(path, folder, sizeof folder);
    mode_t folder_mode = (mode & 070) != 0 ? 0750 : 0700;
    if (mkdir(folder, folder_mode) == 0) {
        /* The umask may have taken bits away. */
        if (chmod(folder, folder_mode) == 0)
            return SC_OK;
    } else if (errno == EEXIST && stat(folder, &st) == 0 && S_ISDIR(st.st_mode)) {
        /* Kubernetes makes its empty folders so, for the containers of one pod. */
        if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0)
            SC_WARN(log, "socket %s may be replaced by others: everyone may write to folder %s",
                    path, folder);
        return SC_OK;
    }
    SC_ERROR(log, "socket %s not opened: folder %s: %s", path, folder, strerror(errno));
    return SC_ERR_SYSTEM;
}

static int take_lock(const char *path, const struct sc_log *log)
{
    char lock[PATH_MAX];
    snprintf(lock, sizeof lock, "%s.lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        SC_ERROR(log, "socket %s not opened: %s: %s", path, lock, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    SC_ERROR(log, "socket %s not opened: another daemon serves it", path);
    close(fd);
    return -1;
}

static bool answers(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true; /* not known to be stale: leave it alone */
    int rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    bool refused = rc != 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* Nothing there, or a socket nobody listens on. */
static enum sc_status clear_path(const struct sockaddr_un *addr, const struct sc_log *log)
{
    struct stat st;
    if (lstat(addr->sun_path, &st) != 0) {
        if (errno == ENOENT)
            return SC_OK;
        SC_ERROR(log, "socket %s not opened: %s", addr->sun_path, strerror(errno));
        return SC_ERR_SYSTEM;
    }
    if (!S_ISSOCK(st.st_mode)) {
        SC_ERROR(log, "socket %s not opened: something that is no socket is there", addr->sun_path);
        return SC_ERR_SYSTEM;
    }
    if (answers(addr)) {
        SC_ERROR(log, "socket %s not opened: another daemon serves it", addr->sun_path);
        return SC_ERR_SYSTEM;
    }
    if (unlink(addr->sun_path) == 0)
        return SC_OK;
    SC_ERROR(log, "socket %s not opened: stale socket stays: %s", addr->sun_path, strerror(errno));
    return SC_ERR_SYSTEM;
}

/* Bound under a umask that lets nobody in, then given its mode, then listening. */
static bool bind_and_listen(int fd, const struct sockaddr_un *addr, uint32_t mode)
{
    mode_t before = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)addr, sizeof *addr);
    int saved = errno;
    umask(before);
    errno = saved;
    return rc == 0 && chmod(addr->sun_path, mode) == 0 && listen(fd, BACKLOG) == 0;
}

enum sc_status sc_unix_listen(const char *path, uint32_t mode, const struct sc_log *log,
                              struct sc_unix_listener *listener_out)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct sc_unix_listener l = {.fd = -1, .lock_fd = -1};
    struct stat file;
    if (strlen(path) >= sizeof addr.sun_path) {
        SC_ERROR(log, "socket %s not opened: path is over %zu bytes", path,
                 sizeof addr.sun_path - 1);
        return SC_ERR_CONFIG;
    }
    memcpy(addr.sun_path, path, strlen(path));
    memcpy(l.path, addr.sun_path, sizeof addr.sun_path);
    enum sc_status st = check_folder(path, mode, log);
    if (st != SC_OK)
        return st;
    l.lock_fd = take_lock(path, log);
    if (l.lock_fd < 0)
        return SC_ERR_SYSTEM;
    st = clear_path(&addr, log);
    if (st != SC_OK)
        goto err_lock;
    st = SC_ERR_SYSTEM;
    l.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l.fd < 0 || !bind_and_listen(l.fd, &addr, mode) || lstat(path, &file) != 0) {
        SC_ERROR(log, "socket %s not opened: %s", path, strerror(errno));
        goto err_fd;
    }
    l.dev = file.st_dev;
    l.ino = file.st_ino;
    *listener_out = l;
    return SC_OK;
err_fd:
    if (l.fd >= 0)
        close(l.fd);
err_lock:
    close(l.lock_fd);
    return st;
}

void sc_unix_listener_close(struct sc_unix_listener *listener)
{
    struct stat file;
    if (listener->fd < 0)
        return;
    if (lstat(listener->path, &file) == 0 && file.st_dev == listener->dev &&
        file.st_ino == listener->ino)
        unlink(listener->path);
    close(listener->fd);
    close(listener->lock_fd);
    *listener = (struct sc_unix_listener){.fd = -1, .lock_fd = -1};
}
