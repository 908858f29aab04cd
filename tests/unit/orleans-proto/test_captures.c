/* Every recorded conversation decodes completely and encodes again to the same bytes. */
#include "orleans-proto/invoke.h"
#include "orleans-proto/preamble.h"
#include "orleans-proto/response.h"
#include "orleans-proto/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/orleans-proto/captures.h"

static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};

static struct {
    int preambles;
    int messages;
    int calls;
    int values;
    int completed;
    int exceptions;
    int rejections;
    int statuses;
    int enqueues;
    int subscriptions;
    int deliveries;
    int tokens_only;
} seen;

static void assert_same(const char *path, struct span got, struct span want)
{
    if (!span_eq(got, want))
        print_error("%s: %zu bytes differ from %zu recorded\n", path, got.len, want.len);
    assert_true(span_eq(got, want));
}

static void check_tokens(const char *path, const struct orl_message *m)
{
    struct orl_reader r;
    struct orl_field f;
    struct wbuf w;
    wbuf_init(&w, ORL_BODY_MAX);
    orl_body_reader_init(&r, m);
    while (orl_reader_token(&r, &f))
        orl_put_token(&w, &f);
    assert_int_equal(r.status, SC_OK);
    assert_same(path, wbuf_span(&w), m->body);
    wbuf_fini(&w);
    seen.tokens_only++;
}

/* Follows every reference in a body and reads what it names. */
static void check_references(const struct orl_message *m)
{
    struct orl_reader r;
    struct orl_field f;
    struct orl_field target;
    orl_body_reader_init(&r, m);
    while (orl_reader_token(&r, &f)) {
        if (f.wire == ORL_WIRE_REF && f.num != 0) {
            assert_true(orl_reader_resolve(&r, &f, &target));
            assert_true(target.wire == ORL_WIRE_BYTES || target.wire == ORL_WIRE_OBJECT);
        }
    }
    assert_int_equal(r.status, SC_OK);
}

static const char *text_of(struct span s, char *to, size_t room)
{
    snprintf(to, room, "%.*s", SPAN_ARG(s));
    return s.len != 0 ? to : NULL;
}

/* The names in a request are enough to write its head again. */
static void check_call_head(const char *path, const struct orl_message *m,
                            const struct orl_call *call)
{
    char interface[256];
    char assembly[256];
    char method[64];
    char generic[256];
    struct orl_method_def def = {
        .interface = text_of(call->interface, interface, sizeof interface),
        .assembly = text_of(call->assembly, assembly, sizeof assembly),
        .id = text_of(call->method, method, sizeof method),
        .generic = text_of(call->generic, generic, sizeof generic),
        .extension = call->extension,
    };
    struct orl_method built;
    assert_int_equal(orl_method_init(&built, &def), SC_OK);
    assert_true(built.head_len < m->body.len);
    assert_same(path, span_of(built.head, built.head_len), span_of(m->body.ptr, built.head_len));
}

static void rewrite_stream_call(const struct orl_call *call, struct orl_reader *r,
                                struct wbuf *store, struct wbuf *w)
{
    struct orl_method method;
    struct orl_args args;
    if (orl_call_is(call, ORL_QUEUE_INTERFACE, ORL_QUEUE_ENQUEUE)) {
        struct orl_memory_message m;
        assert_int_equal(orl_enqueue_read(r, store, &m), SC_OK);
        assert_int_equal(orl_stream_method_init(&method, ORL_STREAM_ENQUEUE), SC_OK);
        orl_args_begin(&args, w, &method);
        orl_args_enqueue(&args, &m);
        seen.enqueues++;
    } else if (orl_call_is(call, ORL_RENDEZVOUS_INTERFACE, ORL_RENDEZVOUS_REGISTER) ||
               orl_call_is(call, ORL_RENDEZVOUS_INTERFACE, ORL_RENDEZVOUS_UNREGISTER)) {
        struct orl_subscription s;
        bool registers = span_eq_str(call->method, ORL_RENDEZVOUS_REGISTER);
        assert_int_equal(orl_subscription_read(r, &s), SC_OK);
        assert_int_equal(orl_stream_method_init(&method, registers ? ORL_STREAM_REGISTER
                                                                   : ORL_STREAM_UNREGISTER),
                         SC_OK);
        orl_args_begin(&args, w, &method);
        if (registers)
            orl_args_register(&args, &s);
        else
            orl_args_unregister(&args, &s);
        seen.subscriptions++;
    } else if (orl_call_is(call, ORL_CONSUMER_INTERFACE, ORL_CONSUMER_DELIVER)) {
        struct orl_delivery d;
        assert_int_equal(orl_delivery_read(r, store, &d), SC_OK);
        assert_int_equal(orl_stream_method_init(&method, ORL_STREAM_DELIVER), SC_OK);
        orl_args_begin(&args, w, &method);
        orl_args_deliver(&args, &d);
        seen.deliveries++;
    } else if (orl_call_is(call, ORL_CONSUMER_INTERFACE, ORL_CONSUMER_GET_TOKEN)) {
        struct orl_guid id;
        assert_int_equal(orl_get_token_read(r, &id), SC_OK);
        assert_int_equal(orl_stream_method_init(&method, ORL_STREAM_GET_TOKEN), SC_OK);
        orl_args_begin(&args, w, &method);
        orl_args_get_token(&args, &id);
    } else {
        return;
    }
    orl_args_end(&args);
}

static void check_request(const char *path, const struct orl_message *m)
{
    struct orl_reader r;
    struct orl_call call;
    struct wbuf store;
    struct wbuf w;
    assert_int_equal(orl_call_open(m, &r, &call), SC_OK);
    check_call_head(path, m, &call);
    wbuf_init(&store, 1 << 20);
    wbuf_init(&w, 1 << 20);
    rewrite_stream_call(&call, &r, &store, &w);
    if (w.len != 0)
        assert_same(path, wbuf_span(&w), m->body);
    wbuf_fini(&w);
    wbuf_fini(&store);
    seen.calls++;
}

static void check_response(const char *path, const struct orl_message *m)
{
    struct orl_response response;
    struct wbuf w;
    wbuf_init(&w, ORL_BODY_MAX);
    assert_int_equal(orl_response_decode(m, &response), SC_OK);
    switch (response.outcome) {
    case ORL_OUTCOME_COMPLETED:
        orl_put_completed(&w);
        seen.completed++;
        break;
    case ORL_OUTCOME_VALUE:
        seen.values++;
        if (response.value.kind != ORL_KIND_OTHER && response.type.schema == ORL_SCHEMA_KNOWN)
            orl_put_raw_value(&w, &response.value, orl_kind_of_known(response.type.known));
        else if (response.value.kind == ORL_KIND_NULL)
            orl_put_raw_null(&w, response.type.name);
        break;
    case ORL_OUTCOME_EXCEPTION:
        assert_true(response.exception.type.len != 0);
        assert_true(response.exception.message.len != 0);
        seen.exceptions++;
        break;
    case ORL_OUTCOME_REJECTED:
        assert_true(response.rejection > ORL_REJECTION_NONE);
        assert_true(response.info.len != 0);
        if (response.exception.type.len == 0)
            orl_put_rejection(&w, response.rejection, response.info);
        seen.rejections++;
        break;
    case ORL_OUTCOME_STATUS:
        seen.statuses++;
        break;
    default:
        fail_msg("%s: unknown outcome", path);
    }
    assert_false(w.failed);
    if (w.len != 0)
        assert_same(path, wbuf_span(&w), m->body);
    wbuf_fini(&w);
}

static void check_frame(const char *path, struct span whole, const struct orl_frame *frame)
{
    struct orl_message m;
    struct wbuf w;
    assert_int_equal(orl_message_decode(frame->header, &m), SC_OK);
    m.body = frame->body;
    wbuf_init(&w, ORL_BODY_MAX);
    assert_int_equal(orl_message_write(&w, &m, &lim), SC_OK);
    assert_same(path, wbuf_span(&w), whole);
    wbuf_fini(&w);
    check_tokens(path, &m);
    check_references(&m);
    if (m.direction == ORL_DIRECTION_RESPONSE)
        check_response(path, &m);
    else
        check_request(path, &m);
    seen.messages++;
}

static size_t check_preamble(const char *path, struct span in)
{
    struct orl_preamble p;
    size_t used = 0;
    struct wbuf w;
    assert_int_equal(orl_preamble_decode(in, &p, &used), SC_OK);
    wbuf_init(&w, 2048);
    assert_int_equal(orl_preamble_encode(&w, &p), SC_OK);
    assert_same(path, wbuf_span(&w), span_of(in.ptr, used));
    assert_int_equal(p.version, ORL_PROTOCOL_VERSION);
    assert_true(span_eq_str(p.cluster_id, "dev"));
    assert_int_equal(orl_silo_is_null(&p.silo), span_eq_str(p.node.type, "sys.client"));
    wbuf_fini(&w);
    seen.preambles++;
    return used;
}

static void check_file(const char *path, struct span in)
{
    size_t pos = check_preamble(path, in);
    while (pos < in.len) {
        struct span rest = span_of(in.ptr + pos, in.len - pos);
        struct orl_frame frame;
        size_t used = 0;
        assert_int_equal(orl_frame_decode(rest, &lim, &frame, &used), SC_OK);
        check_frame(path, span_of(rest.ptr, used), &frame);
        pos += used;
    }
}

static void test_captures_encode_to_what_was_recorded(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    captures_each(check_file);
    print_message("%d preambles, %d messages: %d calls, %d values, %d completed, %d exceptions, %d "
                  "rejections, %d statuses, %d enqueues, %d subscriptions, %d deliveries\n",
                  seen.preambles, seen.messages, seen.calls, seen.values, seen.completed,
                  seen.exceptions, seen.rejections, seen.statuses, seen.enqueues,
                  seen.subscriptions, seen.deliveries);
    assert_true(seen.preambles >= 70 && seen.messages >= 200 && seen.calls >= 100);
    assert_true(seen.values >= 50 && seen.completed >= 10 && seen.exceptions >= 5);
    assert_true(seen.rejections >= 5 && seen.enqueues >= 4);
    assert_true(seen.subscriptions >= 4 && seen.deliveries >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captures_encode_to_what_was_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
