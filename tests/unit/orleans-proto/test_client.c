/* The client session against our own gateway session, and against recorded silos. */
#include "orleans-proto/client.h"
#include "orleans-proto/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/orleans-proto/captures.h"

static const struct orl_limits lim = {ORL_HEADER_MAX, ORL_BODY_MAX};
static const struct orl_guid client_guid = {{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88,
                                             0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};
static const struct orl_grain_id echo_k = {{(const uint8_t *)"echo", 4}, {(const uint8_t *)"k", 1}};

static struct orl_client *open_client(const char *cluster, uint32_t calls_max)
{
    struct orl_client *c = NULL;
    const struct orl_client_config config = {
        .cluster_id = span_of_str(cluster),
        .id = client_guid,
        .first_call_id = 1,
        .calls_max = calls_max,
        .limits = lim,
    };
    assert_int_equal(orl_client_open(&config, &c), SC_OK);
    return c;
}

static struct orl_gateway *open_gateway(const char *cluster)
{
    struct orl_gateway *g = NULL;
    struct orl_gateway_config config = {
        .cluster_id = span_of_str(cluster), .first_call_id = 1000, .calls_max = 16, .limits = lim};
    assert_int_equal(orl_silo_parse(span_of_str("127.0.0.1:11111@7"), &config.silo), SC_OK);
    assert_int_equal(orl_gateway_open(&config, &g), SC_OK);
    return g;
}

static struct orl_method echo_method(bool one_way)
{
    const struct orl_method_def def = {
        .interface = "Sample.IEchoGrain",
        .assembly = "Sample.Interfaces",
        .signature = "global::Sample.IEchoGrain.Echo(string)",
        .one_way = one_way,
    };
    struct orl_method m;
    assert_int_equal(orl_method_init(&m, &def), SC_OK);
    return m;
}

static enum sc_status call_text(struct orl_client *c, struct wbuf *w, const struct orl_method *m,
                                uint64_t user, uint32_t timeout_ms, uint64_t now_ns,
                                const char *text)
{
    const struct orl_client_call call = {
        .target = echo_k, .method = m, .timeout_ms = timeout_ms, .now_ns = now_ns, .user = user};
    struct orl_call_frame frame;
    enum sc_status st = orl_client_call_begin(c, w, &call, &frame);
    if (st != SC_OK)
        return st;
    orl_args_string(&frame.args, span_of_str(text));
    return orl_client_call_end(c, &frame, NULL);
}

/* The walk-through of the protocol notes: these bytes were sent to a real silo. */
static void test_client_sends_the_bytes_that_a_real_silo_accepted(void **state)
{
    (void)state;
    static const char want[] =
        "6b0000004e000000400101000100000000000000156afe65c77379732e636c69656e7441fbbd4e943030313132"
        "323333343435353636373738383939616162626363646465656666094b6b0cce6563686f03ea505c246b010130"
        "7500002330eb46df53616d706c652e494563686f477261696e3001bf2b5919872822696e76222c5b477261696e"
        "5265665d2c5b53616d706c652e494563686f477261696e2c53616d706c652e496e74657266616365735d2c2241"
        "303831423642412229400378e0";
    struct orl_client *c = open_client("dev", 4);
    struct orl_method m = echo_method(false);
    struct wbuf w;
    wbuf_init(&w, 1024);
    assert_int_equal(call_text(c, &w, &m, 1, 1000, 0, "early"), SC_ERR_CLOSED);
    assert_int_equal(orl_client_start(c, &w), SC_OK);
    assert_int_equal(w.len, 80);
    assert_int_equal(call_text(c, &w, &m, 1, 30000, 5, "x"), SC_OK);
    char hex[2 * 1024];
    for (size_t i = 80; i < w.len; i++)
        snprintf(hex + 2 * (i - 80), 3, "%02x", w.ptr[i]);
    assert_string_equal(hex, want);
    assert_true(orl_client_deadline_ns(c) == 5 + 30000ull * 1000000);

    /* The header from prepared parts is the one that orl_message_encode writes. */
    struct orl_frame frame;
    struct orl_message msg;
    struct wbuf again;
    size_t used = 0;
    assert_int_equal(orl_frame_decode(span_of(w.ptr + 80, w.len - 80), &lim, &frame, &used), SC_OK);
    assert_int_equal(orl_message_decode(frame.header, &msg), SC_OK);
    wbuf_init(&again, 1024);
    assert_int_equal(orl_message_encode(&again, &msg), SC_OK);
    assert_true(span_eq(wbuf_span(&again), frame.header));
    wbuf_fini(&again);
    wbuf_fini(&w);
    orl_client_close(c);
}

/* Two sessions and the bytes between them, handed over one at a time. */
struct pipe {
    struct orl_client *c;
    struct orl_gateway *g;
    struct wbuf to_gateway;
    struct wbuf to_client;
    struct wbuf at_gateway; /* received, not consumed */
    struct wbuf at_client;
};

static void pipe_open(struct pipe *p, const char *client_cluster, const char *gateway_cluster)
{
    p->c = open_client(client_cluster, 16);
    p->g = open_gateway(gateway_cluster);
    wbuf_init(&p->to_gateway, 1 << 20);
    wbuf_init(&p->to_client, 1 << 20);
    wbuf_init(&p->at_gateway, 1 << 20);
    wbuf_init(&p->at_client, 1 << 20);
    assert_int_equal(orl_client_start(p->c, &p->to_gateway), SC_OK);
}

static void pipe_close(struct pipe *p)
{
    orl_client_close(p->c);
    orl_gateway_close(p->g);
    wbuf_fini(&p->to_gateway);
    wbuf_fini(&p->to_client);
    wbuf_fini(&p->at_gateway);
    wbuf_fini(&p->at_client);
}

static bool move_byte(struct wbuf *from, struct wbuf *to)
{
    if (from->len == 0)
        return false;
    wb_u8(to, from->ptr[0]);
    wbuf_consume(from, 1);
    return true;
}

/* Runs until the gateway has an event, which borrows from at_gateway; consume *used after use. */
static enum sc_status gateway_event(struct pipe *p, struct orl_gateway_event *ev, size_t *used)
{
    for (;;) {
        size_t need = orl_gateway_need(p->g, wbuf_span(&p->at_gateway));
        enum sc_status st =
            orl_gateway_next(p->g, wbuf_span(&p->at_gateway), used, &p->to_client, ev);
        assert_int_equal(st == SC_AGAIN && p->at_gateway.len >= need, false);
        if (st != SC_AGAIN || !move_byte(&p->to_gateway, &p->at_gateway))
            return st;
    }
}

static enum sc_status client_event(struct pipe *p, struct orl_client_event *ev, size_t *used)
{
    for (;;) {
        size_t need = orl_client_need(p->c, wbuf_span(&p->at_client));
        enum sc_status st = orl_client_next(p->c, wbuf_span(&p->at_client), used, ev);
        assert_int_equal(st == SC_AGAIN && p->at_client.len >= need, false);
        if (st != SC_AGAIN || !move_byte(&p->to_client, &p->at_client))
            return st;
    }
}

static void pipe_handshake(struct pipe *p)
{
    struct orl_gateway_event gev;
    struct orl_client_event cev;
    size_t used = 0;
    assert_int_equal(gateway_event(p, &gev, &used), SC_OK);
    assert_int_equal(gev.kind, ORL_GATEWAY_READY);
    assert_true(orl_grain_id_eq(gev.client, orl_client_grain_id(p->c)));
    wbuf_consume(&p->at_gateway, used);
    assert_false(orl_client_ready(p->c));
    assert_int_equal(client_event(p, &cev, &used), SC_OK);
    assert_int_equal(cev.kind, ORL_CLIENT_READY);
    wbuf_consume(&p->at_client, used);
    assert_true(orl_client_ready(p->c));
    assert_int_equal(orl_client_silo(p->c)->port, 11111);
}

static void test_sessions_speak_with_each_other_byte_by_byte(void **state)
{
    (void)state;
    struct pipe p;
    struct orl_gateway_event gev;
    struct orl_client_event cev;
    struct orl_reader r;
    struct orl_field f;
    struct orl_call call;
    struct orl_reply replies[4];
    size_t used = 0;
    struct orl_method m = echo_method(false);
    pipe_open(&p, "dev", "dev");
    pipe_handshake(&p);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(call_text(p.c, &p.to_gateway, &m, 100 + i, 1000, 0, "hi"), SC_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(gateway_event(&p, &gev, &used), SC_OK);
        assert_int_equal(gev.kind, ORL_GATEWAY_REQUEST);
        assert_true(orl_grain_id_eq(gev.message.target, echo_k));
        assert_true(span_eq_str(gev.message.interface, "Sample.IEchoGrain"));
        assert_true(orl_call_is(&gev.call, "Sample.IEchoGrain", "A081B6BA"));
        assert_true(span_eq_str(gev.call.assembly, "Sample.Interfaces"));
        assert_int_equal(orl_call_open(&gev.message, &r, &call), SC_OK);
        assert_true(orl_reader_next(&r, &f));
        assert_true(span_eq_str(orl_get_bytes(&r, &f), "hi"));
        assert_false(orl_reader_next(&r, &f));
        assert_true(orl_reader_next(&gev.args, &f));
        assert_true(span_eq_str(orl_get_bytes(&gev.args, &f), "hi"));
        replies[i] = gev.reply;
        wbuf_consume(&p.at_gateway, used);
    }
    /* Answered in another order, each in another way. */
    const struct orl_value v = orl_value_string(span_of_str("answer"));
    const struct orl_exception e = {span_of_str("System.TimeoutException"), span_of_str("slow")};
    assert_int_equal(orl_reply_rejection(&p.to_client, &replies[3], ORL_REJECTION_OVERLOADED,
                                         span_of_str("full")),
                     SC_OK);
    assert_int_equal(orl_reply_exception(&p.to_client, &replies[2], &e), SC_OK);
    assert_int_equal(orl_reply_value(&p.to_client, &replies[1], &v, ORL_KIND_STRING), SC_OK);
    assert_int_equal(orl_reply_completed(&p.to_client, &replies[0]), SC_OK);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(client_event(&p, &cev, &used), SC_OK);
        assert_int_equal(cev.kind, ORL_CLIENT_RESPONSE);
        assert_true(cev.user == 103 - i);
        assert_true(orl_silo_eq(&cev.message.sender_silo, orl_client_silo(p.c)));
        switch (cev.user) {
        case 103:
            assert_int_equal(cev.response.outcome, ORL_OUTCOME_REJECTED);
            assert_int_equal(cev.response.rejection, ORL_REJECTION_OVERLOADED);
            assert_true(span_eq_str(cev.response.info, "full"));
            break;
        case 102:
            assert_int_equal(cev.response.outcome, ORL_OUTCOME_EXCEPTION);
            assert_true(span_eq_str(cev.response.exception.type, "System.TimeoutException"));
            assert_true(span_eq_str(cev.response.exception.message, "slow"));
            break;
        case 101:
            assert_int_equal(cev.response.outcome, ORL_OUTCOME_VALUE);
            assert_int_equal(cev.response.value.kind, ORL_KIND_STRING);
            assert_true(span_eq_str(cev.response.value.bytes, "answer"));
            break;
        default:
            assert_int_equal(cev.response.outcome, ORL_OUTCOME_COMPLETED);
        }
        wbuf_consume(&p.at_client, used);
    }
    assert_int_equal(orl_client_calls(p.c), 0);
    assert_int_equal(orl_reply_completed(&p.to_client, &replies[0]), SC_OK); /* once too often */
    assert_int_equal(client_event(&p, &cev, &used), SC_OK);
    assert_int_equal(cev.kind, ORL_CLIENT_STRAY);
    pipe_close(&p);
}

static void test_one_way_calls_are_not_in_flight(void **state)
{
    (void)state;
    struct pipe p;
    struct orl_gateway_event gev;
    size_t used = 0;
    struct orl_method m = echo_method(true);
    pipe_open(&p, "dev", "dev");
    pipe_handshake(&p);
    assert_int_equal(call_text(p.c, &p.to_gateway, &m, 1, 1000, 0, "fire"), SC_OK);
    assert_int_equal(orl_client_calls(p.c), 0);
    assert_int_equal(gateway_event(&p, &gev, &used), SC_OK);
    assert_int_equal(gev.kind, ORL_GATEWAY_ONE_WAY);
    assert_int_equal(gev.message.flags, ORL_FLAG_INTERFACE_TYPE);
    pipe_close(&p);
}

static void test_gateway_calls_an_observer_and_gets_its_answer(void **state)
{
    (void)state;
    struct pipe p;
    struct orl_gateway_event gev;
    struct orl_client_event cev;
    struct orl_call_frame frame;
    struct wbuf key;
    size_t used = 0;
    uint64_t id = 0;
    struct orl_method m = echo_method(false);
    pipe_open(&p, "dev", "dev");
    pipe_handshake(&p);
    wbuf_init(&key, 256);
    orl_client_put_observer_key(p.c, &key, span_of_str("scope"));
    struct orl_gateway_call call = {
        .sender = {span_of_str("sys.svc.stream.agent"), span_of_str("127.0.0.1:11111@7+x")},
        .target = {span_of_str("sys.client"), wbuf_span(&key)},
        .method = &m,
        .timeout_ms = 30000,
        .user = 77,
    };
    assert_int_equal(orl_gateway_call_begin(p.g, &p.to_client, &call, &frame), SC_OK);
    orl_args_string(&frame.args, span_of_str("news"));
    assert_int_equal(orl_gateway_call_end(p.g, &frame, &id), SC_OK);
    call.target.key = span_of_str("somebody+else");
    assert_int_equal(orl_gateway_call_begin(p.g, &p.to_client, &call, &frame), SC_ERR_ARGUMENT);

    assert_int_equal(client_event(&p, &cev, &used), SC_OK);
    assert_int_equal(cev.kind, ORL_CLIENT_REQUEST);
    assert_true(cev.can_reply);
    assert_true(span_eq(cev.message.target.key, wbuf_span(&key)));
    assert_true(orl_call_is(&cev.call, "Sample.IEchoGrain", "A081B6BA"));
    struct orl_reply reply = cev.reply;
    wbuf_consume(&p.at_client, used);
    const struct orl_value v = orl_value_long(-7);
    assert_int_equal(orl_reply_value(&p.to_gateway, &reply, &v, ORL_KIND_LONG), SC_OK);

    assert_int_equal(gateway_event(&p, &gev, &used), SC_OK);
    assert_int_equal(gev.kind, ORL_GATEWAY_RESPONSE);
    assert_true(gev.id == id && gev.user == 77);
    assert_true(gev.response.value.i == -7);
    /* A system target is answered with its silo, or the silo dies. */
    assert_true(orl_silo_eq(&gev.message.target_silo, orl_client_silo(p.c)));
    assert_true(span_eq_str(gev.message.target.type, "sys.svc.stream.agent"));

    reply.to_silo = (struct orl_silo){0};
    size_t before = p.to_gateway.len;
    assert_int_equal(orl_reply_completed(&p.to_gateway, &reply), SC_ERR_ARGUMENT);
    assert_int_equal(p.to_gateway.len, before);
    wbuf_fini(&key);
    pipe_close(&p);
}

static void test_client_hears_that_the_gateway_stops(void **state)
{
    (void)state;
    struct pipe p;
    struct orl_client_event cev;
    struct orl_silo address;
    size_t used = 0;
    assert_int_equal(orl_silo_parse(span_of_str("127.0.0.1:31000"), &address), SC_OK);
    pipe_open(&p, "dev", "dev");
    pipe_handshake(&p);
    assert_int_equal(orl_gateway_put_stop(p.g, &p.to_client, &address), SC_OK);
    assert_int_equal(client_event(&p, &cev, &used), SC_OK);
    assert_int_equal(cev.kind, ORL_CLIENT_STOP);
    assert_true(orl_silo_eq(&cev.stopping, &address));
    assert_int_equal(orl_client_ended(p.c, 0), ORL_WHY_STOPPED);
    pipe_close(&p);
}

static void test_another_cluster_is_noticed_on_both_sides(void **state)
{
    (void)state;
    struct pipe p;
    struct orl_gateway_event gev;
    struct orl_client_event cev;
    size_t used = 0;
    pipe_open(&p, "dev", "prod");
    assert_int_equal(gateway_event(&p, &gev, &used), SC_ERR_REFUSED);
    assert_true(p.to_client.len > 0); /* the refused client still gets the preamble */
    assert_int_equal(gateway_event(&p, &gev, &used), SC_ERR_CLOSED);
    assert_int_equal(client_event(&p, &cev, &used), SC_ERR_REFUSED);
    assert_int_equal(orl_client_why(p.c), ORL_WHY_CLUSTER);
    assert_int_equal(client_event(&p, &cev, &used), SC_ERR_CLOSED);
    assert_int_equal(orl_client_ended(p.c, 0), ORL_WHY_CLUSTER);
    pipe_close(&p);
}

static enum orl_client_why why_of(const void *bytes, size_t len, enum sc_status want)
{
    struct orl_client *c = open_client("dev", 1);
    struct orl_client_event ev;
    struct wbuf w;
    size_t used = 0;
    wbuf_init(&w, 256);
    assert_int_equal(orl_client_start(c, &w), SC_OK);
    enum sc_status st = orl_client_next(c, span_of(bytes, len), &used, &ev);
    while (st == SC_OK) {
        bytes = (const uint8_t *)bytes + used;
        len -= used;
        st = orl_client_next(c, span_of(bytes, len), &used, &ev);
    }
    assert_int_equal(st, want);
    enum orl_client_why why = orl_client_ended(c, len);
    wbuf_fini(&w);
    orl_client_close(c);
    return why;
}

static void test_client_tells_why_a_session_ended(void **state)
{
    (void)state;
    struct span silo = capture_read("v10.3.0/connect/s2c.bin");
    assert_int_equal(why_of("", 0, SC_AGAIN), ORL_WHY_NO_PREAMBLE);
    assert_int_equal(why_of(silo.ptr, 50, SC_AGAIN), ORL_WHY_PARTIAL_PREAMBLE);
    assert_int_equal(why_of("HTTP/1.1 400", 12, SC_ERR_LIMIT), ORL_WHY_BAD_PREAMBLE);
    assert_int_equal(why_of("\x03\0\0\0abc", 7, SC_ERR_PROTOCOL), ORL_WHY_BAD_PREAMBLE);
    assert_int_equal(why_of(silo.ptr, 96, SC_AGAIN), ORL_WHY_IDENTITY);
    assert_int_equal(why_of(silo.ptr, 97, SC_AGAIN), ORL_WHY_PARTIAL_FRAME);
    assert_int_equal(why_of(silo.ptr, silo.len, SC_AGAIN), ORL_WHY_CLOSED);

    uint8_t bad[96 + 8 + 4];
    memcpy(bad, silo.ptr, 96);
    memset(bad + 96, 0, 12);
    assert_int_equal(why_of(bad, 104, SC_ERR_PROTOCOL), ORL_WHY_BAD_FRAME);
    bad[96] = 1;
    bad[96 + 7] = 0x7f; /* a body of 2 GiB: refused from its length */
    assert_int_equal(why_of(bad, 104, SC_ERR_LIMIT), ORL_WHY_LIMIT);
    for (int why = 0; why < ORL_WHY_COUNT; why++)
        assert_true(strlen(orl_client_why_text((enum orl_client_why)why)) > 10);
    free((void *)(uintptr_t)silo.ptr);
}

static void test_client_skips_what_does_not_decode_but_not_a_new_version(void **state)
{
    (void)state;
    struct span silo = capture_read("v10.3.0/echo/s2c.bin");
    struct orl_client *c = open_client("dev", 1);
    struct orl_client_event ev;
    struct wbuf w;
    size_t used = 0;
    wbuf_init(&w, 1 << 20);
    assert_int_equal(orl_client_start(c, &w), SC_OK);
    wbuf_clear(&w);
    wb_bytes(&w, silo.ptr, 96);
    assert_int_equal(orl_client_next(c, wbuf_span(&w), &used, &ev), SC_OK);
    wbuf_clear(&w);
    wb_u32le(&w, 20); /* a header of 20 bytes that is none */
    wb_u32le(&w, 2);
    for (int i = 0; i < 22; i++)
        wb_u8(&w, 0x02);
    assert_int_equal(orl_client_next(c, wbuf_span(&w), &used, &ev), SC_OK);
    assert_int_equal(ev.kind, ORL_CLIENT_SKIPPED);
    assert_int_equal(used, 30);
    w.ptr[8 + 1] = 0x80;
    assert_int_equal(orl_client_next(c, wbuf_span(&w), &used, &ev), SC_ERR_VERSION);
    assert_int_equal(orl_client_why(c), ORL_WHY_VERSION);
    wbuf_fini(&w);
    orl_client_close(c);
    free((void *)(uintptr_t)silo.ptr);
}

static void test_client_refuses_system_targets_without_silo_and_calls_over_the_limit(void **state)
{
    (void)state;
    struct orl_client *c = open_client("dev", 2);
    struct orl_method m = echo_method(false);
    struct orl_call_frame frame;
    struct wbuf w;
    wbuf_init(&w, 4096);
    assert_int_equal(orl_client_start(c, &w), SC_OK);
    size_t before = w.len;
    struct orl_client_call call = {
        .target = {span_of_str("sys.svc.manifest"), span_of_str("127.0.0.1:30000@0")},
        .method = &m,
    };
    assert_int_equal(orl_client_call_begin(c, &w, &call, &frame), SC_ERR_ARGUMENT);
    assert_int_equal(w.len, before);
    assert_int_equal(call_text(c, &w, &m, 1, 10, 0, "a"), SC_OK);
    assert_int_equal(call_text(c, &w, &m, 2, 20, 0, "b"), SC_OK);
    before = w.len;
    assert_int_equal(call_text(c, &w, &m, 3, 30, 0, "c"), SC_ERR_BUSY);
    assert_int_equal(w.len, before);

    uint64_t id = 0;
    uint64_t user = 0;
    const uint64_t ms = 1000000;
    assert_false(orl_client_expire(c, 10 * ms - 1, &id, &user));
    assert_true(orl_client_expire(c, 10 * ms, &id, &user));
    assert_int_equal(user, 1);
    assert_false(orl_client_expire(c, 10 * ms, &id, &user));
    assert_true(orl_client_deadline_ns(c) == 20 * ms);
    assert_int_equal(call_text(c, &w, &m, 4, 0, 0, "d"), SC_OK); /* without time limit */
    assert_true(orl_client_expire(c, UINT64_MAX - 1, &id, &user));
    assert_int_equal(user, 2);
    assert_false(orl_client_expire(c, UINT64_MAX - 1, &id, &user));
    assert_true(orl_client_abandon(c, &id, &user));
    assert_int_equal(user, 4);
    assert_false(orl_client_abandon(c, &id, &user));
    wbuf_fini(&w);
    orl_client_close(c);
}

static void test_client_takes_a_call_back_when_the_buffer_is_full(void **state)
{
    (void)state;
    struct orl_method m = echo_method(false);
    for (size_t room = 80; room < 280; room++) {
        struct orl_client *c = open_client("dev", 2);
        struct wbuf w;
        wbuf_init(&w, room);
        assert_int_equal(orl_client_start(c, &w), SC_OK);
        enum sc_status st = call_text(c, &w, &m, 1, 10, 0, "x");
        bool fits = room >= 80 + 193;
        assert_int_equal(st, fits ? SC_OK : SC_ERR_NO_MEMORY);
        assert_int_equal(w.len, fits ? 80 + 193 : 80);
        assert_int_equal(orl_client_calls(c), fits ? 1 : 0);
        assert_false(w.failed);
        wbuf_fini(&w);
        orl_client_close(c);
    }
}

static int recorded_events;

/* A session with the recorded client's own id and calls gets a recorded silo's bytes. */
static void feed_recorded_silo(const char *path, struct span in)
{
    const char *name = strrchr(path, '/') + 1;
    if (strncmp(name, "s2c", 3) != 0)
        return;
    struct orl_client *c = open_client("dev", 64);
    struct orl_client_event ev;
    struct wbuf w;
    size_t used = 0;
    wbuf_init(&w, 256);
    assert_int_equal(orl_client_start(c, &w), SC_OK);
    for (size_t pos = 0; pos < in.len; pos += used) {
        assert_int_equal(orl_client_next(c, span_of(in.ptr + pos, in.len - pos), &used, &ev),
                         SC_OK);
        assert_int_equal(ev.kind == ORL_CLIENT_READY, pos == 0);
        assert_true(ev.kind == ORL_CLIENT_READY || ev.kind == ORL_CLIENT_STRAY ||
                    ev.kind == ORL_CLIENT_REQUEST || ev.kind == ORL_CLIENT_ONE_WAY);
        if (ev.kind == ORL_CLIENT_REQUEST)
            assert_true(ev.can_reply && ev.call.type.len != 0);
        recorded_events++;
    }
    wbuf_fini(&w);
    orl_client_close(c);
}

static void test_client_reads_every_recorded_silo(void **state)
{
    (void)state;
    recorded_events = 0;
    captures_each(feed_recorded_silo);
    assert_true(recorded_events > 200);
}

static void feed_recorded_client(const char *path, struct span in)
{
    const char *name = strrchr(path, '/') + 1;
    if (strncmp(name, "c2s", 3) != 0)
        return;
    struct orl_gateway *g = open_gateway("dev");
    struct orl_gateway_event ev;
    struct wbuf w;
    size_t used = 0;
    wbuf_init(&w, 1 << 16);
    for (size_t pos = 0; pos < in.len; pos += used) {
        assert_int_equal(orl_gateway_next(g, span_of(in.ptr + pos, in.len - pos), &used, &w, &ev),
                         SC_OK);
        assert_int_equal(ev.kind == ORL_GATEWAY_READY, pos == 0);
        if (ev.kind == ORL_GATEWAY_REQUEST) {
            assert_true(orl_grain_id_eq(ev.message.sender, orl_gateway_client(g)));
            assert_int_equal(orl_reply_completed(&w, &ev.reply), SC_OK);
        } else {
            assert_true(ev.kind == ORL_GATEWAY_READY || ev.kind == ORL_GATEWAY_ONE_WAY ||
                        ev.kind == ORL_GATEWAY_STRAY);
        }
        recorded_events++;
    }
    wbuf_fini(&w);
    orl_gateway_close(g);
}

static void test_gateway_reads_every_recorded_client(void **state)
{
    (void)state;
    recorded_events = 0;
    captures_each(feed_recorded_client);
    assert_true(recorded_events > 200);
}

static void test_gateway_drops_expired_and_refuses_bodies_that_are_no_calls(void **state)
{
    (void)state;
    struct pipe p;
    struct orl_gateway_event gev;
    struct orl_client_event cev;
    size_t used = 0;
    pipe_open(&p, "dev", "dev");
    pipe_handshake(&p);
    struct orl_message m = {
        .flags = ORL_FLAG_TTL,
        .direction = ORL_DIRECTION_REQUEST,
        .id = 5,
        .sender = orl_client_grain_id(p.c),
        .target = echo_k,
        .ttl_ms = -5,
        .body = span_of_str("\x28\x05\xe0"),
    };
    assert_int_equal(orl_message_write(&p.to_gateway, &m, &lim), SC_OK);
    assert_int_equal(gateway_event(&p, &gev, &used), SC_OK);
    assert_int_equal(gev.kind, ORL_GATEWAY_EXPIRED);
    wbuf_consume(&p.at_gateway, used);
    m.ttl_ms = 1000;
    assert_int_equal(orl_message_write(&p.to_gateway, &m, &lim), SC_OK);
    assert_int_equal(gateway_event(&p, &gev, &used), SC_OK);
    assert_int_equal(gev.kind, ORL_GATEWAY_REFUSED);
    assert_int_equal(client_event(&p, &cev, &used), SC_OK);
    assert_int_equal(cev.message.response_type, ORL_RESPONSE_ERROR);
    assert_true(cev.message.id == 5);
    pipe_close(&p);
}

static enum orl_client_event_kind feed_response(struct pipe *p, struct orl_message *m,
                                                const char *body, size_t len, uint64_t *user)
{
    struct orl_client_event cev;
    size_t used = 0;
    m->direction = ORL_DIRECTION_RESPONSE;
    m->body = span_of(body, len);
    assert_int_equal(orl_message_write(&p->to_client, m, &lim), SC_OK);
    assert_int_equal(client_event(p, &cev, &used), SC_OK);
    wbuf_consume(&p->at_client, used);
    *user = cev.user;
    return cev.kind;
}

/* Id 1 is in flight. What is no answer to it must not end it. */
static void test_only_an_answer_to_the_call_ends_it(void **state)
{
    (void)state;
    static const char busy[] = "\x28\xcd\x40\x05no\x01\x09\xc1\x01\xe0";
    static const char status[] = "\x28\xcf\x00\x03\xe0";
    struct pipe p;
    struct wbuf key;
    uint64_t user = 0;
    struct orl_method method = echo_method(false);
    pipe_open(&p, "dev", "dev");
    pipe_handshake(&p);
    wbuf_init(&key, 128);
    orl_client_put_observer_key(p.c, &key, span_of_str("o"));
    assert_int_equal(call_text(p.c, &p.to_gateway, &method, 42, 1000, 0, "x"), SC_OK);
    struct orl_message m = {.id = 1, .sender = echo_k};

    /* A rejection of an answer that an observer of ours gave, under the same id. */
    m.target = (struct orl_grain_id){span_of_str("sys.client"), wbuf_span(&key)};
    m.response_type = ORL_RESPONSE_REJECTION;
    assert_int_equal(feed_response(&p, &m, busy, sizeof busy - 1, &user), ORL_CLIENT_STRAY);
    m.target = orl_client_grain_id(p.c);
    m.id = 2;
    assert_int_equal(feed_response(&p, &m, busy, sizeof busy - 1, &user), ORL_CLIENT_STRAY);
    m.id = 1;
    m.response_type = ORL_RESPONSE_STATUS;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(feed_response(&p, &m, status, sizeof status - 1, &user),
                         ORL_CLIENT_STATUS);
        assert_int_equal(user, 42);
    }
    assert_int_equal(orl_client_calls(p.c), 1);
    m.response_type = ORL_RESPONSE_REJECTION;
    assert_int_equal(feed_response(&p, &m, busy, 6, &user), ORL_CLIENT_GARBLED);
    assert_int_equal(user, 42);
    assert_int_equal(orl_client_calls(p.c), 0);

    assert_int_equal(call_text(p.c, &p.to_gateway, &method, 43, 1000, 0, "x"), SC_OK);
    m.id = 2;
    assert_int_equal(feed_response(&p, &m, busy, sizeof busy - 1, &user), ORL_CLIENT_RESPONSE);
    assert_int_equal(user, 43);
    assert_int_equal(call_text(p.c, &p.to_gateway, &method, 44, 1000, 0, "x"), SC_OK);
    assert_true(orl_client_forget(p.c, 3, &user));
    assert_int_equal(user, 44);
    m.id = 3;
    assert_int_equal(feed_response(&p, &m, busy, sizeof busy - 1, &user), ORL_CLIENT_STRAY);
    wbuf_fini(&key);
    pipe_close(&p);
}

/* A grain type of 700 bytes, and a key that refers to it: 1400 bytes out of a legal preamble. */
static void test_gateway_refuses_an_identity_that_references_make_too_long(void **state)
{
    (void)state;
    struct orl_gateway *g = open_gateway("dev");
    struct orl_gateway_event ev;
    struct wbuf in;
    struct wbuf out;
    char type[700];
    size_t used = 0;
    memset(type, 'x', sizeof type);
    memcpy(type, "sys.client", 10);
    wbuf_init(&in, 2048);
    wbuf_init(&out, 2048);
    wb_u32le(&in, 0);
    orl_put_tag(&in, ORL_WIRE_OBJECT, 0);                   /* object 1 */
    orl_put_uint(&in, 0, 1);                                /* 2 */
    orl_put_tag(&in, ORL_WIRE_OBJECT, 1);                   /* 3: grain id */
    orl_put_grain_type(&in, 0, span_of(type, sizeof type)); /* 4, 5, hash 6, bytes 7 */
    orl_put_tag(&in, ORL_WIRE_OBJECT, 1);
    orl_put_tag(&in, ORL_WIRE_REF, 1);
    orl_put_varint(&in, 7);
    orl_put_end(&in);
    orl_put_end(&in);
    orl_put_bytes(&in, 2, span_of_str("dev"));
    orl_put_end(&in);
    in.ptr[0] = (uint8_t)(in.len - 4);
    in.ptr[1] = (uint8_t)((in.len - 4) >> 8);
    assert_int_equal(orl_gateway_next(g, wbuf_span(&in), &used, &out, &ev), SC_ERR_REFUSED);
    assert_true(out.len > 0);
    assert_false(orl_gateway_ready(g));
    wbuf_fini(&in);
    wbuf_fini(&out);
    orl_gateway_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_sends_the_bytes_that_a_real_silo_accepted),
        cmocka_unit_test(test_sessions_speak_with_each_other_byte_by_byte),
        cmocka_unit_test(test_one_way_calls_are_not_in_flight),
        cmocka_unit_test(test_gateway_calls_an_observer_and_gets_its_answer),
        cmocka_unit_test(test_client_hears_that_the_gateway_stops),
        cmocka_unit_test(test_another_cluster_is_noticed_on_both_sides),
        cmocka_unit_test(test_client_tells_why_a_session_ended),
        cmocka_unit_test(test_client_skips_what_does_not_decode_but_not_a_new_version),
        cmocka_unit_test(test_client_refuses_system_targets_without_silo_and_calls_over_the_limit),
        cmocka_unit_test(test_client_takes_a_call_back_when_the_buffer_is_full),
        cmocka_unit_test(test_client_reads_every_recorded_silo),
        cmocka_unit_test(test_gateway_reads_every_recorded_client),
        cmocka_unit_test(test_only_an_answer_to_the_call_ends_it),
        cmocka_unit_test(test_gateway_refuses_an_identity_that_references_make_too_long),
        cmocka_unit_test(test_gateway_drops_expired_and_refuses_bodies_that_are_no_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
