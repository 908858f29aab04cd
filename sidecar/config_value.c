/* Values of options: text to field, field to text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sidecar/base/wbuf.h"
#include "sidecar/config_table.h"

enum { WHY_BYTES = 128 };

static void *field_of(struct sc_config *config, const struct sc_option *option)
{
    return (char *)config + option->offset;
}

static const void *field_of_const(const struct sc_config *config, const struct sc_option *option)
{
    return (const char *)config + option->offset;
}

/* Digits of a base up to 10, all of them, without overflow. */
static bool parse_number(struct span text, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.ptr[i] - '0';
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = value;
    return true;
}

static bool parse_bytes(struct span text, uint64_t *out)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"", 0}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t len = strlen(units[i].suffix);
        if (text.len < len || memcmp(text.ptr + text.len - len, units[i].suffix, len) != 0)
            continue;
        uint64_t value;
        if (!parse_number(span_of(text.ptr, text.len - len), 10, &value) ||
            value > UINT64_MAX >> units[i].shift)
            return false;
        *out = value << units[i].shift;
        return true;
    }
    return false;
}

static const char *size_text(char *out, size_t cap, uint64_t v)
{
    static const char *const suffix[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (v != 0 && v % 1024 == 0 && i < 4) {
        v /= 1024;
        i++;
    }
    snprintf(out, cap, "%" PRIu64 "%s", v, suffix[i]);
    return out;
}

static enum sc_status set_number(void *field, const struct sc_option *o, struct span text,
                                 char *why)
{
    uint64_t value;
    char low[32], high[32];
    bool good = o->type == SC_OPTION_BYTES
                    ? parse_bytes(text, &value)
                    : parse_number(text, o->type == SC_OPTION_MODE ? 8 : 10, &value);
    if (!good || value < o->min || value > o->max) {
        if (o->type == SC_OPTION_BYTES)
            snprintf(why, WHY_BYTES, "must be %s to %s, e.g. 64MiB",
                     size_text(low, sizeof low, o->min), size_text(high, sizeof high, o->max));
        else if (o->type == SC_OPTION_MODE)
            snprintf(why, WHY_BYTES, "must be octal, 0%" PRIo64 " to 0%" PRIo64, o->min, o->max);
        else
            snprintf(why, WHY_BYTES, "must be a number, %" PRIu64 " to %" PRIu64 "%s%s", o->min,
                     o->max, o->unit[0] != '\0' ? " " : "", o->unit);
        return SC_ERR_CONFIG;
    }
    if (o->type == SC_OPTION_BYTES)
        *(uint64_t *)field = value;
    else
        *(uint32_t *)field = (uint32_t)value;
    return SC_OK;
}

/* Without control characters, line and paragraph separators and byte order marks, all of which YAML
 * could not hold as they are. */
static bool is_printable(struct span text)
{
    static const struct {
        uint8_t lead, second, third_min, third_max;
    } refused[] = {{0xe2, 0x80, 0xa8, 0xa9}, {0xef, 0xbb, 0xbf, 0xbf}, {0xef, 0xbf, 0xbe, 0xbf}};
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t *c = text.ptr + i;
        size_t left = text.len - i;
        if (*c < 0x20 || *c == 0x7f || (left > 1 && *c == 0xc2 && c[1] < 0xa0))
            return false;
        for (size_t j = 0; j < sizeof refused / sizeof refused[0] && left > 2; j++)
            if (*c == refused[j].lead && c[1] == refused[j].second &&
                c[2] >= refused[j].third_min && c[2] <= refused[j].third_max)
                return false;
    }
    return true;
}

static enum sc_status set_string(void *field, const struct sc_option *o, struct span text,
                                 char *why)
{
    if (text.len < o->min || text.len > o->max || !is_printable(text)) {
        snprintf(why, WHY_BYTES,
                 "must be text of %" PRIu64 " to %" PRIu64 " bytes without control characters",
                 o->min, o->max);
        return SC_ERR_CONFIG;
    }
    char *copy = strndup(text.len != 0 ? (const char *)text.ptr : "", text.len);
    if (copy == NULL) {
        snprintf(why, WHY_BYTES, "no memory");
        return SC_ERR_NO_MEMORY;
    }
    char **to = field;
    free(*to);
    *to = copy;
    return SC_OK;
}

/* The n-th name of "a|b|c"; an empty span past the end. */
static struct span choice_at(const char *choices, unsigned n)
{
    for (; n != 0; n--) {
        const char *bar = strchr(choices, '|');
        if (bar == NULL)
            return (struct span){0};
        choices = bar + 1;
    }
    return span_of(choices, strcspn(choices, "|"));
}

static enum sc_status set_choice(void *field, const struct sc_option *o, struct span text,
                                 char *why)
{
    for (unsigned i = 0;; i++) {
        struct span name = choice_at(o->choices, i);
        if (name.len == 0)
            break;
        if (span_eq(name, text)) {
            *(unsigned *)field = i;
            return SC_OK;
        }
    }
    snprintf(why, WHY_BYTES, "must be one of %s", o->choices);
    return SC_ERR_CONFIG;
}

/* Numbers with commas or blanks between them. */
static enum sc_status set_ids(void *field, const struct sc_option *o, struct span text, char *why)
{
    struct sc_id_list list = {.count = 0};
    size_t at = 0;
    while (at < text.len) {
        size_t end = at;
        while (end < text.len && text.ptr[end] != ',' && text.ptr[end] != ' ')
            end++;
        uint64_t value;
        if (end != at) {
            if (!parse_number(span_of(text.ptr + at, end - at), 10, &value) || value > o->max ||
                list.count == SC_CONFIG_IDS_MAX) {
                snprintf(why, WHY_BYTES, "must be at most %d ids, e.g. 1000,1001",
                         SC_CONFIG_IDS_MAX);
                return SC_ERR_CONFIG;
            }
            list.ids[list.count++] = (uint32_t)value;
        }
        at = end + 1;
    }
    *(struct sc_id_list *)field = list;
    return SC_OK;
}

enum sc_status sc_option_set(struct sc_config *config, const struct sc_option *option,
                             struct span text, char *why)
{
    void *field = field_of(config, option);
    switch (option->type) {
    case SC_OPTION_STRING:
        return set_string(field, option, text, why);
    case SC_OPTION_CHOICE:
        return set_choice(field, option, text, why);
    case SC_OPTION_IDS:
        return set_ids(field, option, text, why);
    case SC_OPTION_U32:
    case SC_OPTION_BYTES:
    case SC_OPTION_MODE:
        break;
    }
    return set_number(field, option, text, why);
}

/* Quoted when YAML could take it for something else. */
static void write_string(const char *text, struct wbuf *out)
{
    bool plain = *text != '\0';
    for (const char *c = text; *c != '\0'; c++)
        plain =
            plain && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '/' ||
                      *c == '-' || *c == '_' || *c == '.' || (c != text && *c >= '0' && *c <= '9'));
    if (plain) {
        wb_printf(out, "%s", text);
        return;
    }
    wb_u8(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            wb_printf(out, "\\%c", *c);
        else
            wb_u8(out, (uint8_t)*c);
    }
    wb_u8(out, '"');
}

void sc_option_write(const struct sc_config *config, const struct sc_option *option,
                     struct wbuf *out)
{
    const void *field = field_of_const(config, option);
    char text[32];
    const struct sc_id_list *list = field;
    switch (option->type) {
    case SC_OPTION_STRING:
        write_string(*(char *const *)field, out);
        break;
    case SC_OPTION_U32:
        wb_printf(out, "%" PRIu32, *(const uint32_t *)field);
        break;
    case SC_OPTION_BYTES:
        wb_printf(out, "%s", size_text(text, sizeof text, *(const uint64_t *)field));
        break;
    case SC_OPTION_MODE:
        wb_printf(out, "0%" PRIo32, *(const uint32_t *)field);
        break;
    case SC_OPTION_CHOICE:
        wb_span(out, choice_at(option->choices, *(const unsigned *)field));
        break;
    case SC_OPTION_IDS:
        wb_printf(out, "[");
        for (uint32_t i = 0; i < list->count; i++)
            wb_printf(out, "%s%" PRIu32, i != 0 ? ", " : "", list->ids[i]);
        wb_printf(out, "]");
        break;
    }
}

bool sc_option_same(const struct sc_config *a, const struct sc_config *b,
                    const struct sc_option *option)
{
    struct wbuf left, right;
    wbuf_init(&left, 1 << 16);
    wbuf_init(&right, 1 << 16);
    sc_option_write(a, option, &left);
    sc_option_write(b, option, &right);
    bool same = !left.failed && !right.failed && span_eq(wbuf_span(&left), wbuf_span(&right));
    wbuf_fini(&left);
    wbuf_fini(&right);
    return same;
}
