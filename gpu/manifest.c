#include "gpu/abi/envelope.h"
#include "gpu/catalog.h"
#include "gpu/package.h"
#include "gpu/version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

enum {
    STATE_MAX_BYTES = 1 << 30,
    SENDS_MAX = 1024,
    EMITS_MAX = 64,
    TYPE_MAX = 0xfeff,
    REPLY_MAX_BYTES = (1 << 24) - 1
};

/* One pass over one document. The first mistake is kept in error; everything after it is skipped.
 */
struct pass {
    yaml_document_t *doc;
    struct gpu_manifest *out;
    char *error;
    bool failed;
};

static void fail(struct pass *p, const yaml_node_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct pass *p, const yaml_node_t *at, const char *format, ...)
{
    if (p->failed)
        return;
    p->failed = true;
    int n = snprintf(p->error, GPU_KERNEL_TEXT_BYTES,
                     "line %zu: ", at != NULL ? at->start_mark.line + 1 : (size_t)1);
    va_list args;
    va_start(args, format);
    vsnprintf(p->error + n, GPU_KERNEL_TEXT_BYTES - (size_t)n, format, args);
    va_end(args);
}

static struct span scalar_of(const yaml_node_t *node)
{
    return span_of(node->data.scalar.value, node->data.scalar.length);
}

typedef void (*value_fn)(struct pass *p, const yaml_node_t *value, void *to);

struct key_row {
    const char *name;
    bool required;
    value_fn read;
};

static const struct key_row *find_key(const struct key_row *rows, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_eq_str(name, rows[i].name))
            return &rows[i];
    return NULL;
}

/* Reads a mapping by a table of its keys: unknown, repeated and missing keys fail. */
static void read_map(struct pass *p, const yaml_node_t *map, const char *what,
                     const struct key_row *rows, size_t count, void *to)
{
    if (map->type != YAML_MAPPING_NODE) {
        fail(p, map, "%s must be a map of keys and values", what);
        return;
    }
    uint32_t seen = 0;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top && !p->failed; pair++) {
        const yaml_node_t *key = yaml_document_get_node(p->doc, pair->key);
        const yaml_node_t *value = yaml_document_get_node(p->doc, pair->value);
        const struct key_row *row =
            key->type == YAML_SCALAR_NODE ? find_key(rows, count, scalar_of(key)) : NULL;
        if (row == NULL) {
            struct span name =
                key->type == YAML_SCALAR_NODE ? scalar_of(key) : span_of_str("(not a name)");
            fail(p, key, "%s has no key '%.*s'", what, (int)(name.len < 64 ? name.len : 64),
                 (const char *)name.ptr);
            return;
        }
        if (seen & 1u << (row - rows)) {
            fail(p, key, "%s: '%s' is given twice", what, row->name);
            return;
        }
        seen |= 1u << (row - rows);
        row->read(p, value, to);
    }
    for (size_t i = 0; i < count; i++)
        if (rows[i].required && !(seen & 1u << i))
            fail(p, map, "%s: '%s' is missing", what, rows[i].name);
}

static void read_list(struct pass *p, const yaml_node_t *list, const char *what, size_t max,
                      value_fn read, void *to)
{
    if (list->type != YAML_SEQUENCE_NODE) {
        fail(p, list, "%s must be a list", what);
        return;
    }
    size_t n = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    if (n > max) {
        fail(p, list, "%s: %zu entries, at most %zu", what, n, max);
        return;
    }
    for (size_t i = 0; i < n && !p->failed; i++)
        read(p, yaml_document_get_node(p->doc, list->data.sequence.items.start[i]), to);
}

static uint32_t read_number(struct pass *p, const yaml_node_t *node, const char *what, uint32_t min,
                            uint32_t max)
{
    struct span text = node->type == YAML_SCALAR_NODE ? scalar_of(node) : span_of(NULL, 0);
    uint64_t v = 0;
    bool good =
        text.len > 0 && text.len <= 10 && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    for (size_t i = 0; i < text.len && good; i++) {
        good = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        v = v * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    if (!good || v < min || v > max) {
        fail(p, node, "%s must be a whole number from %u to %u", what, min, max);
        return 0;
    }
    return (uint32_t)v;
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Which characters a text may begin with, which may follow, and how to say that to a person. */
struct text_rule {
    const char *first, *rest, *said;
};

static const struct text_rule id_rule = {LOWER, LOWER DIGITS "-",
                                         "a lower-case letter, then a-z 0-9 -"};
static const struct text_rule number_rule = {DIGITS, DIGITS ".", "N.N.N"};
static const struct text_rule name_rule = {LOWER UPPER, LOWER UPPER DIGITS "_",
                                           "a letter, then letters, digits and _"};
static const struct text_rule file_rule = {LOWER UPPER DIGITS "_", LOWER UPPER DIGITS "_.-",
                                           "a letter, digit or _, then also . and -"};

/* Copies a text of at most cap - 1 bytes that keeps to the rule. */
static void read_text(struct pass *p, const yaml_node_t *node, const char *what,
                      const struct text_rule *rule, char *to, size_t cap)
{
    struct span text = node->type == YAML_SCALAR_NODE ? scalar_of(node) : span_of(NULL, 0);
    bool good = text.len > 0 && text.len < cap && memchr(text.ptr, 0, text.len) == NULL &&
                strchr(rule->first, text.ptr[0]) != NULL;
    for (size_t i = 1; i < text.len && good; i++)
        good = strchr(rule->rest, text.ptr[i]) != NULL;
    if (!good) {
        fail(p, node, "%s must be 1 to %zu characters: %s", what, cap - 1, rule->said);
        return;
    }
    memcpy(to, text.ptr, text.len);
    to[text.len] = 0;
}

static void read_kernel(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_manifest *m = to;
    read_text(p, node, "kernel", &id_rule, m->id, sizeof m->id);
}

static void read_version(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_manifest *m = to;
    read_text(p, node, "version", &number_rule, m->version, sizeof m->version);
    struct gpu_version version;
    if (!p->failed && !gpu_version_parse(m->version, &version))
        fail(p, node, "version must be N.N.N");
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name);
    size_t k = strlen(suffix);
    return n > k && strcmp(name + n - k, suffix) == 0;
}

static void read_source(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_manifest *m = to;
    char *name = m->sources[m->source_count];
    read_text(p, node, "a source", &file_rule, name, GPU_KERNEL_NAME_BYTES);
    if (!p->failed && !has_suffix(name, ".c") && !has_suffix(name, ".h"))
        fail(p, node, "source '%s' must end in .c or .h", name);
    for (uint32_t i = 0; i < m->source_count; i++)
        if (strcmp(m->sources[i], name) == 0)
            fail(p, node, "source '%s' is given twice", name);
    m->source_count++;
}

static void read_sources(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_manifest *m = to;
    read_list(p, node, "sources", GPU_KERNEL_SOURCES_MAX, read_source, m);
    bool any = false;
    for (uint32_t i = 0; i < m->source_count; i++)
        any |= has_suffix(m->sources[i], ".c");
    if (!any)
        fail(p, node, "sources must name a .c file");
}

static void read_state_bytes(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_manifest *)to)->state_bytes =
        read_number(p, node, "state.bytes", 1, STATE_MAX_BYTES);
}

static void read_state_max(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_manifest *)to)->state_max_bytes =
        read_number(p, node, "state.max_bytes", 1, STATE_MAX_BYTES);
}

static void read_state(struct pass *p, const yaml_node_t *node, void *to)
{
    static const struct key_row rows[] = {{"bytes", true, read_state_bytes},
                                          {"max_bytes", false, read_state_max}};
    struct gpu_manifest *m = to;
    read_map(p, node, "state", rows, sizeof rows / sizeof rows[0], m);
    if (m->state_max_bytes == 0)
        m->state_max_bytes = m->state_bytes;
    if (m->state_max_bytes < m->state_bytes)
        fail(p, node, "state.max_bytes %u is below state.bytes %u", m->state_max_bytes,
             m->state_bytes);
}

static void read_sends(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_manifest *)to)->sends_max = read_number(p, node, "limits.sends", 0, SENDS_MAX);
}

static void read_emits(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_manifest *)to)->emits_max = read_number(p, node, "limits.emits", 0, EMITS_MAX);
}

static void read_limits(struct pass *p, const yaml_node_t *node, void *to)
{
    static const struct key_row rows[] = {{"sends", false, read_sends},
                                          {"emits", false, read_emits}};
    read_map(p, node, "limits", rows, sizeof rows / sizeof rows[0], to);
}

static void read_message_name(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_message_type *t = to;
    read_text(p, node, "a message's name", &name_rule, t->name, sizeof t->name);
}

static void read_message_type(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_message_type *)to)->type =
        (uint16_t)read_number(p, node, "a message's type", 1, TYPE_MAX);
}

static void read_message_reply(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_message_type *)to)->reply_bytes =
        read_number(p, node, "a message's reply_bytes", 0, REPLY_MAX_BYTES);
}

static void read_message(struct pass *p, const yaml_node_t *node, void *to)
{
    static const struct key_row rows[] = {{"name", true, read_message_name},
                                          {"type", true, read_message_type},
                                          {"reply_bytes", false, read_message_reply}};
    struct gpu_manifest *m = to;
    struct gpu_message_type *t = &m->messages[m->message_count];
    t->reply_bytes = GPU_INLINE_BYTES;
    read_map(p, node, "a message", rows, sizeof rows / sizeof rows[0], t);
    for (uint32_t i = 0; i < m->message_count && !p->failed; i++)
        if (strcmp(m->messages[i].name, t->name) == 0 || m->messages[i].type == t->type)
            fail(p, node, "message '%s' has the name or type of '%s'", t->name,
                 m->messages[i].name);
    m->message_count++;
}

static void read_messages(struct pass *p, const yaml_node_t *node, void *to)
{
    read_list(p, node, "messages", GPU_KERNEL_MESSAGES_MAX, read_message, to);
}

static void read_event_name(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_event_type *e = to;
    read_text(p, node, "an event's name", &name_rule, e->name, sizeof e->name);
}

static void read_event_type(struct pass *p, const yaml_node_t *node, void *to)
{
    ((struct gpu_event_type *)to)->type =
        (uint16_t)read_number(p, node, "an event's type", 1, TYPE_MAX);
}

static void read_event_namespace(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_event_type *e = to;
    read_text(p, node, "an event's namespace", &file_rule, e->stream_namespace,
              sizeof e->stream_namespace);
}

static void read_event_encoding(struct pass *p, const yaml_node_t *node, void *to)
{
    struct gpu_event_type *e = to;
    struct span text = node->type == YAML_SCALAR_NODE ? scalar_of(node) : span_of(NULL, 0);
    if (span_eq_str(text, "utf8"))
        e->encoding = GPU_EVENT_UTF8;
    else if (!span_eq_str(text, "bytes"))
        fail(p, node, "an event's encoding must be bytes or utf8");
}

static void read_event(struct pass *p, const yaml_node_t *node, void *to)
{
    static const struct key_row rows[] = {{"name", true, read_event_name},
                                          {"type", true, read_event_type},
                                          {"namespace", true, read_event_namespace},
                                          {"encoding", false, read_event_encoding}};
    struct gpu_manifest *m = to;
    struct gpu_event_type *e = &m->events[m->event_count];
    e->encoding = GPU_EVENT_BYTES;
    read_map(p, node, "an event", rows, sizeof rows / sizeof rows[0], e);
    for (uint32_t i = 0; i < m->event_count && !p->failed; i++)
        if (strcmp(m->events[i].name, e->name) == 0 || m->events[i].type == e->type)
            fail(p, node, "event '%s' has the name or type of '%s'", e->name, m->events[i].name);
    m->event_count++;
}

static void read_events(struct pass *p, const yaml_node_t *node, void *to)
{
    read_list(p, node, "events", GPU_KERNEL_EVENTS_MAX, read_event, to);
}

static void read_root(struct pass *p)
{
    static const struct key_row rows[] = {
        {"kernel", true, read_kernel},   {"version", true, read_version},
        {"sources", true, read_sources}, {"state", true, read_state},
        {"limits", false, read_limits},  {"messages", true, read_messages},
        {"events", false, read_events},
    };
    const yaml_node_t *root = yaml_document_get_root_node(p->doc);
    if (root == NULL)
        fail(p, NULL, "the manifest is empty");
    else
        read_map(p, root, "the manifest", rows, sizeof rows / sizeof rows[0], p->out);
}

static void yaml_error(const yaml_parser_t *parser, char *error)
{
    snprintf(error, GPU_KERNEL_TEXT_BYTES, "line %zu: no valid YAML: %s",
             parser->problem_mark.line + 1, parser->problem != NULL ? parser->problem : "?");
}

/* A second document would be ignored silently, which a reader of the file would not expect. */
static void check_single(struct pass *p, yaml_parser_t *parser)
{
    yaml_document_t next;
    if (p->failed)
        return;
    if (!yaml_parser_load(parser, &next)) {
        p->failed = true;
        yaml_error(parser, p->error);
        return;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    if (root != NULL)
        fail(p, root, "a second YAML document");
    yaml_document_delete(&next);
}

enum sc_status gpu_manifest_parse(struct span yaml, struct gpu_manifest *out, char *error)
{
    if (yaml.len > GPU_MANIFEST_MAX_BYTES) {
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "line 1: over %d bytes", GPU_MANIFEST_MAX_BYTES);
        return SC_ERR_TOO_LARGE;
    }
    struct gpu_manifest *m = calloc(1, sizeof *m);
    yaml_parser_t parser;
    if (m == NULL || !yaml_parser_initialize(&parser)) {
        free(m);
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "out of memory");
        return SC_ERR_NO_MEMORY;
    }
    yaml_parser_set_input_string(&parser, yaml.len != 0 ? yaml.ptr : (const uint8_t *)"", yaml.len);
    yaml_document_t doc;
    struct pass p = {.doc = &doc, .out = m, .error = error};
    if (!yaml_parser_load(&parser, &doc)) {
        p.failed = true;
        yaml_error(&parser, error);
    } else {
        read_root(&p);
        check_single(&p, &parser);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    if (!p.failed)
        *out = *m;
    free(m);
    return p.failed ? SC_ERR_CONFIG : SC_OK;
}

const struct gpu_message_type *gpu_manifest_message_type(const struct gpu_manifest *m,
                                                         uint16_t type)
{
    for (uint32_t i = 0; i < m->message_count; i++)
        if (m->messages[i].type == type)
            return &m->messages[i];
    return NULL;
}

const struct gpu_event_type *gpu_manifest_event(const struct gpu_manifest *m, uint16_t type)
{
    for (uint32_t i = 0; i < m->event_count; i++)
        if (m->events[i].type == type)
            return &m->events[i];
    return NULL;
}
