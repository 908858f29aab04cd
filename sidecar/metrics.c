#include "sidecar/metrics.h"

#include <inttypes.h>

uint64_t sc_hist_step_max_ns(unsigned step)
{
    if (step < 8)
        return step;
    unsigned octave = step / 8 - 1 + SC_HIST_STEP_BITS;
    uint64_t width = 1ull << (octave - SC_HIST_STEP_BITS);
    return (1ull << octave) + (uint64_t)(step % 8) * width + width - 1;
}

uint64_t sc_hist_quantile_ns(const struct sc_hist *now, const struct sc_hist *since, double q)
{
    uint64_t total = now->total - (since != NULL ? since->total : 0);
    if (total == 0)
        return 0;
    uint64_t rank = (uint64_t)(q * (double)total);
    rank = rank < total ? rank + 1 : total;
    uint64_t seen = 0;
    for (unsigned i = 0; i < SC_HIST_STEPS; i++) {
        seen += now->counts[i] - (since != NULL ? since->counts[i] : 0);
        if (seen >= rank)
            return sc_hist_step_max_ns(i);
    }
    return sc_hist_step_max_ns(SC_HIST_STEPS - 1);
}

void sc_metrics_turn_window(struct sc_metrics *m)
{
    m->window[1] = m->window[0];
    m->window[0] = m->call_latency;
}

uint32_t sc_metrics_p95_us(const struct sc_metrics *m)
{
    uint64_t us = sc_hist_quantile_ns(&m->call_latency, &m->window[1], 0.95) / 1000;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void sc_metrics_lines(struct wbuf *out, const struct sc_metric *rows, size_t count)
{
    for (const struct sc_metric *m = rows; m != rows + count; m++)
        wb_printf(out, "# HELP gpu_sidecar_%s %s\n# TYPE gpu_sidecar_%s %s\ngpu_sidecar_%s %.17g\n",
                  m->name, m->help, m->name, m->type, m->name, m->value);
}

/* Buckets end at powers of two of nanoseconds, where steps end too: the counts are exact. */
static void write_hist(struct wbuf *out, const char *name, const char *help,
                       const struct sc_hist *h)
{
    enum { FIRST_OCTAVE = 10, LAST_OCTAVE = 35 }; /* 1 us to 34 s */
    wb_printf(out, "# HELP gpu_sidecar_%s %s\n# TYPE gpu_sidecar_%s histogram\n", name, help, name);
    uint64_t seen = 0;
    unsigned step = 0;
    for (unsigned octave = FIRST_OCTAVE; octave <= LAST_OCTAVE; octave++) {
        for (; step < SC_HIST_STEPS && sc_hist_step_max_ns(step) < 1ull << octave; step++)
            seen += h->counts[step];
        wb_printf(out, "gpu_sidecar_%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
                  (double)(1ull << octave) / 1e9, seen);
    }
    wb_printf(out,
              "gpu_sidecar_%s_bucket{le=\"+Inf\"} %" PRIu64 "\ngpu_sidecar_%s_sum %.9g\n"
              "gpu_sidecar_%s_count %" PRIu64 "\n",
              name, h->total, name, (double)h->sum_ns / 1e9, name, h->total);
}

void sc_metrics_write(const struct sc_metrics *m, struct wbuf *out)
{
    const struct sc_metric rows[] = {
        {"connections_open", "gauge", "Shim connections open.", (double)m->connections_open},
        {"connections_total", "counter", "Shim connections accepted.",
         (double)m->connections_opened},
        {"connections_refused_total", "counter", "Connections refused: identity or limit.",
         (double)m->connections_refused},
        {"connections_slow_total", "counter", "Connections dropped because they did not read.",
         (double)m->connections_dropped_slow},
        {"connections_protocol_errors_total", "counter", "Connections closed for bad bytes.",
         (double)m->connections_protocol_error},
        {"frames_received_total", "counter", "Frames received from shims.", (double)m->frames_in},
        {"socket_received_bytes_total", "counter", "Bytes received from shims.",
         (double)m->bytes_in},
        {"socket_sent_bytes_total", "counter", "Bytes sent to shims.", (double)m->bytes_out},
        {"calls_total", "counter", "Calls accepted.", (double)m->calls_accepted},
        {"calls_ok_total", "counter", "Calls answered with a reply.", (double)m->calls_ok},
        {"calls_failed_total", "counter", "Calls answered with an error.", (double)m->calls_failed},
        {"calls_refused_total", "counter", "Calls not accepted.", (double)m->calls_refused},
        {"calls_deadline_total", "counter", "Calls whose time ran out.", (double)m->calls_deadline},
        {"calls_cancelled_total", "counter", "Calls their caller took back.",
         (double)m->calls_cancelled},
        {"replies_late_total", "counter", "Replies nobody waited for any more.",
         (double)m->replies_late},
        {"sends_total", "counter", "One-way messages accepted.", (double)m->sends},
        {"sends_dropped_total", "counter", "One-way messages dropped.", (double)m->sends_dropped},
        {"activations_total", "counter", "Grains created.", (double)m->activations},
        {"deactivations_total", "counter", "Grains ended on request.", (double)m->deactivations},
        {"events_total", "counter", "Events of kernels taken over for streams.",
         (double)m->events_offered},
        {"events_dropped_total", "counter", "Events that belong to no stream.",
         (double)m->events_dropped},
        {"events_held_total", "counter", "Times an event was held back.", (double)m->events_held},
        {"ring_full_total", "counter", "Times the submission ring had no room.",
         (double)m->ring_full},
    };
    sc_metrics_lines(out, rows, sizeof rows / sizeof rows[0]);
    write_hist(out, "call_duration_seconds", "Time from a call's frame to its answer.",
               &m->call_latency);
}
