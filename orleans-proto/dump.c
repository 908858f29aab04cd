#include "orleans-proto/dump.h"

#include <inttypes.h>

enum { DUMP_TEXT_MAX = 96, DUMP_HEX_MAX = 48, INDENT = 2 };

static const char *const known_names[] = {
    [ORL_KNOWN_VOID] = "void",
    [ORL_KNOWN_INT] = "int",
    [ORL_KNOWN_STRING] = "string",
    [ORL_KNOWN_BOOL] = "bool",
    [ORL_KNOWN_SHORT] = "short",
    [ORL_KNOWN_LONG] = "long",
    [ORL_KNOWN_SBYTE] = "sbyte",
    [ORL_KNOWN_UINT] = "uint",
    [ORL_KNOWN_USHORT] = "ushort",
    [ORL_KNOWN_ULONG] = "ulong",
    [ORL_KNOWN_BYTE] = "byte",
    [ORL_KNOWN_FLOAT] = "float",
    [ORL_KNOWN_DOUBLE] = "double",
    [ORL_KNOWN_DECIMAL] = "decimal",
    [ORL_KNOWN_CHAR] = "char",
    [ORL_KNOWN_GUID] = "Guid",
    [ORL_KNOWN_DATE_TIME] = "DateTime",
    [ORL_KNOWN_TIME_SPAN] = "TimeSpan",
    [ORL_KNOWN_OBJECT] = "object",
    [ORL_KNOWN_DOTNET_SERIALIZABLE] = "DotNetSerializable",
    [ORL_KNOWN_EXCEPTION] = "Exception",
    [ORL_KNOWN_BYTES] = "byte[]",
    [ORL_KNOWN_OBJECT_ARRAY] = "object[]",
    [ORL_KNOWN_INT_ARRAY] = "int[]",
    [ORL_KNOWN_STRING_ARRAY] = "string[]",
    [ORL_KNOWN_EXCEPTION_RESPONSE] = "ExceptionResponse",
    [ORL_KNOWN_COMPLETED_RESPONSE] = "CompletedResponse",
    [ORL_KNOWN_REJECTION_RESPONSE] = "RejectionResponse",
    [ORL_KNOWN_STATUS_RESPONSE] = "StatusResponse",
};

static bool is_text(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < 0x20 && s.ptr[i] != '\r' && s.ptr[i] != '\n' && s.ptr[i] != '\t')
            return false;
        if (s.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

/* What a terminal could take for a command leaves as \xNN. */
static void put_text(struct wbuf *w, struct span s)
{
    size_t shown = s.len < DUMP_TEXT_MAX ? s.len : DUMP_TEXT_MAX;
    for (size_t i = 0; i < shown; i++) {
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e || s.ptr[i] == '\\')
            wb_printf(w, "\\x%02x", s.ptr[i]);
        else
            wb_u8(w, s.ptr[i]);
    }
    if (shown < s.len)
        wb_printf(w, "... %zu bytes", s.len);
}

static void put_bytes(struct wbuf *w, struct span s)
{
    if (is_text(s)) {
        wb_printf(w, " \"");
        put_text(w, s);
        wb_printf(w, "\"");
        return;
    }
    size_t shown = s.len < DUMP_HEX_MAX ? s.len : DUMP_HEX_MAX;
    wb_printf(w, " %zu bytes ", s.len);
    for (size_t i = 0; i < shown; i++)
        wb_printf(w, "%02x", s.ptr[i]);
    if (shown < s.len)
        wb_printf(w, "...");
}

static void put_type(struct wbuf *w, const struct orl_field *f)
{
    const size_t count = sizeof known_names / sizeof known_names[0];
    const struct orl_type *t = &f->type;
    if (t->schema == ORL_SCHEMA_KNOWN) {
        const char *name = t->known < count ? known_names[t->known] : NULL;
        if (name != NULL)
            wb_printf(w, " <%s>", name);
        else
            wb_printf(w, " <known %" PRIu32 ">", t->known);
    } else if (t->schema != ORL_SCHEMA_EXPECTED) {
        wb_printf(w, " <");
        put_text(w, t->name);
        wb_printf(w, t->schema == ORL_SCHEMA_REFERENCED ? " #%" PRIu32 ">" : ">", f->type_ref);
    }
}

static void put_payload(struct wbuf *w, const struct orl_field *f)
{
    switch (f->wire) {
    case ORL_WIRE_VARINT:
        wb_printf(w, " %" PRIu64 " (%" PRId64 ")", f->num, orl_unzigzag(f->num));
        break;
    case ORL_WIRE_FIXED32:
        wb_printf(w, " 0x%08" PRIx32 " (%" PRId32 ")", (uint32_t)f->num, (int32_t)f->num);
        break;
    case ORL_WIRE_FIXED64:
        wb_printf(w, " 0x%016" PRIx64 " (%" PRId64 ")", f->num, (int64_t)f->num);
        break;
    case ORL_WIRE_BYTES:
        put_bytes(w, f->bytes);
        break;
    case ORL_WIRE_REF:
        if (f->num == 0)
            wb_printf(w, " null");
        else
            wb_printf(w, " -> object %" PRIu64, f->num);
        break;
    default:
        wb_printf(w, " {");
        break;
    }
}

void orl_dump_fields(struct wbuf *w, struct orl_reader *r)
{
    struct orl_field f;
    while (orl_reader_token(r, &f)) {
        bool opens = f.wire == ORL_WIRE_OBJECT;
        wb_printf(w, "%*s", (int)(INDENT * (r->depth + (opens ? 0 : 1))), "");
        if (f.wire == ORL_WIRE_END) {
            wb_printf(w, "}\n");
            continue;
        }
        if (f.wire == ORL_WIRE_END_BASE) {
            wb_printf(w, "-- end of base class\n");
            continue;
        }
        wb_printf(w, "[%" PRIu32 "]", f.id);
        put_type(w, &f);
        put_payload(w, &f);
        wb_printf(w, "\n");
    }
    if (r->status != SC_OK)
        wb_printf(w, "%*s!! does not decode from byte %zu on: %s\n", INDENT, "", r->pos,
                  sc_status_name(r->status));
}

static void put_grain_id(struct wbuf *w, struct orl_grain_id id)
{
    put_text(w, id.type);
    wb_printf(w, "/");
    put_text(w, id.key);
}

static void put_silo(struct wbuf *w, const struct orl_silo *silo)
{
    char text[ORL_SILO_TEXT_MAX];
    if (orl_silo_is_null(silo))
        return;
    orl_silo_format(silo, text);
    wb_printf(w, " at %s", text);
}

void orl_dump_preamble(struct wbuf *w, const struct orl_preamble *preamble)
{
    wb_printf(w, "preamble version %" PRIu32 " cluster ", preamble->version);
    put_text(w, preamble->cluster_id);
    wb_printf(w, " node ");
    put_grain_id(w, preamble->node);
    put_silo(w, &preamble->silo);
    wb_printf(w, "\n");
}

static void put_word(struct wbuf *w, const struct orl_message *m)
{
    static const char *const directions[] = {"none", "request", "response", "oneway"};
    static const char *const types[] = {"", " value", " error", " rejection", " status"};
    static const struct {
        uint16_t flag;
        const char *name;
    } flags[] = {
        {ORL_FLAG_SYSTEM, "system"},
        {ORL_FLAG_READ_ONLY, "read_only"},
        {ORL_FLAG_ALWAYS_INTERLEAVE, "always_interleave"},
        {ORL_FLAG_UNORDERED, "unordered"},
        {ORL_FLAG_LOCAL_ONLY, "local_only"},
        {ORL_FLAG_SUPPRESS_KEEP_ALIVE, "suppress_keep_alive"},
    };
    wb_printf(w, "%s%s id %016" PRIx64, directions[m->direction], types[m->response_type], m->id);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (m->flags & flags[i].flag)
            wb_printf(w, " %s", flags[i].name);
    }
    if (m->forward_count != 0)
        wb_printf(w, " forwarded %u", m->forward_count);
}

static void put_context(struct wbuf *w, const struct orl_message *m)
{
    struct span rest = m->context;
    struct span key;
    struct span value;
    enum sc_status st = SC_OK;
    while (orl_context_next(&rest, &key, &value, &st)) {
        struct orl_reader r;
        wb_printf(w, "  context ");
        put_text(w, key);
        wb_printf(w, "\n");
        orl_reader_init(&r, value);
        orl_dump_fields(w, &r);
    }
}

void orl_dump_message(struct wbuf *w, const struct orl_message *msg)
{
    struct orl_reader r;
    put_word(w, msg);
    wb_printf(w, " from ");
    put_grain_id(w, msg->sender);
    put_silo(w, &msg->sender_silo);
    wb_printf(w, " to ");
    put_grain_id(w, msg->target);
    put_silo(w, &msg->target_silo);
    if (msg->flags & ORL_FLAG_INTERFACE_TYPE) {
        wb_printf(w, " interface ");
        put_text(w, msg->interface);
    }
    if (msg->flags & ORL_FLAG_INTERFACE_VERSION)
        wb_printf(w, " version %u", msg->interface_version);
    if (msg->flags & ORL_FLAG_TTL)
        wb_printf(w, " ttl_ms %" PRId32, msg->ttl_ms);
    if (msg->flags & ORL_FLAG_CACHE_INVALIDATION)
        wb_printf(w, " cache_updates %" PRIu32, msg->cache_updates);
    wb_printf(w, " body_bytes %zu\n", msg->body.len);
    put_context(w, msg);
    orl_body_reader_init(&r, msg);
    orl_dump_fields(w, &r);
}

size_t orl_dump_stream(struct wbuf *w, struct span in, bool has_preamble,
                       const struct orl_limits *lim, struct span *rest_out)
{
    struct orl_preamble preamble;
    struct orl_frame frame;
    struct orl_message m;
    size_t count = 0;
    size_t used = 0;
    *rest_out = in;
    if (has_preamble) {
        if (orl_preamble_decode(in, &preamble, &used) != SC_OK)
            return 0;
        orl_dump_preamble(w, &preamble);
        in = span_of(in.ptr + used, in.len - used);
    }
    while (in.len != 0 && orl_frame_decode(in, lim, &frame, &used) == SC_OK) {
        if (orl_message_decode(frame.header, &m) == SC_OK) {
            m.body = frame.body;
            orl_dump_message(w, &m);
            count++;
        } else {
            wb_printf(w, "!! a header of %zu bytes does not decode\n", frame.header.len);
        }
        in = span_of(in.ptr + used, in.len - used);
    }
    *rest_out = in;
    return count;
}
