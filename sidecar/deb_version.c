#include "sidecar/deb_version.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* '~' sorts before the end of the text, the end before letters, letters before everything else. */
static int weight(struct span s, size_t at)
{
    if (at >= s.len || is_digit(s.ptr[at]))
        return 0;
    uint8_t c = s.ptr[at];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return c;
    return c == '~' ? -1 : c + 256;
}

static void skip_zeros(struct span s, size_t *at)
{
    while (*at < s.len && s.ptr[*at] == '0')
        ++*at;
}

/* Two runs of digits as numbers of any length. */
static int compare_digits(struct span a, size_t *i, struct span b, size_t *j)
{
    int first = 0;
    skip_zeros(a, i);
    skip_zeros(b, j);
    while (*i < a.len && is_digit(a.ptr[*i]) && *j < b.len && is_digit(b.ptr[*j])) {
        if (first == 0)
            first = (int)a.ptr[*i] - (int)b.ptr[*j];
        ++*i;
        ++*j;
    }
    if (*i < a.len && is_digit(a.ptr[*i]))
        return 1;
    if (*j < b.len && is_digit(b.ptr[*j]))
        return -1;
    return first;
}

static int compare_part(struct span a, struct span b)
{
    size_t i = 0;
    size_t j = 0;
    while (i < a.len || j < b.len) {
        while ((i < a.len && !is_digit(a.ptr[i])) || (j < b.len && !is_digit(b.ptr[j]))) {
            int order = weight(a, i) - weight(b, j);
            if (order != 0)
                return order;
            i++;
            j++;
        }
        int order = compare_digits(a, &i, b, &j);
        if (order != 0)
            return order;
    }
    return 0;
}

struct parts {
    struct span epoch, upstream, revision;
};

static struct parts split(struct span v)
{
    struct parts p = {.upstream = v};
    const uint8_t *colon = v.len != 0 ? memchr(v.ptr, ':', v.len) : NULL;
    if (colon != NULL) {
        p.epoch = span_of(v.ptr, (size_t)(colon - v.ptr));
        p.upstream = span_of(colon + 1, v.len - p.epoch.len - 1);
    }
    const uint8_t *dash = p.upstream.len != 0 ? memrchr(p.upstream.ptr, '-', p.upstream.len) : NULL;
    if (dash != NULL) {
        size_t n = (size_t)(dash - p.upstream.ptr);
        p.revision = span_of(dash + 1, p.upstream.len - n - 1);
        p.upstream.len = n;
    }
    return p;
}

int sc_deb_version_compare(struct span a, struct span b)
{
    struct parts x = split(a);
    struct parts y = split(b);
    int order = compare_part(x.epoch, y.epoch);
    if (order == 0)
        order = compare_part(x.upstream, y.upstream);
    if (order == 0)
        order = compare_part(x.revision, y.revision);
    return order;
}

bool sc_deb_version_satisfies(struct span have, enum sc_deb_relation relation, struct span asked)
{
    if (relation == SC_DEB_ANY)
        return true;
    int order = sc_deb_version_compare(have, asked);
    switch (relation) {
    case SC_DEB_BELOW:
        return order < 0;
    case SC_DEB_AT_MOST:
        return order <= 0;
    case SC_DEB_EQUAL:
        return order == 0;
    case SC_DEB_AT_LEAST:
        return order >= 0;
    case SC_DEB_ABOVE:
        return order > 0;
    case SC_DEB_ANY:
        break;
    }
    return true;
}
