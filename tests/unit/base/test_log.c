#include "sidecar/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static size_t capture(enum sc_log_format format, enum sc_log_level level, const char *text,
                      char *out, size_t cap)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct sc_log log = {.fd = fds[1], .level = SC_LOG_INFO, .format = format};
    sc_log_write(&log, level, "peer said %s", text);
    close(fds[1]);
    ssize_t n = read(fds[0], out, cap - 1);
    close(fds[0]);
    assert_true(n >= 0);
    out[n] = 0;
    return (size_t)n;
}

static void test_log_escapes_bytes_that_could_forge_a_line(void **state)
{
    (void)state;
    char line[8192];
    size_t n = capture(SC_LOG_TEXT, SC_LOG_WARN, "a\nb\x1b", line, sizeof line);
    assert_non_null(strstr(line, " warn peer said a\\x0ab\\x1b\n"));
    assert_int_equal(strlen(line), n);
}

static void test_log_json_is_one_object_a_line(void **state)
{
    (void)state;
    char line[8192];
    capture(SC_LOG_JSON, SC_LOG_ERROR, "\"quoted\\\"", line, sizeof line);
    assert_non_null(
        strstr(line, "\"level\":\"error\",\"message\":\"peer said \\\"quoted\\\\\\\"\"}\n"));
}

static void test_log_drops_lines_above_level(void **state)
{
    (void)state;
    char line[64];
    assert_int_equal(capture(SC_LOG_TEXT, SC_LOG_DEBUG, "x", line, sizeof line), 0);
}

static void test_log_cuts_long_lines(void **state)
{
    (void)state;
    char *text = malloc(20000);
    memset(text, 'y', 19999);
    text[19999] = 0;
    char line[8192];
    size_t n = capture(SC_LOG_TEXT, SC_LOG_INFO, text, line, sizeof line);
    assert_true(n > 4000 && n <= 4200);
    assert_int_equal(line[n - 1], '\n');
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_escapes_bytes_that_could_forge_a_line),
        cmocka_unit_test(test_log_json_is_one_object_a_line),
        cmocka_unit_test(test_log_drops_lines_above_level),
        cmocka_unit_test(test_log_cuts_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
