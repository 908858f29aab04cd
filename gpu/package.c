#include "gpu/package.h"

#include "gpu/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int gpu_package_open(const char *folder)
{
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Kernels before 5.6 and some sandboxes have no openat2; there no link is followed at all. */
static int open_beneath(int folder_fd, const char *name)
{
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    long fd = syscall(SYS_openat2, folder_fd, name, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return (int)fd;
    if (strchr(name, '/') != NULL) {
        errno = EXDEV;
        return -1;
    }
    return openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
}

int gpu_package_open_file(int folder_fd, const char *name)
{
    int fd = open_beneath(folder_fd, name);
    if (fd < 0)
        return -1;
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        errno = EXDEV;
        return -1;
    }
    return fd;
}

static enum sc_status read_all(int fd, size_t max_bytes, uint8_t **data_out, size_t *len_out)
{
    size_t cap = 16 * 1024;
    size_t len = 0;
    uint8_t *data = malloc(cap);
    while (data != NULL) {
        ssize_t n = read(fd, data + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || len + (size_t)n > max_bytes) {
            free(data);
            return n < 0 ? SC_ERR_IO : SC_ERR_TOO_LARGE;
        }
        len += (size_t)n;
        if (n == 0) {
            *data_out = data;
            *len_out = len;
            return SC_OK;
        }
        if (len < cap)
            continue;
        cap *= 2;
        uint8_t *more = realloc(data, cap);
        if (more == NULL)
            free(data);
        data = more;
    }
    return SC_ERR_NO_MEMORY;
}

enum sc_status gpu_package_read(int folder_fd, const char *name, size_t max_bytes,
                                uint8_t **data_out, size_t *len_out, char *error)
{
    int fd = gpu_package_open_file(folder_fd, name);
    if (fd < 0) {
        if (errno == EXDEV || errno == ELOOP)
            snprintf(error, GPU_KERNEL_TEXT_BYTES, "%s: not a regular file inside the package",
                     name);
        else
            snprintf(error, GPU_KERNEL_TEXT_BYTES, "%s: %s", name, strerror(errno));
        return SC_ERR_NOT_FOUND;
    }
    enum sc_status st = read_all(fd, max_bytes, data_out, len_out);
    if (st == SC_ERR_TOO_LARGE)
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "%s: over %zu bytes", name, max_bytes);
    else if (st != SC_OK)
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "%s: cannot be read", name);
    close(fd);
    return st;
}
