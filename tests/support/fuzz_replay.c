/* Runs a libFuzzer target over every file of the given folders: the corpus as a regression test in
 * builds whose compiler has no libFuzzer. An empty or missing folder fails, it would prove nothing.
 */
#include "tests/support/files.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 0;
    int count = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.')
            continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        size_t len = 0;
        uint8_t *data = test_file_read(path, &len);
        if (data == NULL)
            continue;
        /* An exact-size copy, so that a sanitizer sees the first byte read too many. */
        uint8_t *exact = malloc(len != 0 ? len : 1);
        for (size_t i = 0; i < len; i++)
            exact[i] = data[i];
        LLVMFuzzerTestOneInput(exact, len);
        free(exact);
        free(data);
        count++;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    printf("%d inputs replayed\n", count);
    return count > 0 ? 0 : 1;
}
