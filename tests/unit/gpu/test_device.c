/* Real worker processes: this program is its own worker (`test_gpu_device worker ...`). */
#include "gpu/gpu.h"

#include "gpu/abi/envelope.h"
#include "gpu/catalog.h"
#include "gpu/device.h"
#include "gpu/worker.h"
#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"
#include "tests/support/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_S = 60, CALLS = 4096, TEXT = 512 };

/* What a test has been told. */
struct told {
    enum sc_status status[CALLS];
    uint32_t answers[CALLS];
    char last_text[TEXT];
    char payload[65536];
    size_t payload_len;
    uint32_t replies, events;
    bool hold_events;
    struct gpu_device *busy; /* a device that completes something whenever something is taken */
    enum gpu_device_state state;
    char cause[TEXT];
};

static void publish(struct gpu_envelope *ring, uint64_t at, uint32_t slots, struct gpu_envelope m)
{
    m.stamp = 0;
    ring[at & (slots - 1)] = m;
    __atomic_store_n(&ring[at & (slots - 1)].stamp, GPU_RING_STAMP(at, slots), __ATOMIC_RELEASE);
}

/* The n-th request in flight is answered. */
static void publish_reply(struct gpu_device *dev, uint32_t n)
{
    publish(dev->reply, dev->reply_at, dev->config.reply_slots,
            (struct gpu_envelope){.kind = GPU_KIND_REPLY,
                                  .call = (uint64_t)dev->pendings[n].generation << 32 | (n + 1)});
}

static void on_reply(void *user, uint64_t call, enum sc_status status, struct span payload,
                     struct span text)
{
    struct told *t = user;
    assert_true(call < CALLS);
    t->status[call] = status;
    t->answers[call]++;
    t->replies++;
    snprintf(t->last_text, TEXT, "%.*s", SPAN_ARG(text));
    assert_true(payload.len <= sizeof t->payload);
    if (payload.len != 0)
        memcpy(t->payload, payload.ptr, payload.len);
    t->payload_len = payload.len;
    if (t->busy != NULL)
        publish(t->busy->event, t->busy->event_at, t->busy->config.event_slots,
                (struct gpu_envelope){.kind = GPU_KIND_EVENT, .src = GPU_HANDLE(1, 0)});
}

static enum sc_status on_event(void *user, uint64_t source, uint64_t stream, uint32_t kernel,
                               uint16_t event, struct span payload)
{
    struct told *t = user;
    (void)source, (void)stream, (void)kernel, (void)event, (void)payload;
    if (t->hold_events)
        return SC_AGAIN;
    t->events++;
    if (t->busy != NULL)
        publish_reply(t->busy, t->replies);
    return SC_OK;
}

static void on_state(void *user, enum gpu_device_state state, const char *cause)
{
    struct told *t = user;
    t->state = state;
    snprintf(t->cause, TEXT, "%s", cause);
}

static const struct gpu_device_ops ops = {on_reply, on_event, on_state};

struct fixture {
    struct test_tree cache;
    struct sc_log log;
    struct told told;
    struct gpu_device *dev;
};

static struct gpu_device_config config_for(struct fixture *f, const char *root)
{
    return (struct gpu_device_config){
        .name = "cpu0",
        .worker_path = "/proc/self/exe",
        .kernel_root = root,
        .kernel_cache = f->cache.path,
        .include_dir = SC_SOURCE_DIR "/gpu/engine",
        .compiler = "cc",
        .blocks = 2,
        .grains_max = 1024,
        .messages_max = 16384,
        .heap_bytes = 1 << 20,
        .slab_bytes = 4 << 20,
        .submit_slots = 64,
        .reply_slots = 64,
        .event_slots = 1024,
        .payload_max_bytes = 1 << 20,
        .spin_us = 50,
        .hang_ms = 30000, /* tests may run on a machine that is busy with others */
        .start_ms = 90000,
        .restart_ms = 10};
}

/* Turns the device's crank until the condition holds; fails the test after WAIT_S. */
#define UNTIL(f, condition)                                          \
    do {                                                             \
        uint64_t end_ = sc_clock_mono_ns() + WAIT_S * 1000000000ull; \
        while (!(condition)) {                                       \
            turn(f);                                                 \
            assert_true(sc_clock_mono_ns() < end_);                  \
        }                                                            \
    } while (0)

static void turn(struct fixture *f)
{
    struct pollfd p = {.fd = gpu_device_notify_fd(f->dev), .events = POLLIN};
    poll(&p, 1, 5);
    while (gpu_device_poll(f->dev, 64) == SC_AGAIN)
        ;
    gpu_device_tick(f->dev, sc_clock_mono_ns());
}

static void open_hang(struct fixture *f, const char *root, uint32_t hang_ms)
{
    memset(f, 0, sizeof *f);
    test_tree_init(&f->cache);
    f->log = (struct sc_log){.fd = STDERR_FILENO, .level = SC_LOG_WARN};
    struct gpu_device_config c = config_for(f, root);
    if (hang_ms != 0)
        c.hang_ms = hang_ms;
    assert_int_equal(gpu_device_open(&c, &ops, &f->told, &f->log, &f->dev), SC_OK);
    UNTIL(f, f->told.state == GPU_DEVICE_READY);
}

static void open_with(struct fixture *f, const char *root)
{
    open_hang(f, root, 0);
}

static void close_all(struct fixture *f)
{
    gpu_device_close(f->dev);
    test_tree_fini(&f->cache);
}

static uint32_t kernel_of(struct fixture *f, const char *id)
{
    int k = gpu_catalog_find(gpu_device_catalog(f->dev), span_of_str(id));
    assert_true(k >= 0);
    return (uint32_t)k;
}

static uint64_t activate(struct fixture *f, const char *id, uint32_t state_bytes)
{
    uint64_t grain = 0;
    uint32_t before = f->told.answers[1];
    assert_int_equal(
        gpu_device_activate(f->dev, kernel_of(f, id), state_bytes, (struct span){0}, 1, &grain),
        SC_OK);
    UNTIL(f, f->told.answers[1] == before + 1);
    assert_int_equal(f->told.status[1], SC_OK);
    return grain;
}

static enum sc_status call(struct fixture *f, uint64_t grain, uint16_t type, struct span payload)
{
    uint32_t before = f->told.answers[2];
    enum sc_status st = gpu_device_call(f->dev, grain, type, payload, 2);
    if (st != SC_OK)
        return st;
    UNTIL(f, f->told.answers[2] == before + 1);
    return f->told.status[2];
}

static void test_device_echoes_small_and_large_payloads(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/gpu/kernels");
    uint64_t grain = activate(&f, "echo", 0);
    static char data[65536];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7);
    const size_t sizes[] = {0, 1, 80, 81, 4096, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint16_t type = sizes[i] <= 80 ? 1 : 2;
        assert_int_equal(call(&f, grain, type, span_of(data, sizes[i])), SC_OK);
        assert_int_equal(f.told.payload_len, sizes[i]);
        assert_memory_equal(f.told.payload, data, sizes[i]);
    }
    struct gpu_device_stats s;
    gpu_device_stats(f.dev, sc_clock_mono_ns(), &s);
    assert_int_equal(s.slab_used_bytes, 0);
    assert_int_equal(s.calls_in_flight, 0);
    assert_int_equal(s.grains, 1);
    close_all(&f);
}

static void test_device_refuses_what_is_out_of_its_limits(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/gpu/kernels");
    uint64_t grain = activate(&f, "echo", 0), other;
    struct span none = {0};
    assert_int_equal(gpu_device_activate(f.dev, 9999, 0, none, 3, &other), SC_ERR_NOT_FOUND);
    assert_int_equal(gpu_device_activate(f.dev, kernel_of(&f, "echo"), 1 << 30, none, 3, &other),
                     SC_ERR_TOO_LARGE);
    assert_int_equal(gpu_device_call(f.dev, grain, 99, none, 3), SC_ERR_ARGUMENT);
    assert_int_equal(gpu_device_call(f.dev, grain + 1, 1, none, 3), SC_ERR_NOT_FOUND);
    assert_int_equal(gpu_device_call(f.dev, grain + (1ull << 32), 1, none, 3), SC_ERR_NOT_FOUND);
    static char big[(1 << 20) + 1];
    assert_int_equal(gpu_device_call(f.dev, grain, 2, span_of(big, sizeof big), 3),
                     SC_ERR_TOO_LARGE);
    assert_int_equal(call(&f, grain, 1, span_of(big, 81)),
                     SC_ERR_KERNEL); /* the handler's own answer */
    assert_int_equal(f.told.answers[3], 0);
    assert_int_equal(call(&f, grain, 1, none), SC_OK);
    close_all(&f);
}

static void test_device_fills_up_and_recovers(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/gpu/kernels");
    static uint64_t grains[1024];
    for (int i = 0; i < 1024; i++)
        grains[i] = activate(&f, "echo", 0);
    uint64_t more;
    assert_int_equal(
        gpu_device_activate(f.dev, kernel_of(&f, "echo"), 0, (struct span){0}, 3, &more),
        SC_ERR_BUSY);
    assert_int_equal(gpu_device_deactivate(f.dev, grains[7], 4), SC_OK);
    assert_int_equal(gpu_device_call(f.dev, grains[7], 1, (struct span){0}, 5), SC_ERR_NOT_FOUND);
    UNTIL(&f, f.told.answers[4] == 1);
    more = activate(&f, "echo", 0);
    assert_int_equal(GPU_HANDLE_SLOT(more), GPU_HANDLE_SLOT(grains[7]));
    assert_int_not_equal(more, grains[7]);
    assert_int_equal(call(&f, more, 1, (struct span){0}), SC_OK);
    close_all(&f);
}

static void test_device_bounds_calls_in_flight_by_its_reply_ring(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/tests/support/kernels");
    uint64_t grain = activate(&f, "crash", 0);
    enum sc_status st = SC_OK;
    uint64_t n = 100;
    for (; n < 300; n++) {
        st = gpu_device_call(f.dev, grain, 4, (struct span){0}, n); /* Silence: never answered */
        if (st == SC_AGAIN) {
            turn(&f);
            n--;
        } else if (st != SC_OK) {
            break;
        }
    }
    assert_int_equal(st, SC_ERR_BUSY);
    assert_int_equal(n, 100 + 64);
    close_all(&f);
}

/* A crash answers every call in flight naming the kernel, voids the grains, and the next worker
 * serves. */
static void crash_and_recover(uint16_t how, const char *word, uint32_t hang_ms)
{
    static struct fixture f;
    open_hang(&f, SC_SOURCE_DIR "/tests/support/kernels", hang_ms);
    uint64_t grain = activate(&f, "crash", 0);
    uint64_t bystander = activate(&f, "crash", 0);
    for (uint64_t n = 10; n < 20; n++)
        assert_int_equal(gpu_device_call(f.dev, bystander, 4, (struct span){0}, n), SC_OK);
    uint32_t epoch = gpu_device_epoch(f.dev);
    assert_int_equal(gpu_device_call(f.dev, grain, how, (struct span){0}, 20), SC_OK);
    UNTIL(&f, f.told.state == GPU_DEVICE_DOWN);
    for (uint64_t n = 10; n <= 20; n++) {
        assert_int_equal(f.told.answers[n], 1);
        assert_int_equal(f.told.status[n], SC_ERR_KERNEL);
    }
    assert_non_null(strstr(f.told.last_text, "kernel crash"));
    assert_non_null(strstr(f.told.cause, word));
    UNTIL(&f, f.told.state == GPU_DEVICE_READY);
    assert_true(gpu_device_epoch(f.dev) > epoch);
    assert_int_equal(gpu_device_call(f.dev, bystander, 6, (struct span){0}, 30), SC_ERR_NOT_FOUND);
    uint64_t again = activate(&f, "crash", 0);
    assert_int_not_equal(again, grain);
    assert_int_equal(call(&f, again, 6, (struct span){0}), SC_ERR_KERNEL);
    assert_string_equal(f.told.last_text, "crash: as asked");
    close_all(&f);
}

static void test_device_survives_a_crashing_kernel(void **state)
{
    (void)state;
    crash_and_recover(1, "signal", 0);
}

static void test_device_kills_a_hung_kernel(void **state)
{
    (void)state;
    crash_and_recover(2, "hung", 500);
}

static void test_device_unbuildable_kernel_leaves_others_usable(void **state)
{
    (void)state;
    static struct fixture f;
    struct test_tree root;
    test_tree_init(&root);
    test_tree_write(&root, "bad/1.0.0/manifest.yaml",
                    "kernel: bad\nversion: 1.0.0\nsources: [bad.c]\nstate: {bytes: 16}\n"
                    "messages: [{name: A, type: 1}]\n");
    test_tree_write(&root, "bad/1.0.0/bad.c", "#include \"k_grain.h\"\nK_HANDLER(bad) { oops }\n");
    test_tree_write(&root, "good/1.0.0/manifest.yaml",
                    "kernel: good\nversion: 1.0.0\nsources: [good.c]\nstate: {bytes: 16}\n"
                    "messages: [{name: A, type: 1}]\n");
    test_tree_write(
        &root, "good/1.0.0/good.c",
        "#include \"k_grain.h\"\nK_HANDLER(good) { (void)state, (void)message, (void)ctx; }\n");
    open_with(&f, root.path);
    uint64_t grain;
    assert_int_equal(
        gpu_device_activate(f.dev, kernel_of(&f, "bad"), 0, (struct span){0}, 3, &grain),
        SC_ERR_KERNEL);
    assert_non_null(strstr(gpu_device_kernel_error(f.dev, kernel_of(&f, "bad")), "oops"));
    grain = activate(&f, "good", 0);
    assert_int_equal(call(&f, grain, 1, (struct span){0}), SC_OK);
    close_all(&f);
    test_tree_fini(&root);
}

static void test_device_kills_a_worker_that_never_gets_ready(void **state)
{
    (void)state;
    static struct fixture f;
    struct test_tree root;
    test_tree_init(&root);
    test_tree_write(&root, "stuck/1.0.0/manifest.yaml",
                    "kernel: stuck\nversion: 1.0.0\nsources: [stuck.c]\nstate: {bytes: 16}\n"
                    "messages: [{name: A, type: 1}]\n");
    test_tree_write(&root, "stuck/1.0.0/stuck.c",
                    "#include \"k_grain.h\"\n"
                    "static volatile int turns;\n"
                    "__attribute__((constructor)) static void loop(void) { for (;;) turns++; }\n"
                    "K_HANDLER(stuck) { (void)state, (void)message, (void)ctx; }\n");
    memset(&f, 0, sizeof f);
    test_tree_init(&f.cache);
    f.log = (struct sc_log){.fd = STDERR_FILENO, .level = SC_LOG_WARN};
    struct gpu_device_config c = config_for(&f, root.path);
    c.start_ms = 2000;
    assert_int_equal(gpu_device_open(&c, &ops, &f.told, &f.log, &f.dev), SC_OK);
    UNTIL(&f, f.told.state == GPU_DEVICE_DOWN);
    assert_non_null(strstr(f.told.cause, "did not start"));
    close_all(&f);
    test_tree_fini(&root);
}

static void test_device_worker_leaves_group_signals_to_the_daemon(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/gpu/kernels");
    uint64_t grain = activate(&f, "echo", 0);
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        assert_int_equal(kill(f.dev->worker, signals[i]), 0);
        assert_int_equal(call(&f, grain, 1, (struct span){0}), SC_OK);
    }
    gpu_device_stop(f.dev);
    UNTIL(&f, f.told.state == GPU_DEVICE_STOPPED);
    close_all(&f);
}

static void test_device_stops_when_asked(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/tests/support/kernels");
    uint64_t grain = activate(&f, "crash", 0);
    assert_int_equal(gpu_device_call(f.dev, grain, 4, (struct span){0}, 9), SC_OK);
    gpu_device_stop(f.dev);
    UNTIL(&f, f.told.state == GPU_DEVICE_STOPPED);
    assert_int_equal(f.told.answers[9], 1);
    assert_int_equal(gpu_device_call(f.dev, grain, 4, (struct span){0}, 9), SC_ERR_UNAVAILABLE);
    close_all(&f);
}

/* tally emits Threshold; with events held back its deactivation must wait for them, other answers
 * not. */
static void test_device_end_of_a_grain_waits_for_its_events(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/gpu/kernels");
    uint64_t tally = activate(&f, "tally", 0), echo = activate(&f, "echo", 0);
    uint64_t add = 5000;
    f.told.hold_events = true;
    assert_int_equal(call(&f, tally, 1, span_of(&add, sizeof add)), SC_OK);
    assert_int_equal(gpu_device_deactivate(f.dev, tally, 9), SC_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(call(&f, echo, 1, (struct span){0}), SC_OK);
    assert_int_equal(f.told.answers[9], 0);
    assert_int_equal(f.told.events, 0);
    f.told.hold_events = false;
    UNTIL(&f, f.told.answers[9] == 1);
    assert_true(f.told.events > 0);
    close_all(&f);
}

/* A call that the handler keeps open ends with its grain, or its slot would never be free again. */
static void test_device_end_of_a_grain_answers_its_open_calls(void **state)
{
    (void)state;
    static struct fixture f;
    struct gpu_device_stats s;
    open_with(&f, SC_SOURCE_DIR "/tests/support/kernels");
    uint64_t grain = activate(&f, "crash", 0), other = activate(&f, "crash", 0);
    assert_int_equal(gpu_device_call(f.dev, grain, 4, (struct span){0}, 9), SC_OK);
    assert_int_equal(gpu_device_call(f.dev, other, 4, (struct span){0}, 10), SC_OK);
    assert_int_equal(gpu_device_deactivate(f.dev, grain, 11), SC_OK);
    UNTIL(&f, f.told.answers[11] == 1);
    assert_int_equal(f.told.answers[9], 1);
    assert_int_equal(f.told.status[9], SC_ERR_NOT_FOUND);
    assert_int_equal(f.told.answers[10], 0);
    gpu_device_stats(f.dev, sc_clock_mono_ns(), &s);
    assert_int_equal(s.calls_in_flight, 1);
    close_all(&f);
}

/* Kernel code can write anything into the region. Random slots with the right stamp, some naming a
 * call that is really in flight: nothing is followed, and no call is answered twice. */
static void test_device_reads_a_hostile_region(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/tests/support/kernels");
    uint64_t grain = activate(&f, "crash", 0);
    uint32_t in_flight = 0;
    srand(11);
    for (uint64_t n = 0; n < 20000; n++) {
        uint64_t id = 10 + n % 4000;
        f.told.answers[id] = 0;
        if (in_flight < 32 && gpu_device_call(f.dev, grain, 4, (struct span){0}, id) == SC_OK)
            in_flight++;
        bool event = rand() % 4 == 0;
        struct gpu_envelope *ring = event ? f.dev->event : f.dev->reply;
        uint64_t at = event ? f.dev->event_at : f.dev->reply_at;
        uint32_t slots = event ? f.dev->config.event_slots : f.dev->config.reply_slots;
        struct gpu_envelope *m = &ring[at & (slots - 1)];
        for (size_t b = 4; b < sizeof *m; b++)
            ((uint8_t *)m)[b] = (uint8_t)rand();
        m->kind = (uint8_t)(rand() % 10);
        if (rand() % 2 != 0)
            m->len = (uint32_t)rand() % 200;
        uint32_t index = (uint32_t)rand() % 80;
        if (rand() % 4 != 0 && index < slots)
            m->call = (uint64_t)f.dev->pendings[index % 64].generation << 32 | (index + 1);
        uint32_t before = f.told.replies;
        __atomic_store_n(&m->stamp, GPU_RING_STAMP(at, slots), __ATOMIC_RELEASE);
        while (gpu_device_poll(f.dev, 64) == SC_AGAIN)
            ;
        in_flight -= f.told.replies - before;
    }
    for (uint32_t id = 0; id < CALLS; id++)
        assert_true(f.told.answers[id] <= 1);
    assert_true(f.told.replies > 100);
    close_all(&f);
}

/* A device that is never done must not keep the loop from everything else. */
static void test_device_poll_is_bounded_on_a_busy_device(void **state)
{
    (void)state;
    static struct fixture f;
    open_with(&f, SC_SOURCE_DIR "/tests/support/kernels");
    uint64_t grain = activate(&f, "crash", 0);
    for (uint64_t n = 10; n < 50; n++)
        assert_int_equal(gpu_device_call(f.dev, grain, 4, (struct span){0}, n), SC_OK);
    while (gpu_device_poll(f.dev, 64) != SC_OK)
        ;
    f.told.replies = 0;
    f.told.busy = f.dev;
    publish_reply(f.dev, 0);
    assert_int_equal(gpu_device_poll(f.dev, 8), SC_AGAIN);
    assert_int_equal(f.told.replies, 8);
    assert_int_equal(f.told.events, 8);
    f.told.busy = NULL;
    close_all(&f);
}

static void test_device_open_names_a_number_out_of_range(void **state)
{
    (void)state;
    static struct fixture f;
    test_tree_init(&f.cache);
    struct sc_log quiet = {.fd = -1, .level = SC_LOG_ERROR};
    struct gpu_device_config c = config_for(&f, SC_SOURCE_DIR "/gpu/kernels");
    c.reply_slots = 100;
    assert_int_equal(gpu_device_open(&c, &ops, &f.told, &quiet, &f.dev), SC_ERR_CONFIG);
    c = config_for(&f, "/nonexistent/kernels");
    assert_int_equal(gpu_device_open(&c, &ops, &f.told, &quiet, &f.dev), SC_ERR_CONFIG);
    test_tree_fini(&f.cache);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return gpu_worker_main(argc - 2, argv + 2);
    /* In a sanitizer build the worker must still die of the signal itself. */
    setenv("ASAN_OPTIONS", "handle_segv=0", 1);
    setenv("TSAN_OPTIONS", "handle_segv=0", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_echoes_small_and_large_payloads),
        cmocka_unit_test(test_device_refuses_what_is_out_of_its_limits),
        cmocka_unit_test(test_device_fills_up_and_recovers),
        cmocka_unit_test(test_device_bounds_calls_in_flight_by_its_reply_ring),
        cmocka_unit_test(test_device_survives_a_crashing_kernel),
        cmocka_unit_test(test_device_kills_a_hung_kernel),
        cmocka_unit_test(test_device_unbuildable_kernel_leaves_others_usable),
        cmocka_unit_test(test_device_kills_a_worker_that_never_gets_ready),
        cmocka_unit_test(test_device_worker_leaves_group_signals_to_the_daemon),
        cmocka_unit_test(test_device_stops_when_asked),
        cmocka_unit_test(test_device_end_of_a_grain_waits_for_its_events),
        cmocka_unit_test(test_device_end_of_a_grain_answers_its_open_calls),
        cmocka_unit_test(test_device_reads_a_hostile_region),
        cmocka_unit_test(test_device_poll_is_bounded_on_a_busy_device),
        cmocka_unit_test(test_device_open_names_a_number_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
