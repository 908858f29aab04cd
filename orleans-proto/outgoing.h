#ifndef ORLEANS_PROTO_OUTGOING_H
#define ORLEANS_PROTO_OUTGOING_H

#include "orleans-proto/inflight.h"
#include "orleans-proto/invoke.h"

/* What both sessions do with a request that they send; for client.c and gateway.c. */

/* UINT64_MAX for timeout_ms 0: no deadline. Never 0. */
uint64_t orl_deadline_ns(uint64_t now_ns, uint32_t timeout_ms);

/* Ends the body, completes the frame and, unless it is one-way, adds the call to the table. On
 * failure the frame is taken out of its buffer again. */
SC_MUST_USE enum sc_status orl_outgoing_end(struct orl_call_frame *frame,
                                            struct orl_inflight *calls,
                                            const struct orl_limits *lim);

#endif
