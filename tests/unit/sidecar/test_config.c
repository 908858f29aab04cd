#include "sidecar/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "sidecar/base/wbuf.h"

static char error[SC_CONFIG_ERROR_BYTES];

static void expect_refused(const char *yaml, const char *part)
{
    struct sc_config config;
    assert_int_equal(sc_config_load_text(span_of_str(yaml), &config, error), SC_ERR_CONFIG);
    if (strstr(error, part) == NULL)
        fail_msg("error \"%s\" lacks \"%s\"", error, part);
}

static void test_config_empty_text_gives_defaults(void **state)
{
    (void)state;
    struct sc_config c;
    assert_int_equal(sc_config_load_text(span_of_str(""), &c, error), SC_OK);
    assert_string_equal(c.socket_path, "/run/gpu-sidecar/gpu-sidecar.sock");
    assert_int_equal(c.socket_mode, 0660);
    assert_int_equal(c.shim_output_max_bytes, 64 << 20);
    assert_int_equal(c.shim_frame_max_bytes, (16 << 20) - 1);
    assert_int_equal(c.log_level, SC_LOG_INFO);
    assert_int_equal(c.socket_allow_uids.count, 0);
    sc_config_free(&c);
}

static void test_config_reads_nested_dotted_and_lists(void **state)
{
    (void)state;
    struct sc_config c;
    const char *yaml = "log: {level: debug, format: json}\n"
                       "socket:\n  allow_uids: [1000, 1001]\n  mode: 0600\n"
                       "device.heap_bytes: 2GiB\n"
                       "call: {deadline_ms: 250}\n";
    assert_int_equal(sc_config_load_text(span_of_str(yaml), &c, error), SC_OK);
    assert_int_equal(c.log_level, SC_LOG_DEBUG);
    assert_int_equal(c.log_format, SC_LOG_JSON);
    assert_int_equal(c.socket_allow_uids.count, 2);
    assert_int_equal(c.socket_allow_uids.ids[1], 1001);
    assert_int_equal(c.socket_mode, 0600);
    assert_true(c.device_heap_bytes == 2ull << 30);
    assert_int_equal(c.call_deadline_ms, 250);
    sc_config_free(&c);
}

static void test_config_errors_name_option_place_value_and_range(void **state)
{
    (void)state;
    expect_refused("call:\n  deadline_ms: soon\n",
                   "option call.deadline_ms (text:2): \"soon\" must be a number, 1 to 86400000 ms");
    expect_refused("shim.output_max_bytes: 1KiB\n", "must be 64KiB to 4GiB");
    expect_refused("log.level: loud\n", "must be one of error|warn|info|debug");
    expect_refused("device.reply_slots: 1000\n", "must be a power of two");
    expect_refused("socket.mode: 0999\n", "must be octal");
    expect_refused("socket.allow_uids: [4294967295]\n", "must be at most 16 ids");
    expect_refused("silo: {reconnect_min_ms: 9, reconnect_max_ms: 3}\n", "is over");
    expect_refused("device.heap_bytes: 99999999999999999999GiB\n", "device.heap_bytes");
    expect_refused("call.deadline_ms: -1\n", "call.deadline_ms");
}

static void test_config_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    expect_refused("log:\n  levle: debug\n", "text:2: unknown option log.levle");
    expect_refused("log.level: info\nlog.level: info\n", "was set before on line 1");
    expect_refused("- a\n", "expected options");
    expect_refused("log: {level: [a, [b]]}\n", "plain values only");
    expect_refused("log: &x {level: info}\nhttp: *x\n", "aliases");
    expect_refused("a: {b: {c: {d: {e: 1}}}}\n", "nested too deep");
    expect_refused("log: {level", "text:");
    expect_refused("---\nlog.level: info\n---\nlog.level: info\n", "more than one document");
}

static void test_config_flag_wins_over_env_over_file(void **state)
{
    (void)state;
    char path[] = "/tmp/sc-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char *text = "call.deadline_ms: 1\nlog.level: warn\ndevice.blocks: 3\n";
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const char *env[] = {"GPU_SIDECAR_CALL_DEADLINE_MS=2",
                         "GPU_SIDECAR_LOG_LEVEL=error",
                         "GPU_SIDECAR_PORT_9464_TCP=tcp://10.0.0.1:9464",
                         "GPU_SIDECAR_SERVICE_HOST=10.0.0.1",
                         "PATH=/bin",
                         NULL};
    const char *flags[] = {"--call.deadline_ms=3", "--device.hang_ms", "77", NULL};
    struct sc_config_input in = {path, env, flags};
    struct sc_config c;
    if (sc_config_load(&in, &c, error) != SC_OK)
        fail_msg("%s", error);
    unlink(path);
    assert_int_equal(c.call_deadline_ms, 3);
    assert_int_equal(c.log_level, SC_LOG_ERROR);
    assert_int_equal(c.device_blocks, 3);
    assert_int_equal(c.device_hang_ms, 77);

    struct wbuf out;
    wbuf_init(&out, 1 << 16);
    sc_config_print(&c, &out);
    wb_u8(&out, 0);
    const char *printed = (const char *)out.ptr;
    assert_non_null(strstr(printed, "# flag --call.deadline_ms"));
    assert_non_null(strstr(printed, "# environment GPU_SIDECAR_LOG_LEVEL"));
    assert_non_null(strstr(printed, ":3\n"));
    assert_non_null(strstr(printed, "# default"));
    wbuf_fini(&out);
    sc_config_free(&c);
}

static void expect_input_refused(const char *const *env, const char *const *flags, const char *file,
                                 const char *part)
{
    struct sc_config_input in = {file, env, flags};
    struct sc_config c;
    assert_int_equal(sc_config_load(&in, &c, error), SC_ERR_CONFIG);
    if (strstr(error, part) == NULL)
        fail_msg("error \"%s\" lacks \"%s\"", error, part);
}

static void test_config_names_bad_env_flag_and_file(void **state)
{
    (void)state;
    const char *bad_env[] = {"GPU_SIDECAR_LOG_LEVLE=info", NULL};
    expect_input_refused(bad_env, NULL, "/dev/null", "GPU_SIDECAR_LOG_LEVLE");
    const char *bad_value[] = {"GPU_SIDECAR_LOG_LEVEL=x", NULL};
    expect_input_refused(bad_value, NULL, "/dev/null", "environment GPU_SIDECAR_LOG_LEVEL");
    const char *unknown[] = {"--nope=1", NULL};
    expect_input_refused(NULL, unknown, "/dev/null", "unknown flag --nope");
    const char *lacking[] = {"--log.level", NULL};
    expect_input_refused(NULL, lacking, "/dev/null", "needs a value");
    const char *stray[] = {"stray", NULL};
    expect_input_refused(NULL, stray, "/dev/null", "unexpected argument stray");
    expect_input_refused(NULL, NULL, "/no/such/file.yaml", "/no/such/file.yaml: No such file");
}

static void test_config_printed_text_reads_back_the_same(void **state)
{
    (void)state;
    struct sc_config a, b;
    const char *yaml = "stream.provider: \"a b: #c\\\"\"\nsocket.allow_gids: [1, 2]\n"
                       "device.slab_bytes: 3MiB\n";
    assert_int_equal(sc_config_load_text(span_of_str(yaml), &a, error), SC_OK);
    struct wbuf first, second;
    wbuf_init(&first, 1 << 16);
    wbuf_init(&second, 1 << 16);
    sc_config_print(&a, &first);
    if (sc_config_load_text(wbuf_span(&first), &b, error) != SC_OK)
        fail_msg("%s", error);
    assert_string_equal(b.stream_provider, "a b: #c\"");
    assert_int_equal(b.socket_allow_gids.ids[1], 2);
    assert_int_equal(b.device_slab_bytes, 3 << 20);
    sc_config_free(&a);
    sc_config_free(&b);
    wbuf_fini(&first);
    wbuf_fini(&second);
}

static void test_config_reload_takes_all_or_nothing(void **state)
{
    (void)state;
    struct sc_config current, good, bad;
    assert_int_equal(sc_config_load_text(span_of_str(""), &current, error), SC_OK);
    assert_int_equal(
        sc_config_load_text(span_of_str("log.level: debug\ncall.deadline_ms: 5\n"), &good, error),
        SC_OK);
    assert_int_equal(
        sc_config_load_text(span_of_str("log.level: error\nsocket.path: /x\n"), &bad, error),
        SC_OK);
    assert_int_equal(sc_config_reload(&current, &bad, error), SC_ERR_CONFIG);
    assert_non_null(strstr(error, "option socket.path (text:2) changed and needs a restart"));
    assert_int_equal(current.log_level, SC_LOG_INFO);
    assert_int_equal(sc_config_reload(&current, &good, error), SC_OK);
    assert_int_equal(current.log_level, SC_LOG_DEBUG);
    assert_int_equal(current.call_deadline_ms, 5);
    sc_config_free(&current);
    sc_config_free(&good);
    sc_config_free(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_empty_text_gives_defaults),
        cmocka_unit_test(test_config_reads_nested_dotted_and_lists),
        cmocka_unit_test(test_config_errors_name_option_place_value_and_range),
        cmocka_unit_test(test_config_refuses_what_it_does_not_know),
        cmocka_unit_test(test_config_flag_wins_over_env_over_file),
        cmocka_unit_test(test_config_names_bad_env_flag_and_file),
        cmocka_unit_test(test_config_printed_text_reads_back_the_same),
        cmocka_unit_test(test_config_reload_takes_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
