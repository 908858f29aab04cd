#include "gpu/catalog.h"
#include "gpu/compile.h"
#include "tests/support/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MANIFEST                                                                           \
    "kernel: tiny\nversion: 1.0.0\nsources: [tiny.c, part.c, tiny.h]\nstate: {bytes: 8}\n" \
    "messages: []\n"
#define SOURCE                                                                          \
    "#include \"k_grain.h\"\n#include \"tiny.h\"\nK_HANDLER(tiny)\n{\n    tiny_part();" \
    "\n    (void)state;\n    (void)message;\n    (void)ctx;\n}\n"

static struct test_tree tree;
static struct gpu_manifest m;
static struct gpu_build_config config;
static char cache[TEST_TREE_PATH_BYTES];
static char package[TEST_TREE_PATH_BYTES];
static char path[PATH_MAX];
static char error[GPU_KERNEL_TEXT_BYTES];

static void put_package(const char *source)
{
    test_tree_write(&tree, "tiny/manifest.yaml", MANIFEST);
    test_tree_write(&tree, "tiny/tiny.c", source);
    test_tree_write(&tree, "tiny/part.c", "#include \"tiny.h\"\nvoid tiny_part(void)\n{\n}\n");
    test_tree_write(&tree, "tiny/tiny.h", "void tiny_part(void);\n");
}

static int setup(void **state)
{
    (void)state;
    test_tree_init(&tree);
    put_package(SOURCE);
    if (gpu_manifest_parse(span_of_str(MANIFEST), &m, error) != SC_OK)
        return -1;
    test_tree_path(&tree, "tiny", package);
    m.folder = package;
    test_tree_path(&tree, "cache", cache);
    config = (struct gpu_build_config){cache, SC_SOURCE_DIR "/gpu/engine", "cc"};
    error[0] = 0;
    path[0] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_tree_fini(&tree);
    return 0;
}

static enum sc_status build(void)
{
    return gpu_kernel_build(&m, &config, path, sizeof path, error);
}

static void assert_error_says(const char *said)
{
    if (strstr(error, said) == NULL)
        fail_msg("'%s' does not say '%s'", error, said);
}

static int count_files(const char *folder)
{
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void test_build_makes_an_object_in_a_private_cache(void **state)
{
    (void)state;
    assert_int_equal(build(), SC_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode) && info.st_size > 0);
    assert_int_equal(stat(cache, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(count_files(cache), 1);
}

static void test_build_hits_the_cache_without_a_compiler(void **state)
{
    (void)state;
    assert_int_equal(build(), SC_OK);
    char first[PATH_MAX];
    memcpy(first, path, sizeof first);
    config.compiler = "no-such-compiler";
    assert_int_equal(build(), SC_OK);
    assert_string_equal(first, path);
}

static void test_build_key_changes_with_every_input(void **state)
{
    (void)state;
    assert_int_equal(build(), SC_OK);
    test_tree_write(&tree, "tiny/tiny.h", "void tiny_part(void); /* other */\n");
    assert_int_equal(build(), SC_OK);
    assert_int_equal(count_files(cache), 2);
    test_tree_write(&tree, "tiny/manifest.yaml", MANIFEST "# other\n");
    assert_int_equal(build(), SC_OK);
    assert_int_equal(count_files(cache), 3);
}

static void test_build_hands_on_the_compilers_words(void **state)
{
    (void)state;
    put_package("#include \"k_grain.h\"\nint broken = no_such_thing;\n");
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says("tiny.c:2:14: error:");
    assert_error_says("no_such_thing");
    assert_null(strstr(error, tree.path));
    assert_int_equal(count_files(cache), 0);
}

static void test_build_sees_only_declared_files(void **state)
{
    (void)state;
    test_tree_write(&tree, "tiny/secret.h", "");
    put_package("#include \"secret.h\"\n" SOURCE);
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says("secret.h: No such file");
}

static void test_build_names_a_missing_compiler_and_the_way_out(void **state)
{
    (void)state;
    config.compiler = "no-such-compiler";
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says("no compiler 'no-such-compiler' in PATH");
    assert_error_says("prebuilt/");
}

static void test_build_takes_a_prebuilt_object(void **state)
{
    (void)state;
    assert_int_equal(build(), SC_OK);
    const char *object = strrchr(path, '/') + 1;
    char name[PATH_MAX];
    snprintf(name, sizeof name, "tiny/prebuilt/%s", object);
    test_tree_write(&tree, name, "an object");
    config.compiler = "no-such-compiler";
    char other[TEST_TREE_PATH_BYTES];
    config.cache = test_tree_path(&tree, "other", other);
    assert_int_equal(build(), SC_OK);
    assert_non_null(strstr(path, "/tiny/prebuilt/"));
}

static void test_build_refuses_sources_outside_the_package(void **state)
{
    (void)state;
    char at[TEST_TREE_PATH_BYTES];
    test_tree_write(&tree, "outside.c", SOURCE);
    unlink(test_tree_path(&tree, "tiny/tiny.c", at));
    assert_int_equal(symlink("../outside.c", at), 0);
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says("tiny.c: not a regular file inside the package");
    unlink(at);
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says("tiny.c: No such file");
}

static void test_build_refuses_a_cache_everybody_can_write(void **state)
{
    (void)state;
    assert_int_equal(mkdir(cache, 0700), 0);
    assert_int_equal(chmod(cache, 0777), 0);
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says("can be written by everybody");
    assert_error_says(cache);
}

static void test_build_names_a_cache_it_cannot_make(void **state)
{
    (void)state;
    test_tree_write(&tree, "file", "");
    char below[TEST_TREE_PATH_BYTES];
    config.cache = test_tree_path(&tree, "file/cache", below);
    assert_int_equal(build(), SC_ERR_KERNEL);
    assert_error_says(below);
}

/* Runs a build with little room for files in a child. 0: the error named the cache and left nothing
 * behind; 77: the room could not be made small. */
static int build_without_room(bool tiny_disk, size_t room)
{
    pid_t pid = fork();
    if (pid == 0) {
        mkdir(cache, 0700);
        if (tiny_disk) {
            char options[64];
            snprintf(options, sizeof options, "mode=0700,size=%zu", room);
            if (unshare(CLONE_NEWNS) != 0 ||
                mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
                mount("tmpfs", cache, "tmpfs", 0, options) != 0)
                _exit(77);
        } else {
            signal(SIGXFSZ, SIG_IGN);
            struct rlimit limit = {room, room};
            setrlimit(RLIMIT_FSIZE, &limit);
        }
        enum sc_status st = build();
        bool good = st == SC_ERR_KERNEL && strstr(error, cache) != NULL && count_files(cache) == 0;
        if (!good)
            fprintf(stderr, "status %d: %s\n", (int)st, error);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_build_names_a_full_disk(void **state)
{
    (void)state;
    assert_int_equal(build_without_room(false, 16), 0);
    assert_int_equal(build_without_room(false, 1024), 0);
    int code = build_without_room(true, 16384);
    if (code == 77)
        print_message("no right to mount: the tiny disk was not tried\n");
    else
        assert_int_equal(code, 0);
}

static void test_compile_kills_what_takes_too_long(void **state)
{
    (void)state;
    int fd = open(tree.path, O_RDONLY | O_DIRECTORY);
    char text[64];
    const char *loop[] = {"sh", "-c", "echo started; sleep 600 & wait", NULL};
    assert_int_equal(gpu_compile_run(loop, fd, tree.path, 200, text, sizeof text), SC_ERR_DEADLINE);
    assert_string_equal(text, "started\n");
    const char *quiet[] = {"sh", "-c", "exec >&- 2>&-; sleep 600", NULL};
    assert_int_equal(gpu_compile_run(quiet, fd, tree.path, 200, text, sizeof text),
                     SC_ERR_DEADLINE);
    close(fd);
}

static void test_compile_keeps_the_first_messages(void **state)
{
    (void)state;
    int fd = open(tree.path, O_RDONLY | O_DIRECTORY);
    char text[64];
    const char *loud[] = {"sh", "-c", "echo first; yes | head -c 1000000; exit 3", NULL};
    assert_int_equal(gpu_compile_run(loud, fd, tree.path, 20000, text, sizeof text), SC_ERR_KERNEL);
    assert_int_equal(strlen(text), 63);
    assert_int_equal(strncmp(text, "first\ny\n", 8), 0);
    close(fd);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_build_makes_an_object_in_a_private_cache),
        CASE(test_build_hits_the_cache_without_a_compiler),
        CASE(test_build_key_changes_with_every_input),
        CASE(test_build_hands_on_the_compilers_words),
        CASE(test_build_sees_only_declared_files),
        CASE(test_build_names_a_missing_compiler_and_the_way_out),
        CASE(test_build_takes_a_prebuilt_object),
        CASE(test_build_refuses_sources_outside_the_package),
        CASE(test_build_refuses_a_cache_everybody_can_write),
        CASE(test_build_names_a_cache_it_cannot_make),
        CASE(test_build_names_a_full_disk),
        CASE(test_compile_kills_what_takes_too_long),
        CASE(test_compile_keeps_the_first_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
