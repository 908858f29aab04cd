#include "orleans-proto/invoke.h"

static bool copy_out(struct wbuf *w, uint8_t *to, size_t room, uint16_t *len_out)
{
    if (w->failed || w->len > room)
        return false;
    memcpy(to, w->ptr, w->len);
    *len_out = (uint16_t)w->len;
    return true;
}

/* "[Sample.IEchoGrain,Sample.Interfaces]", or an alias alone. */
static void put_interface(struct wbuf *w, const char *name, const char *assembly)
{
    wb_printf(w, ",[%s%s%s]", name, assembly != NULL ? "," : "", assembly != NULL ? assembly : "");
}

static void put_invokable_name(struct wbuf *w, const struct orl_method_def *def, const char *id)
{
    const char *declaring = def->declaring != NULL ? def->declaring : def->interface;
    wb_printf(w, "(\"inv\",[GrainRef]");
    if (def->extension) {
        wb_printf(w, ",\"Ext\"");
        put_interface(w, def->interface, def->assembly);
    }
    put_interface(w, declaring, def->assembly);
    wb_printf(w, ",\"%s\")%s", id, def->generic != NULL ? def->generic : "");
}

enum sc_status orl_method_init(struct orl_method *m, const struct orl_method_def *def)
{
    char hash[9];
    const char *id = def->id;
    if (id == NULL && def->signature == NULL)
        return SC_ERR_ARGUMENT;
    if (id == NULL) {
        orl_method_id(span_of_str(def->signature), hash);
        id = hash;
    }
    struct wbuf name;
    struct wbuf out;
    wbuf_init(&name, 2 * ORL_METHOD_HEAD_MAX);
    wbuf_init(&out, 2 * ORL_METHOD_HEAD_MAX);
    struct orl_method built = {.flags = def->flags, .one_way = def->one_way};

    put_invokable_name(&name, def, id);
    orl_put_tag_named(&out, ORL_WIRE_OBJECT, 0, wbuf_span(&name));
    bool fits = !name.failed && copy_out(&out, built.head, sizeof built.head, &built.head_len);
    wbuf_clear(&out);
    orl_put_idspan_raw(&out, span_of_str(def->interface));
    fits = fits &&
           copy_out(&out, built.interface_raw, sizeof built.interface_raw, &built.interface_len);
    wbuf_fini(&out);
    wbuf_fini(&name);
    if (!fits)
        return SC_ERR_TOO_LARGE;
    *m = built;
    return SC_OK;
}

struct span orl_method_interface(const struct orl_method *m)
{
    struct reader r = reader_of(span_of(m->interface_raw, m->interface_len));
    return orl_idspan_read(&r);
}

void orl_args_begin(struct orl_args *a, struct wbuf *w, const struct orl_method *m)
{
    *a = (struct orl_args){.w = w, .delta = 0};
    wb_bytes(w, m->head, m->head_len);
}

void orl_args_end(struct orl_args *a)
{
    orl_put_end(a->w);
}

uint32_t orl_args_next(struct orl_args *a)
{
    uint32_t delta = a->delta;
    a->delta = 1;
    return delta;
}

void orl_args_skip(struct orl_args *a)
{
    a->delta++;
}

void orl_args_null(struct orl_args *a)
{
    orl_put_null(a->w, orl_args_next(a));
}

void orl_args_bool(struct orl_args *a, bool v)
{
    orl_put_bool(a->w, orl_args_next(a), v);
}

void orl_args_int(struct orl_args *a, int32_t v)
{
    orl_put_int(a->w, orl_args_next(a), v);
}

void orl_args_long(struct orl_args *a, int64_t v)
{
    orl_put_long(a->w, orl_args_next(a), v);
}

void orl_args_double(struct orl_args *a, double v)
{
    orl_put_double(a->w, orl_args_next(a), v);
}

void orl_args_string(struct orl_args *a, struct span v)
{
    orl_put_bytes(a->w, orl_args_next(a), v);
}

void orl_args_bytes(struct orl_args *a, struct span v)
{
    orl_put_bytes(a->w, orl_args_next(a), v);
}

void orl_args_bytes_list(struct orl_args *a, const struct span *v, size_t count)
{
    orl_put_tag(a->w, ORL_WIRE_OBJECT, orl_args_next(a));
    if (count != 0)
        orl_put_uint(a->w, 0, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        orl_put_bytes(a->w, i == 0 ? 1 : 0, v[i]);
    orl_put_end(a->w);
}

void orl_args_guid(struct orl_args *a, const struct orl_guid *v)
{
    orl_put_guid(a->w, orl_args_next(a), v);
}

void orl_args_reference(struct orl_args *a, const struct orl_reference *v)
{
    orl_put_reference(a->w, orl_args_next(a), v);
}

void orl_args_value(struct orl_args *a, const struct orl_value *v)
{
    orl_put_value(a->w, orl_args_next(a), v);
}

void orl_args_object(struct orl_args *a, const struct orl_value *v)
{
    orl_put_value_typed(a->w, orl_args_next(a), v);
}

bool orl_list_enter(struct orl_reader *r, const struct orl_field *f, uint64_t *count_out)
{
    if (!orl_reader_enter(r, f))
        return false;
    /* The count is the first field, id 0, unless the list is empty. It is only looked at. */
    struct reader ahead = reader_of(span_of(r->in.ptr + r->pos, r->in.len - r->pos));
    uint8_t tag = rd_u8(&ahead);
    *count_out = 0;
    if (tag == ORL_WIRE_VARINT << 5)
        *count_out = orl_varint_read(&ahead);
    else if (tag == ORL_WIRE_FIXED32 << 5)
        *count_out = rd_u32le(&ahead);
    return true;
}

bool orl_list_next(struct orl_reader *r, struct orl_field *f_out)
{
    while (orl_reader_next(r, f_out)) {
        if (f_out->id != 0)
            return true;
    }
    return false;
}

/* Takes a fixed text from the front of r. */
static bool take_text(struct reader *r, const char *text)
{
    struct span want = span_of_str(text);
    if (want.len > r->left || !span_eq(span_of(r->pos, want.len), want))
        return false;
    rd_bytes(r, want.len);
    return true;
}

/* Takes "[...]" and yields what is inside; brackets inside come in pairs. */
static bool take_bracketed(struct reader *r, struct span *inside_out)
{
    const uint8_t *start = r->pos;
    size_t depth = 0;
    if (r->left == 0 || *start != '[')
        return false;
    const uint8_t *close = memchr(start, ']', r->left);
    if (close != NULL && memchr(start + 1, '[', (size_t)(close - start) - 1) == NULL) {
        *inside_out = span_of(start + 1, (size_t)(close - start) - 1);
        rd_bytes(r, inside_out->len + 2);
        return true;
    }
    while (r->left != 0) {
        uint8_t c = rd_u8(r);
        if (c == '[')
            depth++;
        else if (c == ']')
            depth--;
        if (depth == 0) {
            *inside_out = span_of(start + 1, (size_t)(r->pos - start) - 2);
            return true;
        }
    }
    return false;
}

/* Takes a text in quotes. */
static bool take_quoted(struct reader *r, struct span *inside_out)
{
    if (!take_text(r, "\""))
        return false;
    const uint8_t *start = r->pos;
    const uint8_t *end = r->left != 0 ? memchr(start, '"', r->left) : NULL;
    if (end == NULL)
        return false;
    *inside_out = span_of(start, (size_t)(end - start));
    rd_bytes(r, inside_out->len + 1);
    return true;
}

/* "Name,Assembly", at the last comma outside brackets: generic arguments hold more of them. */
static void split_assembly(struct span text, struct span *name_out, struct span *assembly_out)
{
    *name_out = text;
    *assembly_out = (struct span){0};
    const uint8_t *comma = text.len != 0 ? memrchr(text.ptr, ',', text.len) : NULL;
    if (comma == NULL)
        return;
    struct span tail = span_of(comma + 1, text.len - (size_t)(comma + 1 - text.ptr));
    if (memchr(tail.ptr, ']', tail.len) != NULL || memchr(tail.ptr, ')', tail.len) != NULL)
        return; /* the last comma is inside: there is no assembly */
    *name_out = span_of(text.ptr, (size_t)(comma - text.ptr));
    *assembly_out = tail;
}

enum sc_status orl_call_parse(struct span type, struct orl_call *call_out)
{
    struct reader r = reader_of(type);
    struct span extension;
    struct span declaring;
    struct span method;
    if (!take_text(&r, "(\"inv\",[GrainRef],"))
        return SC_ERR_PROTOCOL;
    bool is_extension = take_text(&r, "\"Ext\",");
    if (is_extension && (!take_bracketed(&r, &extension) || !take_text(&r, ",")))
        return SC_ERR_PROTOCOL;
    if (!take_bracketed(&r, &declaring) || !take_text(&r, ",") || !take_quoted(&r, &method) ||
        !take_text(&r, ")"))
        return SC_ERR_PROTOCOL;
    call_out->type = type;
    split_assembly(declaring, &call_out->interface, &call_out->assembly);
    call_out->method = method;
    call_out->generic = span_of(r.pos, r.left);
    call_out->extension = is_extension;
    return SC_OK;
}

enum sc_status orl_call_open(const struct orl_message *msg, struct orl_reader *r,
                             struct orl_call *call_out)
{
    struct orl_field f;
    orl_body_reader_init(r, msg);
    if (!orl_reader_next(r, &f) || f.wire != ORL_WIRE_OBJECT || !orl_reader_enter(r, &f))
        return SC_ERR_PROTOCOL;
    return orl_call_parse(f.type.name, call_out);
}

bool orl_call_is(const struct orl_call *call, const char *interface, const char *method)
{
    return span_eq_str(call->interface, interface) && span_eq_str(call->method, method);
}
