/* Events of kernels to Orleans streams: batches them per stream, publishes them through the silo
 * link one batch a stream at a time (so a stream keeps its order), tries again while the silo is
 * away, and holds the device back at a bound. An event that was accepted here is published at least
 * once, or counted as lost when the daemon itself stops before the silo came back. Loop thread
 * only.
 *
 * A stream that the silo keeps refusing holds up no other one, until what waits for it fills the
 * backlog: then all are held back, since an accepted event is never dropped. */
#ifndef SIDECAR_STREAM_H
#define SIDECAR_STREAM_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_loop;
struct sc_log;
struct sc_silo_conn;
struct sc_stream;

enum sc_event_encoding { SC_EVENT_BYTES, SC_EVENT_UTF8 };

struct sc_event {
    struct span stream_namespace;
    struct span key;
    enum sc_event_encoding encoding;
    struct span payload;
};

enum sc_stream_mode {
    /* One call to the grain gpu-publisher/0 of our .NET package, interface gpu.publisher, method
     * publish(string provider, string namespace, string key, int encoding, byte[][] events), which
     * publishes to any provider: encoding 0 as byte[], 1 as string. */
    SC_STREAM_BRIDGE,
    /* Straight to the queue grains of the silo's memory streams. */
    SC_STREAM_MEMORY
};

/* A zero number takes the default in brackets. Text is copied. */
struct sc_stream_config {
    enum sc_stream_mode mode;
    const char *provider;      /* stream provider's name, e.g. "StreamProvider" */
    uint32_t queue_count;      /* memory mode: queues of the provider [8] */
    uint64_t backlog_bytes;    /* waiting or in flight; more and events get SC_AGAIN [64 MiB] */
    uint32_t event_max_bytes;  /* [1 MiB] */
    uint32_t batch_max_bytes;  /* [256 KiB] */
    uint32_t batch_max_events; /* [256] */
    uint32_t batches_max;      /* in flight over all streams [64] */
    uint32_t timeout_ms;       /* for one batch [10000] */
    uint32_t retry_min_ms;     /* [100] */
    uint32_t retry_max_ms;     /* [10000] */
};

/* conn is borrowed until the close. SC_ERR_CONFIG: no provider, or it is not UTF-8
 * (logged); SC_ERR_NO_MEMORY. */
SC_MUST_USE enum sc_status sc_stream_open(struct sc_loop *loop, const struct sc_log *log,
                                          const struct sc_stream_config *config,
                                          struct sc_silo_conn *conn, struct sc_stream **stream_out);

/* What was not published is lost, counted and logged. */
void sc_stream_close(struct sc_stream *stream);

/* Takes an event, copying it. SC_AGAIN: stream.backlog_bytes are waiting, offer it again
 * after a while. SC_ERR_TOO_LARGE: over event_max_bytes; SC_ERR_ARGUMENT: a key
 * of no or over 1024 bytes, a namespace over 1024, or text that is not UTF-8. */
SC_MUST_USE enum sc_status sc_stream_offer(struct sc_stream *stream, const struct sc_event *event);

/* Nothing waiting and nothing in flight: a drain is over. */
bool sc_stream_idle(const struct sc_stream *stream);

struct sc_stream_stats {
    uint64_t accepted;  /* events */
    uint64_t published; /* events, acknowledged by the silo */
    uint64_t batches;   /* acknowledged */
    uint64_t retries;   /* batches sent again, or to be */
    uint64_t held;      /* offers answered SC_AGAIN */
    uint64_t lost;      /* events that were waiting when the daemon stopped */
    uint64_t backlog_events;
    uint64_t backlog_bytes;
    uint32_t streams;  /* with something waiting or in flight */
    uint32_t troubled; /* of those: refused by the silo at their last try */
};
void sc_stream_stats(const struct sc_stream *stream, struct sc_stream_stats *stats_out);

#endif
