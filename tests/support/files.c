#include "tests/support/files.h"

#include <stdio.h>
#include <stdlib.h>

uint8_t *test_file_read(const char *path, size_t *len_out)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    uint8_t *data = NULL;
    long len = -1;
    if (fseek(f, 0, SEEK_END) == 0)
        len = ftell(f);
    if (len >= 0 && fseek(f, 0, SEEK_SET) == 0)
        data = malloc((size_t)len + 1);
    if (data != NULL && fread(data, 1, (size_t)len, f) != (size_t)len) {
        free(data);
        data = NULL;
    }
    fclose(f);
    if (data != NULL) {
        data[len] = 0;
        *len_out = (size_t)len;
    }
    return data;
}
