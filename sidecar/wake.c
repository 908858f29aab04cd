#include "sidecar/wake.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sidecar/loop.h"

struct post {
    sc_wake_fn fn;
    void *arg;
    struct post *next;
};

struct sc_wake {
    int fd; /* eventfd, owned */
    struct sc_watch *watch;
    pthread_mutex_t lock; /* first, last */
    struct post *first;
    struct post **last;
};

static struct post *detach(struct sc_wake *wake)
{
    pthread_mutex_lock(&wake->lock);
    struct post *list = wake->first;
    wake->first = NULL;
    wake->last = &wake->first;
    pthread_mutex_unlock(&wake->lock);
    return list;
}

static void on_wake(void *user, unsigned what)
{
    (void)what;
    struct sc_wake *wake = user;
    uint64_t count;
    /* Before the list is taken: a post that comes later then wakes again. */
    if (read(wake->fd, &count, sizeof count) < 0)
        return;
    struct post *list = detach(wake);
    while (list != NULL) {
        struct post *post = list;
        list = post->next;
        post->fn(post->arg);
        free(post);
    }
}

enum sc_status sc_wake_open(struct sc_loop *loop, struct sc_wake **wake_out)
{
    enum sc_status st = SC_ERR_SYSTEM;
    struct sc_wake *wake = calloc(1, sizeof *wake);
    if (wake == NULL)
        return SC_ERR_NO_MEMORY;
    wake->last = &wake->first;
    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake->fd < 0)
        goto err_free;
    st = sc_watch_open(loop, wake->fd, SC_WATCH_READ, on_wake, wake, &wake->watch);
    if (st != SC_OK)
        goto err_fd;
    pthread_mutex_init(&wake->lock, NULL);
    *wake_out = wake;
    return SC_OK;
err_fd:
    close(wake->fd);
err_free:
    free(wake);
    return st;
}

void sc_wake_close(struct sc_wake *wake)
{
    if (wake == NULL)
        return;
    struct post *list = detach(wake);
    while (list != NULL) {
        struct post *post = list;
        list = post->next;
        free(post);
    }
    sc_watch_close(wake->watch);
    close(wake->fd);
    pthread_mutex_destroy(&wake->lock);
    free(wake);
}

enum sc_status sc_wake_post(struct sc_wake *wake, sc_wake_fn fn, void *arg)
{
    struct post *post = malloc(sizeof *post);
    if (post == NULL)
        return SC_ERR_NO_MEMORY;
    *post = (struct post){fn, arg, NULL};
    pthread_mutex_lock(&wake->lock);
    *wake->last = post;
    wake->last = &post->next;
    pthread_mutex_unlock(&wake->lock);
    uint64_t one = 1;
    /* Fails only when the counter is full, and then the loop wakes anyway. */
    ssize_t n = write(wake->fd, &one, sizeof one);
    (void)n;
    return SC_OK;
}
