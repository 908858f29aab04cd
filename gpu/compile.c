#include "gpu/compile.h"

#include "sidecar/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REAP_PAUSE_MS = 5 };

/* A clean slate for the child: own process group (to kill all of it), default signals. */
static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    int bad = posix_spawnattr_setsigmask(attr, &none);
    bad |= posix_spawnattr_setsigdefault(attr, &all);
    bad |= posix_spawnattr_setpgroup(attr, 0);
    bad |= posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    return bad;
}

static int set_files(posix_spawn_file_actions_t *files, int folder_fd, int output_fd)
{
    int bad = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    bad |= posix_spawn_file_actions_adddup2(files, output_fd, 1);
    bad |= posix_spawn_file_actions_adddup2(files, output_fd, 2);
    bad |= posix_spawn_file_actions_addfchdir_np(files, folder_fd);
    return bad;
}

/* The compiler sees PATH, a neutral locale and a place for temporary files, nothing of ours. */
static enum sc_status spawn(const char *const *argv, int folder_fd, const char *scratch,
                            int output_fd, pid_t *pid_out)
{
    const char *path = getenv("PATH");
    char *path_entry = NULL;
    char *tmp_entry = NULL;
    if (asprintf(&path_entry, "PATH=%s", path != NULL ? path : "/usr/bin:/bin") < 0)
        return SC_ERR_NO_MEMORY;
    if (asprintf(&tmp_entry, "TMPDIR=%s", scratch) < 0) {
        free(path_entry);
        return SC_ERR_NO_MEMORY;
    }
    char locale[] = "LC_ALL=C";
    char *env[] = {path_entry, tmp_entry, locale, NULL};
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_init(&files);
    int bad = set_attributes(&attr);
    bad |= set_files(&files, folder_fd, output_fd);
    if (bad == 0)
        bad = posix_spawnp(pid_out, argv[0], &files, &attr, (char *const *)argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    free(tmp_entry);
    free(path_entry);
    if (bad == 0)
        return SC_OK;
    return bad == ENOENT || bad == EACCES || bad == ENOTDIR ? SC_ERR_NOT_FOUND : SC_ERR_SYSTEM;
}

static int left_ms(uint64_t deadline_ns)
{
    uint64_t now = sc_clock_mono_ns();
    return now >= deadline_ns ? 0 : (int)((deadline_ns - now) / 1000000u) + 1;
}

/* Takes output until its end or the deadline; what does not fit is read and dropped. */
static void take_output(int fd, uint64_t deadline_ns, char *text, size_t text_cap)
{
    size_t len = 0;
    char chunk[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, left_ms(deadline_ns));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            break;
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n <= 0)
            break;
        size_t keep = (size_t)n < text_cap - 1 - len ? (size_t)n : text_cap - 1 - len;
        memcpy(text + len, chunk, keep);
        len += keep;
    }
    text[len] = 0;
}

/* A child may close its output and live on, so the end is awaited under the same deadline. */
static bool reap(pid_t pid, uint64_t deadline_ns, int *status_out)
{
    for (;;) {
        pid_t got = waitpid(pid, status_out, WNOHANG);
        if (got == pid)
            return true;
        if (left_ms(deadline_ns) == 0)
            return false;
        struct timespec pause = {.tv_nsec = REAP_PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

enum sc_status gpu_compile_run(const char *const *argv, int folder_fd, const char *scratch,
                               uint32_t limit_ms, char *text, size_t text_cap)
{
    int fds[2];
    text[0] = 0;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return SC_ERR_SYSTEM;
    uint64_t deadline_ns = sc_clock_mono_ns() + (uint64_t)limit_ms * 1000000u;
    pid_t pid = -1;
    enum sc_status st = spawn(argv, folder_fd, scratch, fds[1], &pid);
    close(fds[1]);
    if (st == SC_OK) {
        take_output(fds[0], deadline_ns, text, text_cap);
        int status = 0;
        if (!reap(pid, deadline_ns, &status)) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            st = SC_ERR_DEADLINE;
        } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            st = SC_ERR_KERNEL;
        }
    }
    close(fds[0]);
    return st;
}
