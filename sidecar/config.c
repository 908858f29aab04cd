#include "sidecar/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/base/wbuf.h"
#include "sidecar/config_file.h"
#include "sidecar/config_table.h"

enum { FILE_MAX_BYTES = 1 << 20, ENV_NAME_BYTES = 128 };

_Static_assert(sizeof(enum sc_config_stream) == sizeof(unsigned), "choices are stored as unsigned");

/* A configuration in the making, and where its present values come from. */
struct build {
    struct sc_config *config;
    const char *file;
    enum sc_config_origin origin;
};

static void say_where(const struct sc_config *config, uint32_t row, char *out, size_t cap)
{
    const struct sc_config_source *source = &config->sources[row];
    char name[ENV_NAME_BYTES];
    switch (source->origin) {
    case SC_FROM_DEFAULT:
        snprintf(out, cap, "default");
        break;
    case SC_FROM_FILE:
        snprintf(out, cap, "%s:%u", config->file, source->line);
        break;
    case SC_FROM_ENV:
        snprintf(name, sizeof name, "%s", sc_options[row].name);
        for (char *c = name; *c != '\0'; c++)
            *c = *c == '.' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        snprintf(out, cap, "environment " SC_CONFIG_ENV_PREFIX "%s", name);
        break;
    case SC_FROM_FLAG:
        snprintf(out, cap, "flag --%s", sc_options[row].name);
        break;
    }
}

static enum sc_status set_row(struct build *b, uint32_t row, struct span value, uint32_t line,
                              char *error)
{
    char why[128], where[300];
    struct sc_config_source before = b->config->sources[row];
    b->config->sources[row] = (struct sc_config_source){b->origin, line};
    say_where(b->config, row, where, sizeof where);
    if (b->origin == SC_FROM_FILE && before.origin == SC_FROM_FILE) {
        snprintf(error, SC_CONFIG_ERROR_BYTES, "option %s (%s) was set before on line %u",
                 sc_options[row].name, where, before.line);
        return SC_ERR_CONFIG;
    }
    enum sc_status st = sc_option_set(b->config, &sc_options[row], value, why);
    if (st != SC_OK) {
        size_t shown = value.len < 64 ? value.len : 64;
        snprintf(error, SC_CONFIG_ERROR_BYTES, "option %s (%s): \"%.*s\" %s", sc_options[row].name,
                 where, (int)shown, (const char *)value.ptr, why);
    }
    return st;
}

static enum sc_status set_defaults(struct build *b, char *error)
{
    b->origin = SC_FROM_DEFAULT;
    for (uint32_t i = 0; i < sc_option_count; i++) {
        enum sc_status st = set_row(b, i, span_of_str(sc_options[i].initial), 0, error);
        if (st != SC_OK)
            return st;
    }
    return SC_OK;
}

static enum sc_status set_from_file(void *user, struct span name, struct span value, uint32_t line,
                                    char *error)
{
    struct build *b = user;
    int row = sc_option_find(name);
    if (row < 0) {
        snprintf(error, SC_CONFIG_ERROR_BYTES, "%s:%u: unknown option %.*s", b->file, line,
                 SPAN_ARG(name));
        return SC_ERR_CONFIG;
    }
    return set_row(b, (uint32_t)row, value, line, error);
}

static enum sc_status set_text(struct build *b, struct span yaml, char *error)
{
    b->origin = SC_FROM_FILE;
    return sc_config_file_read(yaml, b->file, set_from_file, b, error);
}

static enum sc_status read_file(const char *path, struct wbuf *out, char *error)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        snprintf(error, SC_CONFIG_ERROR_BYTES, "%s: %s", path, strerror(errno));
        return SC_ERR_CONFIG;
    }
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        wb_bytes(out, chunk, n);
    bool bad = ferror(f) != 0;
    int cause = errno;
    fclose(f);
    if (bad || out->failed) {
        snprintf(error, SC_CONFIG_ERROR_BYTES, "%s: %s", path,
                 bad ? strerror(cause) : "longer than 1 MiB");
        return SC_ERR_CONFIG;
    }
    return SC_OK;
}

/* Value of a variable of the environment; NULL when it is not set. */
static const char *env_find(const char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

static enum sc_status set_file(struct build *b, const struct sc_config_input *in, char *error)
{
    const char *path = in->file != NULL ? in->file : env_find(in->env, "GPU_SIDECAR_CONFIG");
    if (path == NULL || *path == '\0') {
        FILE *probe = fopen(SC_CONFIG_DEFAULT_FILE, "rbe");
        if (probe == NULL && errno == ENOENT)
            return SC_OK;
        if (probe != NULL)
            fclose(probe);
        path = SC_CONFIG_DEFAULT_FILE;
    }
    free(b->config->file);
    b->config->file = strdup(path);
    if (b->config->file == NULL)
        return SC_ERR_NO_MEMORY;
    b->file = b->config->file;
    struct wbuf text;
    wbuf_init(&text, FILE_MAX_BYTES);
    enum sc_status st = read_file(path, &text, error);
    if (st == SC_OK)
        st = set_text(b, wbuf_span(&text), error);
    wbuf_fini(&text);
    return st;
}

/* Variables Kubernetes makes for a service that is called gpu-sidecar, e.g.
 * GPU_SIDECAR_SERVICE_HOST and GPU_SIDECAR_PORT_9464_TCP. */
static bool is_service_link(const char *name)
{
    return strncmp(name, "SERVICE_", 8) == 0 || strcmp(name, "PORT") == 0 ||
           strncmp(name, "PORT_", 5) == 0;
}

/* Row of the option a variable (without prefix) stands for; -1 when there is none. */
static int find_env_row(struct span name)
{
    for (uint32_t row = 0; row < sc_option_count; row++) {
        const char *option = sc_options[row].name;
        size_t i = 0;
        while (i < name.len && option[i] != '\0') {
            char want =
                option[i] == '.'
                    ? '_'
                    : (char)(option[i] >= 'a' && option[i] <= 'z' ? option[i] - 32 : option[i]);
            if ((char)name.ptr[i] != want)
                break;
            i++;
        }
        if (i == name.len && option[i] == '\0')
            return (int)row;
    }
    return -1;
}

static enum sc_status set_env(struct build *b, const char *const *env, char *error)
{
    b->origin = SC_FROM_ENV;
    size_t prefix = strlen(SC_CONFIG_ENV_PREFIX);
    for (; env != NULL && *env != NULL; env++) {
        const char *name = *env + prefix;
        if (strncmp(*env, SC_CONFIG_ENV_PREFIX, prefix) != 0 || is_service_link(name))
            continue;
        struct span key = span_of(name, strcspn(name, "="));
        if (span_eq_str(key, "CONFIG"))
            continue;
        int row = find_env_row(key);
        if (row < 0) {
            snprintf(error, SC_CONFIG_ERROR_BYTES, "environment: unknown option %.*s%.*s",
                     (int)prefix, SC_CONFIG_ENV_PREFIX, SPAN_ARG(key));
            return SC_ERR_CONFIG;
        }
        const char *value = name[key.len] == '=' ? name + key.len + 1 : "";
        enum sc_status st = set_row(b, (uint32_t)row, span_of_str(value), 0, error);
        if (st != SC_OK)
            return st;
    }
    return SC_OK;
}

static enum sc_status set_flags(struct build *b, const char *const *flags, char *error)
{
    b->origin = SC_FROM_FLAG;
    for (; flags != NULL && *flags != NULL; flags++) {
        const char *flag = *flags;
        if (strncmp(flag, "--", 2) != 0) {
            snprintf(error, SC_CONFIG_ERROR_BYTES, "unexpected argument %s", flag);
            return SC_ERR_CONFIG;
        }
        struct span name = span_of(flag + 2, strcspn(flag + 2, "="));
        int row = sc_option_find(name);
        if (row < 0) {
            snprintf(error, SC_CONFIG_ERROR_BYTES, "unknown flag --%.*s", SPAN_ARG(name));
            return SC_ERR_CONFIG;
        }
        const char *value = flag[2 + name.len] == '=' ? flag + 3 + name.len : *++flags;
        if (value == NULL) {
            snprintf(error, SC_CONFIG_ERROR_BYTES, "flag %s needs a value", flag);
            return SC_ERR_CONFIG;
        }
        enum sc_status st = set_row(b, (uint32_t)row, span_of_str(value), 0, error);
        if (st != SC_OK)
            return st;
    }
    return SC_OK;
}

static bool is_power_of_two(uint32_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

/* What no single row can state. */
static enum sc_status check_together(const struct sc_config *c, char *error)
{
    if (c->silo_reconnect_min_ms > c->silo_reconnect_max_ms) {
        snprintf(error, SC_CONFIG_ERROR_BYTES,
                 "option silo.reconnect_min_ms: %u is over silo.reconnect_max_ms, %u",
                 c->silo_reconnect_min_ms, c->silo_reconnect_max_ms);
        return SC_ERR_CONFIG;
    }
    if (c->shim_output_max_bytes < c->shim_frame_max_bytes) {
        snprintf(error, SC_CONFIG_ERROR_BYTES,
                 "option shim.output_max_bytes: must not be under shim.frame_max_bytes");
        return SC_ERR_CONFIG;
    }
    const struct {
        const char *name;
        uint32_t value;
    } powers[] = {{"device.submit_slots", c->device_submit_slots},
                  {"device.reply_slots", c->device_reply_slots},
                  {"device.event_slots", c->device_event_slots}};
    for (size_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
        if (is_power_of_two(powers[i].value))
            continue;
        char where[300];
        say_where(c, (uint32_t)sc_option_find(span_of_str(powers[i].name)), where, sizeof where);
        snprintf(error, SC_CONFIG_ERROR_BYTES, "option %s (%s): \"%u\" must be a power of two",
                 powers[i].name, where, powers[i].value);
        return SC_ERR_CONFIG;
    }
    return SC_OK;
}

static enum sc_status build_init(struct build *b, struct sc_config *fresh, const char *file,
                                 char *error)
{
    *fresh = (struct sc_config){0};
    *b = (struct build){.config = fresh, .file = file};
    error[0] = '\0';
    fresh->file = strdup(file);
    return fresh->file != NULL ? set_defaults(b, error) : SC_ERR_NO_MEMORY;
}

static enum sc_status finish(struct sc_config *fresh, enum sc_status st, struct sc_config *out,
                             char *error)
{
    if (st == SC_OK)
        st = check_together(fresh, error);
    if (st == SC_OK) {
        *out = *fresh;
        return SC_OK;
    }
    if (error[0] == '\0')
        snprintf(error, SC_CONFIG_ERROR_BYTES, "configuration: %s", sc_status_name(st));
    sc_config_free(fresh);
    return st;
}

enum sc_status sc_config_load(const struct sc_config_input *in, struct sc_config *out, char *error)
{
    struct sc_config fresh;
    struct build b;
    enum sc_status st = build_init(&b, &fresh, "", error);
    if (st == SC_OK)
        st = set_file(&b, in, error);
    if (st == SC_OK)
        st = set_env(&b, in->env, error);
    if (st == SC_OK)
        st = set_flags(&b, in->flags, error);
    return finish(&fresh, st, out, error);
}

enum sc_status sc_config_load_text(struct span yaml, struct sc_config *out, char *error)
{
    struct sc_config fresh;
    struct build b;
    enum sc_status st = build_init(&b, &fresh, "text", error);
    if (st == SC_OK)
        st = set_text(&b, yaml, error);
    return finish(&fresh, st, out, error);
}

void sc_config_free(struct sc_config *config)
{
    for (uint32_t i = 0; i < sc_option_count; i++)
        if (sc_options[i].type == SC_OPTION_STRING)
            free(*(char **)((char *)config + sc_options[i].offset));
    free(config->file);
    *config = (struct sc_config){0};
}

enum sc_status sc_config_reload(struct sc_config *current, const struct sc_config *next,
                                char *error)
{
    for (uint32_t i = 0; i < sc_option_count; i++) {
        if (sc_options[i].reloadable || sc_option_same(current, next, &sc_options[i]))
            continue;
        char where[300];
        say_where(next, i, where, sizeof where);
        snprintf(error, SC_CONFIG_ERROR_BYTES, "option %s (%s) changed and needs a restart",
                 sc_options[i].name, where);
        return SC_ERR_CONFIG;
    }
    for (uint32_t i = 0; i < sc_option_count; i++) {
        const struct sc_option *o = &sc_options[i];
        if (!o->reloadable)
            continue;
        /* Strings would need a copy of their own; none is reloadable. */
        size_t size = o->type == SC_OPTION_BYTES ? sizeof(uint64_t) : sizeof(uint32_t);
        memcpy((char *)current + o->offset, (const char *)next + o->offset, size);
        current->sources[i] = next->sources[i];
    }
    return SC_OK;
}

void sc_config_print(const struct sc_config *config, struct wbuf *out)
{
    for (uint32_t i = 0; i < sc_option_count; i++) {
        char where[300];
        size_t start = out->len;
        wb_printf(out, "%s: ", sc_options[i].name);
        sc_option_write(config, &sc_options[i], out);
        say_where(config, i, where, sizeof where);
        size_t width = out->len - start;
        wb_printf(out, "%*s # %s\n", width < 56 ? (int)(56 - width) : 0, "", where);
    }
}

void sc_config_describe(struct wbuf *out)
{
    for (uint32_t i = 0; i < sc_option_count; i++) {
        const struct sc_option *o = &sc_options[i];
        wb_printf(out, "  --%-26s %s%s%s (default %s%s%s)%s\n", o->name, o->help,
                  o->choices[0] != '\0' ? "; " : "", o->choices,
                  o->initial[0] != '\0' ? o->initial : "empty", o->unit[0] != '\0' ? ", " : "",
                  o->unit, o->reloadable ? " [reload]" : "");
    }
}
