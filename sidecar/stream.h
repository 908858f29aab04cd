/* Events of kernels to Orleans streams: batches them per stream, publishes them through the silo
 * link one batch a stream at a time (so a stream keeps its order), tries again while the silo is
 * away, and holds the device back at a bound. An event that was accepted here is published at least
 * once, or counted as lost when the daemon itself stops before the silo came back. Loop thread
 * only. */
#ifndef SIDECAR_STREAM_H
#define SIDECAR_STREAM_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

struct sc_stream;

enum sc_event_encoding { SC_EVENT_BYTES, SC_EVENT_UTF8 };

struct sc_event {
    struct span stream_namespace;
    struct span key;
    enum sc_event_encoding encoding;
    struct span payload;
};

/* Takes an event, copying it. SC_AGAIN: stream.backlog_bytes are waiting, offer it again later. */
SC_MUST_USE enum sc_status sc_stream_offer(struct sc_stream *stream, const struct sc_event *event);

#endif
