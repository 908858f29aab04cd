/* Host names to addresses without stopping the loop: the system's resolver runs on a thread of its
 * own. */
#ifndef SIDECAR_RESOLVE_H
#define SIDECAR_RESOLVE_H

#include "sidecar/net.h"

struct sc_loop;
struct sc_resolve;

/* SC_OK, or SC_ERR_NOT_FOUND: text says why. The request is over when this returns. */
typedef void (*sc_resolve_fn)(void *user, enum sc_status st, const struct sc_address *address,
                              const char *text);

/* fn is called once, never before the return, unless cancelled. */
SC_MUST_USE enum sc_status sc_resolve_open(struct sc_loop *loop, const char *host, uint16_t port,
                                           sc_resolve_fn fn, void *user,
                                           struct sc_resolve **resolve_out);

/* Cancels; not after fn was called. NULL is fine. */
void sc_resolve_close(struct sc_resolve *resolve);

#endif
