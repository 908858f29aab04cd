#include "orleans-proto/wire.h"
#include "tests/support/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LINE_MAX_BYTES = 1 << 17 };

static size_t from_hex(const char *hex, size_t len, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        unsigned v = 0;
        sscanf(hex + i, "%2x", &v);
        out[n++] = (uint8_t)v;
    }
    return n;
}

static struct wbuf hex_bytes(const char *hex)
{
    struct wbuf w;
    uint8_t bytes[4096];
    wbuf_init(&w, sizeof bytes);
    wb_bytes(&w, bytes, from_hex(hex, strlen(hex), bytes));
    return w;
}

static void test_varint_forms_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        const char *hex;
    } rows[] = {
        {0, "01"},
        {1, "03"},
        {63, "7f"},
        {64, "81"},
        {127, "ff"},
        {128, "0202"},
        {300, "b204"},
        {16383, "feff"},
        {16384, "040002"},
        {(1 << 21) - 1, "fcffff"},
        {1 << 21, "08000002"},
        {(1 << 28) - 1, "f8ffffff"},
        {1 << 28, "1000000002"},
        {UINT32_MAX, "f0ffffff1f"},
        {((uint64_t)1 << 56) - 1, "80ffffffffffffff"},
        {(uint64_t)1 << 56, "000100000000000002"},
        {INT64_MAX, "00ffffffffffffffff"},
        {(uint64_t)1 << 63, "00020000000000000002"},
        {UINT64_MAX, "00feffffffffffffff03"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wbuf want = hex_bytes(rows[i].hex);
        struct wbuf got;
        wbuf_init(&got, 64);
        orl_put_varint(&got, rows[i].v);
        assert_true(span_eq(wbuf_span(&got), wbuf_span(&want)));
        struct reader r = reader_of(wbuf_span(&want));
        assert_true(orl_varint_read(&r) == rows[i].v);
        assert_int_equal(r.left, 0);
        for (size_t n = 0; n < want.len; n++) {
            struct reader cut = reader_of(span_of(want.ptr, n));
            orl_varint_read(&cut);
            assert_true(cut.bad);
        }
        wbuf_fini(&got);
        wbuf_fini(&want);
    }
}

static void test_varint_longer_than_needed_is_read_over_64_bits_is_not(void **state)
{
    (void)state;
    struct wbuf longer = hex_bytes("0600");                   /* 1 in two bytes */
    struct wbuf wide = hex_bytes("00fefffffffffffffff7");     /* 70 bits */
    struct wbuf headless = hex_bytes("00000000000000000000"); /* no marker in two bytes */
    struct reader r = reader_of(wbuf_span(&longer));
    assert_int_equal(orl_varint_read(&r), 1);
    r = reader_of(wbuf_span(&wide));
    orl_varint_read(&r);
    assert_true(r.bad);
    r = reader_of(wbuf_span(&headless));
    orl_varint_read(&r);
    assert_true(r.bad);
    wbuf_fini(&longer);
    wbuf_fini(&wide);
    wbuf_fini(&headless);
}

static int vector_lines;
static int vector_references;

/* The last column of a line is the value as .NET wrote it. */
static void check_vector(const char *line, size_t len)
{
    static uint8_t bytes[LINE_MAX_BYTES];
    const char *tab = memrchr(line, '\t', len);
    if (line[0] == '#' || tab == NULL)
        return;
    size_t n = from_hex(tab + 1, len - (size_t)(tab + 1 - line), bytes);
    struct orl_reader r;
    struct orl_field f;
    struct wbuf w;
    wbuf_init(&w, LINE_MAX_BYTES);
    orl_reader_init(&r, span_of(bytes, n));
    while (orl_reader_token(&r, &f)) {
        struct orl_field target;
        orl_put_token(&w, &f);
        if (f.wire == ORL_WIRE_REF && f.num != 0) {
            assert_true(orl_reader_resolve(&r, &f, &target));
            assert_int_not_equal(target.wire, ORL_WIRE_REF);
            vector_references++;
        }
    }
    if (r.status != SC_OK || !span_eq(wbuf_span(&w), span_of(bytes, n)))
        fail_msg("%.*s", (int)len, line);

    /* Walking by objects ends at the same place, and no prefix is taken for the whole. */
    orl_reader_init(&r, span_of(bytes, n));
    assert_true(orl_reader_next(&r, &f));
    assert_false(orl_reader_next(&r, &f));
    assert_int_equal(r.status, SC_OK);
    for (size_t cut = 1; cut < n && n < 300; cut++) {
        orl_reader_init(&r, span_of(bytes, cut));
        assert_int_equal(orl_reader_finish(&r), SC_ERR_PROTOCOL);
    }
    wbuf_fini(&w);
    vector_lines++;
}

static void check_vector_file(const char *path, int lines)
{
    size_t len = 0;
    char *text = (char *)test_file_read(path, &len);
    assert_non_null(text);
    vector_lines = 0;
    for (char *at = text; at < text + len;) {
        char *end = memchr(at, '\n', (size_t)(text + len - at));
        size_t n = (size_t)((end != NULL ? end : text + len) - at);
        check_vector(at, n);
        at += n + 1;
    }
    assert_int_equal(vector_lines, lines);
    free(text);
}

static void test_vectors_of_the_real_serializer_encode_to_the_same_bytes(void **state)
{
    (void)state;
    vector_references = 0;
    check_vector_file(TEST_DATA_DIR "/vectors.tsv", 160);
    check_vector_file(TEST_DATA_DIR "/vectors-random.tsv", 6544);
    assert_true(vector_references > 50);
}

typedef void (*check_scalar_fn)(struct orl_reader *r, const struct orl_field *f, const char *value,
                                struct wbuf *again);

static void check_signed(struct orl_reader *r, const struct orl_field *f, const char *value,
                         struct wbuf *again)
{
    int64_t v = orl_get_int(r, f, 64);
    assert_true(v == strtoll(value, NULL, 10));
    orl_put_long(again, 0, v);
    struct wbuf w;
    wbuf_init(&w, 64);
    if (v >= INT32_MIN && v <= INT32_MAX) {
        orl_put_int(&w, 0, (int32_t)v);
        assert_true(span_eq(wbuf_span(&w), wbuf_span(again)));
    }
    wbuf_fini(&w);
}

static void check_unsigned(struct orl_reader *r, const struct orl_field *f, const char *value,
                           struct wbuf *again)
{
    uint64_t v = orl_get_uint(r, f, 64);
    assert_true(v == strtoull(value, NULL, 10));
    orl_put_ulong(again, 0, v);
}

static void check_double(struct orl_reader *r, const struct orl_field *f, const char *value,
                         struct wbuf *again)
{
    double v = orl_get_double(r, f);
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    assert_true(bits == strtoull(value + 1, NULL, 16)); /* in quotes */
    orl_put_double(again, 0, v);
}

static void check_float(struct orl_reader *r, const struct orl_field *f, const char *value,
                        struct wbuf *again)
{
    float v = orl_get_float(r, f);
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    assert_true(bits == strtoul(value + 1, NULL, 16));
    orl_put_float(again, 0, v);
}

static void check_bytes(struct orl_reader *r, const struct orl_field *f, const char *value,
                        struct wbuf *again)
{
    struct span v = orl_get_bytes(r, f);
    assert_int_equal(v.ptr == NULL, strcmp(value, "null") == 0);
    orl_put_bytes(again, 0, v);
}

static void check_truth(struct orl_reader *r, const struct orl_field *f, const char *value,
                        struct wbuf *again)
{
    bool v = orl_get_bool(r, f);
    assert_int_equal(v, strcmp(value, "true") == 0);
    orl_put_bool(again, 0, v);
}

static const struct scalar_row {
    const char *type;
    check_scalar_fn check;
} scalar_rows[] = {
    {"System.SByte", check_signed},    {"System.Int16", check_signed},
    {"System.Int32", check_signed},    {"System.Int64", check_signed},
    {"System.Byte", check_unsigned},   {"System.UInt16", check_unsigned},
    {"System.Char", check_unsigned},   {"System.UInt32", check_unsigned},
    {"System.UInt64", check_unsigned}, {"System.Double", check_double},
    {"System.Single", check_float},    {"System.String", check_bytes},
    {"System.Byte[]", check_bytes},    {"System.Boolean", check_truth},
};

/* name, type, value, bytes */
static int check_scalar_line(char *line)
{
    static uint8_t bytes[LINE_MAX_BYTES];
    char *rest = line;
    char *column[4];
    for (int i = 0; i < 4; i++) {
        column[i] = strsep(&rest, "\t");
        if (column[i] == NULL)
            return 0;
    }
    for (size_t i = 0; i < sizeof scalar_rows / sizeof scalar_rows[0]; i++) {
        if (strcmp(scalar_rows[i].type, column[1]) != 0)
            continue;
        struct orl_reader r;
        struct orl_field f;
        struct wbuf again;
        size_t n = from_hex(column[3], strlen(column[3]), bytes);
        wbuf_init(&again, LINE_MAX_BYTES);
        orl_reader_init(&r, span_of(bytes, n));
        assert_true(orl_reader_next(&r, &f));
        scalar_rows[i].check(&r, &f, column[2], &again);
        assert_int_equal(r.status, SC_OK);
        assert_true(span_eq(wbuf_span(&again), span_of(bytes, n)));
        wbuf_fini(&again);
        return 1;
    }
    return 0;
}

static void test_scalars_of_the_real_serializer_have_its_values_and_forms(void **state)
{
    (void)state;
    size_t len = 0;
    char *text = (char *)test_file_read(TEST_DATA_DIR "/vectors-random.tsv", &len);
    assert_non_null(text);
    text = realloc(text, len + 1);
    text[len] = '\0';
    int checked = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
        checked += line[0] != '#' ? check_scalar_line(line) : 0;
    assert_true(checked > 900);
    free(text);
}

static enum sc_status int_status(const char *hex, unsigned bits, bool is_signed)
{
    struct wbuf w = hex_bytes(hex);
    struct orl_reader r;
    struct orl_field f;
    orl_reader_init(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f));
    if (is_signed)
        orl_get_int(&r, &f, bits);
    else
        orl_get_uint(&r, &f, bits);
    wbuf_fini(&w);
    return r.status;
}

static void test_integers_out_of_their_type_are_refused(void **state)
{
    (void)state;
    assert_int_equal(int_status("00fe03", 8, true), SC_OK);            /* -128 */
    assert_int_equal(int_status("000204", 8, true), SC_ERR_PROTOCOL);  /* 128 */
    assert_int_equal(int_status("00fe07", 8, false), SC_ERR_PROTOCOL); /* 511 */
    assert_int_equal(int_status("80ffffffff00000000", 32, false), SC_OK);
    assert_int_equal(int_status("800000000001000000", 32, false), SC_ERR_PROTOCOL);
    assert_int_equal(int_status("800000008000000000", 32, true), SC_ERR_PROTOCOL);
    assert_int_equal(int_status("6000000080", 32, true), SC_OK);
    assert_int_equal(int_status("4003ff", 32, true), SC_ERR_PROTOCOL); /* bytes */
}

static void test_reader_follows_references_to_strings_and_objects(void **state)
{
    (void)state;
    struct wbuf w;
    struct orl_reader r;
    struct orl_field f;
    wbuf_init(&w, 256);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);       /* object 1 */
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);       /* object 2 */
    orl_put_bytes(&w, 0, span_of_str("same")); /* object 3 */
    orl_put_int(&w, 3, 9);                     /* object 4 */
    orl_put_end(&w);
    orl_put_tag(&w, ORL_WIRE_REF, 1); /* object 5 */
    orl_put_varint(&w, 3);
    orl_put_tag(&w, ORL_WIRE_REF, 1); /* object 6 */
    orl_put_varint(&w, 2);
    orl_put_int(&w, 7, 5); /* object 7 */
    orl_put_end(&w);
    orl_reader_init(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f));
    assert_true(orl_reader_enter(&r, &f));
    assert_true(orl_reader_next(&r, &f)); /* not entered: skipped */
    assert_true(orl_reader_next(&r, &f));
    assert_int_equal(f.id, 1);
    assert_true(span_eq_str(orl_get_bytes(&r, &f), "same"));
    assert_true(orl_reader_next(&r, &f));
    assert_int_equal(f.id, 2);
    assert_true(orl_reader_enter(&r, &f));
    struct orl_field in;
    assert_true(orl_reader_next(&r, &in));
    assert_true(span_eq_str(orl_get_bytes(&r, &in), "same"));
    assert_true(orl_reader_next(&r, &in));
    assert_int_equal(in.id, 3);
    assert_int_equal(orl_get_int(&r, &in, 32), 9);
    assert_false(orl_reader_next(&r, &in));
    assert_true(orl_reader_next(&r, &f));
    assert_int_equal(f.id, 9);
    assert_int_equal(f.object, 7);
    assert_int_equal(orl_get_int(&r, &f, 32), 5);
    assert_false(orl_reader_next(&r, &f));
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&w);
}

static void test_reader_resolves_every_object_of_a_large_body(void **state)
{
    (void)state;
    enum { STRINGS = 5000 };
    struct wbuf w;
    struct orl_reader r;
    struct orl_field f;
    char text[16];
    wbuf_init(&w, 1 << 20);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
    for (int i = 0; i < STRINGS; i++) {
        snprintf(text, sizeof text, "s%d", i);
        orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
        orl_put_bytes(&w, 0, span_of_str(text));
        orl_put_end(&w);
    }
    for (int i = 0; i < STRINGS; i++) {
        orl_put_tag(&w, ORL_WIRE_REF, 0);
        orl_put_varint(&w, 3 + 2 * (uint64_t)i);
    }
    orl_put_end(&w);
    orl_reader_init(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    for (int i = 0; i < STRINGS; i++)
        assert_true(orl_reader_next(&r, &f));
    for (int i = 0; i < STRINGS; i++) {
        assert_true(orl_reader_next(&r, &f));
        snprintf(text, sizeof text, "s%d", i);
        assert_true(span_eq_str(orl_get_bytes(&r, &f), text));
    }
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&w);
}

static void test_reader_bounds_the_work_of_references(void **state)
{
    (void)state;
    enum { FIELDS = 60000 };
    struct wbuf w;
    struct orl_reader r;
    struct orl_field f;
    wbuf_init(&w, 1 << 20);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
    for (int i = 0; i < FIELDS; i++)
        orl_put_bytes(&w, 0, span_of_str(""));
    for (int i = 0; i < FIELDS; i++) {
        orl_put_tag(&w, ORL_WIRE_REF, 0);
        orl_put_varint(&w, 2000); /* the last object before a mark */
    }
    orl_put_end(&w);
    orl_reader_init(&r, wbuf_span(&w));
    r.work_left = 1 << 20;
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    while (orl_reader_next(&r, &f))
        orl_get_bytes(&r, &f);
    assert_int_equal(r.status, SC_ERR_LIMIT);
    assert_int_equal(r.work_left, 0);
    wbuf_fini(&w);
}

/* Entering an object by reference reads its fields once more, each time. */
static void test_reader_bounds_the_work_of_entered_references(void **state)
{
    (void)state;
    enum { FIELDS = 3000 };
    struct wbuf w;
    struct orl_reader r;
    struct orl_field f;
    struct orl_field in;
    uint64_t visits = 0;
    wbuf_init(&w, 1 << 20);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
    orl_put_tag(&w, ORL_WIRE_OBJECT, 0); /* object 2 */
    for (int i = 0; i < FIELDS; i++)
        orl_put_bool(&w, 0, true);
    orl_put_end(&w);
    for (int i = 0; i < FIELDS; i++) {
        orl_put_tag(&w, ORL_WIRE_REF, 0);
        orl_put_varint(&w, 2);
    }
    orl_put_end(&w);
    orl_reader_init(&r, wbuf_span(&w));
    r.work_left = 100000;
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    while (orl_reader_next(&r, &f)) {
        if (orl_reader_enter(&r, &f))
            while (orl_reader_next(&r, &in))
                visits++;
    }
    assert_int_equal(r.status, SC_ERR_LIMIT);
    assert_true(visits > FIELDS && visits <= FIELDS + 100000);
    wbuf_fini(&w);
}

static enum sc_status walk_depth(int depth)
{
    struct wbuf w;
    struct orl_reader r;
    struct orl_field f;
    wbuf_init(&w, 4096);
    for (int i = 0; i < depth; i++)
        orl_put_tag(&w, ORL_WIRE_OBJECT, 0);
    for (int i = 0; i < depth; i++)
        orl_put_end(&w);
    orl_reader_init(&r, wbuf_span(&w));
    while (orl_reader_next(&r, &f))
        continue;
    wbuf_fini(&w);
    return r.status;
}

static void test_reader_refuses_deeper_than_its_limit(void **state)
{
    (void)state;
    assert_int_equal(walk_depth(ORL_DEPTH_MAX), SC_OK);
    assert_int_equal(walk_depth(ORL_DEPTH_MAX + 1), SC_ERR_LIMIT);
}

static void test_reader_refuses_references_and_ends_that_point_nowhere(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum sc_status st;
    } rows[] = {
        {"20c003e0", SC_OK},                     /* to the object around it */
        {"20c005e0", SC_ERR_PROTOCOL},           /* to itself */
        {"c003", SC_ERR_PROTOCOL},               /* to itself */
        {"20c007e0", SC_ERR_PROTOCOL},           /* to what comes later */
        {"e0", SC_ERR_PROTOCOL},                 /* an end outside an object */
        {"e8", SC_ERR_PROTOCOL},                 /* the same of a base class */
        {"20", SC_ERR_PROTOCOL},                 /* no end */
        {"a001", SC_ERR_PROTOCOL},               /* wire type 5 */
        {"f0", SC_ERR_PROTOCOL},                 /* extended, but neither end */
        {"1801", SC_ERR_PROTOCOL},               /* type reference 0 */
        {"180301", SC_ERR_PROTOCOL},             /* a type that was not named before */
        {"100200000000036101", SC_ERR_PROTOCOL}, /* type format 2 */
        {"100100000000036101", SC_OK},           /* the same of format 1 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wbuf w = hex_bytes(rows[i].hex);
        struct orl_reader r;
        struct orl_field f;
        orl_reader_init(&r, wbuf_span(&w));
        while (orl_reader_token(&r, &f))
            continue;
        assert_int_equal(r.status, rows[i].st);
        wbuf_fini(&w);
    }
}

static void test_reader_numbers_type_names_across_header_and_body(void **state)
{
    (void)state;
    struct wbuf header;
    struct wbuf body;
    struct orl_reader r;
    struct orl_field f;
    wbuf_init(&header, 256);
    wbuf_init(&body, 256);
    orl_put_tag_named(&header, ORL_WIRE_VARINT, 0, span_of_str("First"));
    orl_put_varint(&header, 1);
    orl_put_tag(&body, ORL_WIRE_OBJECT, 0);
    orl_put_tag_named(&body, ORL_WIRE_VARINT, 0, span_of_str("Second"));
    orl_put_varint(&body, 1);
    orl_put_tag_referenced(&body, ORL_WIRE_VARINT, 0, 1);
    orl_put_varint(&body, 1);
    orl_put_tag_referenced(&body, ORL_WIRE_VARINT, 0, 2);
    orl_put_varint(&body, 1);
    orl_put_end(&body);
    orl_reader_init(&r, wbuf_span(&body));
    orl_reader_add_types(&r, wbuf_span(&header));
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    assert_true(orl_reader_next(&r, &f));
    assert_true(orl_reader_next(&r, &f));
    assert_true(span_eq_str(f.type.name, "First"));
    assert_true(orl_reader_next(&r, &f));
    assert_true(span_eq_str(f.type.name, "Second"));
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&header);
    wbuf_fini(&body);
}

static void test_reader_counts_base_class_levels(void **state)
{
    (void)state;
    /* Derived{A=1,S="s",B=2,C=true}, as .NET wrote it */
    struct wbuf w = hex_bytes("200005430373e80009071303e0");
    static const struct {
        uint32_t level, id;
    } want[] = {{0, 0}, {0, 3}, {1, 0}, {1, 9}};
    struct orl_reader r;
    struct orl_field f;
    orl_reader_init(&r, wbuf_span(&w));
    assert_true(orl_reader_next(&r, &f) && orl_reader_enter(&r, &f));
    for (int i = 0; i < 4; i++) {
        assert_true(orl_reader_next(&r, &f));
        assert_int_equal(f.level, want[i].level);
        assert_int_equal(f.id, want[i].id);
    }
    assert_false(orl_reader_next(&r, &f));
    assert_int_equal(orl_reader_finish(&r), SC_OK);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint_forms_of_the_specification),
        cmocka_unit_test(test_varint_longer_than_needed_is_read_over_64_bits_is_not),
        cmocka_unit_test(test_vectors_of_the_real_serializer_encode_to_the_same_bytes),
        cmocka_unit_test(test_scalars_of_the_real_serializer_have_its_values_and_forms),
        cmocka_unit_test(test_integers_out_of_their_type_are_refused),
        cmocka_unit_test(test_reader_follows_references_to_strings_and_objects),
        cmocka_unit_test(test_reader_resolves_every_object_of_a_large_body),
        cmocka_unit_test(test_reader_bounds_the_work_of_references),
        cmocka_unit_test(test_reader_bounds_the_work_of_entered_references),
        cmocka_unit_test(test_reader_refuses_deeper_than_its_limit),
        cmocka_unit_test(test_reader_refuses_references_and_ends_that_point_nowhere),
        cmocka_unit_test(test_reader_numbers_type_names_across_header_and_body),
        cmocka_unit_test(test_reader_counts_base_class_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
