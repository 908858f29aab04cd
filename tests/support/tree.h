/* A folder of its own for a test. Failures abort: a test without its folder proves nothing. */
#ifndef TESTS_SUPPORT_TREE_H
#define TESTS_SUPPORT_TREE_H

enum { TEST_TREE_PATH_BYTES = 512 };

struct test_tree {
    char path[TEST_TREE_PATH_BYTES];
};

void test_tree_init(struct test_tree *tree);

/* Removes the folder and everything in it. */
void test_tree_fini(struct test_tree *tree);

/* Writes a file below the folder, making the folders on its way. */
void test_tree_write(const struct test_tree *tree, const char *name, const char *text);

/* The path of a name below the folder, in out (TEST_TREE_PATH_BYTES); returns out. */
const char *test_tree_path(const struct test_tree *tree, const char *name, char *out);

#endif
