#include "orleans-proto/message.h"

/* The packed word: flags 0..15, direction 16..19, response type 20..23, forward count 24..31. */
enum { WORD_DIRECTION_SHIFT = 16, WORD_RESPONSE_SHIFT = 20, WORD_FORWARD_SHIFT = 24 };

static enum sc_status split_word(uint32_t word, struct orl_message *m)
{
    uint32_t direction = word >> WORD_DIRECTION_SHIFT & 15;
    uint32_t response_type = word >> WORD_RESPONSE_SHIFT & 15;
    m->flags = (uint16_t)word;
    if (m->flags & ORL_FLAG_RESERVED)
        return SC_ERR_VERSION;
    if (direction > ORL_DIRECTION_ONE_WAY || response_type > ORL_RESPONSE_STATUS)
        return SC_ERR_PROTOCOL;
    m->direction = (enum orl_direction)direction;
    m->response_type = (enum orl_response_type)response_type;
    m->forward_count = (uint8_t)(word >> WORD_FORWARD_SHIFT);
    return SC_OK;
}

static uint32_t join_word(const struct orl_message *m)
{
    return m->flags | (uint32_t)m->direction << WORD_DIRECTION_SHIFT |
           (uint32_t)m->response_type << WORD_RESPONSE_SHIFT |
           (uint32_t)m->forward_count << WORD_FORWARD_SHIFT;
}

/* The span from where r stood before to where it stands now. */
static struct span taken(const struct reader *before, const struct reader *r)
{
    return span_of(before->pos, before->left - r->left);
}

/* Steps over one serialized field with what is in it. */
static void skip_field(struct reader *r)
{
    struct orl_reader fields;
    struct orl_field f;
    orl_reader_init(&fields, span_of(r->pos, r->left));
    /* Types and objects are numbered from an earlier entry on, so references are not checked. */
    fields.type_count = UINT32_MAX / 2;
    fields.objects = UINT32_MAX / 2;
    if (!orl_reader_token(&fields, &f)) {
        r->bad = true;
        return;
    }
    while (fields.depth != 0 && orl_reader_token(&fields, &f))
        continue;
    if (fields.status != SC_OK)
        r->bad = true;
    else
        rd_bytes(r, fields.pos);
}

static void read_cache_updates(struct reader *r, struct orl_message *m)
{
    uint64_t count = orl_varint_read(r);
    struct reader before = *r;
    if (count > r->left)
        r->bad = true;
    for (uint64_t i = 0; i < count && !r->bad; i++)
        skip_field(r);
    m->cache_updates = (uint32_t)count;
    m->cache_update_list = taken(&before, r);
}

/* A key's length is written plus one; 0 would be null. */
static struct span read_context_key(struct reader *r)
{
    uint64_t len = orl_varint_read(r);
    if (len == 0)
        return (struct span){0};
    if (len - 1 > r->left)
        r->bad = true;
    return rd_bytes(r, (size_t)len - 1);
}

static void read_context(struct reader *r, struct orl_message *m)
{
    uint64_t count = orl_varint_read(r);
    struct reader before = *r;
    if (count > r->left)
        r->bad = true;
    for (uint64_t i = 0; i < count && !r->bad; i++) {
        read_context_key(r);
        skip_field(r);
    }
    m->context_count = (uint32_t)count;
    m->context = taken(&before, r);
}

static void read_optional(struct reader *r, struct orl_message *m)
{
    if (m->flags & ORL_FLAG_TTL)
        m->ttl_ms = (int32_t)rd_u32le(r);
    if (m->flags & ORL_FLAG_INTERFACE_TYPE)
        m->interface = orl_idspan_read(r);
    if (m->flags & ORL_FLAG_INTERFACE_VERSION) {
        uint64_t version = orl_varint_read(r);
        if (version > UINT16_MAX)
            r->bad = true;
        m->interface_version = (uint16_t)version;
    }
    if (m->flags & ORL_FLAG_CACHE_INVALIDATION)
        read_cache_updates(r, m);
    if (m->flags & ORL_FLAG_CONTEXT)
        read_context(r, m);
}

enum sc_status orl_message_decode(struct span header, struct orl_message *msg_out)
{
    struct orl_message m = {0};
    struct reader r = reader_of(header);
    uint32_t word = rd_u32le(&r);
    m.id = rd_u64le(&r);
    if (r.bad)
        return SC_ERR_PROTOCOL;
    enum sc_status st = split_word(word, &m);
    if (st != SC_OK)
        return st;
    m.sender.type = orl_idspan_read(&r);
    m.sender.key = orl_idspan_read(&r);
    m.target.type = orl_idspan_read(&r);
    m.target.key = orl_idspan_read(&r);
    orl_silo_read(&r, &m.sender_silo);
    orl_silo_read(&r, &m.target_silo);
    read_optional(&r, &m);
    if (r.bad || r.left != 0)
        return SC_ERR_PROTOCOL;
    *msg_out = m;
    return SC_OK;
}

static void put_optional(struct wbuf *w, const struct orl_message *m)
{
    if (m->flags & ORL_FLAG_TTL)
        wb_u32le(w, (uint32_t)m->ttl_ms);
    if (m->flags & ORL_FLAG_INTERFACE_TYPE)
        orl_put_idspan_raw(w, m->interface);
    if (m->flags & ORL_FLAG_INTERFACE_VERSION)
        orl_put_varint(w, m->interface_version);
    if (m->flags & ORL_FLAG_CACHE_INVALIDATION) {
        orl_put_varint(w, m->cache_updates);
        wb_span(w, m->cache_update_list);
    }
    if (m->flags & ORL_FLAG_CONTEXT) {
        orl_put_varint(w, m->context_count);
        wb_span(w, m->context);
    }
}

enum sc_status orl_message_encode(struct wbuf *w, const struct orl_message *msg)
{
    if (orl_is_system_target(msg->target.type) && orl_silo_is_null(&msg->target_silo))
        return SC_ERR_ARGUMENT;
    if (w->failed)
        return SC_ERR_NO_MEMORY;
    wb_u32le(w, join_word(msg));
    wb_u64le(w, msg->id);
    orl_put_idspan_raw(w, msg->sender.type);
    orl_put_idspan_raw(w, msg->sender.key);
    orl_put_idspan_raw(w, msg->target.type);
    orl_put_idspan_raw(w, msg->target.key);
    orl_put_silo_raw(w, &msg->sender_silo);
    orl_put_silo_raw(w, &msg->target_silo);
    put_optional(w, msg);
    return w->failed ? SC_ERR_NO_MEMORY : SC_OK;
}

enum sc_status orl_message_write(struct wbuf *w, const struct orl_message *msg,
                                 const struct orl_limits *lim)
{
    size_t frame_at = orl_frame_begin(w);
    enum sc_status st = orl_message_encode(w, msg);
    if (st != SC_OK) {
        w->len = frame_at;
        w->failed = false;
        return st;
    }
    size_t body_at = w->len;
    wb_span(w, msg->body);
    return orl_frame_end(w, frame_at, body_at, lim);
}

static void add_context_types(struct orl_reader *r, const struct orl_message *msg)
{
    struct span rest = msg->context;
    struct span key;
    struct span value;
    while (orl_context_next(&rest, &key, &value, &r->status))
        orl_reader_add_types(r, value);
}

void orl_body_reader_init(struct orl_reader *r, const struct orl_message *msg)
{
    bool raw =
        msg->direction == ORL_DIRECTION_RESPONSE && msg->response_type == ORL_RESPONSE_SUCCESS;
    if (raw)
        orl_reader_init_raw(r, msg->body);
    else
        orl_reader_init(r, msg->body);
    if (msg->cache_update_list.len != 0)
        orl_reader_add_types(r, msg->cache_update_list);
    if (msg->context.len != 0)
        add_context_types(r, msg);
}

bool orl_context_next(struct span *rest, struct span *key_out, struct span *value_out,
                      enum sc_status *status_out)
{
    struct reader r = reader_of(*rest);
    if (rest->len == 0)
        return false;
    struct span key = read_context_key(&r);
    struct reader before = r;
    skip_field(&r);
    if (r.bad) {
        *status_out = SC_ERR_PROTOCOL;
        return false;
    }
    *key_out = key;
    *value_out = taken(&before, &r);
    *rest = span_of(r.pos, r.left);
    return true;
}

void orl_context_put_string(struct wbuf *w, struct span key, struct span value)
{
    orl_put_varint(w, (uint64_t)key.len + 1);
    wb_span(w, key);
    orl_put_tag_known(w, ORL_WIRE_BYTES, 0, ORL_KNOWN_STRING);
    orl_put_varint(w, value.len);
    wb_span(w, value);
}
