/* From a package list's text to the graph: read the packages, index every name that is real or
 * provided, resolve each alternative to the nodes that satisfy it, turn the result round. */
#include "sidecar/deb822.h"
#include "sidecar/demo_graph.h"

#include <stdio.h>
#include <stdlib.h>

enum { NONE = -1 };

struct package {
    struct span name, version, architecture;
    struct sc_deb822_field depends, pre_depends, provides;
    uint32_t line;
};

/* One package that provides a name; linked to the next provider of the name. */
struct provider {
    uint32_t package;
    struct span version; /* empty: provided without a version */
    int32_t next;
};

struct name {
    struct span text;
    int32_t package;   /* the real one, or NONE */
    int32_t providers; /* first of struct provider, or NONE */
    int32_t node;      /* of the virtual name, or NONE until a clause asks for it */
    int32_t next;      /* in its hash bucket */
};

/* "node `from` is an alternative of this clause of node `to`", before it is turned round. */
struct raw_edge {
    uint32_t from, to, clause;
};

struct build {
    struct package *packages;
    struct name *names;
    struct provider *providers;
    struct raw_edge *edges;
    uint16_t *alternatives;
    struct sc_graph_node *nodes;
    uint32_t *set; /* nodes of the clause in hand */
    int32_t *buckets;
    size_t package_count, name_count, provider_count, edge_count, clause_count, node_count,
        set_count;
    size_t package_cap, name_cap, provider_cap, edge_cap, clause_cap, node_cap, set_cap;
    uint32_t bucket_mask;
    char *error;
};

/* Room for one more element of an array; out of memory aborts, this is a command's own process. */
static void *room(void *array, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return array;
    *cap = *cap != 0 ? *cap * 2 : 1024;
    void *more = realloc(array, *cap * size);
    if (more == NULL)
        abort();
    return more;
}

#define ROOM(b, array, count, cap) \
    ((b)->array = room((b)->array, &(b)->cap, (b)->count, sizeof(b)->array[0]))

/* ---- reading ---- */

static struct sc_deb822_field field_or_none(const struct sc_deb822_paragraph *p, const char *name)
{
    const struct sc_deb822_field *f = sc_deb822_find(p, name);
    return f != NULL ? *f : (struct sc_deb822_field){0};
}

static bool is_installed(const struct sc_deb822_paragraph *p)
{
    const struct sc_deb822_field *status = sc_deb822_find(p, "Status");
    return status == NULL || span_eq_str(status->value, "install ok installed");
}

static enum sc_status add_package(struct build *b, const struct sc_deb822_paragraph *p)
{
    struct package pkg = {.name = field_or_none(p, "Package").value,
                          .version = field_or_none(p, "Version").value,
                          .architecture = field_or_none(p, "Architecture").value,
                          .depends = field_or_none(p, "Depends"),
                          .pre_depends = field_or_none(p, "Pre-Depends"),
                          .provides = field_or_none(p, "Provides"),
                          .line = p->fields[0].line};
    if (pkg.name.len == 0 || pkg.name.len > SC_DEB822_NAME_MAX) {
        snprintf(b->error, SC_DEB822_ERROR_BYTES,
                 "line %u: a paragraph without a Package of 1 to %d bytes", pkg.line,
                 SC_DEB822_NAME_MAX);
        return SC_ERR_PROTOCOL;
    }
    ROOM(b, packages, package_count, package_cap);
    b->packages[b->package_count++] = pkg;
    return SC_OK;
}

static enum sc_status read_packages(struct build *b, struct span text)
{
    struct sc_deb822 in = {text, 1};
    struct sc_deb822_paragraph p;
    for (;;) {
        enum sc_status st = sc_deb822_next(&in, &p, b->error);
        if (st != SC_OK || p.count == 0)
            return st;
        if (!is_installed(&p))
            continue;
        st = add_package(b, &p);
        if (st != SC_OK)
            return st;
    }
}

static int compare_spans(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n != 0 ? memcmp(a.ptr, b.ptr, n) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* By name; of one name the highest version first, then the one that came first. */
static int by_name(const void *left, const void *right)
{
    const struct package *a = left;
    const struct package *b = right;
    int order = compare_spans(a->name, b->name);
    if (order == 0)
        order = -sc_deb_version_compare(a->version, b->version);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static void sort_packages(struct build *b)
{
    if (b->package_count == 0)
        return;
    qsort(b->packages, b->package_count, sizeof b->packages[0], by_name);
    size_t kept = 1;
    for (size_t i = 1; i < b->package_count; i++)
        if (!span_eq(b->packages[i].name, b->packages[kept - 1].name))
            b->packages[kept++] = b->packages[i];
    b->package_count = kept;
}

/* ---- names ---- */

static uint32_t hash_of(struct span text)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.ptr[i]) * 16777619u;
    return h ^ h >> 15;
}

static struct name *find_name(const struct build *b, struct span text)
{
    for (int32_t i = b->buckets[hash_of(text) & b->bucket_mask]; i != NONE; i = b->names[i].next)
        if (span_eq(b->names[i].text, text))
            return &b->names[i];
    return NULL;
}

static struct name *add_name(struct build *b, struct span text)
{
    struct name *known = find_name(b, text);
    if (known != NULL)
        return known;
    ROOM(b, names, name_count, name_cap);
    int32_t *bucket = &b->buckets[hash_of(text) & b->bucket_mask];
    struct name *n = &b->names[b->name_count];
    *n = (struct name){text, NONE, NONE, NONE, *bucket};
    *bucket = (int32_t)b->name_count++;
    return n;
}

static enum sc_status add_provides(struct build *b, uint32_t package)
{
    const struct sc_deb822_field *field = &b->packages[package].provides;
    struct sc_deb_relations in = {field->value, field->line, true};
    struct sc_deb_alternative a;
    for (;;) {
        enum sc_status st = sc_deb_relations_next(&in, &a, b->error);
        if (st != SC_OK || a.name.len == 0)
            return st;
        struct name *n = add_name(b, a.name);
        ROOM(b, providers, provider_count, provider_cap);
        b->providers[b->provider_count] = (struct provider){
            package, a.relation == SC_DEB_EQUAL ? a.version : span_of(NULL, 0), n->providers};
        n->providers = (int32_t)b->provider_count++;
    }
}

static enum sc_status index_names(struct build *b)
{
    uint32_t buckets = 1024;
    while (buckets < b->package_count * 4)
        buckets *= 2;
    b->bucket_mask = buckets - 1;
    b->buckets = malloc(buckets * sizeof b->buckets[0]);
    if (b->buckets == NULL)
        abort();
    for (uint32_t i = 0; i < buckets; i++)
        b->buckets[i] = NONE;
    enum sc_status st = SC_OK;
    for (uint32_t i = 0; i < b->package_count && st == SC_OK; i++) {
        add_name(b, b->packages[i].name)->package = (int32_t)i;
        st = add_provides(b, i);
    }
    return st;
}

/* ---- clauses ---- */

static void set_add(struct build *b, uint32_t node)
{
    ROOM(b, set, set_count, set_cap);
    b->set[b->set_count++] = node;
}

static int by_number(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void set_sort(struct build *b)
{
    if (b->set_count == 0)
        return;
    qsort(b->set, b->set_count, sizeof b->set[0], by_number);
    size_t kept = 1;
    for (size_t i = 1; i < b->set_count; i++)
        if (b->set[i] != b->set[kept - 1])
            b->set[kept++] = b->set[i];
    b->set_count = kept;
}

/* Makes the set in hand a clause of a node, unless it is empty. */
static enum sc_status close_clause(struct build *b, uint32_t node)
{
    set_sort(b);
    if (b->set_count == 0)
        return SC_OK;
    struct sc_graph_node *n = &b->nodes[node];
    if (b->set_count > UINT16_MAX || n->clause_count == UINT16_MAX) {
        snprintf(b->error, SC_DEB822_ERROR_BYTES, "%.*s: over 65535 clauses or alternatives",
                 SPAN_ARG(n->name));
        return SC_ERR_LIMIT;
    }
    for (size_t i = 0; i < b->set_count; i++) {
        ROOM(b, edges, edge_count, edge_cap);
        b->edges[b->edge_count++] = (struct raw_edge){b->set[i], node, n->clause_count};
    }
    ROOM(b, alternatives, clause_count, clause_cap);
    b->alternatives[b->clause_count++] = (uint16_t)b->set_count;
    n->clause_count++;
    b->set_count = 0;
    return SC_OK;
}

static uint32_t add_node(struct build *b, struct span name, bool is_virtual)
{
    ROOM(b, nodes, node_count, node_cap);
    b->nodes[b->node_count] = (struct sc_graph_node){.name = name, .is_virtual = is_virtual};
    return (uint32_t)b->node_count++;
}

/* With a version or an architecture not every provider counts: then the set gets those that do,
 * else the one node of the virtual name. */
static void resolve(struct build *b, const struct sc_deb_alternative *a)
{
    struct name *n = find_name(b, a->name);
    if (n == NULL)
        return;
    bool plain_name = a->qualifier.len == 0 || span_eq_str(a->qualifier, "any");
    if (a->relation == SC_DEB_ANY && plain_name && n->providers != NONE) {
        if (n->node == NONE)
            n->node = (int32_t)add_node(b, n->text, true);
        set_add(b, (uint32_t)n->node);
        return;
    }
    if (n->package != NONE) {
        const struct package *p = &b->packages[n->package];
        if (sc_deb_version_satisfies(p->version, a->relation, a->version) &&
            (plain_name || span_eq(p->architecture, a->qualifier)))
            set_add(b, (uint32_t)n->package);
    }
    for (int32_t i = n->providers; i != NONE; i = b->providers[i].next) {
        const struct provider *p = &b->providers[i];
        if (a->relation != SC_DEB_ANY &&
            (p->version.len == 0 || !sc_deb_version_satisfies(p->version, a->relation, a->version)))
            continue;
        if (plain_name || span_eq(b->packages[p->package].architecture, a->qualifier))
            set_add(b, p->package);
    }
}

static enum sc_status add_clauses(struct build *b, uint32_t package,
                                  const struct sc_deb822_field *field)
{
    struct sc_deb_relations in = {field->value, field->line, true};
    struct sc_deb_alternative a;
    for (;;) {
        enum sc_status st = sc_deb_relations_next(&in, &a, b->error);
        if (st == SC_OK && (a.name.len == 0 || a.starts_clause))
            st = close_clause(b, package);
        if (st != SC_OK || a.name.len == 0)
            return st;
        resolve(b, &a);
    }
}

static enum sc_status add_packages(struct build *b)
{
    for (size_t i = 0; i < b->package_count; i++)
        (void)add_node(b, b->packages[i].name, false);
    enum sc_status st = SC_OK;
    for (uint32_t i = 0; i < b->package_count && st == SC_OK; i++) {
        b->nodes[i].first_clause = (uint32_t)b->clause_count;
        st = add_clauses(b, i, &b->packages[i].depends);
        if (st == SC_OK)
            st = add_clauses(b, i, &b->packages[i].pre_depends);
    }
    return st;
}

/* A virtual name has one clause: its providers, and the package that really has the name. */
static enum sc_status add_virtual_names(struct build *b)
{
    enum sc_status st = SC_OK;
    for (uint32_t i = (uint32_t)b->package_count; i < b->node_count && st == SC_OK; i++) {
        const struct name *n = find_name(b, b->nodes[i].name);
        b->nodes[i].first_clause = (uint32_t)b->clause_count;
        if (n->package != NONE)
            set_add(b, (uint32_t)n->package);
        for (int32_t p = n->providers; p != NONE; p = b->providers[p].next)
            set_add(b, b->providers[p].package);
        st = close_clause(b, i);
    }
    return st;
}

/* ---- turning round ---- */

/* Sorts the edges by where they start, keeping their order otherwise. */
static void turn_round(struct build *b, struct sc_graph *g)
{
    g->edges = malloc((b->edge_count + 1) * sizeof g->edges[0]);
    if (g->edges == NULL)
        abort();
    for (size_t i = 0; i < b->edge_count; i++)
        b->nodes[b->edges[i].from].edge_count++;
    uint32_t first = 0;
    for (size_t i = 0; i < b->node_count; i++) {
        b->nodes[i].first_edge = first;
        first += b->nodes[i].edge_count;
        b->nodes[i].edge_count = 0;
    }
    for (size_t i = 0; i < b->edge_count; i++) {
        struct sc_graph_node *from = &b->nodes[b->edges[i].from];
        g->edges[from->first_edge + from->edge_count++] =
            (struct sc_graph_edge){b->edges[i].to, b->edges[i].clause};
    }
    g->edge_count = (uint32_t)b->edge_count;
}

static void build_free(struct build *b)
{
    free(b->packages);
    free(b->names);
    free(b->providers);
    free(b->edges);
    free(b->alternatives);
    free(b->nodes);
    free(b->set);
    free(b->buckets);
}

enum sc_status sc_graph_build(struct span text, struct sc_graph *out, char *error)
{
    struct build b = {.error = error};
    if (text.len >= INT32_MAX) {
        snprintf(error, SC_DEB822_ERROR_BYTES, "line 1: the list is over 2 GiB");
        return SC_ERR_LIMIT;
    }
    enum sc_status st = read_packages(&b, text);
    if (st == SC_OK) {
        sort_packages(&b);
        st = index_names(&b);
    }
    if (st == SC_OK)
        st = add_packages(&b);
    if (st == SC_OK)
        st = add_virtual_names(&b);
    if (st == SC_OK) {
        struct sc_graph g = {.package_count = (uint32_t)b.package_count,
                             .node_count = (uint32_t)b.node_count,
                             .clause_count = (uint32_t)b.clause_count};
        turn_round(&b, &g);
        g.nodes = b.nodes;
        g.alternatives = b.alternatives;
        b.nodes = NULL;
        b.alternatives = NULL;
        *out = g;
    }
    build_free(&b);
    return st;
}
