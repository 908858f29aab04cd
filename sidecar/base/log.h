#ifndef SIDECAR_BASE_LOG_H
#define SIDECAR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* error needs a person; warn healed itself; info follows lifecycles; debug may be per call. */
enum sc_log_level { SC_LOG_ERROR, SC_LOG_WARN, SC_LOG_INFO, SC_LOG_DEBUG, SC_LOG_LEVEL_COUNT };

enum sc_log_format { SC_LOG_TEXT, SC_LOG_JSON };

/* Where log lines go. Plain data, copied freely; the descriptor stays the caller's. Each line is
 * one write, so lines of several threads and processes do not mix. */
struct sc_log {
    int fd;
    enum sc_log_level level; /* lines above are dropped */
    enum sc_log_format format;
};

static inline bool sc_log_enabled(const struct sc_log *log, enum sc_log_level level)
{
    return level <= log->level;
}

/* Writes one line: the object first, then key value pairs, lower case, e.g.
 * "silo 10.0.0.7:30000 closed reason limit body_bytes 99999999". Text may hold bytes of a peer:
 * control characters and non-UTF-8 are written as \xNN, lines over 4 KiB are cut. Any thread. */
void sc_log_write(const struct sc_log *log, enum sc_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define SC_ERROR(log, ...) sc_log_write((log), SC_LOG_ERROR, __VA_ARGS__)
#define SC_WARN(log, ...)  sc_log_write((log), SC_LOG_WARN, __VA_ARGS__)
#define SC_INFO(log, ...)  sc_log_write((log), SC_LOG_INFO, __VA_ARGS__)
#define SC_DEBUG(log, ...)                                  \
    do {                                                    \
        if (sc_log_enabled((log), SC_LOG_DEBUG))            \
            sc_log_write((log), SC_LOG_DEBUG, __VA_ARGS__); \
    } while (0)

#endif
