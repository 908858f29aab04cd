#ifndef TESTS_UNIT_ORLEANS_PROTO_CAPTURES_H
#define TESTS_UNIT_ORLEANS_PROTO_CAPTURES_H

/* Recorded conversations in tests/data/captures: one file per direction. cmocka.h comes first. */

#include "sidecar/base/span.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

typedef void (*capture_fn)(const char *path, struct span bytes);

static inline int captures_in_folder(const char *folder, capture_fn fn)
{
    DIR *dir = opendir(folder);
    int count = 0;
    if (dir == NULL)
        return 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char path[1024];
        size_t len = strlen(e->d_name);
        if (e->d_name[0] == '.')
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        assert_true(n > 0 && (size_t)n < sizeof path);
        if (len > 4 && strcmp(e->d_name + len - 4, ".bin") == 0) {
            size_t size = 0;
            uint8_t *data = test_file_read(path, &size);
            assert_non_null(data);
            fn(path, span_of(data, size));
            free(data);
            count++;
        } else {
            count += captures_in_folder(path, fn);
        }
    }
    closedir(dir);
    return count;
}

/* Calls fn for every file; fails when there are fewer than were checked in. */
static inline void captures_each(capture_fn fn)
{
    assert_true(captures_in_folder(TEST_DATA_DIR "/captures", fn) >= 70);
}

/* One file, "v10.3.0/echo/c2s.bin", in memory the caller frees. */
static inline struct span capture_read(const char *name)
{
    char path[1024];
    size_t len = 0;
    int n = snprintf(path, sizeof path, "%s/captures/%s", TEST_DATA_DIR, name);
    assert_true(n > 0 && (size_t)n < sizeof path);
    uint8_t *data = test_file_read(path, &len);
    assert_non_null(data);
    return span_of(data, len);
}

#endif
