/* The daemon's own silo link against a real silo: the sample silo of placement/dotnet. Every call
 * that the product makes, and every kind of answer. Usage: interop_silo HOST:PORT CLUSTER. Prints a
 * line a check, ends with "N passed, M failed". */
#include "orleans-proto/client.h"
#include "orleans-proto/invoke.h"
#include "orleans-proto/reply.h"
#include "orleans-proto/stream.h"
#include "sidecar/base/clock.h"
#include "sidecar/base/log.h"
#include "sidecar/loop.h"
#include "sidecar/silo_conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAIT_MS = 20000, ANSWER_BYTES = 1 << 20 };

struct interop {
    struct sc_loop *loop;
    struct sc_log log;
    struct sc_silo_conn *conn;
    struct sc_timer *guard;
    struct sc_timer *pause;
    bool timed_out;
    int passed, failed;
    /* the last answer */
    enum sc_status status;
    enum orl_outcome outcome;
    enum orl_rejection rejection;
    int64_t number;
    struct wbuf text;  /* string or bytes; the elements of a list, each ended by a newline */
    struct wbuf error; /* exception type, ": ", message; or rejection info */
    uint32_t told;
    char told_text[64];
};

__attribute__((format(printf, 3, 4))) static void check(struct interop *t, bool good,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s: ", good ? "ok" : "FAILED");
    vprintf(format, args);
    va_end(args);
    if (good)
        t->passed++;
    else
        t->failed++;
    if (!good && t->error.len != 0)
        printf(" [%.*s]", SPAN_ARG(wbuf_span(&t->error)));
    printf("\n");
}

/* -- running the loop -------------------------------------------------------------------------- */

static void on_guard(void *user)
{
    struct interop *t = user;
    t->timed_out = true;
    sc_loop_stop(t->loop);
}

static void on_pause(void *user)
{
    sc_loop_stop(((struct interop *)user)->loop);
}

static void pause_ms(struct interop *t, uint64_t ms)
{
    sc_timer_once(t->pause, ms);
    sc_loop_run(t->loop);
}

/* -- answers ----------------------------------------------------------------------------------- */

static void put_value(struct interop *t, const struct orl_value *v)
{
    t->number = v->i;
    wb_span(&t->text, v->bytes);
}

/* A List<string>: count, then the elements. */
static void read_list(struct interop *t, struct span body)
{
    struct orl_message m = {.body = body};
    struct orl_reader r;
    struct orl_field f;
    if (!orl_response_value_open(&m, &r, &f) || !orl_reader_enter(&r, &f))
        return;
    while (orl_reader_next(&r, &f)) {
        struct orl_value v = orl_value_get(&r, &f, f.id == 0 ? ORL_KIND_INT : ORL_KIND_STRING);
        if (f.id == 1) {
            wb_span(&t->text, v.bytes);
            wb_u8(&t->text, '\n');
        }
    }
}

static void on_answer(void *user, const struct sc_silo_answer *a)
{
    struct interop *t = user;
    t->status = a->status;
    if (a->response != NULL) {
        const struct orl_response *r = a->response;
        t->outcome = r->outcome;
        t->rejection = r->rejection;
        if (r->outcome == ORL_OUTCOME_VALUE && r->value.kind == ORL_KIND_OTHER)
            read_list(t, r->body);
        else if (r->outcome == ORL_OUTCOME_VALUE)
            put_value(t, &r->value);
        wb_printf(&t->error, "%.*s: %.*s%.*s", SPAN_ARG(r->exception.type),
                  SPAN_ARG(r->exception.message), SPAN_ARG(r->info));
    } else {
        wb_span(&t->error, a->text);
    }
    sc_loop_stop(t->loop);
}

/* -- calls
 * -----------------------------------------------------------------------------------------------
 */

struct what {
    const char *type;
    struct span key;
    const char *interface;
    const char *assembly;
    const char *method;
    bool one_way;
    uint32_t timeout_ms;
    void (*put)(void *user, struct orl_args *args);
};

static void put_nothing(void *user, struct orl_args *args)
{
    (void)user, (void)args;
}

/* Makes the call and waits for its answer; the interop's last-answer fields say how it went. */
static void call(struct interop *t, const struct what *w)
{
    static struct orl_method method;
    struct orl_method_def def = {
        .interface = w->interface, .assembly = w->assembly, .id = w->method, .one_way = w->one_way};
    struct sc_silo_call c = {
        .grain_type = span_of_str(w->type),
        .grain_key = w->key,
        .method = &method,
        .timeout_ms = w->timeout_ms != 0 ? w->timeout_ms : 10000,
        .put = w->put != NULL ? w->put : put_nothing,
        .done = on_answer,
        .user = t,
    };
    wbuf_clear(&t->text);
    wbuf_clear(&t->error);
    t->status = SC_AGAIN;
    t->number = 0;
    if (orl_method_init(&method, &def) != SC_OK)
        exit(1);
    enum sc_status st = sc_silo_conn_call(t->conn, &c);
    if (st != SC_OK) {
        t->status = st;
        wb_printf(&t->error, "not sent: %s", sc_status_name(st));
        return;
    }
    if (w->one_way)
        return;
    sc_timer_once(t->guard, WAIT_MS);
    sc_loop_run(t->loop);
    sc_timer_cancel(t->guard);
}

#define ECHO(id, put_fn)                                                                          \
    {                                                                                             \
        .type = "echo", .key = span_of_str("k1"), .interface = "Sample.IEchoGrain", .method = id, \
        .put = put_fn                                                                             \
    }

/* -- values ------------------------------------------------------------------------------------ */

static struct span arg_span;
static int32_t arg_int;

static void put_string(void *user, struct orl_args *args)
{
    (void)user;
    orl_args_string(args, arg_span);
}

static void put_bytes(void *user, struct orl_args *args)
{
    (void)user;
    orl_args_bytes(args, arg_span);
}

static void put_int(void *user, struct orl_args *args)
{
    (void)user;
    orl_args_int(args, arg_int);
}

static void put_join(void *user, struct orl_args *args)
{
    (void)user;
    static const uint8_t bytes[] = {0, 1, 0xfe, 0xff};
    orl_args_string(args, span_of_str("a"));
    orl_args_int(args, -7);
    orl_args_bytes(args, span_of(bytes, sizeof bytes));
    orl_args_null(args);
}

static void try_values(struct interop *t)
{
    static char q[20000];
    memset(q, 'q', sizeof q);
    const struct span texts[] = {span_of_str("x"), span_of_str(""),
                                 span_of_str("h\xc3\xa9llo \xe2\x9c\x93 \xf0\x9f\x98\x80"),
                                 span_of(q, sizeof q)};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        arg_span = texts[i];
        call(t, &(struct what)ECHO("Echo", put_string));
        check(t, t->status == SC_OK && span_eq(wbuf_span(&t->text), texts[i]),
              "string argument of %zu bytes comes back", texts[i].len);
    }
    const int32_t numbers[] = {0, 1, -1, 64, 1048576, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        arg_int = numbers[i];
        call(t, &(struct what)ECHO("EchoInt", put_int));
        check(t, t->status == SC_OK && t->number == numbers[i], "int argument %d comes back",
              (int)numbers[i]);
    }
    static uint8_t data[100000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    const size_t sizes[] = {0, 5, sizeof data};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        arg_span = span_of(data, sizes[i]);
        call(t, &(struct what)ECHO("EchoBytes", put_bytes));
        check(t, t->status == SC_OK && span_eq(wbuf_span(&t->text), arg_span),
              "byte[] argument of %zu bytes comes back", sizes[i]);
    }
    call(t, &(struct what)ECHO("Join", put_join));
    check(t, t->status == SC_OK && span_eq_str(wbuf_span(&t->text), "a|-7|0001FEFF|null"),
          "string, int, byte[] and null arguments in one call");
}

static void try_keys(struct interop *t)
{
    static const struct orl_guid guid = {{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88,
                                          0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};
    const struct {
        const char *type, *interface, *expect;
        int64_t number;
        bool is_guid;
        const char *ext;
    } keys[] = {
        {"guidkey", "Sample.IGuidKeyGrain", "00112233-4455-6677-8899-aabbccddeeff", 0, true, NULL},
        {"integerkey", "Sample.IIntegerKeyGrain", "12345", 12345, false, NULL},
        {"integerkey", "Sample.IIntegerKeyGrain", "-1", -1, false, NULL},
        {"guidcompoundkey", "Sample.IGuidCompoundKeyGrain",
         "00112233-4455-6677-8899-aabbccddeeff|ext", 0, true, "ext"},
        {"integercompoundkey", "Sample.IIntegerCompoundKeyGrain", "77|ext", 77, false, "ext"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct wbuf key;
        wbuf_init(&key, 256);
        struct span ext = keys[i].ext != NULL ? span_of_str(keys[i].ext) : (struct span){0};
        if (keys[i].is_guid)
            orl_key_put_guid(&key, &guid, ext);
        else
            orl_key_put_integer(&key, keys[i].number, ext);
        call(t, &(struct what){.type = keys[i].type,
                               .key = wbuf_span(&key),
                               .interface = keys[i].interface,
                               .method = "Key"});
        check(t, t->status == SC_OK && span_eq_str(wbuf_span(&t->text), keys[i].expect),
              "key of %s arrives as %s", keys[i].interface, keys[i].expect);
        wbuf_fini(&key);
    }
}

static bool error_has(const struct interop *t, const char *word)
{
    return memmem(t->error.ptr, t->error.len, word, strlen(word)) != NULL;
}

static void try_failures(struct interop *t)
{
    arg_span = span_of_str("boom");
    call(t, &(struct what)ECHO("Fail", put_string));
    check(t,
          t->status == SC_ERR_EXCEPTION && error_has(t, "System.InvalidOperationException: boom"),
          "an exception arrives with type and message");
    call(t, &(struct what){.type = "nosuchgrain",
                           .key = span_of_str("m"),
                           .interface = "Sample.IEchoGrain",
                           .method = "Echo",
                           .put = put_string});
    check(t, t->status == SC_ERR_REJECTED && t->rejection == ORL_REJECTION_UNRECOVERABLE,
          "an unknown grain type is rejected as unrecoverable");
    call(t, &(struct what)ECHO("NoSuchMethod", put_string));
    check(t, t->status == SC_ERR_EXCEPTION, "an unknown method is answered by an exception");
    arg_int = 3000;
    struct what slow = ECHO("Delay", put_int);
    slow.timeout_ms = 200;
    call(t, &slow);
    check(t, t->status == SC_ERR_DEADLINE, "a call over its time limit ends with deadline");
    arg_int = 1;
    slow.timeout_ms = 10000;
    slow.key = span_of_str("k2");
    call(t, &slow);
    check(t, t->status == SC_OK && span_eq_str(wbuf_span(&t->text), "after 1 ms"),
          "the connection goes on after it");
}

static void try_one_way(struct interop *t)
{
    static char key[40];
    snprintf(key, sizeof key, "note-%d", (int)getpid());
    struct what note = ECHO("Note", put_string);
    note.key = span_of_str(key);
    note.one_way = true;
    arg_span = span_of_str("first");
    call(t, &note);
    arg_span = span_of_str("second");
    call(t, &note);
    struct what notes = ECHO("Notes", NULL);
    notes.key = note.key;
    call(t, &notes);
    check(t, t->status == SC_OK && span_eq_str(wbuf_span(&t->text), "first\nsecond\n"),
          "one-way calls arrive, in order");
}

/* -- observers --------------------------------------------------------------------------------- */

static struct orl_reference observer;

static void put_observer(void *user, struct orl_args *args)
{
    (void)user;
    orl_args_reference(args, &observer);
}

static void on_request(void *user, const struct orl_client_event *ev, struct wbuf *w)
{
    struct interop *t = user;
    struct orl_reader r;
    struct orl_call c;
    struct orl_field f;
    if (orl_call_open(&ev->message, &r, &c) != SC_OK || !orl_reader_next(&r, &f))
        return;
    struct orl_value v = orl_value_get(&r, &f, ORL_KIND_STRING);
    snprintf(t->told_text, sizeof t->told_text, "%.*s", SPAN_ARG(v.bytes));
    t->told++;
    if (ev->kind != ORL_CLIENT_REQUEST || !ev->can_reply)
        return;
    struct orl_value seven = orl_value_int(7);
    enum sc_status st = orl_reply_value(w, &ev->reply, &seven, ORL_KIND_INT);
    if (st != SC_OK)
        printf("cannot answer: %s\n", sc_status_name(st));
}

static void try_observer(struct interop *t)
{
    struct wbuf key;
    wbuf_init(&key, 256);
    sc_silo_conn_put_observer_key(t->conn, &key, span_of_str("interop"));
    observer = (struct orl_reference){.grain = {span_of_str("sys.client"), wbuf_span(&key)},
                                      .interface = span_of_str("Sample.IEchoObserver")};
    sc_silo_conn_on_request(t->conn, on_request, t);
    struct what subscribe = ECHO("Subscribe", put_observer);
    subscribe.key = span_of_str("observed");
    call(t, &subscribe);
    check(t, t->status == SC_OK, "an observer reference as argument");
    struct what notify = ECHO("Notify", put_string);
    notify.key = subscribe.key;
    arg_span = span_of_str("hi");
    call(t, &notify);
    check(t,
          t->status == SC_OK && t->number == 7 && t->told == 2 && strcmp(t->told_text, "hi") == 0,
          "the grain tells the observer (one-way) and asks it, and gets its answer");
    struct what unsubscribe = ECHO("Unsubscribe", put_observer);
    unsubscribe.key = subscribe.key;
    call(t, &unsubscribe);
    check(t, t->status == SC_OK, "the observer leaves");
    wbuf_fini(&key);
}

/* -- streams ----------------------------------------------------------------------------------- */

static char stream_key[40];

static void put_enqueue(void *user, struct orl_args *args)
{
    (void)user;
    struct wbuf payload;
    wbuf_init(&payload, 4096);
    const struct orl_value events[] = {orl_value_string(span_of_str("ev-1")),
                                       orl_value_string(span_of_str("ev-2")),
                                       orl_value_bytes(span_of("\x01\xff", 2))};
    orl_put_stream_payload(&payload, events, 3);
    struct orl_memory_message m = {
        .stream = {span_of_str("sample"), span_of_str(stream_key)},
        .enqueue_time = orl_datetime_utc(sc_clock_wall_ns()),
        .payload = wbuf_span(&payload),
    };
    orl_args_enqueue(args, &m);
    wbuf_fini(&payload);
}

static void put_publish(void *user, struct orl_args *args)
{
    (void)user;
    const struct span events[] = {span_of_str("bridge-1"), span_of_str("bridge-2")};
    orl_args_string(args, span_of_str("StreamProvider"));
    orl_args_string(args, span_of_str("sample"));
    orl_args_string(args, span_of_str(stream_key));
    orl_args_int(args, 1);
    orl_args_bytes_list(args, events, 2);
}

static bool recorded(struct interop *t, const char *expect)
{
    uint64_t end = sc_clock_mono_ns() + WAIT_MS * 1000000ull;
    while (sc_clock_mono_ns() < end) {
        call(t, &(struct what){.type = "recorder",
                               .key = span_of_str(stream_key),
                               .interface = "Sample.IRecorderGrain",
                               .method = "Recorded"});
        if (t->status == SC_OK && span_eq_str(wbuf_span(&t->text), expect))
            return true;
        pause_ms(t, 50);
    }
    printf("recorded: %.*s\n", SPAN_ARG(wbuf_span(&t->text)));
    return false;
}

static void try_streams(struct interop *t)
{
    struct wbuf queue;
    wbuf_init(&queue, 256);
    snprintf(stream_key, sizeof stream_key, "s-%d", (int)getpid());
    struct orl_stream_id id = {span_of_str("sample"), span_of_str(stream_key)};
    char text[33];
    if (orl_memory_queue_key(span_of_str("StreamProvider"), 8, id.ns, id.key, text) != SC_OK)
        exit(1);
    wb_bytes(&queue, text, 32);
    call(t, &(struct what){.type = ORL_QUEUE_GRAIN_TYPE,
                           .key = wbuf_span(&queue),
                           .interface = ORL_QUEUE_INTERFACE,
                           .assembly = "Orleans.Streaming",
                           .method = ORL_QUEUE_ENQUEUE,
                           .put = put_enqueue});
    check(t, t->status == SC_OK, "three events put into the memory stream's queue");
    check(t, recorded(t, "ev-1\nev-2\n0x01FF\n"),
          "an implicitly subscribed grain got them, in order");
    call(t, &(struct what){.type = "gpu-publisher",
                           .key = span_of_str("0"),
                           .interface = "gpu.publisher",
                           .method = "publish",
                           .put = put_publish});
    check(t, t->status == SC_OK, "two events published through the gpu-publisher grain");
    check(t, recorded(t, "ev-1\nev-2\n0x01FF\nbridge-1\nbridge-2\n"),
          "they arrived behind the others");
    wbuf_fini(&queue);
}

/* -- connecting -------------------------------------------------------------------------------- */

static bool wait_up(struct interop *t, struct sc_silo_conn *conn)
{
    uint64_t end = sc_clock_mono_ns() + WAIT_MS * 1000000ull;
    while (!sc_silo_conn_up(conn) && sc_clock_mono_ns() < end)
        pause_ms(t, 20);
    return sc_silo_conn_up(conn);
}

static void try_wrong_cluster(struct interop *t, const char *endpoint)
{
    struct sc_silo_conn_config c = {.endpoint = endpoint, .cluster_id = "another-cluster"};
    struct sc_silo_conn *other;
    struct sc_log quiet = {.fd = -1, .level = SC_LOG_ERROR};
    if (sc_silo_conn_open(t->loop, &quiet, &c, &other) != SC_OK)
        exit(1);
    pause_ms(t, 500);
    check(t, !sc_silo_conn_up(other) && strstr(sc_silo_conn_cause(other), "cluster") != NULL,
          "a wrong cluster id is refused: %s", sc_silo_conn_cause(other));
    sc_silo_conn_close(other);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: interop_silo HOST:PORT CLUSTER\n");
        return 2;
    }
    struct interop t = {.log = {.fd = STDERR_FILENO, .level = SC_LOG_WARN}};
    struct sc_silo_conn_config c = {.endpoint = argv[1], .cluster_id = argv[2]};
    wbuf_init(&t.text, ANSWER_BYTES);
    wbuf_init(&t.error, ANSWER_BYTES);
    if (sc_loop_open(&t.loop) != SC_OK || sc_timer_open(t.loop, on_guard, &t, &t.guard) != SC_OK ||
        sc_timer_open(t.loop, on_pause, &t, &t.pause) != SC_OK ||
        sc_silo_conn_open(t.loop, &t.log, &c, &t.conn) != SC_OK)
        return 1;
    bool up = wait_up(&t, t.conn);
    check(&t, up, "connected to %s, cluster %s", argv[1], argv[2]);
    if (up) {
        try_values(&t);
        try_keys(&t);
        try_failures(&t);
        try_one_way(&t);
        try_observer(&t);
        try_streams(&t);
        try_wrong_cluster(&t, argv[1]);
    }
    printf("%d passed, %d failed\n", t.passed, t.failed);
    sc_silo_conn_close(t.conn);
    sc_timer_close(t.guard);
    sc_timer_close(t.pause);
    sc_loop_close(t.loop);
    wbuf_fini(&t.text);
    wbuf_fini(&t.error);
    return t.failed == 0 ? 0 : 1;
}
