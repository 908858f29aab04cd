#include "orleans-proto/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_hash_is_xxhash32(void **state)
{
    (void)state;
    assert_true(orl_hash32(span_of_str("")) == 0x02cc5d05);
    assert_true(orl_hash32(span_of(NULL, 0)) == 0x02cc5d05);
    assert_true(orl_hash32(span_of_str("a")) == 0x550d7456);
    assert_true(orl_hash32(span_of_str("abc")) == 0x32d153ff);
    assert_true(orl_hash32(span_of_str("abcdefghijklmnopqrstuvwxyz0123456789")) == 0x42ae804d);
    assert_true(orl_stable_hash(span_of_str("numberssk1")) == 2023383656);
}

static void test_method_ids_of_recorded_calls(void **state)
{
    (void)state;
    static const struct {
        const char *signature, *id;
    } rows[] = {
        {"global::Sample.IEchoGrain.Echo(string)", "A081B6BA"},
        {"global::Sample.IEchoGrain.EchoDict(global::System.Collections.Generic.Dictionary<string, "
         "long>)",
         "7386FF71"},
        {"global::Sample.IEchoGrain.EchoGeneric<T>(T)", "F8BC33AF"},
        {"global::Sample.IEchoGrain.ThrowCustom(string,int)", "23BBF0FF"},
        {"global::Sample.IEchoGrain.Delay(int,global::System.Threading.CancellationToken)",
         "03E9389E"},
        {"global::Orleans.Runtime.IClusterManifestSystemTarget.GetClusterManifestUpdate(global::"
         "Orleans.Metadata.MajorMinorVersion)",
         "4EFCA109"},
        {"global::Orleans.Providers.IMemoryStreamQueueGrain.Enqueue(global::Orleans.Providers."
         "MemoryMessageData)",
         "74D60341"},
        {"global::Orleans.ISiloControl.Ping(string)", "1422B0B7"},
        {"global::Orleans.ClientObservers.IClientGatewayObserver.StopSendingToGateway(global::"
         "Orleans.Runtime.SiloAddress)",
         "AFB768FD"},
        {"global::Orleans.Runtime.IGrainCallCancellationExtension.CancelRequestAsync(global::"
         "Orleans.Runtime.GrainId,global::Orleans.Runtime.CorrelationId)",
         "FA239824"},
        {"global::Orleans.BroadcastChannel.IBroadcastChannelConsumerExtension.OnPublished(global::"
         "Orleans.BroadcastChannel.InternalChannelId,object)",
         "B1E55518"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char id[9];
        orl_method_id(span_of_str(rows[i].signature), id);
        assert_string_equal(id, rows[i].id);
    }
}

static const struct queue_row {
    const char *ns, *key, *queue;
} queue_rows[] = {
    {"numbers", "sk1", "1067ea7112ad3bf60400008004000000"},  /* recorded, queue 4 */
    {"clientns", "sk2", "1067ea7112ad3bf60100002001000000"}, /* recorded, queue 1 */
};

static void test_memory_queue_keys_of_recorded_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof queue_rows / sizeof queue_rows[0]; i++) {
        char key[33];
        assert_int_equal(orl_memory_queue_key(span_of_str("StreamProvider"), 8,
                                              span_of_str(queue_rows[i].ns),
                                              span_of_str(queue_rows[i].key), key),
                         SC_OK);
        assert_string_equal(key, queue_rows[i].queue);
    }
    char key[33];
    assert_int_equal(
        orl_memory_queue_key(span_of_str("P"), 0, span_of_str("n"), span_of_str("k"), key),
        SC_ERR_ARGUMENT);
    assert_int_equal(
        orl_memory_queue_key(span_of_str("\xff"), 8, span_of_str("n"), span_of_str("k"), key),
        SC_ERR_ARGUMENT);
    /* With one queue every stream is in queue 0 at position 0. */
    assert_int_equal(orl_memory_queue_key(span_of_str("StreamProvider"), 1, span_of_str("numbers"),
                                          span_of_str("sk1"), key),
                     SC_OK);
    assert_string_equal(key, "1067ea7112ad3bf60000000000000000");
}

static void test_grain_service_type_of_a_recorded_call(void **state)
{
    (void)state;
    char type[ORL_SERVICE_TYPE_LEN + 1];
    assert_int_equal(orl_grain_service_type(span_of_str("App.IMyService,App"), type), SC_OK);
    assert_string_equal(type, "sys.svc.user.86D3B319");
    assert_true(orl_is_system_target(span_of_str(type)));
    assert_false(orl_is_system_target(span_of_str("sys.client")));
    assert_false(orl_is_system_target(span_of_str("sys.svc")));
}

static void test_keys_by_kind_go_both_ways(void **state)
{
    (void)state;
    static const struct {
        int64_t v;
        const char *ext, *text;
    } rows[] = {
        {12345, NULL, "3039"}, {-1, NULL, "FFFFFFFFFFFFFFFF"},        {77, "ext", "4D+ext"},
        {0, NULL, "0"},        {INT64_MIN, NULL, "8000000000000000"}, {5, "a+b", "5+a+b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wbuf w;
        wbuf_init(&w, 256);
        struct span ext = rows[i].ext != NULL ? span_of_str(rows[i].ext) : (struct span){0};
        orl_key_put_integer(&w, rows[i].v, ext);
        assert_true(span_eq_str(wbuf_span(&w), rows[i].text));
        int64_t v = 7;
        struct span got;
        assert_int_equal(orl_key_parse_integer(wbuf_span(&w), &v, &got), SC_OK);
        assert_true(v == rows[i].v);
        assert_true(span_eq(got, ext));
        assert_int_equal(got.ptr == NULL, rows[i].ext == NULL);
        wbuf_fini(&w);
    }
    int64_t v;
    struct span ext;
    assert_int_equal(orl_key_parse_integer(span_of_str(""), &v, &ext), SC_ERR_ARGUMENT);
    assert_int_equal(orl_key_parse_integer(span_of_str("12G"), &v, &ext), SC_ERR_ARGUMENT);
    assert_int_equal(orl_key_parse_integer(span_of_str("11111111111111111"), &v, &ext),
                     SC_ERR_ARGUMENT);
}

static void test_guid_text_and_keys(void **state)
{
    (void)state;
    /* 00112233-4455-6677-8899-aabbccddeeff as the real serializer wrote it */
    static const struct orl_guid guid = {{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88,
                                          0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};
    char text[33];
    struct orl_guid back;
    orl_guid_format(&guid, text);
    assert_string_equal(text, "00112233445566778899aabbccddeeff");
    assert_int_equal(orl_guid_parse(span_of_str(text), &back), SC_OK);
    assert_memory_equal(back.b, guid.b, 16);
    assert_int_equal(orl_guid_parse(span_of_str("00112233-4455-6677-8899-AABBCCDDEEFF"), &back),
                     SC_OK);
    assert_memory_equal(back.b, guid.b, 16);
    assert_int_equal(orl_guid_parse(span_of_str("00112233-4455-6677-8899aAABBCCDDEEFF"), &back),
                     SC_ERR_ARGUMENT);
    assert_int_equal(orl_guid_parse(span_of_str("0011223344556677889"), &back), SC_ERR_ARGUMENT);

    struct wbuf w;
    struct span ext;
    wbuf_init(&w, 128);
    orl_key_put_guid(&w, &guid, span_of_str("ext"));
    assert_true(span_eq_str(wbuf_span(&w), "00112233445566778899aabbccddeeff+ext"));
    assert_int_equal(orl_key_parse_guid(wbuf_span(&w), &back, &ext), SC_OK);
    assert_true(span_eq_str(ext, "ext"));
    assert_int_equal(orl_key_parse_guid(span_of_str("3039"), &back, &ext), SC_ERR_ARGUMENT);
    wbuf_fini(&w);
}

static void test_silo_text_goes_both_ways(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1:11111@154221210", "::1:15501@154225253",
                                        "10.1.2.3:0@0", "2001:db8::7:65535@-5"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct orl_silo silo;
        char out[ORL_SILO_TEXT_MAX];
        assert_int_equal(orl_silo_parse(span_of_str(texts[i]), &silo), SC_OK);
        assert_int_equal(orl_silo_format(&silo, out), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
    }
    static const char *const bad[] = {"",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "1.2.3:80",
                                      "1.2.3.4:65536",
                                      "1.2.3.4:80@x",
                                      "[::1:80",
                                      "1.2.3.4:80@9999999999"};
    struct orl_silo silo;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(orl_silo_parse(span_of_str(bad[i]), &silo), SC_ERR_ARGUMENT);
    assert_int_equal(orl_silo_parse(span_of_str("[::1]:80"), &silo), SC_OK);
    assert_int_equal(silo.ip_len, 16);
    assert_int_equal(silo.port, 80);
    assert_int_equal(silo.generation, 0);
}

static void check_raw_silo(const char *text, const uint8_t *want, size_t len)
{
    struct orl_silo silo;
    struct orl_silo back;
    struct wbuf w;
    assert_int_equal(orl_silo_parse(span_of_str(text), &silo), SC_OK);
    wbuf_init(&w, 64);
    orl_put_silo_raw(&w, &silo);
    assert_int_equal(w.len, len);
    assert_memory_equal(w.ptr, want, len);
    struct reader r = reader_of(wbuf_span(&w));
    orl_silo_read(&r, &back);
    assert_false(r.bad);
    assert_true(orl_silo_eq(&silo, &back));
    for (size_t cut = 0; cut < len; cut++) {
        r = reader_of(span_of(want, cut));
        orl_silo_read(&r, &back);
        assert_true(r.bad);
    }
    wbuf_fini(&w);
}

static void test_raw_silo_addresses_as_recorded(void **state)
{
    (void)state;
    static const uint8_t gateway[] = {0x21, 0xcc, 0xb9, 0x9d, 0x85, 0x09, 0x7f, 0x00, 0x00,
                                      0x01, 0x8c, 0xa9, 0x03, 0x00, 0x00, 0x00, 0x00};
    static const uint8_t silo[] = {0x1f, 0x7b, 0x2e, 0x64, 0x2a, 0x09, 0x7f, 0x00,
                                   0x00, 0x01, 0x9e, 0xad, 0x9a, 0x3a, 0x31, 0x09};
    static const uint8_t v6[] = {0x37, 0xa5, 0x0b, 0x89, 0x21, 0x21, 0,    0,   0, 0,
                                 0,    0,    0,    0,    0,    0,    0,    0,   0, 0,
                                 0,    1,    0x9e, 0xad, 0x01, 0x00, 0x00, 0x00};
    check_raw_silo("127.0.0.1:30001@0", gateway, sizeof gateway);
    check_raw_silo("127.0.0.1:11111@154221210", silo, sizeof silo);
    check_raw_silo("::1:11111@1", v6, sizeof v6);
}

static void test_grain_id_field_has_the_bytes_of_the_real_serializer(void **state)
{
    (void)state;
    static const uint8_t want[] = {0x20, 0x20, 0x20, 0x60, 0x4b, 0x6b, 0x0c, 0xce, 0x41,
                                   0x09, 'e',  'c',  'h',  'o',  0xe0, 0xe0, 0x21, 0x60,
                                   0xea, 0x50, 0x5c, 0x24, 0x41, 0x03, 'k',  0xe0, 0xe0};
    const struct orl_grain_id id = {span_of_str("echo"), span_of_str("k")};
    struct wbuf w;
    struct orl_reader r;
    struct orl_field f;
    wbuf_init(&w, 128);
    orl_put_grain_id(&w, 0, id);
    assert_int_equal(w.len, sizeof want);
    assert_memory_equal(w.ptr, want, sizeof want);
    for (size_t cut = 0; cut <= w.len; cut++) {
        orl_reader_init(&r, span_of(w.ptr, cut));
        bool whole = orl_reader_next(&r, &f) && orl_grain_id_eq(orl_get_grain_id(&r, &f), id) &&
                     r.status == SC_OK;
        assert_int_equal(whole, cut == w.len);
    }
    wbuf_clear(&w);
    orl_put_grain_id(&w, 0, (struct orl_grain_id){0}); /* the default, as recorded */
    static const uint8_t none[] = {0x20, 0x20, 0x20, 0x00, 0x01, 0xc1, 0x01, 0xe0,
                                   0xe0, 0x21, 0x00, 0x01, 0xc1, 0x01, 0xe0, 0xe0};
    assert_int_equal(w.len, sizeof none);
    assert_memory_equal(w.ptr, none, sizeof none);
    wbuf_fini(&w);
}

static void test_observer_belongs_to_the_client_in_its_key(void **state)
{
    (void)state;
    const struct orl_grain_id client = {span_of_str("sys.client"), span_of_str("ab")};
    static const struct {
        const char *type, *key;
        bool own;
    } rows[] = {{"sys.client", "ab+1", true},  {"sys.client", "ab+", true},
                {"sys.client", "ab", false},   {"sys.client", "abc+1", false},
                {"sys.client", "a+1", false},  {"sys.client", "xb+1", false},
                {"sys.client2", "ab+1", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct orl_grain_id id = {span_of_str(rows[i].type), span_of_str(rows[i].key)};
        assert_true(orl_is_observer_of(id, client) == rows[i].own);
    }
}

static void test_utf8_is_told_from_other_bytes(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc3",
                                      "\xe0\x80\x80", "\xed\xa0\x80",     "\xf4\x90\x80\x80",
                                      "a\xff",        "\xf0\x80\x80\x80", "\xe2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(orl_is_utf8(span_of_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(orl_is_utf8(span_of_str(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_observer_belongs_to_the_client_in_its_key),
        cmocka_unit_test(test_utf8_is_told_from_other_bytes),
        cmocka_unit_test(test_hash_is_xxhash32),
        cmocka_unit_test(test_method_ids_of_recorded_calls),
        cmocka_unit_test(test_memory_queue_keys_of_recorded_streams),
        cmocka_unit_test(test_grain_service_type_of_a_recorded_call),
        cmocka_unit_test(test_keys_by_kind_go_both_ways),
        cmocka_unit_test(test_guid_text_and_keys),
        cmocka_unit_test(test_silo_text_goes_both_ways),
        cmocka_unit_test(test_raw_silo_addresses_as_recorded),
        cmocka_unit_test(test_grain_id_field_has_the_bytes_of_the_real_serializer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
