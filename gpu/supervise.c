/* The worker's life: start, notes, heartbeat, death, restart. */
#include "gpu/device.h"

#include "gpu/worker.h"
#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { RESTART_FACTOR_MAX = 32, IDLE_FACTOR = 10 };

static void set_state(struct gpu_device *dev, enum gpu_device_state state, const char *cause)
{
    dev->state = state;
    dev->ops->on_state(dev->user, state, cause);
}

/* -- start ------------------------------------------------------------------------------------- */

/* Signals the loop blocks or handles must not stay so in the worker. */
static int spawn_worker(struct gpu_device *dev, int control, pid_t *pid_out)
{
    const struct gpu_device_config *c = &dev->config;
    char *argv[] = {(char *)"gpu-sidecar",
                    (char *)"worker",
                    (char *)c->kernel_root,
                    (char *)c->kernel_cache,
                    (char *)c->include_dir,
                    (char *)c->compiler,
                    NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, dev->region_fd, GPU_WORKER_REGION_FD);
    posix_spawn_file_actions_adddup2(&files, control, GPU_WORKER_CONTROL_FD);
    posix_spawn_file_actions_adddup2(&files, dev->notify_fd, GPU_WORKER_NOTIFY_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int err = posix_spawn(pid_out, c->worker_path, &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return err;
}

/* All our descriptors are at 10 or above, so that the dup2s of spawn_worker cannot hit one another.
 */
static int move_up(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    close(fd);
    return moved;
}

enum sc_status gpu_worker_start(struct gpu_device *dev)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return SC_ERR_SYSTEM;
    dev->control_fd = move_up(pair[0]);
    int theirs = move_up(pair[1]);
    int err = dev->control_fd < 0 || theirs < 0 ? errno : spawn_worker(dev, theirs, &dev->worker);
    if (theirs >= 0)
        close(theirs);
    if (err != 0) {
        SC_ERROR(dev->log, "device %s worker not started path %s error %s", dev->config.name,
                 dev->config.worker_path, strerror(err));
        if (dev->control_fd >= 0)
            close(dev->control_fd);
        dev->control_fd = -1;
        dev->worker = 0;
        return SC_ERR_SYSTEM;
    }
    dev->epoch++;
    dev->state = GPU_DEVICE_STARTING;
    uint64_t now = sc_clock_mono_ns();
    dev->heard_ns = now;
    for (uint32_t i = 0; i < dev->config.blocks; i++)
        dev->progress[i] = (struct gpu_progress){0, now};
    return SC_OK;
}

/* -- notes ------------------------------------------------------------------------------------- */

static void note_kernel(struct gpu_device *dev, const struct gpu_note *note)
{
    if (note->kernel >= dev->catalog.count)
        return;
    char *error = dev->kernel_errors[note->kernel];
    const struct gpu_manifest *m = &dev->catalog.entries[note->kernel].manifest;
    if (strcmp(note->id, m->id) != 0 || strcmp(note->version, m->version) != 0) {
        snprintf(
            error, GPU_KERNEL_TEXT_BYTES,
            "kernel %s %s: the package folder changed since the daemon read it; restart the daemon",
            m->id, m->version);
    } else {
        memcpy(error, note->text, GPU_KERNEL_TEXT_BYTES);
    }
    if (error[0] != '\0')
        SC_ERROR(dev->log, "kernel %s %s unusable %s", m->id, m->version, error);
    else
        SC_INFO(dev->log, "kernel %s %s loaded device %s", m->id, m->version, dev->config.name);
}

void gpu_worker_notes(struct gpu_device *dev)
{
    struct gpu_note note;
    while (dev->state == GPU_DEVICE_STARTING && dev->control_fd >= 0 &&
           recv(dev->control_fd, &note, sizeof note, 0) == (ssize_t)sizeof note) {
        dev->heard_ns = sc_clock_mono_ns();
        note.id[sizeof note.id - 1] = '\0';
        note.version[sizeof note.version - 1] = '\0';
        note.text[sizeof note.text - 1] = '\0';
        if (note.kind == GPU_NOTE_KERNEL) {
            note_kernel(dev, &note);
        } else if (note.kind == GPU_NOTE_READY) {
            dev->ready_since_ns = sc_clock_mono_ns();
            SC_INFO(dev->log, "device %s ready epoch %u blocks %u worker %d", dev->config.name,
                    dev->epoch, dev->config.blocks, (int)dev->worker);
            set_state(dev, GPU_DEVICE_READY, "");
        } else if (note.kind == GPU_NOTE_FATAL) {
            SC_ERROR(dev->log, "device %s worker gave up: %s", dev->config.name, note.text);
        }
    }
}

/* -- death ------------------------------------------------------------------------------------- */

void gpu_worker_kill(struct gpu_device *dev)
{
    if (dev->worker > 0) {
        kill(dev->worker, SIGKILL);
        int status;
        while (waitpid(dev->worker, &status, 0) < 0 && errno == EINTR)
            ;
        dev->worker = 0;
    }
    if (dev->control_fd >= 0)
        close(dev->control_fd);
    dev->control_fd = -1;
}

/* What a dead or hung worker was doing, from the lines its blocks left behind. Any of them may be
 * wrong: the text is for people, nothing is decided by it. */
static void describe_busy(const struct gpu_device *dev, char *out, size_t cap)
{
    for (uint32_t i = 0; i < dev->config.blocks; i++) {
        const struct gpu_block_line *l = &dev->lines[i];
        uint64_t grain = __atomic_load_n(&l->busy_grain, __ATOMIC_RELAXED);
        uint32_t slot = GPU_HANDLE_SLOT(grain);
        if (grain == 0 || slot >= dev->slots_fresh)
            continue;
        uint32_t kernel = dev->slots[slot].kernel;
        if (kernel >= dev->catalog.count)
            continue;
        snprintf(out, cap, "kernel %s, message type %u, grain %llx",
                 dev->catalog.entries[kernel].manifest.id, l->busy_type, (unsigned long long)grain);
        return;
    }
    snprintf(out, cap, "no kernel was running");
}

static void fail_pendings(struct gpu_device *dev, const char *cause)
{
    for (uint32_t i = 0; i < dev->config.reply_slots; i++) {
        struct gpu_pending *p = &dev->pendings[i];
        if (!p->used)
            continue;
        p->used = 0;
        if (p->call != 0)
            dev->ops->on_reply(dev->user, p->call, SC_ERR_KERNEL, span_of(NULL, 0),
                               span_of_str(cause));
    }
}

/* DOWN is set first, so that a callback's new request is refused; then every call is answered, then
 * all is wiped. A worker that was ready for a while starts again at once, one that keeps dying ever
 * later. */
static void worker_down(struct gpu_device *dev, const char *cause, uint64_t now_ns)
{
    bool stopping = __atomic_load_n(&dev->control->host.stop, __ATOMIC_RELAXED) != GPU_RUN;
    SC_ERROR(dev->log, "device %s down epoch %u %s", dev->config.name, dev->epoch, cause);
    gpu_worker_kill(dev);
    uint64_t first = (uint64_t)dev->config.restart_ms * 1000000;
    bool was_well = dev->state == GPU_DEVICE_READY && now_ns - dev->ready_since_ns > 32 * first;
    if (was_well)
        dev->restart_delay_ns = first;
    else if (dev->restarts != 0 && dev->restart_delay_ns < RESTART_FACTOR_MAX * first)
        dev->restart_delay_ns *= 2;
    dev->down_since_ns = now_ns;
    dev->state = GPU_DEVICE_DOWN;
    fail_pendings(dev, cause);
    gpu_device_wipe(dev);
    if (!stopping)
        dev->restarts++;
    set_state(dev, stopping ? GPU_DEVICE_STOPPED : GPU_DEVICE_DOWN, cause);
}

static void reap(struct gpu_device *dev, uint64_t now_ns)
{
    int status;
    if (dev->worker == 0 || waitpid(dev->worker, &status, WNOHANG) != dev->worker)
        return;
    dev->worker = 0;
    char busy[256], cause[512];
    describe_busy(dev, busy, sizeof busy);
    bool asked = __atomic_load_n(&dev->control->host.stop, __ATOMIC_RELAXED) != GPU_RUN;
    if (asked && WIFEXITED(status)) {
        gpu_worker_kill(dev);
        fail_pendings(dev, "the device was stopped");
        gpu_device_wipe(dev);
        set_state(dev, GPU_DEVICE_STOPPED, "");
        return;
    }
    if (WIFSIGNALED(status))
        snprintf(cause, sizeof cause, "worker crashed with signal %d (%s) in %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), busy);
    else
        snprintf(cause, sizeof cause, "worker left with code %d in %s", WEXITSTATUS(status), busy);
    worker_down(dev, cause, now_ns);
}

/* A block makes progress when it turns or finishes messages; a parked one turns ten times a second.
 */
static void watch_heartbeats(struct gpu_device *dev, uint64_t now_ns)
{
    for (uint32_t i = 0; i < dev->config.blocks; i++) {
        const struct gpu_block_line *l = &dev->lines[i];
        uint64_t sum = __atomic_load_n(&l->heartbeat, __ATOMIC_RELAXED) +
                       __atomic_load_n(&l->messages_handled, __ATOMIC_RELAXED);
        struct gpu_progress *p = &dev->progress[i];
        if (sum != p->sum || dev->state != GPU_DEVICE_READY) {
            *p = (struct gpu_progress){sum, now_ns};
            continue;
        }
        uint64_t limit_ns = (uint64_t)dev->config.hang_ms * 1000000;
        if (__atomic_load_n(&l->busy_grain, __ATOMIC_RELAXED) == 0)
            limit_ns *= IDLE_FACTOR;
        if (now_ns - p->since_ns < limit_ns)
            continue;
        char busy[256], cause[512];
        describe_busy(dev, busy, sizeof busy);
        snprintf(cause, sizeof cause, "worker hung for %llu ms in %s",
                 (unsigned long long)((now_ns - p->since_ns) / 1000000), busy);
        worker_down(dev, cause, now_ns);
        return;
    }
}

/* Loading a kernel runs code of its package, which may never return. */
static void watch_start(struct gpu_device *dev, uint64_t now_ns)
{
    if (now_ns < dev->heard_ns || now_ns - dev->heard_ns < (uint64_t)dev->config.start_ms * 1000000)
        return;
    char cause[128];
    snprintf(cause, sizeof cause, "worker did not start: silent for %u ms while it loads kernels",
             dev->config.start_ms);
    worker_down(dev, cause, now_ns);
}

void gpu_device_tick(struct gpu_device *dev, uint64_t now_ns)
{
    if (dev->state == GPU_DEVICE_STARTING)
        gpu_worker_notes(dev);
    reap(dev, now_ns);
    if (dev->state == GPU_DEVICE_STARTING)
        watch_start(dev, now_ns);
    if (dev->state == GPU_DEVICE_READY)
        watch_heartbeats(dev, now_ns);
    if (dev->state == GPU_DEVICE_DOWN && now_ns - dev->down_since_ns >= dev->restart_delay_ns &&
        gpu_worker_start(dev) != SC_OK)
        dev->down_since_ns = now_ns;
}

void gpu_device_stop(struct gpu_device *dev)
{
    __atomic_store_n(&dev->control->host.stop, GPU_STOP, __ATOMIC_RELEASE);
    gpu_doorbell(dev);
}
