#include "gpu/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD  "kernel: tally\nversion: 1.0.0\nsources: [tally.c]\n"
#define STATE "state: {bytes: 64, max_bytes: 4096}\n"
#define MSG   "messages:\n  - {name: Add, type: 1, reply_bytes: 8}\n"

static struct gpu_manifest m;
static char error[GPU_KERNEL_TEXT_BYTES];

static enum sc_status parse(const char *text)
{
    error[0] = 0;
    return gpu_manifest_parse(span_of_str(text), &m, error);
}

static void refuses(const char *text, const char *said)
{
    assert_int_not_equal(parse(text), SC_OK);
    if (strstr(error, said) == NULL)
        fail_msg("'%s' does not say '%s'", error, said);
}

static void test_manifest_reads_every_key(void **state)
{
    (void)state;
    assert_int_equal(parse("# a comment\n" HEAD STATE "limits: {sends: 64, emits: 1}\n"
                           "messages:\n  - {name: Add, type: 1, reply_bytes: 8}\n"
                           "  - name: Get\n    type: 2\n"
                           "events:\n"
                           "  - {name: Full, type: 7, namespace: tally.x, encoding: utf8}\n"
                           "  - {name: Raw, type: 8, namespace: raw}\n"),
                     SC_OK);
    assert_string_equal(m.id, "tally");
    assert_string_equal(m.version, "1.0.0");
    assert_null(m.folder);
    assert_int_equal(m.source_count, 1);
    assert_string_equal(m.sources[0], "tally.c");
    assert_int_equal(m.state_bytes, 64);
    assert_int_equal(m.state_max_bytes, 4096);
    assert_int_equal(m.sends_max, 64);
    assert_int_equal(m.emits_max, 1);
    assert_int_equal(m.message_count, 2);
    assert_int_equal(m.messages[0].reply_bytes, 8);
    assert_int_equal(m.messages[1].reply_bytes, 80);
    assert_int_equal(m.events[0].encoding, GPU_EVENT_UTF8);
    assert_string_equal(m.events[0].stream_namespace, "tally.x");
    assert_int_equal(m.events[1].encoding, GPU_EVENT_BYTES);
}

static void test_manifest_finds_messages_by_name_and_number(void **state)
{
    (void)state;
    assert_int_equal(parse(HEAD STATE MSG "events:\n  - {name: E, type: 3, namespace: n}\n"),
                     SC_OK);
    assert_ptr_equal(gpu_manifest_message_type(&m, 1), &m.messages[0]);
    assert_null(gpu_manifest_message_type(&m, 2));
    assert_ptr_equal(gpu_manifest_event(&m, 3), &m.events[0]);
    assert_null(gpu_manifest_event(&m, 1));
}

static void test_manifest_defaults_to_no_sends_and_fixed_state(void **state)
{
    (void)state;
    assert_int_equal(parse(HEAD "state: {bytes: 16}\nmessages: []\n"), SC_OK);
    assert_int_equal(m.state_max_bytes, 16);
    assert_int_equal(m.sends_max, 0);
    assert_int_equal(m.emits_max, 0);
}

static void test_manifest_names_line_key_and_limit(void **state)
{
    (void)state;
    refuses(HEAD STATE "limits: {sends: 1025}\n" MSG,
            "line 5: limits.sends must be a whole number from 0 to 1024");
    refuses(HEAD STATE "limits: {emits: 65}\n" MSG, "line 5: limits.emits");
    refuses(HEAD STATE "limits: {sends: -1}\n" MSG, "limits.sends");
    refuses(HEAD STATE "limits: {sends: '1'}\n" MSG, "limits.sends");
    refuses(HEAD STATE "limits: {sends: 4294967297}\n" MSG, "limits.sends");
    refuses(HEAD STATE "limits: {sends: 1e2}\n" MSG, "limits.sends");
    refuses(HEAD STATE "limits: {send: 1}\n" MSG, "line 5: limits has no key 'send'");
    refuses(HEAD STATE "limit: {sends: 1}\n" MSG, "line 5: the manifest has no key 'limit'");
    refuses(HEAD STATE STATE MSG, "line 5: the manifest: 'state' is given twice");
    refuses(HEAD MSG, "'state' is missing");
    refuses(HEAD STATE, "'messages' is missing");
    refuses("version: 1.0.0\nsources: [a.c]\n" STATE MSG, "'kernel' is missing");
    refuses(HEAD "state: {bytes: 0}\n" MSG, "state.bytes must be a whole number from 1");
    refuses(HEAD "state: {bytes: 9, max_bytes: 8}\n" MSG, "max_bytes 8 is below state.bytes 9");
    refuses(HEAD "state: 8\n" MSG, "state must be a map");
}

static void test_manifest_refuses_bad_names(void **state)
{
    (void)state;
    refuses("kernel: Tally\nversion: 1.0.0\nsources: [a.c]\n" STATE MSG, "line 1: kernel");
    refuses("kernel: a\nversion: 1.0\nsources: [a.c]\n" STATE MSG, "line 2: version");
    refuses("kernel: a\nversion: 1.0.01\nsources: [a.c]\n" STATE MSG, "line 2: version");
    refuses("kernel: a\nversion: 1.0.0\nsources: [../a.c]\n" STATE MSG, "line 3: a source");
    refuses("kernel: a\nversion: 1.0.0\nsources: [/etc/a.c]\n" STATE MSG, "line 3: a source");
    refuses("kernel: a\nversion: 1.0.0\nsources: [.a.c]\n" STATE MSG, "line 3: a source");
    refuses("kernel: a\nversion: 1.0.0\nsources: [-o.c]\n" STATE MSG, "line 3: a source");
    refuses("kernel: a\nversion: 1.0.0\nsources: [\"a\\0.c\"]\n" STATE MSG, "line 3: a source");
    refuses("kernel: a\nversion: 1.0.0\nsources: [a.o]\n" STATE MSG, "must end in .c or .h");
    refuses("kernel: a\nversion: 1.0.0\nsources: [a.h]\n" STATE MSG, "must name a .c file");
    refuses("kernel: a\nversion: 1.0.0\nsources: [a.c, a.c]\n" STATE MSG, "given twice");
    refuses("kernel: a\nversion: 1.0.0\nsources: a.c\n" STATE MSG, "sources must be a list");
}

static void test_manifest_refuses_bad_messages_and_events(void **state)
{
    (void)state;
    refuses(HEAD STATE "messages:\n  - {name: A, type: 0}\n", "line 6: a message's type");
    refuses(HEAD STATE "messages:\n  - {name: A, type: 65280}\n", "from 1 to 65279");
    refuses(HEAD STATE "messages:\n  - {name: 9, type: 1}\n", "a message's name");
    refuses(HEAD STATE "messages:\n  - {type: 1}\n", "a message: 'name' is missing");
    refuses(HEAD STATE "messages:\n  - {name: A, type: 1, reply_bytes: 16777216}\n", "reply_bytes");
    refuses(HEAD STATE "messages:\n  - {name: A, type: 1}\n  - {name: B, type: 1}\n",
            "line 7: message 'B' has the name or type of 'A'");
    refuses(HEAD STATE MSG "events:\n  - {name: E, type: 1, namespace: n, encoding: utf16}\n",
            "encoding must be bytes or utf8");
    refuses(HEAD STATE MSG "events:\n  - {name: E, type: 1}\n", "'namespace' is missing");
    refuses(HEAD STATE MSG "events:\n  - {name: E, type: 1, namespace: 'a b'}\n", "namespace");
}

static void test_manifest_refuses_too_many_entries(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, "%s%smessages:\n", HEAD, STATE);
    for (int i = 1; i <= GPU_KERNEL_MESSAGES_MAX + 1; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "  - {name: M%d, type: %d}\n", i, i);
    refuses(text, "messages: 65 entries, at most 64");
}

static void test_manifest_refuses_what_is_no_yaml(void **state)
{
    (void)state;
    refuses("", "the manifest is empty");
    refuses("[]", "must be a map");
    refuses(HEAD "state: {bytes: 1\n" MSG, "no valid YAML");
    refuses(HEAD STATE MSG "---\nkernel: b\n", "a second YAML document");
    refuses("? [a]\n: b\n", "has no key '(not a name)'");
    refuses("a: &x [*x]\n", "has no key 'a'");
}

static void test_manifest_leaves_output_alone_on_failure(void **state)
{
    (void)state;
    memset(&m, 7, sizeof m);
    struct gpu_manifest before = m;
    assert_int_not_equal(parse(HEAD), SC_OK);
    assert_memory_equal(&before, &m, sizeof m);
}

static void test_manifest_refuses_every_cut(void **state)
{
    (void)state;
    const char *text = HEAD STATE MSG;
    size_t whole = strlen(text);
    for (size_t n = 0; n < whole - 1; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, text, n);
        assert_int_not_equal(gpu_manifest_parse(span_of(cut, n), &m, error), SC_OK);
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_reads_every_key),
        cmocka_unit_test(test_manifest_finds_messages_by_name_and_number),
        cmocka_unit_test(test_manifest_defaults_to_no_sends_and_fixed_state),
        cmocka_unit_test(test_manifest_names_line_key_and_limit),
        cmocka_unit_test(test_manifest_refuses_bad_names),
        cmocka_unit_test(test_manifest_refuses_bad_messages_and_events),
        cmocka_unit_test(test_manifest_refuses_too_many_entries),
        cmocka_unit_test(test_manifest_refuses_what_is_no_yaml),
        cmocka_unit_test(test_manifest_leaves_output_alone_on_failure),
        cmocka_unit_test(test_manifest_refuses_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
