#include "sidecar/config_file.h"

#include <stdio.h>

#include <yaml.h>

#include "sidecar/config.h"

enum { NAME_MAX_BYTES = 128, VALUE_MAX_BYTES = 8192, DEPTH_MAX = 4 };

struct file_reader {
    yaml_parser_t parser;
    const char *file;
    sc_config_file_fn fn;
    void *user;
    char *error;
};

static enum sc_status fail(struct file_reader *r, const yaml_event_t *event, const char *why)
{
    snprintf(r->error, SC_CONFIG_ERROR_BYTES, "%s:%zu: %s", r->file, event->start_mark.line + 1,
             why);
    return SC_ERR_CONFIG;
}

/* The next event; on success the caller deletes it. */
static enum sc_status next(struct file_reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event) == 0) {
        snprintf(r->error, SC_CONFIG_ERROR_BYTES, "%s:%zu: %s", r->file,
                 r->parser.problem_mark.line + 1,
                 r->parser.problem != NULL ? r->parser.problem : "not readable as YAML");
        return SC_ERR_CONFIG;
    }
    return SC_OK;
}

static struct span scalar_of(const yaml_event_t *event)
{
    struct span s = span_of(event->data.scalar.value, event->data.scalar.length);
    bool null = event->data.scalar.plain_implicit != 0 &&
                event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                (span_eq_str(s, "~") || span_eq_str(s, "null"));
    return null ? span_of("", 0) : s;
}

/* Scalars up to the end of the sequence, joined. */
static enum sc_status read_list(struct file_reader *r, struct span name, uint32_t line)
{
    char value[VALUE_MAX_BYTES];
    size_t len = 0;
    for (;;) {
        yaml_event_t event;
        enum sc_status st = next(r, &event);
        if (st != SC_OK)
            return st;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return r->fn(r->user, name, span_of(value, len), line, r->error);
        }
        if (event.type != YAML_SCALAR_EVENT || event.data.scalar.length + 1 > sizeof value - len) {
            st = fail(r, &event, "a list holds plain values only, and not too many");
        } else {
            if (len != 0)
                value[len++] = ',';
            memcpy(value + len, event.data.scalar.value, event.data.scalar.length);
            len += event.data.scalar.length;
        }
        yaml_event_delete(&event);
        if (st != SC_OK)
            return st;
    }
}

/* Puts prefix.key into name; false when it does not fit. */
static bool join(char *name, struct span prefix, struct span key, size_t *len_out)
{
    size_t dot = prefix.len != 0 ? 1 : 0;
    if (key.len == 0 || key.len > NAME_MAX_BYTES || prefix.len + dot > NAME_MAX_BYTES - key.len)
        return false;
    if (prefix.len != 0) {
        memcpy(name, prefix.ptr, prefix.len);
        name[prefix.len] = '.';
    }
    memcpy(name + prefix.len + dot, key.ptr, key.len);
    *len_out = prefix.len + dot + key.len;
    return true;
}

static enum sc_status read_mapping(struct file_reader *r, struct span prefix, unsigned depth);

static enum sc_status read_value(struct file_reader *r, struct span name, unsigned depth)
{
    yaml_event_t event;
    enum sc_status st = next(r, &event);
    if (st != SC_OK)
        return st;
    uint32_t line = (uint32_t)event.start_mark.line + 1;
    switch (event.type) {
    case YAML_SCALAR_EVENT:
        st = r->fn(r->user, name, scalar_of(&event), line, r->error);
        break;
    case YAML_SEQUENCE_START_EVENT:
        st = read_list(r, name, line);
        break;
    case YAML_MAPPING_START_EVENT:
        if (depth == DEPTH_MAX)
            st = fail(r, &event, "nested too deep");
        else
            st = read_mapping(r, name, depth + 1);
        break;
    default:
        st = fail(r, &event, "anchors and aliases are not supported");
        break;
    }
    yaml_event_delete(&event);
    return st;
}

/* Recursion is bounded by DEPTH_MAX. */
static enum sc_status read_mapping(struct file_reader *r, struct span prefix, unsigned depth)
{
    for (;;) {
        char name[NAME_MAX_BYTES];
        size_t len = 0;
        yaml_event_t event;
        enum sc_status st = next(r, &event);
        if (st != SC_OK)
            return st;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        if (!end &&
            (event.type != YAML_SCALAR_EVENT || !join(name, prefix, scalar_of(&event), &len)))
            st = fail(r, &event, "expected the name of an option");
        yaml_event_delete(&event);
        if (end || st != SC_OK)
            return st;
        st = read_value(r, span_of(name, len), depth);
        if (st != SC_OK)
            return st;
    }
}

/* Stream start, document start, mapping or nothing, ends. */
static enum sc_status read_document(struct file_reader *r)
{
    bool seen = false;
    for (;;) {
        yaml_event_t event;
        enum sc_status st = next(r, &event);
        if (st != SC_OK)
            return st;
        bool end = event.type == YAML_STREAM_END_EVENT;
        bool empty = event.type == YAML_SCALAR_EVENT && scalar_of(&event).len == 0;
        if (event.type == YAML_MAPPING_START_EVENT)
            st = read_mapping(r, span_of("", 0), 1);
        else if (event.type == YAML_DOCUMENT_START_EVENT && seen)
            st = fail(r, &event, "more than one document");
        else if (event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_ALIAS_EVENT ||
                 (event.type == YAML_SCALAR_EVENT && !empty))
            st = fail(r, &event, "expected options as name: value");
        seen = seen || event.type == YAML_DOCUMENT_START_EVENT;
        yaml_event_delete(&event);
        if (end || st != SC_OK)
            return st;
    }
}

enum sc_status sc_config_file_read(struct span yaml, const char *file, sc_config_file_fn fn,
                                   void *user, char *error)
{
    struct file_reader r = {.file = file, .fn = fn, .user = user, .error = error};
    if (yaml_parser_initialize(&r.parser) == 0)
        return SC_ERR_NO_MEMORY;
    yaml_parser_set_input_string(&r.parser, yaml.ptr != NULL ? yaml.ptr : (const uint8_t *)"",
                                 yaml.len);
    enum sc_status st = read_document(&r);
    yaml_parser_delete(&r.parser);
    return st;
}
