/* A daemon's life: start, what keeps it from starting, crashing and hanging kernels, reload,
 * probes, drain. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sidecar/base/clock.h"
#include "tests/support/daemon.h"

#define CHECKS(...) (printf("checks: " __VA_ARGS__), printf("\n"))

enum {
    ECHO = 1,
    CRASH_NULL = 1,
    CRASH_LOOP = 2,
    CRASH_SILENCE = 4,
    COUNT_START = 1,
    WAIT_MS = 20000
};

static struct test_daemon d;

static int setup(void **state)
{
    (void)state;
    test_daemon_init(&d);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_daemon_fini(&d);
    return 0;
}

static uint64_t grain_of(struct sc_client *c, const char *kernel, const char *key)
{
    uint64_t grain = 0;
    if (sc_client_activate(c, span_of_str(kernel), span_of_str(key), 0, span_of(NULL, 0), &grain) !=
        SC_OK)
        fail_msg("%s", c->error);
    return grain;
}

static void expect_echo(struct sc_client *c)
{
    struct span reply;
    uint64_t grain = grain_of(c, "echo", "life");
    if (sc_client_call(c, grain, ECHO, span_of_str("alive"), 0, &reply) != SC_OK)
        fail_msg("%s", c->error);
    assert_true(span_eq_str(reply, "alive"));
}

static enum sc_status next(struct sc_client *c, struct sc_shim_response *r, bool skip_state)
{
    enum sc_status st;
    do
        st = sc_client_next(c, r);
    while (skip_state && st == SC_OK && r->kind == SC_SHIM_STATE);
    return st;
}

/* Runs another daemon on the same folder to its end. */
static int run_second(const char *const *flags, char **log_out)
{
    struct test_daemon other = d;
    test_tree_path(&d.tree, "log2", other.log);
    unlink(other.log);
    test_daemon_start(&other, flags);
    int code = test_daemon_wait(&other, WAIT_MS);
    *log_out = test_daemon_log(&other);
    return code;
}

static unsigned count_lines(const char *text, const char *word)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        n++;
    return n;
}

static void expect_refused(const char *const *flags, int code, const char *part)
{
    char *log;
    int got = run_second(flags, &log);
    if (got != code || log == NULL || strstr(log, part) == NULL)
        fail_msg("code %d, log: %s", got, log);
    assert_true(count_lines(log, " error ") <= 1);
    free(log);
}

static void test_second_daemon_and_ports_in_use(void **state)
{
    (void)state;
    struct sc_client c;
    char port[64], other_port[64], other_socket[64];
    snprintf(port, sizeof port, "--http.address=127.0.0.1:%u", test_free_port());
    snprintf(other_port, sizeof other_port, "--http.address=127.0.0.1:%u", test_free_port());
    snprintf(other_socket, sizeof other_socket, "--socket.path=%.40s/s/o", d.tree.path);
    test_daemon_start(&d, (const char *const[]){port, NULL});
    test_daemon_connect(&d, &c);
    CHECKS("a second daemon on the same socket leaves with one error and code 1");
    expect_refused((const char *const[]){other_port, NULL}, 1, "another daemon serves it");
    CHECKS("a port in use is one error and code 1");
    expect_refused((const char *const[]){port, other_socket, NULL}, 1, "Address already in use");
    CHECKS("the first daemon does not notice");
    expect_echo(&c);
    sc_client_close(&c);
}

static void test_bad_configuration_is_one_line_and_code_two(void **state)
{
    (void)state;
    CHECKS("bad value, unknown option and unreadable file: one line, code 2");
    expect_refused((const char *const[]){"--call.deadline_ms=soon", NULL}, 2,
                   "option call.deadline_ms (flag --call.deadline_ms): \"soon\"");
    expect_refused((const char *const[]){"--no.such=1", NULL}, 2, "unknown flag --no.such");
    char conf[TEST_TREE_PATH_BYTES];
    test_tree_write(&d.tree, "conf.yaml", "call: {dedline_ms: 5}\n");
    expect_refused(NULL, 2, "conf.yaml:1: unknown option call.dedline_ms");
    unlink(test_tree_path(&d.tree, "conf.yaml", conf));
    expect_refused(NULL, 2, "conf.yaml: No such file");
}

static void test_socket_folder_must_be_usable(void **state)
{
    (void)state;
    char folder[TEST_TREE_PATH_BYTES], flag[TEST_TREE_PATH_BYTES + 32];
    struct stat st;
    test_tree_write(&d.tree, "open/x", "");
    test_tree_path(&d.tree, "open", folder);
    CHECKS("a folder that is no folder is an error, code 1");
    snprintf(flag, sizeof flag, "--socket.path=%s/x/socket", folder);
    expect_refused((const char *const[]){flag, NULL}, 1, "not opened");
    if (geteuid() == 0) {
        CHECKS("skipped: no permission on the folder; the test runs as root, who always has it");
    } else {
        CHECKS("no permission on the folder is an error, code 1");
        assert_int_equal(chmod(folder, 0500), 0);
        snprintf(flag, sizeof flag, "--socket.path=%s/socket", folder);
        expect_refused((const char *const[]){flag, NULL}, 1, "Permission denied");
    }
    CHECKS("something that is no socket is left alone");
    test_tree_write(&d.tree, "s/socket", "precious");
    expect_refused(NULL, 1, "no socket is there");
    assert_int_equal(stat(d.socket, &st), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_size == 8);
}

static void test_folder_of_a_pod_is_used_with_a_warning(void **state)
{
    (void)state;
    char folder[TEST_TREE_PATH_BYTES];
    struct sc_client c;
    CHECKS("a folder everyone may write to, as Kubernetes makes them, is a warning");
    test_tree_write(&d.tree, "s/x", "");
    assert_int_equal(chmod(test_tree_path(&d.tree, "s", folder), 0777), 0);
    test_daemon_start(&d, NULL);
    test_daemon_connect(&d, &c);
    assert_true(test_daemon_logged(&d, "everyone may write to folder", 0));
    sc_client_close(&c);
}

static void test_bad_addresses_are_one_line(void **state)
{
    (void)state;
    CHECKS("an endpoint that does not parse is one line, code 2");
    expect_refused((const char *const[]){"--silo.endpoint=nonsense", NULL}, 2, "nonsense");
    expect_refused((const char *const[]){"--gateway.listen=nonsense", NULL}, 2, "nonsense");
    expect_refused((const char *const[]){"--http.address=nonsense", NULL}, 2, "nonsense");
    CHECKS("a gateway port in use is one line, code 1");
    struct sc_client c;
    char flag[64], other_socket[64];
    snprintf(flag, sizeof flag, "--gateway.listen=127.0.0.1:%u", test_free_port());
    snprintf(other_socket, sizeof other_socket, "--socket.path=%.40s/s/o", d.tree.path);
    test_daemon_start(&d, (const char *const[]){flag, NULL});
    test_daemon_connect(&d, &c);
    expect_refused((const char *const[]){flag, other_socket, NULL}, 1, "127.0.0.1");
    sc_client_close(&c);
}

static void test_silo_that_is_away_keeps_it_from_being_ready(void **state)
{
    (void)state;
    struct sc_client c;
    char http[64], silo[64], body[4096];
    unsigned port = test_free_port();
    snprintf(http, sizeof http, "--http.address=127.0.0.1:%u", port);
    snprintf(silo, sizeof silo, "--silo.endpoint=127.0.0.1:%u", test_free_port());
    CHECKS("with silo.endpoint set and no silo there, /readyz names the silo; calls work");
    test_daemon_start(&d, (const char *const[]){http, silo, NULL});
    test_daemon_connect(&d, &c);
    expect_echo(&c);
    assert_int_equal(test_http_get(port, "GET /readyz", body, sizeof body), 503);
    assert_non_null(strstr(body, "not ok silo: "));
    assert_int_equal(test_http_get(port, "GET /startupz", body, sizeof body), 200);
    sc_client_close(&c);
}

static void test_stale_socket_of_a_killed_daemon_is_replaced(void **state)
{
    (void)state;
    struct sc_client c;
    struct stat st;
    CHECKS("a daemon killed with SIGKILL leaves a socket; the next one takes over");
    test_daemon_start(&d, NULL);
    test_daemon_connect(&d, &c);
    sc_client_close(&c);
    kill(d.pid, SIGKILL);
    assert_int_equal(test_daemon_wait(&d, WAIT_MS), 128 + SIGKILL);
    assert_int_equal(stat(d.socket, &st), 0);
    test_daemon_start(&d, NULL);
    test_daemon_connect(&d, &c);
    expect_echo(&c);
    assert_int_equal(stat(d.socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    sc_client_close(&c);
    CHECKS("a daemon that ends in order takes its socket with it");
    kill(d.pid, SIGTERM);
    assert_int_equal(test_daemon_wait(&d, WAIT_MS), 0);
    assert_int_not_equal(stat(d.socket, &st), 0);
}

/* Waits for a STATE with these values. */
static void expect_state(struct sc_client *c, bool ready, uint64_t epoch)
{
    struct sc_shim_response r;
    do
        assert_int_equal(sc_client_next(c, &r), SC_OK);
    while (r.kind != SC_SHIM_STATE || r.ready != ready || r.epoch != epoch);
}

static void expect_recovery(unsigned type, const char *word, const char *const *flags)
{
    struct sc_client c;
    struct sc_shim_response r;
    test_daemon_start(&d, flags);
    test_daemon_connect(&d, &c);
    uint64_t innocent = grain_of(&c, "countdown", "innocent");
    uint64_t guilty = grain_of(&c, "crash", "guilty");
    uint32_t endless = UINT32_MAX;
    sc_client_queue_call(&c, 1, innocent, COUNT_START, 0, span_of(&endless, sizeof endless));
    sc_client_queue_call(&c, 2, guilty, (uint16_t)type, 0, span_of(NULL, 0));
    assert_int_equal(sc_client_flush(&c), SC_OK);
    unsigned answered = 0;
    while (answered != 3) {
        assert_int_equal(next(&c, &r, true), SC_OK);
        assert_int_equal(r.kind, SC_SHIM_ERROR);
        assert_int_equal(r.code, SC_ERR_KERNEL);
        if (memmem(r.text.ptr, r.text.len, "kernel crash", 12) == NULL ||
            memmem(r.text.ptr, r.text.len, word, strlen(word)) == NULL)
            fail_msg("%.*s", SPAN_ARG(r.text));
        answered |= (unsigned)r.id;
    }
    expect_state(&c, false, 1);
    expect_state(&c, true, 2);
    struct span reply;
    assert_int_equal(sc_client_call(&c, innocent, COUNT_START, span_of(&endless, 4), 0, &reply),
                     SC_ERR_NOT_FOUND);
    expect_echo(&c);
    sc_client_close(&c);
}

static void test_crashing_kernel_is_named_and_the_daemon_goes_on(void **state)
{
    (void)state;
    CHECKS("a kernel that crashes: calls in flight are answered naming it, a new epoch serves");
    expect_recovery(CRASH_NULL, "signal 11", NULL);
}

static void test_hanging_kernel_is_killed_and_the_daemon_goes_on(void **state)
{
    (void)state;
    CHECKS("a kernel that hangs is killed after device.hang_ms, the same way");
    expect_recovery(CRASH_LOOP, "hung", (const char *const[]){"--device.hang_ms=300", NULL});
}

static void test_drain_finishes_calls_and_refuses_new_ones(void **state)
{
    (void)state;
    struct sc_client c, late;
    struct sc_shim_response r;
    char body[4096], port_flag[64];
    unsigned port = test_free_port();
    snprintf(port_flag, sizeof port_flag, "--http.address=127.0.0.1:%u", port);
    test_daemon_start(&d, (const char *const[]){port_flag, NULL});
    test_daemon_connect(&d, &c);
    test_daemon_connect(&d, &late);
    uint64_t counter = grain_of(&c, "countdown", "drain");
    uint64_t silent = grain_of(&c, "crash", "silent");
    uint32_t steps = 2000000;
    sc_client_queue_call(&c, 1, counter, COUNT_START, 0, span_of(&steps, sizeof steps));
    /* Keeps the daemon draining until it is cancelled. */
    sc_client_queue_call(&c, 2, silent, CRASH_SILENCE, 0, span_of(NULL, 0));
    assert_int_equal(sc_client_flush(&c), SC_OK);
    expect_echo(&c);
    kill(d.pid, SIGTERM);
    CHECKS("SIGTERM: every connection hears that the daemon drains");
    do
        assert_int_equal(sc_client_next(&late, &r), SC_OK);
    while (r.kind != SC_SHIM_STATE || !r.draining);
    assert_false(r.ready);
    CHECKS("new calls and activations are unavailable");
    uint64_t grain;
    struct span reply;
    assert_int_equal(sc_client_activate(&late, span_of_str("echo"), span_of_str("new"), 0,
                                        span_of(NULL, 0), &grain),
                     SC_ERR_UNAVAILABLE);
    assert_int_equal(sc_client_call(&late, counter, COUNT_START, span_of(&steps, 4), 0, &reply),
                     SC_ERR_UNAVAILABLE);
    CHECKS("/readyz says so, /livez does not mind");
    assert_int_equal(test_http_get(port, "GET /readyz", body, sizeof body), 503);
    assert_non_null(strstr(body, "draining"));
    assert_int_equal(test_http_get(port, "GET /livez", body, sizeof body), 200);
    CHECKS("the call in flight gets its reply");
    assert_int_equal(next(&c, &r, true), SC_OK);
    assert_true(r.kind == SC_SHIM_REPLY && r.id == 1);
    CHECKS("with the last call gone the daemon ends with code 0");
    sc_client_queue(&c, &(struct sc_shim_request){.kind = SC_SHIM_CANCEL, .id = 2});
    assert_int_equal(sc_client_flush(&c), SC_OK);
    assert_int_equal(next(&c, &r, true), SC_OK);
    assert_int_equal(r.code, SC_ERR_CANCELLED);
    assert_int_equal(test_daemon_wait(&d, WAIT_MS), 0);
    sc_client_close(&c);
    sc_client_close(&late);
}

static void start_with_silent_call(const char *const *flags, struct sc_client *c)
{
    test_daemon_start(&d, flags);
    test_daemon_connect(&d, c);
    uint64_t silent = grain_of(c, "crash", "silent");
    sc_client_queue_call(c, sc_client_id(c), silent, CRASH_SILENCE, 0, span_of(NULL, 0));
    assert_int_equal(sc_client_flush(c), SC_OK);
    expect_echo(c);
}

static void test_drain_ends_at_its_timeout_and_at_a_second_signal(void **state)
{
    (void)state;
    struct sc_client c;
    CHECKS("a call that never ends holds the daemon for drain.timeout_ms, not longer");
    start_with_silent_call((const char *const[]){"--drain.timeout_ms=200", NULL}, &c);
    kill(d.pid, SIGTERM);
    assert_int_equal(test_daemon_wait(&d, WAIT_MS), 0);
    assert_true(test_daemon_logged(&d, "drained not in time calls_left 1", 0));
    sc_client_close(&c);
    CHECKS("a second SIGTERM ends at once");
    start_with_silent_call((const char *const[]){"--drain.timeout_ms=3600000", NULL}, &c);
    kill(d.pid, SIGTERM);
    assert_true(test_daemon_logged(&d, "daemon drains timeout_ms 3600000", WAIT_MS));
    kill(d.pid, SIGTERM);
    assert_int_equal(test_daemon_wait(&d, WAIT_MS), 0);
    sc_client_close(&c);
}

static void append_to_conf(const char *text)
{
    char path[TEST_TREE_PATH_BYTES];
    FILE *f = fopen(test_tree_path(&d.tree, "conf.yaml", path), "a");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_reload_takes_all_or_nothing(void **state)
{
    (void)state;
    struct sc_client c;
    struct span reply;
    test_daemon_start(&d, NULL);
    test_daemon_connect(&d, &c);
    uint64_t silent = grain_of(&c, "crash", "silent");
    CHECKS("a good reload changes the default deadline");
    append_to_conf("call.deadline_ms: 50\n");
    kill(d.pid, SIGHUP);
    assert_true(test_daemon_logged(&d, "config reloaded", WAIT_MS));
    assert_int_equal(sc_client_call(&c, silent, CRASH_SILENCE, span_of(NULL, 0), 0, &reply),
                     SC_ERR_DEADLINE);
    CHECKS("a reload that cannot be taken whole changes nothing, and says why");
    append_to_conf("shim.credits: 7\ndrain.timeout_ms: 1\n");
    kill(d.pid, SIGHUP);
    assert_true(test_daemon_logged(&d, "nothing changed: option shim.credits", WAIT_MS));
    append_to_conf("log.level: nonsense\n");
    kill(d.pid, SIGHUP);
    assert_true(test_daemon_logged(&d, "was set before", WAIT_MS));
    expect_echo(&c);
    kill(d.pid, SIGTERM);
    assert_true(test_daemon_logged(&d, "daemon drains timeout_ms 10000", WAIT_MS));
    sc_client_close(&c);
}

static void test_probes_and_metrics(void **state)
{
    (void)state;
    struct sc_client c;
    char flag[64];
    static char body[65536];
    unsigned port = test_free_port();
    snprintf(flag, sizeof flag, "--http.address=127.0.0.1:%u", port);
    test_daemon_start(&d, (const char *const[]){flag, NULL});
    test_daemon_connect(&d, &c);
    expect_echo(&c);
    CHECKS("livez, readyz and startupz are good; metrics count the call");
    assert_int_equal(test_http_get(port, "GET /livez", body, sizeof body), 200);
    assert_int_equal(test_http_get(port, "GET /readyz", body, sizeof body), 200);
    assert_non_null(strstr(body, "ok device"));
    assert_int_equal(test_http_get(port, "GET /startupz", body, sizeof body), 200);
    assert_int_equal(test_http_get(port, "HEAD /readyz", body, sizeof body), 200);
    assert_string_equal(body, "");
    assert_int_equal(test_http_get(port, "GET /metrics", body, sizeof body), 200);
    assert_non_null(strstr(body, "\ngpu_sidecar_calls_ok_total 1\n"));
    assert_non_null(strstr(body, "\ngpu_sidecar_call_duration_seconds_count 1\n"));
    assert_non_null(strstr(body, "\ngpu_sidecar_device_grains 1\n"));
    CHECKS("other paths are 404, other methods 405");
    assert_int_equal(test_http_get(port, "GET /", body, sizeof body), 404);
    assert_int_equal(test_http_get(port, "GET /readyz/", body, sizeof body), 404);
    assert_int_equal(test_http_get(port, "GET /livez/../metrics", body, sizeof body), 404);
    assert_int_equal(test_http_get(port, "POST /livez", body, sizeof body), 405);
    CHECKS("a query does not matter");
    assert_int_equal(test_http_get(port, "GET /livez?verbose", body, sizeof body), 200);
    sc_client_close(&c);
}

static void test_every_option_is_documented(void **state)
{
    (void)state;
    CHECKS("docs/operations.md has a row for each option, with its default");
    FILE *help = popen(SC_DAEMON " help options", "r");
    FILE *doc = fopen(SC_SOURCE_DIR "/docs/operations.md", "r");
    static char text[65536];
    char line[512], name[64], initial[128], row[256];
    unsigned count = 0;
    assert_true(help != NULL && doc != NULL);
    text[fread(text, 1, sizeof text - 1, doc)] = '\0';
    fclose(doc);
    while (fgets(line, sizeof line, help) != NULL) {
        const char *at = strstr(line, "(default ");
        if (at == NULL || sscanf(line, " --%63s", name) != 1 ||
            sscanf(at, "(default %127[^,)]", initial) != 1)
            continue;
        if (strcmp(initial, "empty") == 0)
            snprintf(row, sizeof row, "| `%s` |  |", name);
        else
            snprintf(row, sizeof row, "| `%s` | `%s` |", name, initial);
        if (strstr(text, row) == NULL)
            fail_msg("docs/operations.md lacks: %s", row);
        count++;
    }
    assert_true(count > 40);
    assert_int_equal(pclose(help), 0);
}

/* Output of a command of the program, and its exit code. */
static int run_command(const char *arguments, char *out, size_t cap)
{
    char command[1024];
    snprintf(command, sizeof command, "%s %s 2>&1", SC_DAEMON, arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, cap - 1, p);
    out[n] = '\0';
    return WEXITSTATUS(pclose(p));
}

static void test_command_line(void **state)
{
    (void)state;
    struct sc_client c;
    char out[16384], args[1024];
    test_daemon_start(&d, NULL);
    test_daemon_connect(&d, &c);
    sc_client_close(&c);
    CHECKS("call prints the reply");
    snprintf(args, sizeof args, "call --socket %s tally/cli Add --u64 40", d.socket);
    assert_int_equal(run_command(args, out, sizeof out), 0);
    assert_string_equal(out, "hex 2800000000000000\nu64 40\n");
    snprintf(args, sizeof args, "call --socket %s echo/cli Echo --text hi --data 21", d.socket);
    assert_int_equal(run_command(args, out, sizeof out), 0);
    assert_string_equal(out, "hex 686921\ntext hi!\n");
    CHECKS("call names what went wrong and exits 1; bad arguments exit 2");
    snprintf(args, sizeof args, "call --socket %s echo/cli Nope", d.socket);
    assert_int_equal(run_command(args, out, sizeof out), 1);
    assert_non_null(strstr(out, "kernel echo has no message Nope"));
    assert_int_equal(run_command("call --socket /no/such/socket echo/k Echo", out, sizeof out), 1);
    assert_non_null(strstr(out, "/no/such/socket"));
    assert_int_equal(run_command("call --u64 x echo/k Echo", out, sizeof out), 2);
    CHECKS("decode prints a recorded conversation, and fails on what is none");
    snprintf(args, sizeof args, "decode %s/tests/data/captures/v10.3.0/bytes/c2s.bin",
             SC_SOURCE_DIR);
    assert_int_equal(run_command(args, out, sizeof out), 0);
    assert_non_null(strstr(out, "4 messages, 0 bytes left over"));
    assert_int_equal(run_command("decode /proc/self/exe", out, sizeof out), 1);
    CHECKS("config, kernels and version");
    assert_int_equal(run_command("config --config /dev/null --log.level debug", out, sizeof out),
                     0);
    assert_non_null(strstr(out, "log.level: debug"));
    assert_non_null(strstr(out, "# flag --log.level"));
    snprintf(args, sizeof args, "kernels list --root %s/kernels", d.tree.path);
    assert_int_equal(run_command(args, out, sizeof out), 0);
    assert_non_null(strstr(out, "tally 1.0.0 ok Add=1 Get=2\n"));
    snprintf(args, sizeof args,
             "kernels build --root=%s/kernels --cache=%s/built --include=%s/gpu/engine",
             d.tree.path, d.tree.path, SC_SOURCE_DIR);
    assert_int_equal(run_command(args, out, sizeof out), 0);
    assert_int_equal(run_command("version", out, sizeof out), 0);
    assert_int_equal(run_command("nonsense", out, sizeof out), 2);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_second_daemon_and_ports_in_use),
        T(test_bad_configuration_is_one_line_and_code_two),
        T(test_socket_folder_must_be_usable),
        T(test_folder_of_a_pod_is_used_with_a_warning),
        T(test_bad_addresses_are_one_line),
        T(test_silo_that_is_away_keeps_it_from_being_ready),
        T(test_stale_socket_of_a_killed_daemon_is_replaced),
        T(test_crashing_kernel_is_named_and_the_daemon_goes_on),
        T(test_hanging_kernel_is_killed_and_the_daemon_goes_on),
        T(test_drain_finishes_calls_and_refuses_new_ones),
        T(test_drain_ends_at_its_timeout_and_at_a_second_signal),
        T(test_reload_takes_all_or_nothing),
        T(test_probes_and_metrics),
        T(test_command_line),
        T(test_every_option_is_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
