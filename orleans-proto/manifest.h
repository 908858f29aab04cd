#ifndef ORLEANS_PROTO_MANIFEST_H
#define ORLEANS_PROTO_MANIFEST_H

#include "orleans-proto/ids.h"

/* The cluster manifest: which grain types implement which interfaces. A .NET client asks for it
 * when it connects and cannot turn an interface into a grain type without it
 * (src/Orleans.Core/Manifest/ClientClusterManifestProvider.cs). */

#define ORL_MANIFEST_GRAIN_TYPE "sys.svc.manifest"
#define ORL_MANIFEST_INTERFACE  "Orleans.Runtime.IClusterManifestSystemTarget"
#define ORL_MANIFEST_GET_UPDATE "4EFCA109" /* GetClusterManifestUpdate, from 7.2.5 on */
#define ORL_MANIFEST_GET        "40D39F85" /* GetClusterManifest, before */

enum { ORL_MANIFEST_INTERFACES_MAX = 8 };

/* Borrowed text. An interface is announced with every grain that names it. */
struct orl_manifest_interface {
    struct span name;     /* "Sample.IEchoGrain": what headers call it */
    struct span assembly; /* "Sample.Interfaces" */
};

struct orl_manifest_grain {
    struct span type;     /* "echo" */
    struct span class;    /* "Sample.EchoGrain" */
    struct span assembly; /* "Sample.Grains" */
    uint32_t interface_count;
    struct span interfaces[ORL_MANIFEST_INTERFACES_MAX]; /* names, of the interface table */
};

struct orl_manifest {
    int64_t major; /* version: any growing pair of numbers */
    int64_t minor;
    struct orl_silo silo; /* the one silo there is */
    const struct orl_manifest_interface *interfaces;
    size_t interface_count;
    const struct orl_manifest_grain *grains;
    size_t grain_count;
};

/* The body of the answer to GetClusterManifestUpdate, a raw value. As silos of 7.2 and 9.2 send it;
 * clients of 10 read that as well. */
void orl_put_manifest_update(struct wbuf *w, const struct orl_manifest *m);

/* The body of the answer to GetClusterManifest, which clients before 7.2.5 call. From the source
 * (src/Orleans.Core.Abstractions/Manifest/ClusterManifest.cs); no recording holds one. */
void orl_put_manifest(struct wbuf *w, const struct orl_manifest *m);

/* The answer "unchanged" to a client that has this version already. */
void orl_put_manifest_unchanged(struct wbuf *w);

/* The version that the client has; it is the call's only argument, read after orl_call_open. */
SC_MUST_USE enum sc_status orl_manifest_version_read(struct orl_reader *r, int64_t *major_out,
                                                     int64_t *minor_out);

#endif
