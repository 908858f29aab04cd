#include "gpu/catalog.h"
#include "tests/support/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct test_tree tree;
static struct gpu_catalog catalog;
static char error[GPU_KERNEL_TEXT_BYTES];
static char scratch[TEST_TREE_PATH_BYTES];

static int setup(void **state)
{
    (void)state;
    test_tree_init(&tree);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gpu_catalog_free(&catalog);
    test_tree_fini(&tree);
    return 0;
}

static void put_manifest(const char *folder, const char *id, const char *version)
{
    char name[256];
    char text[512];
    snprintf(name, sizeof name, "%s/manifest.yaml", folder);
    snprintf(text, sizeof text,
             "kernel: %s\nversion: %s\nsources: [a.c]\nstate: {bytes: 8}\nmessages: []\n", id,
             version);
    test_tree_write(&tree, name, text);
}

static const struct gpu_catalog_entry *entry(const char *id)
{
    int at = gpu_catalog_find(&catalog, span_of_str(id));
    assert_true(at >= 0);
    return &catalog.entries[at];
}

static void read_root(void)
{
    assert_int_equal(gpu_catalog_read(tree.path, &catalog, error), SC_OK);
}

static void test_catalog_takes_newest_version_by_number(void **state)
{
    (void)state;
    put_manifest("echo/1.9.0", "echo", "1.9.0");
    put_manifest("echo/1.10.0", "echo", "1.10.0");
    put_manifest("echo/1.2.0", "echo", "1.2.0");
    put_manifest("echo/next", "echo", "9.0.0");
    test_tree_write(&tree, "echo/2.0.0", "a file, no folder");
    read_root();
    assert_int_equal(catalog.count, 1);
    assert_string_equal(entry("echo")->error, "");
    assert_string_equal(entry("echo")->manifest.version, "1.10.0");
    assert_string_equal(entry("echo")->manifest.folder,
                        test_tree_path(&tree, "echo/1.10.0", scratch));
}

static void test_catalog_sorts_by_id_and_skips_what_is_no_package(void **state)
{
    (void)state;
    put_manifest("b/1.0.0", "b", "1.0.0");
    put_manifest("ab/1.0.0", "ab", "1.0.0");
    put_manifest("a/1.0.0", "a", "1.0.0");
    put_manifest(".hidden/1.0.0", "hidden", "1.0.0");
    test_tree_write(&tree, "README", "text");
    read_root();
    assert_int_equal(catalog.count, 3);
    assert_int_equal(gpu_catalog_find(&catalog, span_of_str("a")), 0);
    assert_int_equal(gpu_catalog_find(&catalog, span_of_str("ab")), 1);
    assert_int_equal(gpu_catalog_find(&catalog, span_of_str("b")), 2);
    assert_int_equal(gpu_catalog_find(&catalog, span_of_str("c")), -1);
    assert_int_equal(gpu_catalog_find(&catalog, span_of(NULL, 0)), -1);
}

static void test_catalog_keeps_good_packages_beside_bad_ones(void **state)
{
    (void)state;
    put_manifest("good/1.0.0", "good", "1.0.0");
    put_manifest("other/1.0.0", "another", "1.0.0");
    put_manifest("stale/2.0.0", "stale", "1.0.0");
    put_manifest("Upper/1.0.0", "upper", "1.0.0");
    test_tree_write(&tree, "empty/notes", "no version");
    test_tree_write(&tree, "bare/1.0.0/a.c", "");
    test_tree_write(&tree, "wrong/1.0.0/manifest.yaml", "kernel: wrong\nspeed: fast\n");
    read_root();
    assert_int_equal(catalog.count, 7);
    assert_string_equal(entry("good")->error, "");
    assert_non_null(strstr(entry("other")->error, "'another' is not the folder's name"));
    assert_string_equal(entry("other")->manifest.id, "other");
    assert_non_null(strstr(entry("stale")->error, "'1.0.0' is not the folder's name"));
    assert_string_equal(entry("stale")->manifest.version, "2.0.0");
    assert_non_null(strstr(entry("Upper")->error, "no kernel id"));
    assert_non_null(strstr(entry("empty")->error, "no version folder"));
    assert_non_null(strstr(entry("bare")->error, "manifest.yaml: No such file"));
    assert_string_equal(entry("wrong")->error,
                        "manifest.yaml line 2: the manifest has no key 'speed'");
}

static void test_catalog_reads_through_mount_links_but_not_out_of_the_package(void **state)
{
    (void)state;
    /* as Kubernetes mounts a ConfigMap: files are links to ..data, itself a link */
    char target[TEST_TREE_PATH_BYTES];
    put_manifest("mounted/1.0.0/..v1", "mounted", "1.0.0");
    assert_int_equal(symlink("..v1", test_tree_path(&tree, "mounted/1.0.0/..data", scratch)), 0);
    assert_int_equal(symlink("..data/manifest.yaml",
                             test_tree_path(&tree, "mounted/1.0.0/manifest.yaml", scratch)),
                     0);
    put_manifest(".elsewhere/linked", "linked", "1.0.0");
    assert_int_equal(mkdir(test_tree_path(&tree, "linked", scratch), 0755), 0);
    assert_int_equal(symlink(test_tree_path(&tree, ".elsewhere/linked", target),
                             test_tree_path(&tree, "linked/1.0.0", scratch)),
                     0);
    put_manifest(".elsewhere/out", "out", "1.0.0");
    test_tree_write(&tree, "out/1.0.0/a.c", "");
    assert_int_equal(symlink(test_tree_path(&tree, ".elsewhere/out/manifest.yaml", target),
                             test_tree_path(&tree, "out/1.0.0/manifest.yaml", scratch)),
                     0);
    assert_int_equal(mkdir(test_tree_path(&tree, "pipe", scratch), 0755), 0);
    assert_int_equal(mkdir(test_tree_path(&tree, "pipe/1.0.0", scratch), 0755), 0);
    assert_int_equal(mkfifo(test_tree_path(&tree, "pipe/1.0.0/manifest.yaml", scratch), 0644), 0);
    read_root();
    assert_string_equal(entry("mounted")->error, "");
    assert_string_equal(entry("linked")->error, "");
    assert_non_null(strstr(entry("out")->error, "not a regular file inside the package"));
    assert_non_null(strstr(entry("pipe")->error, "not a regular file inside the package"));
}

static void test_catalog_names_a_root_it_cannot_read(void **state)
{
    (void)state;
    struct gpu_catalog none;
    test_tree_path(&tree, "missing", scratch);
    assert_int_equal(gpu_catalog_read(scratch, &none, error), SC_ERR_CONFIG);
    assert_non_null(strstr(error, scratch));
}

static void test_catalog_refuses_too_many_kernels(void **state)
{
    (void)state;
    for (int i = 0; i <= GPU_KERNELS_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "k%d", i);
        assert_int_equal(mkdir(test_tree_path(&tree, name, scratch), 0755), 0);
    }
    struct gpu_catalog none;
    assert_int_equal(gpu_catalog_read(tree.path, &none, error), SC_ERR_CONFIG);
    assert_non_null(strstr(error, "over 256 kernels"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_catalog_takes_newest_version_by_number),
        CASE(test_catalog_sorts_by_id_and_skips_what_is_no_package),
        CASE(test_catalog_keeps_good_packages_beside_bad_ones),
        CASE(test_catalog_reads_through_mount_links_but_not_out_of_the_package),
        CASE(test_catalog_names_a_root_it_cannot_read),
        CASE(test_catalog_refuses_too_many_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
