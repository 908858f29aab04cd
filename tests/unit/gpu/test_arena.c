#include "gpu/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_arena_ranges_never_overlap(void **state)
{
    (void)state;
    enum { BYTES = 1 << 16, LIVE = 200, ROUNDS = 20000 };
    struct gpu_arena arena;
    gpu_arena_init(&arena, BYTES);
    static unsigned char taken[BYTES];
    uint64_t offset[LIVE] = {0}, size[LIVE] = {0};
    srand(7);
    for (int i = 0; i < ROUNDS; i++) {
        int n = rand() % LIVE;
        if (size[n] != 0) {
            memset(taken + offset[n], 0, size[n]);
            gpu_arena_give(&arena, offset[n], size[n]);
            size[n] = 0;
        }
        uint64_t want = 1 + (uint64_t)rand() % (rand() % 8 == 0 ? 5000 : 300);
        if (gpu_arena_take(&arena, want, &offset[n]) != SC_OK)
            continue;
        size[n] = want;
        assert_int_equal(offset[n] % 16, 0);
        assert_true(offset[n] + want <= BYTES);
        for (uint64_t b = 0; b < want; b++) {
            assert_int_equal(taken[offset[n] + b], 0);
            taken[offset[n] + b] = 1;
        }
    }
    gpu_arena_fini(&arena);
}

static void test_arena_full_is_busy_and_recovers(void **state)
{
    (void)state;
    struct gpu_arena arena;
    gpu_arena_init(&arena, 1024);
    uint64_t a, b, c;
    assert_int_equal(gpu_arena_take(&arena, 512, &a), SC_OK);
    assert_int_equal(gpu_arena_take(&arena, 500, &b), SC_OK);
    assert_int_equal(gpu_arena_take(&arena, 500, &c), SC_ERR_BUSY);
    assert_int_equal(gpu_arena_take(&arena, UINT64_MAX, &c), SC_ERR_BUSY);
    gpu_arena_give(&arena, a, 512);
    assert_int_equal(gpu_arena_take(&arena, 512, &c), SC_OK);
    assert_int_equal(c, a);
    gpu_arena_give(&arena, b, 500);
    gpu_arena_give(&arena, c, 512);
    assert_int_equal(arena.used, 0);
    gpu_arena_fini(&arena);
}

static void test_arena_rounds_by_at_most_a_quarter(void **state)
{
    (void)state;
    struct gpu_arena arena;
    gpu_arena_init(&arena, 1ull << 41);
    for (uint64_t want = 257; want < 1ull << 34; want += want / 7 + 1) {
        uint64_t before = arena.used, offset;
        assert_int_equal(gpu_arena_take(&arena, want, &offset), SC_OK);
        assert_true(arena.used - before >= want);
        assert_true(arena.used - before <= want + want / 4 + 16);
    }
    gpu_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_ranges_never_overlap),
        cmocka_unit_test(test_arena_full_is_busy_and_recovers),
        cmocka_unit_test(test_arena_rounds_by_at_most_a_quarter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
