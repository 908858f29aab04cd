/* Our answer to a recorded request is, byte for byte, the recorded answer. */
#include "orleans-proto/reply.h"

#include "orleans-proto/preamble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/orleans-proto/captures.h"

static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};

enum { MESSAGES_MAX = 64 };

struct direction {
    struct span all; /* owned */
    struct orl_preamble preamble;
    size_t count;
    struct orl_message messages[MESSAGES_MAX];
    struct span frames[MESSAGES_MAX];
};

static void direction_read(struct direction *d, const char *folder, const char *file)
{
    char path[256];
    size_t used = 0;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    d->all = capture_read(path);
    d->count = 0;
    assert_int_equal(orl_preamble_decode(d->all, &d->preamble, &used), SC_OK);
    for (size_t pos = used; pos < d->all.len; pos += used) {
        struct span rest = span_of(d->all.ptr + pos, d->all.len - pos);
        struct orl_frame frame;
        assert_true(d->count < MESSAGES_MAX);
        assert_int_equal(orl_frame_decode(rest, &lim, &frame, &used), SC_OK);
        assert_int_equal(orl_message_decode(frame.header, &d->messages[d->count]), SC_OK);
        d->messages[d->count].body = frame.body;
        d->frames[d->count++] = span_of(rest.ptr, used);
    }
}

static const struct orl_message *request_with(const struct direction *d, uint64_t id)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->messages[i].id == id && d->messages[i].direction == ORL_DIRECTION_REQUEST)
            return &d->messages[i];
    }
    return NULL;
}

/* Writes what our session would answer, with the time that was left and the silos as recorded. */
static enum sc_status answer(struct wbuf *w, const struct orl_message *request,
                             const struct orl_message *recorded, bool by_client)
{
    struct orl_response response;
    struct orl_reply reply;
    assert_int_equal(orl_reply_init(&reply, request), SC_OK);
    assert_int_equal(orl_response_decode(recorded, &response), SC_OK);
    reply.ttl_ms = recorded->ttl_ms;
    if (by_client)
        reply.to_silo = request->sender_silo;
    else
        reply.from_silo = recorded->sender_silo;
    if (response.outcome == ORL_OUTCOME_COMPLETED)
        return orl_reply_completed(w, &reply);
    if (response.outcome == ORL_OUTCOME_VALUE && response.type.schema == ORL_SCHEMA_KNOWN &&
        response.value.kind != ORL_KIND_OTHER)
        return orl_reply_value(w, &reply, &response.value, orl_kind_of_known(response.type.known));
    if (response.outcome == ORL_OUTCOME_REJECTED && response.exception.type.len == 0)
        return orl_reply_rejection(w, &reply, response.rejection, response.info);
    return SC_ERR_NOT_FOUND;
}

/* A silo writes its own address into a system target's key, and sends context and cache updates of
 * its own; all else it repeats. */
static bool repeats_its_request(const struct orl_message *recorded)
{
    const uint16_t own = ORL_FLAG_CONTEXT | ORL_FLAG_CACHE_INVALIDATION;
    return (recorded->flags & own) == 0 && !orl_is_system_target(recorded->sender.type);
}

static int check_answers(const struct direction *asks, const struct direction *answers,
                         bool by_client)
{
    int checked = 0;
    for (size_t i = 0; i < answers->count; i++) {
        const struct orl_message *recorded = &answers->messages[i];
        const struct orl_message *request = request_with(asks, recorded->id);
        struct wbuf w;
        if (recorded->direction != ORL_DIRECTION_RESPONSE || request == NULL ||
            !repeats_its_request(recorded))
            continue;
        wbuf_init(&w, 1 << 20);
        enum sc_status st = answer(&w, request, recorded, by_client);
        if (st == SC_OK) {
            assert_true(span_eq(wbuf_span(&w), answers->frames[i]));
            checked++;
        }
        assert_true(st == SC_OK || st == SC_ERR_NOT_FOUND);
        wbuf_fini(&w);
    }
    return checked;
}

static void test_answers_to_recorded_requests_are_the_recorded_ones(void **state)
{
    (void)state;
    static const char *const folders[] = {
        "v7.2.7/echo",     "v7.2.7/add",        "v9.2.1/echo",       "v9.2.1/add",
        "v9.2.1/observer", "v9.2.1/stream",     "v9.2.1/keys",       "v10.3.0/echo",
        "v10.3.0/echo2",   "v10.3.0/add",       "v10.3.0/bytes",     "v10.3.0/noop",
        "v10.3.0/stream",  "v10.3.0/observer",  "v10.3.0/streamsub", "v10.3.0/keys",
        "v10.3.0/alias",   "v10.3.0-more/ipv6",
    };
    static struct direction client;
    static struct direction silo;
    int by_silo = 0;
    int by_client = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        direction_read(&client, folders[i], "c2s.bin");
        direction_read(&silo, folders[i], "s2c.bin");
        by_silo += check_answers(&client, &silo, false);
        by_client += check_answers(&silo, &client, true);
        free((void *)(uintptr_t)client.all.ptr);
        free((void *)(uintptr_t)silo.all.ptr);
    }
    print_message("%d answers of silos, %d of clients\n", by_silo, by_client);
    assert_true(by_silo >= 40);
    assert_true(by_client >= 2);
}

static void test_reply_owns_its_address_and_refuses_a_longer_one(void **state)
{
    (void)state;
    char text[ORL_REPLY_IDS_MAX + 1] = {0};
    struct orl_reply reply;
    struct orl_frame frame;
    struct orl_message back;
    struct wbuf w;
    size_t used = 0;
    memset(text, 'k', sizeof text);
    struct orl_message m = {
        .direction = ORL_DIRECTION_REQUEST,
        .flags = ORL_FLAG_READ_ONLY | ORL_FLAG_INTERFACE_TYPE | ORL_FLAG_UNORDERED,
        .id = 9,
        .target = {span_of_str("echo"), span_of(text, ORL_REPLY_IDS_MAX - 4)},
    };
    assert_int_equal(orl_reply_init(&reply, &m), SC_OK);
    memset(text, 'x', sizeof text); /* the request's frame is gone */
    wbuf_init(&w, 4096);
    assert_int_equal(orl_reply_completed(&w, &reply), SC_OK);
    assert_int_equal(orl_frame_decode(wbuf_span(&w), &lim, &frame, &used), SC_OK);
    assert_int_equal(orl_message_decode(frame.header, &back), SC_OK);
    assert_int_equal(back.sender.key.len, ORL_REPLY_IDS_MAX - 4);
    assert_int_equal(back.sender.key.ptr[0], 'k');
    assert_int_equal(back.flags, ORL_FLAG_READ_ONLY);
    m.target.key.len++;
    assert_int_equal(orl_reply_init(&reply, &m), SC_ERR_TOO_LARGE);
    wbuf_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_to_recorded_requests_are_the_recorded_ones),
        cmocka_unit_test(test_reply_owns_its_address_and_refuses_a_longer_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
