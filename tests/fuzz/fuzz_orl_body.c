/* A serialized body, read in every way that we read bodies. The first byte chooses the message's
 * direction and response type. */
#include "orleans-proto/dump.h"
#include "orleans-proto/manifest.h"
#include "orleans-proto/response.h"
#include "orleans-proto/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Writing the tokens back and reading them again yields the same tokens. */
static void check_tokens(const struct orl_message *m)
{
    struct orl_reader r;
    struct orl_reader again;
    struct orl_field f;
    struct orl_field g;
    struct wbuf w;
    wbuf_init(&w, 1 << 22);
    orl_body_reader_init(&r, m);
    while (orl_reader_token(&r, &f)) {
        orl_put_token(&w, &f);
        if (f.wire == ORL_WIRE_REF && f.num != 0 && orl_reader_resolve(&r, &f, &g))
            check(g.wire != ORL_WIRE_REF && g.bytes.len <= m->body.len);
    }
    if (r.status == SC_OK && !w.failed && r.type_count <= ORL_TYPES_MAX) {
        struct orl_message copy = *m;
        copy.body = wbuf_span(&w);
        orl_body_reader_init(&r, m);
        orl_body_reader_init(&again, &copy);
        while (orl_reader_token(&r, &f)) {
            check(orl_reader_token(&again, &g));
            check(f.wire == g.wire && f.id == g.id && f.num == g.num && f.object == g.object);
            check(span_eq(f.bytes, g.bytes) && span_eq(f.type.name, g.type.name));
        }
        check(!orl_reader_token(&again, &g) && again.status == SC_OK);
    }
    wbuf_fini(&w);
}

static void read_values(const struct orl_message *m)
{
    struct orl_reader r;
    struct orl_field f;
    orl_body_reader_init(&r, m);
    if (!orl_reader_next(&r, &f) || !orl_reader_enter(&r, &f))
        return;
    while (orl_reader_next(&r, &f)) {
        struct orl_value v = orl_value_get(&r, &f, (enum orl_kind)(f.id % ORL_KIND_COUNT));
        if (v.kind == ORL_KIND_OTHER && f.wire == ORL_WIRE_OBJECT)
            orl_get_exception(&r, &f);
        else if (f.wire == ORL_WIRE_OBJECT)
            orl_get_reference(&r, &f);
    }
}

static void dump(const struct orl_message *m)
{
    struct wbuf w;
    wbuf_init(&w, 1 << 22);
    orl_dump_message(&w, m);
    for (size_t i = 0; i < w.len; i++)
        check(w.ptr[i] == '\n' || (w.ptr[i] >= 0x20 && w.ptr[i] < 0x7f));
    wbuf_fini(&w);
}

static void read_events(struct span payload)
{
    struct orl_events events;
    struct orl_value v;
    struct orl_type type;
    size_t count = 0;
    orl_events_init(&events, payload);
    while (orl_events_next(&events, &v, &type))
        count++;
    check(count <= payload.len);
}

static void read_call(const struct orl_message *m, int how)
{
    struct orl_reader r;
    struct orl_call call;
    struct wbuf store;
    struct orl_memory_message message;
    struct orl_subscription subscription;
    struct orl_delivery delivery;
    struct orl_guid guid;
    struct orl_field f;
    int64_t major;
    int64_t minor;
    uint64_t count;
    wbuf_init(&store, 1 << 20);
    if (orl_call_open(m, &r, &call) != SC_OK)
        how = -1;
    if (how == 0 && orl_enqueue_read(&r, &store, &message) == SC_OK)
        read_events(message.payload);
    else if (how == 1 && orl_delivery_read(&r, &store, &delivery) == SC_OK)
        read_events(delivery.message.payload);
    else if (how == 2 && orl_subscription_read(&r, &subscription) == SC_OK)
        check(subscription.consumer.key.len <= m->body.len);
    else if (how == 3 && orl_get_token_read(&r, &guid) == SC_OK)
        check(r.status == SC_OK);
    else if (how == 4 && orl_manifest_version_read(&r, &major, &minor) == SC_OK)
        check(r.status == SC_OK);
    else if (how == 5 && orl_reader_next(&r, &f) && orl_list_enter(&r, &f, &count))
        while (orl_list_next(&r, &f))
            orl_get_bytes(&r, &f);
    wbuf_fini(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct orl_message m = {0};
    struct orl_response response;
    struct orl_reader r;
    struct orl_field f;
    if (len == 0)
        return 0;
    m.direction = (data[0] & 0x80) != 0 ? ORL_DIRECTION_RESPONSE : ORL_DIRECTION_REQUEST;
    m.response_type = (enum orl_response_type)(data[0] % (ORL_RESPONSE_STATUS + 1));
    m.body = span_of(data + 1, len - 1);
    check_tokens(&m);
    read_values(&m);
    dump(&m);
    for (int how = 0; how < 6; how++)
        read_call(&m, how);
    if (orl_response_decode(&m, &response) == SC_OK && response.outcome == ORL_OUTCOME_VALUE)
        orl_response_value_open(&m, &r, &f);
    read_events(m.body);
    return 0;
}
