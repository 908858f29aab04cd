#include "sidecar/resolve.h"

#include "sidecar/loop.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Shared by the loop and the thread; whoever lets go last frees it. */
struct job {
    atomic_uint holders;
    int done_fd; /* eventfd: everything below is written */
    char host[SC_HOST_MAX];
    char port[8];
    int error; /* of getaddrinfo */
    struct sc_address address;
};

struct sc_resolve {
    struct job *job;
    struct sc_watch *watch;
    sc_resolve_fn fn;
    void *user;
};

static void job_release(struct job *job)
{
    if (atomic_fetch_sub_explicit(&job->holders, 1, memory_order_acq_rel) != 1)
        return;
    close(job->done_fd);
    free(job);
}

static void *resolve_thread(void *user)
{
    struct job *job = user;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    job->error = getaddrinfo(job->host, job->port, &hints, &found);
    if (job->error == 0 && found->ai_addrlen <= sizeof job->address.to) {
        memcpy(&job->address.to, found->ai_addr, found->ai_addrlen);
        job->address.len = found->ai_addrlen;
    }
    if (found != NULL)
        freeaddrinfo(found);
    uint64_t one = 1;
    ssize_t n = write(job->done_fd, &one, sizeof one);
    (void)n; /* the counter of a fresh eventfd takes it */
    job_release(job);
    return NULL;
}

static void on_done(void *user, unsigned what)
{
    (void)what;
    struct sc_resolve *r = user;
    uint64_t count = 0;
    if (read(r->job->done_fd, &count, sizeof count) != sizeof count)
        return;
    bool good = r->job->error == 0 && r->job->address.len != 0;
    struct sc_address address = r->job->address;
    const char *text = r->job->error != 0 ? gai_strerror(r->job->error) : "no address";
    sc_resolve_fn fn = r->fn;
    void *fn_user = r->user;
    sc_resolve_close(r);
    fn(fn_user, good ? SC_OK : SC_ERR_NOT_FOUND, &address, good ? "" : text);
}

static enum sc_status thread_start(struct job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr) != 0)
        return SC_ERR_SYSTEM;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attr, resolve_thread, job);
    (void)pthread_attr_destroy(&attr);
    return error == 0 ? SC_OK : SC_ERR_SYSTEM;
}

enum sc_status sc_resolve_open(struct sc_loop *loop, const char *host, uint16_t port,
                               sc_resolve_fn fn, void *user, struct sc_resolve **resolve_out)
{
    enum sc_status st = SC_ERR_NO_MEMORY;
    struct sc_resolve *r = calloc(1, sizeof *r);
    struct job *job = calloc(1, sizeof *job);
    if (r == NULL || job == NULL)
        goto err_free;
    *r = (struct sc_resolve){.job = job, .fn = fn, .user = user};
    atomic_init(&job->holders, 2);
    snprintf(job->host, sizeof job->host, "%s", host);
    snprintf(job->port, sizeof job->port, "%u", port);
    st = SC_ERR_SYSTEM;
    job->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (job->done_fd < 0)
        goto err_free;
    st = sc_watch_open(loop, job->done_fd, SC_WATCH_READ, on_done, r, &r->watch);
    if (st != SC_OK)
        goto err_fd;
    st = thread_start(job);
    if (st != SC_OK)
        goto err_watch;
    *resolve_out = r;
    return SC_OK;
err_watch:
    sc_watch_close(r->watch);
err_fd:
    close(job->done_fd);
err_free:
    free(job);
    free(r);
    return st;
}

void sc_resolve_close(struct sc_resolve *r)
{
    if (r == NULL)
        return;
    sc_watch_close(r->watch);
    job_release(r->job);
    free(r);
}
