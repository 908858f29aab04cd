#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

#include <stddef.h>
#include <stdint.h>

/* The whole file in memory the caller frees; NULL when it cannot be read. */
uint8_t *test_file_read(const char *path, size_t *len_out);

#endif
