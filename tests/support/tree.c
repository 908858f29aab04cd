#include "tests/support/tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void give_up(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    abort();
}

void test_tree_init(struct test_tree *tree)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(tree->path, sizeof tree->path, "%.400s/gpu-sidecar-test-XXXXXX",
             tmp != NULL && tmp[0] != 0 ? tmp : "/tmp");
    if (mkdtemp(tree->path) == NULL)
        give_up(tree->path);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *at)
{
    (void)info;
    (void)flag;
    (void)at;
    return remove(path);
}

void test_tree_fini(struct test_tree *tree)
{
    nftw(tree->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_tree_path(const struct test_tree *tree, const char *name, char *out)
{
    if (snprintf(out, TEST_TREE_PATH_BYTES, "%s/%s", tree->path, name) >= TEST_TREE_PATH_BYTES)
        abort();
    return out;
}

void test_tree_write(const struct test_tree *tree, const char *name, const char *text)
{
    char path[TEST_TREE_PATH_BYTES];
    test_tree_path(tree, name, path);
    for (char *slash = path + strlen(tree->path) + 1; (slash = strchr(slash, '/')) != NULL;
         slash++) {
        *slash = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            give_up(path);
        *slash = '/';
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        give_up(path);
}
