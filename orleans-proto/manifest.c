#include "orleans-proto/manifest.h"

#include "orleans-proto/response.h"

#include <stdio.h>

#define UPDATE_TYPE   "Orleans.Runtime.ClusterManifestUpdate,Orleans.Core"
#define MANIFEST_TYPE "Orleans.Metadata.ClusterManifest,Orleans.Core.Abstractions"

/* An ImmutableDictionary is { 0: Dictionary }, a Dictionary { 1: count, 2: key, value, key, ... };
 * an empty one has no fields. The first key steps from id 1 to 2, all others stay there. */
static void open_dictionary(struct wbuf *w, uint32_t delta, size_t count)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    if (count != 0)
        orl_put_uint(w, 1, (uint32_t)count);
}

static void close_dictionary(struct wbuf *w)
{
    orl_put_end(w);
    orl_put_end(w);
}

static void put_pair(struct wbuf *w, size_t index, const char *key, struct span value)
{
    orl_put_bytes(w, index == 0 ? 1 : 0, span_of_str(key));
    orl_put_bytes(w, 0, value);
}

/* "Sample.IEchoGrain" without its namespace. */
static struct span short_name(struct span name)
{
    for (size_t i = name.len; i > 0; i--) {
        if (name.ptr[i - 1] == '.' || name.ptr[i - 1] == '+')
            return span_of(name.ptr + i, name.len - i);
    }
    return name;
}

/* A string that is put together: the tag and length come first. */
static void put_qualified_pair(struct wbuf *w, const char *key, struct span name,
                               struct span assembly)
{
    orl_put_bytes(w, 0, span_of_str(key));
    orl_put_tag(w, ORL_WIRE_BYTES, 0);
    orl_put_varint(w, (uint64_t)name.len + 1 + assembly.len);
    wb_span(w, name);
    wb_u8(w, ',');
    wb_span(w, assembly);
}

/* Interface and grain properties are objects { 0: dictionary of strings }. */
static void put_interface(struct wbuf *w, size_t index, const struct orl_manifest_interface *i)
{
    orl_put_grain_type(w, index == 0 ? 1 : 0, i->name);
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    open_dictionary(w, 0, 3);
    put_pair(w, 0, "type-name", short_name(i->name));
    put_pair(w, 1, "diag.asm", i->assembly);
    put_qualified_pair(w, "diag.type", i->name, i->assembly);
    close_dictionary(w);
    orl_put_end(w);
}

static void put_grain(struct wbuf *w, size_t index, const struct orl_manifest_grain *g)
{
    char key[24];
    orl_put_grain_type(w, index == 0 ? 1 : 0, g->type);
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    open_dictionary(w, 0, 4 + (size_t)g->interface_count);
    put_pair(w, 0, "type-name", short_name(g->class));
    put_pair(w, 1, "diag.asm", g->assembly);
    put_pair(w, 2, "full-type-name", g->class);
    for (uint32_t i = 0; i < g->interface_count; i++) {
        snprintf(key, sizeof key, "interface.%u", (unsigned)i);
        put_pair(w, 3, key, g->interfaces[i]);
    }
    put_qualified_pair(w, "diag.type", g->class, g->assembly);
    close_dictionary(w);
    orl_put_end(w);
}

/* GrainManifest { 0: interfaces, 1: grains }, src/Orleans.Core.Abstractions/Manifest/. */
static void put_silo_manifest(struct wbuf *w, uint32_t delta, const struct orl_manifest *m)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, delta);
    open_dictionary(w, 0, m->interface_count);
    for (size_t i = 0; i < m->interface_count; i++)
        put_interface(w, i, &m->interfaces[i]);
    close_dictionary(w);
    open_dictionary(w, 1, m->grain_count);
    for (size_t i = 0; i < m->grain_count; i++)
        put_grain(w, i, &m->grains[i]);
    close_dictionary(w);
    orl_put_end(w);
}

/* { 0: version, 1: manifests by silo, ... }: both answers begin with these. */
static void put_version_and_silos(struct wbuf *w, const struct orl_manifest *m)
{
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    orl_put_long(w, 0, m->major);
    orl_put_long(w, 1, m->minor);
    orl_put_end(w);
    open_dictionary(w, 1, 1);
    orl_put_silo(w, 1, &m->silo);
    put_silo_manifest(w, 0, m);
    close_dictionary(w);
}

void orl_put_manifest_update(struct wbuf *w, const struct orl_manifest *m)
{
    orl_put_tag_named(w, ORL_WIRE_OBJECT, 0, span_of_str(UPDATE_TYPE));
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    put_version_and_silos(w, m);
    orl_put_bool(w, 1, true); /* all silos are included */
    orl_put_end(w);
    orl_put_end(w);
}

void orl_put_manifest(struct wbuf *w, const struct orl_manifest *m)
{
    orl_put_tag_named(w, ORL_WIRE_OBJECT, 0, span_of_str(MANIFEST_TYPE));
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    put_version_and_silos(w, m);
    orl_put_tag(w, ORL_WIRE_OBJECT, 1); /* ImmutableArray { 0: array { 0: count, 1: elements } } */
    orl_put_tag(w, ORL_WIRE_OBJECT, 0);
    orl_put_uint(w, 0, 1);
    put_silo_manifest(w, 1, m);
    orl_put_end(w);
    orl_put_end(w);
    orl_put_end(w);
    orl_put_end(w);
}

void orl_put_manifest_unchanged(struct wbuf *w)
{
    orl_put_raw_null(w, span_of_str(UPDATE_TYPE));
}

enum sc_status orl_manifest_version_read(struct orl_reader *r, int64_t *major_out,
                                         int64_t *minor_out)
{
    int64_t major = INT64_MIN;
    int64_t minor = INT64_MIN;
    struct orl_field f;
    struct orl_field in;
    while (orl_reader_next(r, &f)) {
        if (f.id != 0 || !orl_reader_enter(r, &f))
            continue;
        while (orl_reader_next(r, &in)) {
            if (in.id == 0)
                major = orl_get_int(r, &in, 64);
            else if (in.id == 1)
                minor = orl_get_int(r, &in, 64);
        }
    }
    if (r->status != SC_OK)
        return r->status;
    *major_out = major;
    *minor_out = minor;
    return SC_OK;
}
