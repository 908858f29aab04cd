#include "sidecar/demo_expect.h"

#include "sidecar/demo_graph.h"

#include <stdlib.h>

static bool take_line(struct span *text, struct span *line_out)
{
    if (text->len == 0)
        return false;
    const uint8_t *end = memchr(text->ptr, '\n', text->len);
    size_t n = end != NULL ? (size_t)(end - text->ptr) : text->len;
    *line_out = span_of(text->ptr, n);
    size_t used = end != NULL ? n + 1 : n;
    text->ptr += used;
    text->len -= used;
    return true;
}

/* "impact NAME COUNT" of this name; the count may be any number of up to nine digits. */
static bool is_heading(struct span line, struct span name, uint32_t *count_out)
{
    static const char word[] = "impact ";
    size_t skip = sizeof word - 1 + name.len;
    if (line.len < skip + 2 || line.len > skip + 10 ||
        memcmp(line.ptr, word, sizeof word - 1) != 0 ||
        memcmp(line.ptr + sizeof word - 1, name.ptr, name.len) != 0 || line.ptr[skip] != ' ')
        return false;
    uint32_t count = 0;
    for (size_t i = skip + 1; i < line.len; i++) {
        if (line.ptr[i] < '0' || line.ptr[i] > '9')
            return false;
        count = count * 10 + (uint32_t)(line.ptr[i] - '0');
    }
    *count_out = count;
    return true;
}

static void note(struct sc_expect *e, uint32_t *counter, struct span name)
{
    if (e->missing + e->extra == 0)
        e->first = name;
    ++*counter;
}

/* Marks every listed package; what is left unmarked in ours is extra. */
static void compare_list(struct sc_expect *e, struct span text, const struct sc_graph *g,
                         const uint8_t *broken, uint8_t *listed)
{
    struct span line;
    while (take_line(&text, &line) && line.len > 1 && line.ptr[0] == ' ') {
        struct span name = span_of(line.ptr + 1, line.len - 1);
        int64_t at = sc_graph_find(g, name);
        e->expected++;
        if (at < 0 || listed[at]) {
            e->whole = false;
            continue;
        }
        listed[at] = 1;
        if (!broken[at])
            note(e, &e->missing, name);
    }
    for (uint32_t i = 0; i < g->package_count; i++)
        if (broken[i] && !listed[i])
            note(e, &e->extra, g->nodes[i].name);
}

struct sc_expect sc_expect_compare(struct span text, const struct sc_graph *g, uint32_t package,
                                   const uint8_t *broken)
{
    struct sc_expect e = {.whole = true};
    struct span line;
    uint32_t count = 0;
    while (!e.found && take_line(&text, &line))
        e.found = is_heading(line, g->nodes[package].name, &count);
    if (!e.found)
        return e;
    uint8_t *listed = calloc(g->node_count, 1);
    if (listed == NULL)
        abort();
    compare_list(&e, text, g, broken, listed);
    free(listed);
    if (e.expected != count)
        e.whole = false;
    return e;
}
