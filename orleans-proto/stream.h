#ifndef ORLEANS_PROTO_STREAM_H
#define ORLEANS_PROTO_STREAM_H

#include "orleans-proto/invoke.h"

/* Memory streams, seen from every side: the producer, the consumer that a client hosts, and the
 * broker that stands for queue and rendezvous grains. Assembly Orleans.Streaming. */

#define ORL_QUEUE_GRAIN_TYPE      "memorystreamqueue"
#define ORL_QUEUE_INTERFACE       "Orleans.Providers.IMemoryStreamQueueGrain"
#define ORL_QUEUE_ENQUEUE         "74D60341"
#define ORL_RENDEZVOUS_GRAIN_TYPE "pubsubrendezvous"
#define ORL_RENDEZVOUS_INTERFACE  "Orleans.Streams.IPubSubRendezvousGrain"
#define ORL_RENDEZVOUS_REGISTER   "5E7E20BC" /* RegisterConsumer */
#define ORL_RENDEZVOUS_UNREGISTER "974334B6" /* UnregisterConsumer */
#define ORL_CONSUMER_INTERFACE    "Orleans.Streams.IStreamConsumerExtension"
#define ORL_CONSUMER_GET_TOKEN    "C265B3CB" /* GetSequenceToken */
#define ORL_CONSUMER_DELIVER      "B9CFF2C9" /* DeliverBatch */
#define ORL_HANDSHAKE_TOKEN_TYPE  "Orleans.Streams.StreamHandshakeToken,Orleans.Streaming"

/* The methods above, ready to be called. */
enum orl_stream_method {
    ORL_STREAM_ENQUEUE,
    ORL_STREAM_REGISTER,
    ORL_STREAM_UNREGISTER,
    ORL_STREAM_GET_TOKEN,
    ORL_STREAM_DELIVER,
    ORL_STREAM_METHOD_COUNT
};
SC_MUST_USE enum sc_status orl_stream_method_init(struct orl_method *m,
                                                  enum orl_stream_method which);

/* Borrowed. The same on the wire as a broadcast channel's id
 * (src/Orleans.Streaming/StreamId.cs). */
struct orl_stream_id {
    struct span ns;
    struct span key;
};

void orl_put_stream_id(struct wbuf *w, uint32_t delta, struct orl_stream_id id);
struct orl_stream_id orl_get_stream_id(struct orl_reader *r, const struct orl_field *f);

/* QualifiedStreamId, InternalChannelId. */
struct orl_qualified_stream_id {
    struct orl_stream_id id;
    struct span provider;
};
void orl_put_qualified_stream_id(struct wbuf *w, uint32_t delta,
                                 const struct orl_qualified_stream_id *id);
struct orl_qualified_stream_id orl_get_qualified_stream_id(struct orl_reader *r,
                                                           const struct orl_field *f);

/* The rendezvous grain's key: <provider>/<namespace>/<key>, "null" for no namespace. */
void orl_put_rendezvous_key(struct wbuf *w, const struct orl_qualified_stream_id *id);

/* .NET DateTime of kind UTC from nanoseconds since 1970. */
uint64_t orl_datetime_utc(uint64_t unix_ns);

/* One batch of events as it lies in a queue (src/Orleans.Streaming/MemoryStreams/
 * MemoryMessageData.cs). payload is a MemoryMessageBody, a serialization of its own. */
struct orl_memory_message {
    struct orl_stream_id stream;
    int64_t sequence;
    uint64_t dequeue_time; /* DateTime; 0 when enqueued */
    uint64_t enqueue_time;
    struct span payload;
};

/* Writes a payload holding count events, each as object. */
void orl_put_stream_payload(struct wbuf *w, const struct orl_value *events, size_t count);

/* Walks a payload's events: init, then next until false; then status says whether all was well.
 * OTHER: an event of a type that we do not read; type_out tells its name. type_out may be NULL. */
struct orl_events {
    struct orl_reader reader;
    bool open;
};
void orl_events_init(struct orl_events *e, struct span payload);
bool orl_events_next(struct orl_events *e, struct orl_value *value_out, struct orl_type *type_out);

void orl_put_memory_message(struct wbuf *w, uint32_t delta, const struct orl_memory_message *m);

/* Bytes that this writes at most. The payload's form is wasteful: up to three times its length. */
size_t orl_memory_message_bytes(const struct orl_memory_message *m);

/* The payload travels as one field per byte: it is unpacked to the end of store, from which
 * message_out->payload borrows until store is written to again. */
SC_MUST_USE enum sc_status orl_get_memory_message(struct orl_reader *r, const struct orl_field *f,
                                                  struct wbuf *store,
                                                  struct orl_memory_message *message_out);

/* Enqueue, argument by argument after orl_args_begin with ORL_STREAM_ENQUEUE's method, and its
 * reading after orl_call_open. */
void orl_args_enqueue(struct orl_args *a, const struct orl_memory_message *m);
SC_MUST_USE enum sc_status orl_enqueue_read(struct orl_reader *r, struct wbuf *store,
                                            struct orl_memory_message *message_out);

/* RegisterConsumer and UnregisterConsumer (which leaves the last two out)
 * (src/Orleans.Streaming/PubSub/IPubSubRendezvousGrain.cs). */
struct orl_subscription {
    struct orl_guid id;
    struct orl_qualified_stream_id stream;
    struct orl_grain_id consumer;
    struct span filter; /* ptr NULL: none */
};
void orl_args_register(struct orl_args *a, const struct orl_subscription *s);
void orl_args_unregister(struct orl_args *a, const struct orl_subscription *s);
SC_MUST_USE enum sc_status orl_subscription_read(struct orl_reader *r,
                                                 struct orl_subscription *subscription_out);

/* DeliverBatch: an agent hands a batch to a consumer, with the token of the batch before it, if
 * there was one (src/Orleans.Streaming/MemoryStreams/MemoryBatchContainer.cs). */
struct orl_delivery {
    struct orl_guid subscription;
    struct orl_qualified_stream_id stream;
    int64_t sequence; /* of the batch */
    int32_t event_index;
    struct orl_memory_message message;
    bool has_previous;
    int64_t previous_sequence;
    int32_t previous_index;
};
void orl_args_deliver(struct orl_args *a, const struct orl_delivery *d);

/* SC_ERR_NOT_FOUND: the container is not that of memory streams. */
SC_MUST_USE enum sc_status orl_delivery_read(struct orl_reader *r, struct wbuf *store,
                                             struct orl_delivery *delivery_out);

/* GetSequenceToken has one argument: the subscription. */
void orl_args_get_token(struct orl_args *a, const struct orl_guid *subscription);
SC_MUST_USE enum sc_status orl_get_token_read(struct orl_reader *r, struct orl_guid *guid_out);

#endif
