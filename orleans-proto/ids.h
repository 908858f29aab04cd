#ifndef ORLEANS_PROTO_IDS_H
#define ORLEANS_PROTO_IDS_H

#include "orleans-proto/wire.h"

/* Identities of Orleans: on the wire in three ways. Raw: in message headers. Field: inside
 * serialized bodies. Text: in keys and logs. Every hash is xxHash with seed 0, written most
 * significant byte first (src/Orleans.Core.Abstractions/IDs/StableHash.cs). Hashes that are read
 * are not looked at: identities compare by their bytes. */

/* The usual xxHash32 number. */
uint32_t orl_hash32(struct span s);

/* As .NET holds it in memory: the same four bytes read little-endian. */
uint32_t orl_stable_hash(struct span s);

/* 16 bytes in .NET order: the first three groups of the text form are little-endian. */
struct orl_guid {
    uint8_t b[16];
};

struct orl_grain_id {
    struct span type;
    struct span key;
};

/* By value; ip_len 0 is the null address. */
struct orl_silo {
    uint8_t ip[16]; /* network order */
    uint8_t ip_len; /* 0, 4 or 16 */
    uint16_t port;
    int32_t generation;
};

enum { ORL_SILO_TEXT_MAX = 64 }; /* with the terminating NUL */

static inline bool orl_silo_is_null(const struct orl_silo *s)
{
    return s->ip_len == 0;
}

bool orl_silo_eq(const struct orl_silo *a, const struct orl_silo *b);

static inline bool orl_grain_id_eq(struct orl_grain_id a, struct orl_grain_id b)
{
    return span_eq(a.type, b.type) && span_eq(a.key, b.key);
}

/* True for sys.svc.*: such a target needs a TargetSilo, or the silo's process dies
 * (src/Orleans.Runtime/Messaging/Gateway.cs, TryToReroute). */
bool orl_is_system_target(struct span grain_type);

/* True for <client's key>+<scope> of the client's type: an observer, or a stream's consumer, that
 * this client hosts. */
bool orl_is_observer_of(struct orl_grain_id observer, struct orl_grain_id client);

/* Strings travel as .NET strings: bytes that are no UTF-8 would arrive as others. */
bool orl_is_utf8(struct span text);

/* Raw form (src/Orleans.Core/Messaging/CachingIdSpanCodec.cs, CachingSiloAddressCodec.cs). Reading
 * sets r->bad. */
struct span orl_idspan_read(struct reader *r);
void orl_put_idspan_raw(struct wbuf *w, struct span v);
void orl_silo_read(struct reader *r, struct orl_silo *silo_out);
void orl_put_silo_raw(struct wbuf *w, const struct orl_silo *silo);

/* Field form. The orl_get functions set r->status on other shapes; a null SiloAddress yields the
 * null address, a default IdSpan an empty span. */
void orl_put_idspan(struct wbuf *w, uint32_t delta, struct span v);
void orl_put_grain_type(struct wbuf *w, uint32_t delta, struct span v); /* also interface types */
void orl_put_grain_id(struct wbuf *w, uint32_t delta, struct orl_grain_id id);
void orl_put_silo(struct wbuf *w, uint32_t delta, const struct orl_silo *silo);
void orl_put_guid(struct wbuf *w, uint32_t delta, const struct orl_guid *guid);
void orl_put_guid_id(struct wbuf *w, uint32_t delta, const struct orl_guid *guid);
struct span orl_get_idspan(struct orl_reader *r, const struct orl_field *f);
struct span orl_get_grain_type(struct orl_reader *r, const struct orl_field *f);
struct orl_grain_id orl_get_grain_id(struct orl_reader *r, const struct orl_field *f);
struct orl_silo orl_get_silo(struct orl_reader *r, const struct orl_field *f);
struct orl_guid orl_get_guid(struct orl_reader *r, const struct orl_field *f);
struct orl_guid orl_get_guid_id(struct orl_reader *r, const struct orl_field *f);

/* A grain or observer reference, expected type its interface
 * (src/Orleans.Core.Abstractions/Runtime/GrainReference.cs). */
struct orl_reference {
    struct orl_grain_id grain;
    struct span interface; /* e.g. Sample.IEchoGrain, without assembly */
};
void orl_put_reference(struct wbuf *w, uint32_t delta, const struct orl_reference *ref);
struct orl_reference orl_get_reference(struct orl_reader *r, const struct orl_field *f);

/* "ip:port@generation", IPv6 without brackets, as in system target keys; out is NUL-terminated. */
size_t orl_silo_format(const struct orl_silo *silo, char out[ORL_SILO_TEXT_MAX]);

/* The same text with or without "@generation" (then 0); brackets around IPv6 are accepted. */
SC_MUST_USE enum sc_status orl_silo_parse(struct span text, struct orl_silo *silo_out);

/* 32 lower-case hex digits ('N'), NUL-terminated, and back; parsing also takes the dashed form. */
void orl_guid_format(const struct orl_guid *guid, char out[33]);
SC_MUST_USE enum sc_status orl_guid_parse(struct span text, struct orl_guid *guid_out);

/* Grain keys by kind (src/Orleans.Core.Abstractions/IDs/GrainIdKeyExtensions.cs). A string key is
 * its UTF-8 bytes. ext is the extension of a compound key, ptr NULL for none; parsing yields it the
 * same way. SC_ERR_ARGUMENT: the key is of another kind. */
void orl_key_put_integer(struct wbuf *w, int64_t v, struct span ext);
void orl_key_put_guid(struct wbuf *w, const struct orl_guid *guid, struct span ext);
SC_MUST_USE enum sc_status orl_key_parse_integer(struct span key, int64_t *v_out,
                                                 struct span *ext_out);
SC_MUST_USE enum sc_status orl_key_parse_guid(struct span key, struct orl_guid *guid_out,
                                              struct span *ext_out);

/* The id of a method without [Id] or [Alias]: 8 upper-case hex digits of the hash of its signature
 * text, "global::Namespace.Interface.Method(type,type)"; NUL-terminated
 * (src/Orleans.CodeGenerator/InvokableGenerator.cs). */
void orl_method_id(struct span signature, char out[9]);

/* The grain type of a GrainService, sys.svc.user.<code>; interface with assembly, "App.IMy,App".
 * NUL-terminated. SC_ERR_ARGUMENT: not UTF-8. */
enum { ORL_SERVICE_TYPE_LEN = 21 };
SC_MUST_USE enum sc_status orl_grain_service_type(struct span interface,
                                                  char out[ORL_SERVICE_TYPE_LEN + 1]);

/* The key of the memory stream queue grain that holds a stream: provider name, number of queues (8
 * unless configured), the stream's namespace and key. 32 hex digits, NUL-terminated.
 * SC_ERR_ARGUMENT: no queues, or the name is not UTF-8
 * (src/Orleans.Streaming/MemoryStreams/MemoryAdapterFactory.cs,
 * QueueAdapters/HashRingBasedStreamQueueMapper.cs). */
SC_MUST_USE enum sc_status orl_memory_queue_key(struct span provider, uint32_t queue_count,
                                                struct span ns, struct span key, char out[33]);

#endif
