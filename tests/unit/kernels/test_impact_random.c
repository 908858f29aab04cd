/* A thousand random package lists, several waves at once in random order, against the definition
 * computed naively on the model the list was written from. */
#include "tests/support/impact_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PACKAGES = 24, NAMES = 6, CLAUSES = 4, ALTERNATIVES = 3, PROVIDES = 2, LISTS = 1000 };

/* Names 0..PACKAGES-1 are packages p0, p1, ...; from PACKAGES on names that are only provided. */
struct alternative {
    uint32_t name;
    uint32_t op; /* 0 none, 1 "<<", 2 "<=", 3 "=", 4 ">=", 5 ">>" */
    uint32_t version;
};

struct model_package {
    uint32_t version;
    uint32_t clause_count, alternative_count[CLAUSES];
    struct alternative clauses[CLAUSES][ALTERNATIVES];
    uint32_t provide_count, provided[PROVIDES], provided_version[PROVIDES]; /* 0: none */
};

struct model {
    struct model_package p[PACKAGES];
    uint64_t random;
};

static uint32_t draw(struct model *m, uint32_t below)
{
    m->random = m->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(m->random >> 33) % below;
}

static void make(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->random = seed;
    for (uint32_t i = 0; i < PACKAGES; i++) {
        struct model_package *p = &m->p[i];
        p->version = 1 + draw(m, 3);
        p->clause_count = draw(m, CLAUSES);
        for (uint32_t c = 0; c < p->clause_count; c++) {
            p->alternative_count[c] = 1 + draw(m, ALTERNATIVES);
            for (uint32_t a = 0; a < p->alternative_count[c]; a++)
                p->clauses[c][a] =
                    (struct alternative){draw(m, PACKAGES + NAMES),
                                         draw(m, 3) == 0 ? 1 + draw(m, 5) : 0, 1 + draw(m, 3)};
        }
        p->provide_count = draw(m, PROVIDES + 1);
        for (uint32_t v = 0; v < p->provide_count; v++) {
            /* now and then the name of a real package, its own included */
            p->provided[v] = draw(m, 4) == 0 ? draw(m, PACKAGES) : PACKAGES + draw(m, NAMES);
            p->provided_version[v] = draw(m, 4);
        }
    }
}

static void write_name(FILE *f, uint32_t name)
{
    if (name < PACKAGES)
        fprintf(f, "p%u", name);
    else
        fprintf(f, "v%u", name - PACKAGES);
}

static char *write_list(const struct model *m)
{
    static const char *const ops[] = {"", "<<", "<=", "=", ">=", ">>"};
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (uint32_t i = 0; i < PACKAGES; i++) {
        const struct model_package *p = &m->p[i];
        fprintf(f, "Package: p%u\nVersion: %u\n", i, p->version);
        for (uint32_t c = 0; c < p->clause_count; c++) {
            fprintf(f, c == 0 ? "Depends: " : ", ");
            for (uint32_t a = 0; a < p->alternative_count[c]; a++) {
                const struct alternative *x = &p->clauses[c][a];
                fprintf(f, a == 0 ? "" : " | ");
                write_name(f, x->name);
                if (x->op != 0)
                    fprintf(f, " (%s %u)", ops[x->op], x->version);
            }
        }
        fprintf(f, p->clause_count != 0 ? "\n" : "");
        for (uint32_t v = 0; v < p->provide_count; v++) {
            fprintf(f, v == 0 ? "Provides: " : ", ");
            write_name(f, p->provided[v]);
            if (p->provided_version[v] != 0)
                fprintf(f, " (= %u)", p->provided_version[v]);
        }
        fprintf(f, p->provide_count != 0 ? "\n\n" : "\n");
    }
    fclose(f);
    return text;
}

static bool holds(uint32_t have, const struct alternative *a)
{
    switch (a->op) {
    case 1:
        return have < a->version;
    case 2:
        return have <= a->version;
    case 3:
        return have == a->version;
    case 4:
        return have >= a->version;
    case 5:
        return have > a->version;
    default:
        return true;
    }
}

static bool satisfies(const struct model *m, uint32_t package, const struct alternative *a)
{
    const struct model_package *p = &m->p[package];
    if (a->name == package && holds(p->version, a))
        return true;
    for (uint32_t v = 0; v < p->provide_count; v++)
        if (p->provided[v] == a->name &&
            (a->op == 0 || (p->provided_version[v] != 0 && holds(p->provided_version[v], a))))
            return true;
    return false;
}

static bool clause_satisfied(const struct model *m, uint32_t package, uint32_t clause,
                             const bool *broken)
{
    for (uint32_t a = 0; a < m->p[package].alternative_count[clause]; a++)
        for (uint32_t by = 0; by < PACKAGES; by++)
            if (!broken[by] && satisfies(m, by, &m->p[package].clauses[clause][a]))
                return true;
    return false;
}

static void fixpoint(const struct model *m, uint32_t root, bool *broken)
{
    static const bool none[PACKAGES];
    memset(broken, 0, PACKAGES * sizeof broken[0]);
    broken[root] = true;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < PACKAGES; i++)
            for (uint32_t c = 0; c < m->p[i].clause_count && !broken[i]; c++)
                if (clause_satisfied(m, i, c, none) && !clause_satisfied(m, i, c, broken))
                    changed = broken[i] = true;
    }
    broken[root] = false;
}

static void compare(const struct model *m, const struct sc_graph *graph, const struct impact_ask *a)
{
    bool expected[PACKAGES];
    uint8_t host[256];
    uint32_t count = 0;
    assert_true(graph->node_count <= sizeof host);
    for (uint32_t i = 0; i < PACKAGES; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%u", i);
        if (sc_graph_find(graph, span_of_str(name)) == a->package)
            fixpoint(m, i, expected);
    }
    uint32_t host_count = sc_graph_impact(graph, a->package, host);
    for (uint32_t i = 0; i < PACKAGES; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%u", i);
        int64_t at = sc_graph_find(graph, span_of_str(name));
        assert_int_equal(a->broken[at], expected[i]);
        assert_int_equal(host[at], expected[i]);
        count += expected[i];
    }
    assert_true(a->ended && !a->failed && a->foreign == 0 && a->repeated == 0);
    assert_int_equal(a->reply.packages, count);
    assert_int_equal(host_count, count);
}

static void test_impact_equals_the_definition(void **state)
{
    (void)state;
    uint64_t broken = 0;
    for (uint32_t n = 1; n <= LISTS; n++) {
        struct model m;
        struct sc_graph graph;
        struct impact_graph g;
        char error[256];
        make(&m, n * 7919ull);
        char *text = write_list(&m);
        assert_int_equal(sc_graph_build(span_of_str(text), &graph, error), SC_OK);
        impact_graph_open(&g, &graph, n, 1 + n % 40, IMPACT_WAITING);
        for (uint32_t i = 0; i < PACKAGES; i++)
            impact_graph_ask(&g, i);
        impact_graph_run(&g);
        for (uint32_t i = 0; i < g.ask_count; i++) {
            compare(&m, &graph, &g.asks[i]);
            broken += g.asks[i].events;
        }
        assert_int_equal(kernel_harness_stats(g.harness).over_limit, 0);
        impact_graph_close(&g);
        sc_graph_free(&graph);
        free(text);
    }
    /* the lists must give the waves something to do */
    assert_true(broken > 10000);
    print_message("%llu packages broke in %d waves\n", (unsigned long long)broken,
                  LISTS * PACKAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_impact_equals_the_definition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
