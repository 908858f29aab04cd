#include "tests/support/fake_silo.h"

#include "orleans-proto/gateway.h"
#include "sidecar/loop.h"
#include "sidecar/net.h"
#include "sidecar/sock.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct peer {
    struct peer *next;
    struct fake_silo *silo;
    struct sc_sock *sock;
    struct orl_gateway *session;
    bool gone;
};

struct fake_silo {
    struct sc_loop *loop;
    int fd;
    uint16_t port;
    struct sc_watch *watch;
    struct peer *peers; /* closed ones too, until the end */
    enum fake_silo_mood mood;
    unsigned calls;
    struct wbuf heard;
};

static const struct orl_silo address = {
    .ip = {127, 0, 0, 1}, .ip_len = 4, .port = 11111, .generation = 7};

static void put_events(struct fake_silo *s, const struct orl_field *list, struct orl_reader *r,
                       struct span ns, struct span key, int64_t encoding)
{
    struct orl_field f;
    uint64_t count = 0;
    assert_true(orl_list_enter(r, list, &count));
    while (orl_list_next(r, &f)) {
        struct span payload = orl_get_bytes(r, &f);
        wb_printf(&s->heard, "%.*s/%.*s#%d:%.*s\n", SPAN_ARG(ns), SPAN_ARG(key), (int)encoding,
                  SPAN_ARG(payload));
    }
    wb_printf(&s->heard, "--\n");
}

/* Reads publish(provider, ns, key, encoding, events); true when the key is "bad". */
static bool take_publish(struct fake_silo *s, const struct orl_message *m)
{
    struct orl_reader r;
    struct orl_call call;
    struct orl_field f;
    struct span text[3] = {{0}};
    int64_t encoding = 0;
    bool bad = false;
    assert_int_equal(orl_call_open(m, &r, &call), SC_OK);
    assert_true(orl_call_is(&call, "gpu.publisher", "publish"));
    assert_true(span_eq_str(m->target.type, "gpu-publisher"));
    assert_true(span_eq_str(m->target.key, "0"));
    while (orl_reader_next(&r, &f)) {
        if (f.id < 3)
            text[f.id] = orl_get_bytes(&r, &f);
        else if (f.id == 3)
            encoding = orl_get_int(&r, &f, 32);
        if (f.id != 4)
            continue;
        assert_true(span_eq_str(text[0], "SP"));
        bad = span_eq_str(text[2], "bad");
        bool takes = s->mood == FAKE_SILO_GOOD || s->mood == FAKE_SILO_MUTE ||
                     (s->mood == FAKE_SILO_NO_KEY_BAD && !bad);
        if (takes)
            put_events(s, &f, &r, text[1], text[2], encoding);
    }
    assert_int_equal(r.status, SC_OK);
    return bad;
}

static void serve(struct peer *p, const struct orl_gateway_event *ev)
{
    struct fake_silo *s = p->silo;
    struct wbuf *out = sc_sock_out(p->sock);
    struct orl_exception e = {span_of_str("System.IO.IOException"), span_of_str("queue away")};
    s->calls++;
    bool bad = take_publish(s, &ev->message);
    enum sc_status st = SC_OK;
    switch (s->mood) {
    case FAKE_SILO_MUTE:
    case FAKE_SILO_DEAF:
        break;
    case FAKE_SILO_THROWS:
        st = orl_reply_exception(out, &ev->reply, &e);
        break;
    case FAKE_SILO_BUSY:
        st = orl_reply_rejection(out, &ev->reply, ORL_REJECTION_GATEWAY_TOO_BUSY,
                                 span_of_str("Shedding load"));
        break;
    case FAKE_SILO_NO_KEY_BAD:
    case FAKE_SILO_GOOD:
        st = bad && s->mood == FAKE_SILO_NO_KEY_BAD
                 ? orl_reply_rejection(out, &ev->reply, ORL_REJECTION_UNRECOVERABLE,
                                       span_of_str("no such provider"))
                 : orl_reply_completed(out, &ev->reply);
        break;
    }
    assert_int_equal(st, SC_OK);
}

static enum sc_status on_take(void *user, struct span in, size_t *used_out)
{
    struct peer *p = user;
    struct orl_gateway_event ev;
    enum sc_status st = orl_gateway_next(p->session, in, used_out, sc_sock_out(p->sock), &ev);
    if (st == SC_OK && ev.kind == ORL_GATEWAY_REQUEST)
        serve(p, &ev);
    sc_sock_flush(p->sock);
    return st;
}

static size_t on_need(void *user, struct span in)
{
    struct peer *p = user;
    return orl_gateway_need(p->session, in);
}

static void on_closed(void *user, enum sc_status st, size_t left)
{
    (void)st;
    (void)left;
    struct peer *p = user;
    p->gone = true;
}

static const struct sc_sock_fns fns = {.take = on_take, .need = on_need, .closed = on_closed};

static void on_accept(void *user, unsigned what)
{
    (void)what;
    struct fake_silo *s = user;
    int fd = -1;
    struct sc_address from;
    if (sc_net_accept(s->fd, &fd, &from) != SC_OK)
        return;
    struct peer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    struct orl_gateway_config config = {.cluster_id = span_of_str("dev"),
                                        .silo = address,
                                        .calls_max = 16,
                                        .limits = {1 << 20, 16 << 20}};
    *p = (struct peer){.silo = s, .next = s->peers};
    s->peers = p;
    assert_int_equal(orl_gateway_open(&config, &p->session), SC_OK);
    assert_int_equal(sc_sock_open(s->loop, fd, false, 1 << 20, &fns, p, &p->sock), SC_OK);
}

void fake_silo_open(struct rig *rig, uint16_t port, struct fake_silo **silo_out)
{
    struct fake_silo *s = calloc(1, sizeof *s);
    struct sc_address at;
    assert_non_null(s);
    s->loop = rig->loop;
    wbuf_init(&s->heard, 16 << 20);
    assert_int_equal(sc_address_numeric("127.0.0.1", port, &at), SC_OK);
    assert_int_equal(sc_net_listen(&at, &s->fd, &s->port), SC_OK);
    assert_int_equal(sc_watch_open(rig->loop, s->fd, SC_WATCH_READ, on_accept, s, &s->watch),
                     SC_OK);
    *silo_out = s;
}

void fake_silo_close(struct fake_silo *s)
{
    while (s->peers != NULL) {
        struct peer *p = s->peers;
        s->peers = p->next;
        if (!p->gone)
            sc_sock_close(p->sock);
        orl_gateway_close(p->session);
        free(p);
    }
    sc_watch_close(s->watch);
    close(s->fd);
    wbuf_fini(&s->heard);
    free(s);
}

uint16_t fake_silo_port(const struct fake_silo *s)
{
    return s->port;
}

void fake_silo_be(struct fake_silo *s, enum fake_silo_mood mood)
{
    s->mood = mood;
}

unsigned fake_silo_clients(const struct fake_silo *s)
{
    unsigned count = 0;
    for (const struct peer *p = s->peers; p != NULL; p = p->next)
        count += !p->gone && orl_gateway_ready(p->session) ? 1 : 0;
    return count;
}

unsigned fake_silo_calls(const struct fake_silo *s)
{
    return s->calls;
}

void fake_silo_say_stop(struct fake_silo *s)
{
    for (struct peer *p = s->peers; p != NULL; p = p->next) {
        if (p->gone)
            continue;
        assert_int_equal(orl_gateway_put_stop(p->session, sc_sock_out(p->sock), &address), SC_OK);
        sc_sock_flush(p->sock);
    }
}

struct span fake_silo_heard(const struct fake_silo *s)
{
    return wbuf_span(&s->heard);
}

void fake_silo_hear_on(struct fake_silo *s, struct span heard)
{
    wb_span(&s->heard, heard);
}
