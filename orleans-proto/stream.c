#include "orleans-proto/stream.h"

#define BATCH_TYPE                                                 \
    "Orleans.Providers.MemoryBatchContainer`1[[Orleans.Providers." \
    "DefaultMemoryMessageBodySerializer,"                          \
    "Orleans.Streaming]],Orleans.Streaming"
#define DELIVERY_TOKEN_TYPE "Orleans.Streams.DeliveryToken,Orleans.Streaming"
#define EVENT_TOKEN_TYPE    "Orleans.Providers.Streams.Common.EventSequenceToken,Orleans.Streaming"

static const struct orl_method_def stream_methods[ORL_STREAM_METHOD_COUNT] = {
    [ORL_STREAM_ENQUEUE] = {.interface = ORL_QUEUE_INTERFACE, .id = ORL_QUEUE_ENQUEUE},
    [ORL_STREAM_REGISTER] = {.interface = ORL_RENDEZVOUS_INTERFACE, .id = ORL_RENDEZVOUS_REGISTER},
    [ORL_STREAM_UNREGISTER] = {.interface = ORL_RENDEZVOUS_INTERFACE,
                               .id = ORL_RENDEZVOUS_UNREGISTER},
    [ORL_STREAM_GET_TOKEN] = {.interface = ORL_CONSUMER_INTERFACE,
                              .id = ORL_CONSUMER_GET_TOKEN,
                              .extension = true},
    [ORL_STREAM_DELIVER] = {.interface = ORL_CONSUMER_INTERFACE,
                            .id = ORL_CONSUMER_DELIVER,
                            .extension = true},
};

enum sc_status orl_stream_method_init(struct orl_method *m, enum orl_stream_method which)
{
    struct orl_method_def def = stream_methods[which];
    def.assembly = "Orleans.Streaming";
    return orl_method_init(m, &def);
}

/* { 0: namespace and key without a separator, 1: where the key begins, 2: hash of 0 } */
void orl_put_stream_id(struct wbuf *w, uint32_t delta, struct orl_stream_id id)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_tag(w, ORL_WIRE_BYTES, 0);
    orl_put_varint(w, (uint64_t)id.ns.len + id.key.len);
    size_t at = w->len;
    wb_span(w, id.ns);
    wb_span(w, id.key);
    orl_put_uint(w, 1, (uint32_t)id.ns.len);
    if (!w->failed)
        orl_put_int(w, 1, (int32_t)orl_stable_hash(span_of(w->ptr + at, id.ns.len + id.key.len)));
    orl_put_end(w);
}

struct orl_stream_id orl_get_stream_id(struct orl_reader *r, const struct orl_field *f)
{
    struct orl_stream_id id = {0};
    struct span both = {0};
    uint64_t key_at = 0;
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return id;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            both = orl_get_bytes(r, &in);
        else if (in.id == 1)
            key_at = orl_get_uint(r, &in, 16);
    }
    if (key_at > both.len) {
        orl_reader_fail(r, SC_ERR_PROTOCOL);
        return id;
    }
    id.ns = span_of(both.ptr, (size_t)key_at);
    if (both.len != 0)
        id.key = span_of(both.ptr + key_at, both.len - (size_t)key_at);
    return id;
}

void orl_put_qualified_stream_id(struct wbuf *w, uint32_t delta,
                                 const struct orl_qualified_stream_id *id)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_stream_id(w, 0, id->id);
    orl_put_bytes(w, 1, id->provider);
    orl_put_end(w);
}

struct orl_qualified_stream_id orl_get_qualified_stream_id(struct orl_reader *r,
                                                           const struct orl_field *f)
{
    struct orl_qualified_stream_id id = {0};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return id;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            id.id = orl_get_stream_id(r, &in);
        else if (in.id == 1)
            id.provider = orl_get_bytes(r, &in);
    }
    return id;
}

void orl_put_rendezvous_key(struct wbuf *w, const struct orl_qualified_stream_id *id)
{
    struct span ns = id->id.ns.len != 0 ? id->id.ns : span_of_str("null");
    wb_printf(w, "%.*s/%.*s/", SPAN_ARG(id->provider), SPAN_ARG(ns));
    wb_span(w, id->id.key);
}

uint64_t orl_datetime_utc(uint64_t unix_ns)
{
    const uint64_t ticks_1970 = 621355968000000000; /* of 100 ns, since the year 1 */
    const uint64_t kind_utc = (uint64_t)1 << 62;
    return kind_utc | (ticks_1970 + unix_ns / 100);
}

void orl_put_stream_payload(struct wbuf *w, const struct orl_value *events, size_t count)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    if (count != 0)
        orl_put_uint(w, 0, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        orl_put_value_typed(w, i == 0 ? 1 : 0, &events[i]);
    orl_put_end(w);
    orl_put_null(w, 1); /* request context */
    orl_put_end(w);
}

void orl_events_init(struct orl_events *e, struct span payload)
{
    struct orl_field f;
    orl_reader_init(&e->reader, payload);
    e->open = orl_reader_next(&e->reader, &f) && orl_reader_enter(&e->reader, &f) &&
              orl_reader_next(&e->reader, &f) && f.id == 0 && orl_reader_enter(&e->reader, &f);
    if (!e->open)
        orl_reader_fail(&e->reader, SC_ERR_PROTOCOL);
}

bool orl_events_next(struct orl_events *e, struct orl_value *value_out, struct orl_type *type_out)
{
    struct orl_field f;
    if (!e->open)
        return false;
    if (!orl_list_next(&e->reader, &f)) {
        e->open = false;
        enum sc_status st = orl_reader_finish(&e->reader);
        (void)st; /* stays in e->reader.status */
        return false;
    }
    *value_out = orl_value_get(&e->reader, &f, ORL_KIND_OTHER);
    if (type_out != NULL)
        *type_out = f.type;
    return e->reader.status == SC_OK;
}

/* ArraySegment<byte> has no compact form: { 0: count, 1: a field per byte }. */
static void put_segment(struct wbuf *w, uint32_t delta, struct span v)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    if (v.len != 0)
        orl_put_uint(w, 0, (uint32_t)v.len);
    for (size_t i = 0; i < v.len; i++)
        orl_put_uint(w, i == 0 ? 1 : 0, v.ptr[i]);
    orl_put_end(w);
}

/* Never null: an absent payload reads as an empty one. */
static struct span get_segment(struct orl_reader *r, const struct orl_field *f, struct wbuf *store)
{
    struct orl_field in;
    size_t at = store->len;
    if (f->wire == ORL_WIRE_BYTES && f->bytes.len != 0) {
        wb_span(store, f->bytes);
    } else if (f->wire != ORL_WIRE_BYTES && orl_reader_enter(r, f)) {
        while (orl_list_next(r, &in))
            wb_u8(store, (uint8_t)orl_get_uint(r, &in, 8));
    }
    if (store->failed)
        orl_reader_fail(r, SC_ERR_LIMIT);
    if (store->len == at)
        return span_of_str("");
    return span_of(store->ptr + at, store->len - at);
}

void orl_put_memory_message(struct wbuf *w, uint32_t delta, const struct orl_memory_message *m)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_stream_id(w, 0, m->stream);
    orl_put_long(w, 1, m->sequence);
    orl_put_fixed64(w, 1, m->dequeue_time);
    orl_put_fixed64(w, 1, m->enqueue_time);
    put_segment(w, 1, m->payload);
    orl_put_end(w);
}

size_t orl_memory_message_bytes(const struct orl_memory_message *m)
{
    enum { FIELDS_BYTES = 96 }; /* tags, lengths and numbers, each at its longest */
    size_t high = 0;            /* from 128 on a byte takes a varint of two */
    for (size_t i = 0; i < m->payload.len; i++)
        high += m->payload.ptr[i] >> 7;
    return FIELDS_BYTES + m->stream.ns.len + m->stream.key.len + 2 * m->payload.len + high;
}

enum sc_status orl_get_memory_message(struct orl_reader *r, const struct orl_field *f,
                                      struct wbuf *store, struct orl_memory_message *message_out)
{
    struct orl_memory_message m = {0};
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return SC_ERR_PROTOCOL;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            m.stream = orl_get_stream_id(r, &in);
        else if (in.id == 1)
            m.sequence = orl_get_int(r, &in, 64);
        else if (in.id == 2)
            m.dequeue_time = orl_get_uint(r, &in, 64);
        else if (in.id == 3)
            m.enqueue_time = orl_get_uint(r, &in, 64);
        else if (in.id == 4)
            m.payload = get_segment(r, &in, store);
    }
    if (r->status == SC_OK)
        *message_out = m;
    return r->status;
}

void orl_args_enqueue(struct orl_args *a, const struct orl_memory_message *m)
{
    orl_put_memory_message(a->w, orl_args_next(a), m);
}

enum sc_status orl_enqueue_read(struct orl_reader *r, struct wbuf *store,
                                struct orl_memory_message *message_out)
{
    struct orl_field f;
    struct orl_memory_message m;
    enum sc_status st = SC_ERR_PROTOCOL;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0)
            st = orl_get_memory_message(r, &f, store, &m);
    }
    if (st == SC_OK)
        st = r->status;
    if (st == SC_OK)
        *message_out = m;
    return st;
}

void orl_args_register(struct orl_args *a, const struct orl_subscription *s)
{
    orl_args_unregister(a, s);
    orl_put_grain_id(a->w, orl_args_next(a), s->consumer);
    orl_args_string(a, s->filter);
}

void orl_args_unregister(struct orl_args *a, const struct orl_subscription *s)
{
    orl_put_guid_id(a->w, orl_args_next(a), &s->id);
    orl_put_qualified_stream_id(a->w, orl_args_next(a), &s->stream);
}

enum sc_status orl_subscription_read(struct orl_reader *r,
                                     struct orl_subscription *subscription_out)
{
    struct orl_subscription s = {0};
    struct orl_field f;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0)
            s.id = orl_get_guid_id(r, &f);
        else if (f.id == 1)
            s.stream = orl_get_qualified_stream_id(r, &f);
        else if (f.id == 2)
            s.consumer = orl_get_grain_id(r, &f);
        else if (f.id == 3)
            s.filter = orl_get_bytes(r, &f);
    }
    if (r->status == SC_OK)
        *subscription_out = s;
    return r->status;
}

/* EventSequenceToken behind its header: an empty base class part, then number and index. */
static void put_event_token(struct wbuf *w, int64_t sequence, int32_t index)
{
    orl_put_end_base(w);
    orl_put_long(w, 0, sequence);
    orl_put_int(w, 1, index);
    orl_put_end(w);
}

static void get_event_token(struct orl_reader *r, const struct orl_field *f, int64_t *sequence_out,
                            int32_t *index_out)
{
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return;
    while (orl_reader_next(r, &in)) {
        if (in.level == 1 && in.id == 0)
            *sequence_out = orl_get_int(r, &in, 64);
        else if (in.level == 1 && in.id == 1)
            *index_out = (int32_t)orl_get_int(r, &in, 32);
    }
}

static void put_batch(struct orl_args *a, const struct orl_delivery *d)
{
    orl_put_tag_named(a->w, ORL_WIRE_OBJECT, orl_args_next(a), span_of_str(BATCH_TYPE));
    orl_put_tag(a->w, ORL_WIRE_OBJECT, 0);
    put_event_token(a->w, d->sequence, d->event_index);
    orl_put_memory_message(a->w, 1, &d->message);
    orl_put_end(a->w);
}

static void put_previous(struct orl_args *a, const struct orl_delivery *d)
{
    if (!d->has_previous) {
        orl_args_null(a);
        return;
    }
    orl_put_tag_named(a->w, ORL_WIRE_OBJECT, orl_args_next(a), span_of_str(DELIVERY_TOKEN_TYPE));
    orl_put_tag_named(a->w, ORL_WIRE_OBJECT, 0, span_of_str(EVENT_TOKEN_TYPE));
    put_event_token(a->w, d->previous_sequence, d->previous_index);
    orl_put_end_base(a->w);
    orl_put_end(a->w);
}

void orl_args_deliver(struct orl_args *a, const struct orl_delivery *d)
{
    orl_put_guid_id(a->w, orl_args_next(a), &d->subscription);
    orl_put_qualified_stream_id(a->w, orl_args_next(a), &d->stream);
    put_batch(a, d);
    put_previous(a, d);
}

static void get_batch(struct orl_reader *r, const struct orl_field *f, struct wbuf *store,
                      struct orl_delivery *d)
{
    struct orl_field in;
    if (!span_eq_str(f->type.name, BATCH_TYPE)) {
        orl_reader_fail(r, SC_ERR_NOT_FOUND);
        return;
    }
    if (!orl_reader_enter(r, f))
        return;
    while (orl_reader_next(r, &in)) {
        if (in.id == 0)
            get_event_token(r, &in, &d->sequence, &d->event_index);
        else if (in.id == 1 && orl_get_memory_message(r, &in, store, &d->message) != SC_OK)
            orl_reader_fail(r, SC_ERR_PROTOCOL);
    }
}

static void get_previous(struct orl_reader *r, const struct orl_field *f, struct orl_delivery *d)
{
    struct orl_field in;
    if (!orl_reader_enter(r, f))
        return;
    while (orl_reader_next(r, &in)) {
        if (in.level != 0 || in.id != 0 || orl_field_is_null(&in))
            continue;
        get_event_token(r, &in, &d->previous_sequence, &d->previous_index);
        d->has_previous = true;
    }
}

enum sc_status orl_delivery_read(struct orl_reader *r, struct wbuf *store,
                                 struct orl_delivery *delivery_out)
{
    struct orl_delivery d = {0};
    struct orl_field f;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0)
            d.subscription = orl_get_guid_id(r, &f);
        else if (f.id == 1)
            d.stream = orl_get_qualified_stream_id(r, &f);
        else if (f.id == 2)
            get_batch(r, &f, store, &d);
        else if (f.id == 3)
            get_previous(r, &f, &d);
    }
    if (r->status == SC_OK)
        *delivery_out = d;
    return r->status;
}

void orl_args_get_token(struct orl_args *a, const struct orl_guid *subscription)
{
    orl_put_guid_id(a->w, orl_args_next(a), subscription);
}

enum sc_status orl_get_token_read(struct orl_reader *r, struct orl_guid *guid_out)
{
    struct orl_guid guid = {{0}};
    struct orl_field f;
    while (orl_reader_next(r, &f)) {
        if (f.id == 0)
            guid = orl_get_guid_id(r, &f);
    }
    if (r->status == SC_OK)
        *guid_out = guid;
    return r->status;
}
