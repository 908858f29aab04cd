/* Kernel packages: folders <root>/<id>/<version>/ with manifest.yaml and C sources. The catalog
 * reads the manifests (daemon and worker alike), and builds a package into a shared object for the
 * CPU device (worker only). Pure but for the file system and the compiler it runs. */
#ifndef GPU_CATALOG_H
#define GPU_CATALOG_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

enum {
    GPU_KERNELS_MAX = 256,         /* packages a catalog holds */
    GPU_KERNEL_ID_BYTES = 64,      /* with NUL; [a-z][a-z0-9-]* */
    GPU_KERNEL_VERSION_BYTES = 32, /* with NUL; N.N.N */
    GPU_KERNEL_NAME_BYTES = 64,    /* message and event names, with NUL */
    GPU_KERNEL_SOURCES_MAX = 16,
    GPU_KERNEL_MESSAGES_MAX = 64,
    GPU_KERNEL_EVENTS_MAX = 32,
    GPU_KERNEL_TEXT_BYTES = 2048 /* an error text, with NUL */
};

/* How an event's payload becomes an Orleans stream item. */
enum gpu_event_encoding {
    GPU_EVENT_BYTES, /* byte[] */
    GPU_EVENT_UTF8   /* string */
};

struct gpu_message_type {
    char name[GPU_KERNEL_NAME_BYTES];
    uint16_t type;
    uint32_t reply_bytes; /* most bytes of a reply; up to GPU_INLINE_BYTES needs no slab */
};

struct gpu_event_type {
    char name[GPU_KERNEL_NAME_BYTES];
    char stream_namespace[GPU_KERNEL_NAME_BYTES];
    uint16_t type;
    enum gpu_event_encoding encoding;
};

/* One package as its manifest.yaml states it:
 *
 *     kernel: impact                 # the id, same as the folder's name
 *     version: 1.0.0                 # same as the folder's name
 *     sources: [impact.c]            # relative, inside the folder, no links out of it
 *     state: {bytes: 64, max_bytes: 4194304}   # default and most bytes of one grain's state
 *     limits: {sends: 64, emits: 1}  # most k_send and k_emit in one message, 0..1024 and 0..64
 *     messages:
 *       - {name: Impact, type: 1, reply_bytes: 24}
 *     events:
 *       - {name: Broken, type: 1, namespace: impact, encoding: utf8}
 *
 * Unknown keys are an error: a misspelt limit must not pass. */
struct gpu_manifest {
    char id[GPU_KERNEL_ID_BYTES];
    char version[GPU_KERNEL_VERSION_BYTES];
    char *folder; /* owned */
    char sources[GPU_KERNEL_SOURCES_MAX][GPU_KERNEL_NAME_BYTES];
    uint32_t source_count;
    uint32_t state_bytes, state_max_bytes;
    uint32_t sends_max, emits_max;
    struct gpu_message_type messages[GPU_KERNEL_MESSAGES_MAX];
    uint32_t message_count;
    struct gpu_event_type events[GPU_KERNEL_EVENTS_MAX];
    uint32_t event_count;
};

/* Reads a manifest's text. On failure error (at least GPU_KERNEL_TEXT_BYTES) names the line, the
 * key and the limit. The folder is left NULL. */
SC_MUST_USE enum sc_status gpu_manifest_parse(struct span yaml, struct gpu_manifest *out,
                                              char *error);

/* By number; NULL when the manifest has none. */
const struct gpu_message_type *gpu_manifest_message_type(const struct gpu_manifest *m,
                                                         uint16_t type);
const struct gpu_event_type *gpu_manifest_event(const struct gpu_manifest *m, uint16_t type);

struct gpu_catalog_entry {
    struct gpu_manifest manifest;      /* id and version are the folders' names when invalid */
    char error[GPU_KERNEL_TEXT_BYTES]; /* "" when the manifest is good */
};

/* The newest version of every id under a root, sorted by id; daemon and worker that read the same
 * folder get the same indices. */
struct gpu_catalog {
    struct gpu_catalog_entry *entries; /* owned */
    uint32_t count;
};

/* Reads a root folder. A bad package becomes an entry with its error, the others stay usable.
 * SC_ERR_CONFIG: the root cannot be read or holds more than GPU_KERNELS_MAX ids; error names it. */
SC_MUST_USE enum sc_status gpu_catalog_read(const char *root, struct gpu_catalog *out, char *error);
void gpu_catalog_free(struct gpu_catalog *catalog);

/* Index of a kernel by id, or -1. */
int gpu_catalog_find(const struct gpu_catalog *catalog, struct span id);

struct gpu_build_config {
    const char *cache;       /* folder for <key>.so; made 0700 if missing */
    const char *include_dir; /* folder of k_grain.h */
    const char *compiler;    /* looked up in PATH */
};

/* Path of the package's shared object, compiling it when the cache has none. The key is the SHA-256
 * of the manifest, the sources, k_grain.h, the flags and the architecture; a finished object
 * appears in the cache by rename, so a full disk or a killed compiler leaves no half object. Also
 * looks into <package>/prebuilt/<key>.so, which needs no compiler. Blocks while the compiler runs
 * (at most 60 s). SC_ERR_KERNEL: error holds the compiler's first messages, or names the missing
 * compiler or the folder that cannot be written. */
SC_MUST_USE enum sc_status gpu_kernel_build(const struct gpu_manifest *m,
                                            const struct gpu_build_config *config, char *path_out,
                                            size_t path_cap, char *error);

#endif
