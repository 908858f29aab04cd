#include "sidecar/deb822.h"

#include <stdio.h>
#include <strings.h>

static enum sc_status refuse(char *error, uint32_t line, const char *what, struct span near)
{
    char shown[41];
    size_t n = near.len < sizeof shown - 1 ? near.len : sizeof shown - 1;
    for (size_t i = 0; i < n; i++)
        shown[i] = near.ptr[i] >= 0x20 && near.ptr[i] < 0x7f ? (char)near.ptr[i] : '?';
    shown[n] = 0;
    snprintf(error, SC_DEB822_ERROR_BYTES, "line %u: %s: '%s'", line, what, shown);
    return SC_ERR_PROTOCOL;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span trim(struct span s)
{
    while (s.len != 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len != 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Takes one line without its newline; the caller knows that bytes are left. */
static struct span take_line(struct sc_deb822 *in)
{
    const uint8_t *end = memchr(in->left.ptr, '\n', in->left.len);
    size_t n = end != NULL ? (size_t)(end - in->left.ptr) : in->left.len;
    struct span line = span_of(in->left.ptr, n);
    size_t used = end != NULL ? n + 1 : n;
    in->left.ptr += used;
    in->left.len -= used;
    in->line++;
    return line;
}

static bool is_field_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f)
            return false;
    return name.len != 0 && name.ptr[0] != '#' && name.ptr[0] != '-';
}

static enum sc_status add_field(struct sc_deb822_paragraph *p, struct span line, uint32_t number,
                                char *error)
{
    const uint8_t *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL)
        return refuse(error, number, "no 'Name: value'", line);
    struct span name = span_of(line.ptr, (size_t)(colon - line.ptr));
    if (!is_field_name(name))
        return refuse(error, number, "not a field's name", name);
    if (p->count == SC_DEB822_FIELDS_MAX)
        return refuse(error, number, "too many fields in a paragraph", name);
    for (uint32_t i = 0; i < p->count; i++)
        if (p->fields[i].name.len == name.len &&
            strncasecmp((const char *)p->fields[i].name.ptr, (const char *)name.ptr, name.len) == 0)
            return refuse(error, number, "a field is given twice in a paragraph", name);
    p->fields[p->count++] = (struct sc_deb822_field){
        .name = name, .value = span_of(colon + 1, line.len - name.len - 1), .line = number};
    return SC_OK;
}

enum sc_status sc_deb822_next(struct sc_deb822 *in, struct sc_deb822_paragraph *out, char *error)
{
    out->count = 0;
    while (in->left.len != 0) {
        uint32_t number = in->line;
        struct span line = take_line(in);
        if (memchr(line.ptr, 0, line.len) != NULL)
            return refuse(error, number, "a NUL byte", line);
        if (trim(line).len == 0) {
            if (out->count != 0)
                break;
            continue;
        }
        if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
            if (out->count == 0)
                return refuse(error, number, "a continuation line without a field", line);
            struct span *value = &out->fields[out->count - 1].value;
            value->len = (size_t)(line.ptr + line.len - value->ptr);
            continue;
        }
        enum sc_status st = add_field(out, line, number, error);
        if (st != SC_OK)
            return st;
    }
    for (uint32_t i = 0; i < out->count; i++)
        out->fields[i].value = trim(out->fields[i].value);
    return SC_OK;
}

const struct sc_deb822_field *sc_deb822_find(const struct sc_deb822_paragraph *p, const char *name)
{
    size_t n = strlen(name);
    for (uint32_t i = 0; i < p->count; i++)
        if (p->fields[i].name.len == n &&
            strncasecmp((const char *)p->fields[i].name.ptr, name, n) == 0)
            return &p->fields[i];
    return NULL;
}

/* ---- relations ---- */

static void skip_blanks(struct sc_deb_relations *in)
{
    while (in->left.len != 0 && is_blank(in->left.ptr[0])) {
        in->line += in->left.ptr[0] == '\n';
        in->left.ptr++;
        in->left.len--;
    }
}

static bool take_char(struct sc_deb_relations *in, uint8_t c)
{
    if (in->left.len == 0 || in->left.ptr[0] != c)
        return false;
    in->left.ptr++;
    in->left.len--;
    return true;
}

/* Takes the bytes up to a blank or one of `stops`. */
static struct span take_word(struct sc_deb_relations *in, const char *stops)
{
    size_t n = 0;
    while (n < in->left.len && !is_blank(in->left.ptr[n]) && in->left.ptr[n] != 0 &&
           strchr(stops, in->left.ptr[n]) == NULL)
        n++;
    struct span word = span_of(in->left.ptr, n);
    in->left.ptr += n;
    in->left.len -= n;
    return word;
}

/* '<' and '>' alone are old spellings of "<=" and ">=". */
static bool take_operator(struct sc_deb_relations *in, enum sc_deb_relation *out)
{
    if (take_char(in, '=')) {
        *out = SC_DEB_EQUAL;
        return true;
    }
    if (take_char(in, '<')) {
        *out = take_char(in, '<') ? SC_DEB_BELOW : SC_DEB_AT_MOST;
    } else if (take_char(in, '>')) {
        *out = take_char(in, '>') ? SC_DEB_ABOVE : SC_DEB_AT_LEAST;
    } else {
        return false;
    }
    if (*out == SC_DEB_AT_MOST || *out == SC_DEB_AT_LEAST)
        (void)take_char(in, '=');
    return true;
}

static enum sc_status take_version(struct sc_deb_relations *in, struct sc_deb_alternative *a,
                                   char *error)
{
    skip_blanks(in);
    if (!take_operator(in, &a->relation))
        return refuse(error, in->line, "no relation like >= behind '('", in->left);
    skip_blanks(in);
    a->version = take_word(in, "(),|");
    skip_blanks(in);
    if (a->version.len == 0 || !take_char(in, ')'))
        return refuse(error, in->line, "no version and ')' behind a relation", in->left);
    return SC_OK;
}

/* Separators before an alternative; empty clauses, as a trailing comma makes them, are skipped. */
static enum sc_status take_separators(struct sc_deb_relations *in, char *error)
{
    skip_blanks(in);
    while (take_char(in, ',')) {
        in->at_clause = true;
        skip_blanks(in);
    }
    if (in->left.len != 0 && in->left.ptr[0] == '|' && in->at_clause)
        return refuse(error, in->line, "'|' without an alternative before it", in->left);
    return SC_OK;
}

enum sc_status sc_deb_relations_next(struct sc_deb_relations *in, struct sc_deb_alternative *out,
                                     char *error)
{
    *out = (struct sc_deb_alternative){0};
    enum sc_status st = take_separators(in, error);
    if (st != SC_OK)
        return st;
    if (in->left.len == 0)
        return SC_OK;
    bool separated = in->at_clause;
    if (take_char(in, '|')) {
        separated = true;
        skip_blanks(in);
    }
    struct sc_deb_alternative a = {.starts_clause = in->at_clause};
    a.name = take_word(in, "(),|:");
    if (!separated || a.name.len == 0)
        return refuse(error, in->line, "not a package's name", separated ? in->left : a.name);
    if (a.name.len > SC_DEB822_NAME_MAX)
        return refuse(error, in->line, "a package's name is too long", a.name);
    if (take_char(in, ':'))
        a.qualifier = take_word(in, "(),|");
    skip_blanks(in);
    if (take_char(in, '('))
        st = take_version(in, &a, error);
    in->at_clause = false;
    if (st == SC_OK)
        *out = a;
    return st;
}
