/* A real gpu-sidecar with a CPU device, in a folder of its own, for integration tests and benches.
 * Failures to start abort with the daemon's log. */
#ifndef TESTS_SUPPORT_DAEMON_H
#define TESTS_SUPPORT_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "sidecar/client.h"
#include "tests/support/tree.h"

struct test_daemon {
    struct test_tree tree; /* conf.yaml, log, s/socket, kernels/, cache/ */
    pid_t pid;
    char socket[TEST_TREE_PATH_BYTES];
    char log[TEST_TREE_PATH_BYTES];
};

/* Prepares the folder. The kernels are the repository's, and those of tests/support/kernels. */
void test_daemon_init(struct test_daemon *d);

/* Starts `gpu-sidecar serve` with further flags (NULL-terminated, or NULL). */
void test_daemon_start(struct test_daemon *d, const char *const *flags);

/* Connects, and waits until the device serves. */
void test_daemon_connect(struct test_daemon *d, struct sc_client *client);

/* Waits for the daemon to end; its exit code, 128 + signal, or -1 after timeout_ms. */
int test_daemon_wait(struct test_daemon *d, unsigned timeout_ms);

/* True when the log holds the text within timeout_ms. */
bool test_daemon_logged(struct test_daemon *d, const char *text, unsigned timeout_ms);

/* The log's text; the caller frees. */
char *test_daemon_log(const struct test_daemon *d);

/* Ends it (SIGTERM, then SIGKILL), removes the folder. */
void test_daemon_fini(struct test_daemon *d);

/* GET of a path on 127.0.0.1:port; returns the status code, 0 when nobody answers, and the first
 * bytes of body. */
int test_http_get(unsigned port, const char *path, char *body, size_t cap);

/* A TCP port that was free a moment ago. */
unsigned test_free_port(void);

/* Sleeps a millisecond; for loops that wait for a condition with a deadline. */
void test_pause(void);

#endif
