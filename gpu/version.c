#include "gpu/version.h"

bool gpu_version_parse(const char *text, struct gpu_version *out)
{
    struct gpu_version v = {{0}};
    for (int i = 0; i < 3; i++) {
        const char *start = text;
        while (*text >= '0' && *text <= '9' && text - start < 9)
            v.part[i] = v.part[i] * 10 + (uint32_t)(*text++ - '0');
        if (text == start || (*start == '0' && text - start > 1))
            return false;
        if (*text != (i < 2 ? '.' : 0))
            return false;
        text++;
    }
    *out = v;
    return true;
}

int gpu_version_compare(const struct gpu_version *a, const struct gpu_version *b)
{
    for (int i = 0; i < 3; i++)
        if (a->part[i] != b->part[i])
            return a->part[i] < b->part[i] ? -1 : 1;
    return 0;
}
