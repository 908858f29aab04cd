#include "tests/support/daemon.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sidecar/base/clock.h"
#include "tests/support/files.h"

enum { FLAGS_MAX = 32, START_TIMEOUT_MS = 60000 };

static void die(struct test_daemon *d, const char *what)
{
    char *log = test_daemon_log(d);
    fprintf(stderr, "%s\n%s\n", what, log != NULL ? log : "no log");
    free(log);
    abort();
}

/* Links, so that one root has the kernels of the product and of the tests. */
static void link_kernels(struct test_daemon *d, const char *from)
{
    DIR *dir = opendir(from);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char target[TEST_TREE_PATH_BYTES], name[300], path[TEST_TREE_PATH_BYTES];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(target, sizeof target, "%s/%s", from, entry->d_name);
        snprintf(name, sizeof name, "kernels/%s", entry->d_name);
        if (symlink(target, test_tree_path(&d->tree, name, path)) != 0)
            abort();
    }
    if (dir == NULL)
        abort();
    closedir(dir);
}

void test_daemon_init(struct test_daemon *d)
{
    memset(d, 0, sizeof *d);
    test_tree_init(&d->tree);
    test_tree_path(&d->tree, "s/socket", d->socket);
    test_tree_path(&d->tree, "log", d->log);
    char yaml[2048], kernels[TEST_TREE_PATH_BYTES];
    if (mkdir(test_tree_path(&d->tree, "kernels", kernels), 0700) != 0)
        abort();
    link_kernels(d, SC_SOURCE_DIR "/gpu/kernels");
    link_kernels(d, SC_SOURCE_DIR "/tests/support/kernels");
    snprintf(yaml, sizeof yaml,
             "socket.path: %s\nhttp.address: \"off\"\nlog.level: debug\n"
             "kernels: {root: %s, include: %s/gpu/engine, cache: %s/cache}\n",
             d->socket, kernels, SC_SOURCE_DIR, d->tree.path);
    test_tree_write(&d->tree, "conf.yaml", yaml);
}

void test_daemon_start(struct test_daemon *d, const char *const *flags)
{
    char conf[TEST_TREE_PATH_BYTES];
    const char *argv[FLAGS_MAX + 6] = {SC_DAEMON, "serve", "--config",
                                       test_tree_path(&d->tree, "conf.yaml", conf)};
    int argc = 4;
    for (; flags != NULL && *flags != NULL && argc < FLAGS_MAX; flags++)
        argv[argc++] = *flags;
    d->pid = fork();
    if (d->pid < 0)
        die(d, strerror(errno));
    if (d->pid != 0)
        return;
    /* Its output goes to the log alone, and it does not outlive a test that aborts: ctest waits for
     * everybody who holds the test's output. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(SC_DAEMON, (char *const *)argv);
    _exit(127);
}

void test_pause(void)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    nanosleep(&ms, NULL);
}

static uint64_t deadline_in(unsigned ms)
{
    return sc_clock_mono_ns() + (uint64_t)ms * 1000000;
}

void test_daemon_connect(struct test_daemon *d, struct sc_client *client)
{
    uint64_t until = deadline_in(START_TIMEOUT_MS);
    while (sc_client_open(client, d->socket, "test", START_TIMEOUT_MS) != SC_OK) {
        int status;
        if (waitpid(d->pid, &status, WNOHANG) == d->pid)
            die(d, "the daemon ended");
        if (sc_clock_mono_ns() > until)
            die(d, client->error);
        test_pause();
    }
    if (sc_client_wait_ready(client, START_TIMEOUT_MS) != SC_OK)
        die(d, client->error);
}

int test_daemon_wait(struct test_daemon *d, unsigned timeout_ms)
{
    uint64_t until = deadline_in(timeout_ms);
    int status;
    while (waitpid(d->pid, &status, WNOHANG) != d->pid) {
        if (sc_clock_mono_ns() > until)
            return -1;
        test_pause();
    }
    d->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *test_daemon_log(const struct test_daemon *d)
{
    size_t len;
    uint8_t *bytes = test_file_read(d->log, &len);
    if (bytes == NULL)
        return NULL;
    char *text = malloc(len + 1);
    if (text != NULL) {
        memcpy(text, bytes, len);
        text[len] = '\0';
    }
    free(bytes);
    return text;
}

bool test_daemon_logged(struct test_daemon *d, const char *text, unsigned timeout_ms)
{
    uint64_t until = deadline_in(timeout_ms);
    for (;;) {
        char *log = test_daemon_log(d);
        bool there = log != NULL && strstr(log, text) != NULL;
        free(log);
        if (there || sc_clock_mono_ns() > until)
            return there;
        test_pause();
    }
}

void test_daemon_fini(struct test_daemon *d)
{
    if (d->pid > 0) {
        kill(d->pid, SIGTERM);
        if (test_daemon_wait(d, 20000) < 0) {
            kill(d->pid, SIGKILL);
            waitpid(d->pid, NULL, 0);
        }
    }
    test_tree_fini(&d->tree);
}

int test_http_get(unsigned port, const char *path, char *body, size_t cap)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[65536];
    size_t len = 0;
    int code = 0;
    body[0] = '\0';
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0) {
        int n = snprintf(text, sizeof text, "%s HTTP/1.0\r\nHost: x\r\n\r\n", path);
        ssize_t sent = send(fd, text, (size_t)n, MSG_NOSIGNAL);
        ssize_t got = 0;
        while (sent == n && len + 1 < sizeof text &&
               (got = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
            len += (size_t)got;
        text[len] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        if (len > 12 && end != NULL) {
            code = atoi(text + 9);
            snprintf(body, cap, "%s", end + 4);
        }
    }
    close(fd);
    return code;
}

unsigned test_free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&addr, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        abort();
    close(fd);
    return ntohs(addr.sin_port);
}
