/* Many grains at once: more than 100,000 live ones on a CPU device, each with its own state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/daemon.h"

enum { GRAINS = 120000, WINDOW = 1024, ADD = 1, GET = 2, WAIT_MS = 60000 };

struct many {
    struct test_daemon daemon;
    struct sc_client client;
    uint64_t *grains;
    uint64_t first_id;
};

/* Queues request number i of one round; its id is first_id + i. */
typedef void (*queue_fn)(struct many *m, uint32_t i);
typedef void (*answer_fn)(struct many *m, uint32_t i, const struct sc_shim_response *r);

/* One request to each grain, WINDOW at a time. */
static void round_of_all(struct many *m, queue_fn queue, answer_fn answer)
{
    uint32_t sent = 0, done = 0;
    m->first_id = m->client.next_id;
    while (done < GRAINS) {
        while (sent < GRAINS && sent - done < WINDOW)
            queue(m, sent++);
        assert_int_equal(sc_client_flush(&m->client), SC_OK);
        struct sc_shim_response r;
        assert_int_equal(sc_client_next(&m->client, &r), SC_OK);
        if (r.kind == SC_SHIM_STATE)
            continue;
        assert_int_not_equal(r.kind, SC_SHIM_ERROR);
        assert_true(r.id - m->first_id < GRAINS);
        answer(m, (uint32_t)(r.id - m->first_id), &r);
        done++;
    }
}

static void queue_activate(struct many *m, uint32_t i)
{
    char key[16];
    int n = snprintf(key, sizeof key, "g%u", i);
    sc_client_queue(&m->client, &(struct sc_shim_request){.kind = SC_SHIM_ACTIVATE,
                                                          .id = sc_client_id(&m->client),
                                                          .kernel = span_of_str("tally"),
                                                          .key = span_of(key, (size_t)n)});
}

static void take_address(struct many *m, uint32_t i, const struct sc_shim_response *r)
{
    assert_int_equal(r->kind, SC_SHIM_ACTIVATED);
    assert_true(r->created);
    m->grains[i] = r->grain;
}

static void queue_add(struct many *m, uint32_t i)
{
    uint64_t v = i % 100;
    sc_client_queue_call(&m->client, sc_client_id(&m->client), m->grains[i], ADD, 0,
                         span_of(&v, sizeof v));
}

static void queue_get(struct many *m, uint32_t i)
{
    sc_client_queue_call(&m->client, sc_client_id(&m->client), m->grains[i], GET, 0,
                         span_of(NULL, 0));
}

static void take_any(struct many *m, uint32_t i, const struct sc_shim_response *r)
{
    (void)m, (void)i;
    assert_int_equal(r->kind, SC_SHIM_REPLY);
}

static void take_twice_added(struct many *m, uint32_t i, const struct sc_shim_response *r)
{
    (void)m;
    uint64_t sum;
    assert_int_equal(r->payload.len, sizeof sum);
    memcpy(&sum, r->payload.ptr, sizeof sum);
    assert_int_equal(sum, 2 * (i % 100));
}

static void test_many_grains_keep_their_own_state(void **state)
{
    (void)state;
    static struct many m;
    test_daemon_init(&m.daemon);
    test_daemon_start(&m.daemon, NULL);
    test_daemon_connect(&m.daemon, &m.client);
    sc_client_set_timeout(&m.client, WAIT_MS);
    m.grains = calloc(GRAINS, sizeof *m.grains);
    round_of_all(&m, queue_activate, take_address);
    round_of_all(&m, queue_add, take_any);
    round_of_all(&m, queue_add, take_any);
    round_of_all(&m, queue_get, take_twice_added);
    struct sc_shim_response r;
    assert_int_equal(sc_client_ask(&m.client,
                                   &(struct sc_shim_request){.kind = SC_SHIM_CAPACITY,
                                                             .id = sc_client_id(&m.client)},
                                   &r),
                     SC_OK);
    assert_int_equal(r.capacity.grains, GRAINS);
    printf("%d live grains\n", GRAINS);
    free(m.grains);
    sc_client_close(&m.client);
    test_daemon_fini(&m.daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_grains_keep_their_own_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
