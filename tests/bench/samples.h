/* Exact quantiles of measured times. */
#ifndef TESTS_BENCH_SAMPLES_H
#define TESTS_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline int samples_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static inline void samples_sort(uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof *ns, samples_compare);
}

/* Of sorted samples, at least one: what so many of a thousand do not exceed. */
static inline uint64_t samples_at(const uint64_t *ns, size_t count, unsigned per_mille)
{
    size_t i = count * per_mille / 1000;
    return ns[i < count ? i : count - 1];
}

#endif
