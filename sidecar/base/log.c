#include "sidecar/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_name[SC_LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};

enum { LINE_MAX_BYTES = 4096 };

struct line {
    char text[LINE_MAX_BYTES + 64];
    size_t len;
};

static void put(struct line *l, const char *s)
{
    while (*s != '\0' && l->len < LINE_MAX_BYTES)
        l->text[l->len++] = *s++;
}

/* Escapes what could forge a line or break a JSON string. Bytes above 0x7e are written as \xNN (as
 * \u00NN in JSON): a peer's text need not be UTF-8. */
static void put_escaped(struct line *l, const char *s, enum sc_log_format format)
{
    for (; *s != '\0' && l->len + 8 < LINE_MAX_BYTES; s++) {
        unsigned char c = (unsigned char)*s;
        char seq[8];
        if (format == SC_LOG_JSON && (c == '"' || c == '\\'))
            snprintf(seq, sizeof seq, "\\%c", c);
        else if (c >= 0x20 && c < 0x7f)
            snprintf(seq, sizeof seq, "%c", c);
        else
            snprintf(seq, sizeof seq, format == SC_LOG_JSON ? "\\u%04x" : "\\x%02x", c);
        put(l, seq);
    }
}

void sc_log_write(const struct sc_log *log, enum sc_log_level level, const char *format, ...)
{
    if (!sc_log_enabled(log, level))
        return;
    char message[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    char stamp[40];
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + n, sizeof stamp - n, ".%03ldZ", now.tv_nsec / 1000000);

    struct line l = {.len = 0};
    if (log->format == SC_LOG_JSON) {
        put(&l, "{\"time\":\"");
        put(&l, stamp);
        put(&l, "\",\"level\":\"");
        put(&l, level_name[level]);
        put(&l, "\",\"message\":\"");
        put_escaped(&l, message, SC_LOG_JSON);
    } else {
        put(&l, stamp);
        put(&l, " ");
        put(&l, level_name[level]);
        put(&l, " ");
        put_escaped(&l, message, SC_LOG_TEXT);
    }
    const char *end = log->format == SC_LOG_JSON ? "\"}\n" : "\n";
    memcpy(l.text + l.len, end, strlen(end));
    l.len += strlen(end);
    /* A log that cannot be written has nowhere to say so. */
    ssize_t written = write(log->fd, l.text, l.len);
    (void)written;
}
