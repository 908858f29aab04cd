/* Our manifest says the same about a grain as the manifests of recorded silos. */
#include "orleans-proto/manifest.h"

#include "orleans-proto/invoke.h"
#include "orleans-proto/preamble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/orleans-proto/captures.h"

enum { PAIRS_MAX = 16 };

struct pairs {
    size_t count;
    struct span key[PAIRS_MAX];
    struct span value[PAIRS_MAX];
};

/* Enters the object that is field id of the current one. */
static void enter_field(struct orl_reader *r, uint32_t id)
{
    struct orl_field f;
    while (orl_reader_next(r, &f)) {
        if (f.id == id) {
            assert_true(orl_reader_enter(r, &f));
            return;
        }
    }
    fail_msg("no field %u", id);
}

/* The entries of a dictionary are its fields with id 2: key, value, key, value ... */
static bool next_entry(struct orl_reader *r, struct orl_field *f)
{
    while (orl_reader_next(r, f)) {
        if (f->id == 2)
            return true;
    }
    return false;
}

static void read_properties(struct orl_reader *r, const struct orl_field *f, struct pairs *p)
{
    struct orl_field in;
    p->count = 0;
    assert_true(orl_reader_enter(r, f));
    enter_field(r, 0);
    enter_field(r, 0);
    while (next_entry(r, &in)) {
        assert_true(p->count < PAIRS_MAX);
        p->key[p->count] = orl_get_bytes(r, &in);
        assert_true(next_entry(r, &in));
        p->value[p->count++] = orl_get_bytes(r, &in);
    }
    orl_reader_leave(r);
    orl_reader_leave(r);
}

/* part 0: interfaces, 1: grains. The body is a raw response. */
static void find_properties(struct span body, uint32_t part, const char *name, struct pairs *p)
{
    struct orl_reader r;
    struct orl_field f;
    bool found = false;
    orl_reader_init_raw(&r, body);
    assert_true(orl_reader_next(&r, &f));
    assert_true(span_eq_str(f.type.name, "Orleans.Runtime.ClusterManifestUpdate,Orleans.Core"));
    assert_true(orl_reader_enter(&r, &f));
    enter_field(&r, 0); /* the update */
    enter_field(&r, 1); /* silos */
    enter_field(&r, 0);
    assert_true(next_entry(&r, &f));
    assert_int_equal(orl_get_silo(&r, &f).port, 11111);
    assert_true(next_entry(&r, &f));
    assert_true(orl_reader_enter(&r, &f));
    enter_field(&r, part);
    enter_field(&r, 0);
    while (next_entry(&r, &f)) {
        bool wanted = span_eq_str(orl_get_grain_type(&r, &f), name);
        assert_true(next_entry(&r, &f));
        if (wanted)
            read_properties(&r, &f, p);
        found |= wanted;
    }
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    assert_true(found);
}

static struct span recorded_manifest(struct span all)
{
    static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};
    struct orl_preamble p;
    struct orl_frame frame;
    size_t used = 0;
    assert_int_equal(orl_preamble_decode(all, &p, &used), SC_OK);
    assert_int_equal(orl_frame_decode(span_of(all.ptr + used, all.len - used), &lim, &frame, &used),
                     SC_OK);
    return frame.body;
}

static void assert_same_pairs(const struct pairs *a, const struct pairs *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        size_t j = 0;
        while (j < b->count && !span_eq(a->key[i], b->key[j]))
            j++;
        assert_true(j < b->count);
        assert_true(span_eq(a->value[i], b->value[j]));
    }
}

static struct orl_manifest sample_manifest(void)
{
    static struct orl_manifest_interface interfaces[2];
    static struct orl_manifest_grain grains[1];
    interfaces[0] = (struct orl_manifest_interface){span_of_str("Sample.IEchoGrain"),
                                                    span_of_str("Sample.Interfaces")};
    interfaces[1] = (struct orl_manifest_interface){span_of_str("Orleans.IGrainWithStringKey"),
                                                    span_of_str("Orleans.Core.Abstractions")};
    grains[0] = (struct orl_manifest_grain){
        .type = span_of_str("echo"),
        .class = span_of_str("Sample.EchoGrain"),
        .assembly = span_of_str("Sample.Grains"),
        .interface_count = 2,
        .interfaces = {interfaces[0].name, interfaces[1].name},
    };
    struct orl_manifest m = {.major = 4,
                             .interfaces = interfaces,
                             .interface_count = 2,
                             .grains = grains,
                             .grain_count = 1};
    assert_int_equal(orl_silo_parse(span_of_str("127.0.0.1:11111@7"), &m.silo), SC_OK);
    return m;
}

static void test_manifest_describes_a_grain_as_recorded_silos_do(void **state)
{
    (void)state;
    static const char *const recordings[] = {"v7.2.7/connect/s2c.bin", "v9.2.1/connect/s2c.bin",
                                             "v10.3.0/connect/s2c.bin"};
    struct orl_manifest m = sample_manifest();
    struct pairs ours;
    struct pairs theirs;
    struct wbuf w;
    wbuf_init(&w, 1 << 16);
    orl_put_manifest_update(&w, &m);
    for (size_t i = 0; i < sizeof recordings / sizeof recordings[0]; i++) {
        struct span all = capture_read(recordings[i]);
        struct span body = recorded_manifest(all);
        find_properties(wbuf_span(&w), 1, "echo", &ours);
        find_properties(body, 1, "echo", &theirs);
        assert_same_pairs(&ours, &theirs);
        find_properties(wbuf_span(&w), 0, "Sample.IEchoGrain", &ours);
        find_properties(body, 0, "Sample.IEchoGrain", &theirs);
        assert_same_pairs(&ours, &theirs);
        free((void *)(uintptr_t)all.ptr);
    }
    wbuf_fini(&w);
}

static void test_manifest_request_of_a_recorded_client(void **state)
{
    (void)state;
    struct span all = capture_read("v10.3.0/connect/c2s.bin");
    struct orl_message m = {.direction = ORL_DIRECTION_REQUEST, .body = recorded_manifest(all)};
    struct orl_reader r;
    struct orl_call call;
    int64_t major = 0;
    int64_t minor = 0;
    assert_int_equal(orl_call_open(&m, &r, &call), SC_OK);
    assert_true(orl_call_is(&call, ORL_MANIFEST_INTERFACE, ORL_MANIFEST_GET_UPDATE));
    assert_int_equal(orl_manifest_version_read(&r, &major, &minor), SC_OK);
    assert_true(major == INT64_MIN && minor == INT64_MIN); /* it has none */
    free((void *)(uintptr_t)all.ptr);
}

static void test_manifest_without_grains_has_empty_dictionaries(void **state)
{
    (void)state;
    struct orl_manifest m = sample_manifest();
    struct orl_reader r;
    struct orl_field f;
    struct wbuf w;
    m.grain_count = 0;
    m.interface_count = 0;
    wbuf_init(&w, 1 << 16);
    orl_put_manifest_update(&w, &m);
    orl_reader_init_raw(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    enter_field(&r, 0);
    enter_field(&r, 1);
    enter_field(&r, 0);
    assert_true(next_entry(&r, &f) && next_entry(&r, &f));
    assert_true(orl_reader_enter(&r, &f));
    for (uint32_t part = 0; part < 2; part++) {
        enter_field(&r, part);
        enter_field(&r, 0);
        assert_false(orl_reader_next(&r, &f));
        orl_reader_leave(&r);
    }
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&w);
}

/* { 0: version, 1: silos, 2: all manifests } */
static void test_manifest_of_old_clients_lists_the_same_grains(void **state)
{
    (void)state;
    struct orl_manifest m = sample_manifest();
    struct orl_reader r;
    struct orl_field f;
    struct wbuf w;
    char id[9];
    int grains = 0;
    wbuf_init(&w, 1 << 16);
    orl_put_manifest(&w, &m);
    orl_reader_init_raw(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    enter_field(&r, 0);
    enter_field(&r, 2);
    enter_field(&r, 0);
    enter_field(&r, 1);
    enter_field(&r, 1);
    enter_field(&r, 0);
    while (next_entry(&r, &f)) {
        assert_true(span_eq_str(orl_get_grain_type(&r, &f), "echo"));
        assert_true(next_entry(&r, &f));
        grains++;
    }
    assert_int_equal(grains, 1);
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    orl_method_id(span_of_str("global::Orleans.Runtime.IClusterManifestSystemTarget."
                              "GetClusterManifest()"),
                  id);
    assert_string_equal(id, ORL_MANIFEST_GET);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_describes_a_grain_as_recorded_silos_do),
        cmocka_unit_test(test_manifest_request_of_a_recorded_client),
        cmocka_unit_test(test_manifest_without_grains_has_empty_dictionaries),
        cmocka_unit_test(test_manifest_of_old_clients_lists_the_same_grains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
