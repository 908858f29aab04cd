/* Counters of the daemon, and their export as Prometheus text. Plain data: the loop thread counts
 * by writing to it. */
#ifndef SIDECAR_METRICS_H
#define SIDECAR_METRICS_H

#include "sidecar/base/span.h"
#include "sidecar/base/wbuf.h"

/* Durations, log-linear: 8 steps in each power of two of nanoseconds, so a quantile is at most
 * 12.5 % too high. Everything over 2^40 ns (18 min) counts in the last step. */
enum { SC_HIST_STEP_BITS = 3, SC_HIST_OCTAVES = 41, SC_HIST_STEPS = (SC_HIST_OCTAVES - 2) * 8 };

struct sc_hist {
    uint64_t counts[SC_HIST_STEPS];
    uint64_t total;
    uint64_t sum_ns;
};

static inline unsigned sc_hist_step(uint64_t ns)
{
    if (ns < 8)
        return (unsigned)ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
    if (octave >= SC_HIST_OCTAVES)
        return SC_HIST_STEPS - 1;
    unsigned low = (unsigned)(ns >> (octave - SC_HIST_STEP_BITS)) & 7u;
    return (octave - SC_HIST_STEP_BITS + 1) * 8 + low;
}

/* Largest duration of a step. */
uint64_t sc_hist_step_max_ns(unsigned step);

static inline void sc_hist_add(struct sc_hist *h, uint64_t ns)
{
    h->counts[sc_hist_step(ns)]++;
    h->total++;
    h->sum_ns += ns;
}

/* The duration that a share q (0..1) of what `now` counts beyond `since` does not exceed; 0 when
 * nothing was counted. since may be NULL. */
uint64_t sc_hist_quantile_ns(const struct sc_hist *now, const struct sc_hist *since, double q);

struct sc_metrics {
    uint64_t connections_opened, connections_refused, connections_dropped_slow;
    uint64_t connections_protocol_error, connections_open;
    uint64_t frames_in, bytes_in, bytes_out;
    uint64_t calls_accepted, calls_ok, calls_failed, calls_refused;
    uint64_t calls_deadline, calls_cancelled, replies_late;
    uint64_t sends, sends_dropped;
    uint64_t activations, deactivations;
    uint64_t events_offered, events_dropped, events_held;
    uint64_t ring_full;
    struct sc_hist call_latency;
    struct sc_hist window[2]; /* call_latency at the start of this and of the previous window */
};

/* To be called every few seconds: moves the window sc_metrics_p95_us looks at. */
void sc_metrics_turn_window(struct sc_metrics *m);

/* Of calls answered in the last two windows. */
uint32_t sc_metrics_p95_us(const struct sc_metrics *m);

/* Writes counters and histogram as Prometheus text, version 0.0.4. */
void sc_metrics_write(const struct sc_metrics *m, struct wbuf *out);

/* Metrics with their HELP and TYPE lines; type is "counter" or "gauge". */
struct sc_metric {
    const char *name, *type, *help;
    double value;
};
void sc_metrics_lines(struct wbuf *out, const struct sc_metric *rows, size_t count);

#endif
