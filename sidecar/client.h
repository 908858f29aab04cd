/* A small blocking client of the local socket, for the command line, the demo, tests and benches.
 * Not for the daemon's loop. One thread a client. */
#ifndef SIDECAR_CLIENT_H
#define SIDECAR_CLIENT_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"
#include "sidecar/base/wbuf.h"
#include "sidecar/shim_msg.h"

enum { SC_CLIENT_ERROR_BYTES = 512 };

/* Plain data to read; the functions keep it up to date. */
struct sc_client {
    int fd;
    struct wbuf in, out;
    size_t in_at;
    uint64_t next_id;
    uint32_t timeout_ms;
    uint32_t credits, frame_max;
    uint64_t epoch; /* the newest heard of */
    bool ready, draining;
    char error[SC_CLIENT_ERROR_BYTES]; /* why the last function failed */
};

/* Connects and says hello. timeout_ms bounds every wait from now on. SC_ERR_IO: nobody listens
 * there; otherwise as the daemon's ERROR. On failure error says why and nothing needs closing. */
SC_MUST_USE enum sc_status sc_client_open(struct sc_client *client, const char *path,
                                          const char *name, uint32_t timeout_ms);
void sc_client_close(struct sc_client *client);

void sc_client_set_timeout(struct sc_client *client, uint32_t timeout_ms);

/* -- pipelined: queue any number of requests, flush, take the answers as they come */

/* Ids for requests; never the same twice. */
uint64_t sc_client_id(struct sc_client *client);

/* Adds a request to what the next flush writes. */
void sc_client_queue(struct sc_client *client, const struct sc_shim_request *request);
void sc_client_queue_call(struct sc_client *client, uint64_t id, uint64_t grain, uint16_t type,
                          uint32_t deadline_ms, struct span payload);
SC_MUST_USE enum sc_status sc_client_flush(struct sc_client *client);

/* The next frame that came, STATE frames included; borrowed until the next call here. SC_AGAIN:
 * none within the timeout; SC_ERR_CLOSED; SC_ERR_PROTOCOL. */
SC_MUST_USE enum sc_status sc_client_next(struct sc_client *client,
                                          struct sc_shim_response *response_out);

/* -- one at a time; an ERROR of the daemon is returned as its code, with its text in error */

SC_MUST_USE enum sc_status sc_client_activate(struct sc_client *client, struct span kernel,
                                              struct span key, uint32_t state_bytes,
                                              struct span init, uint64_t *grain_out);
SC_MUST_USE enum sc_status sc_client_deactivate(struct sc_client *client, uint64_t grain);

/* reply_out is borrowed until the next call here. */
SC_MUST_USE enum sc_status sc_client_call(struct sc_client *client, uint64_t grain, uint16_t type,
                                          struct span payload, uint32_t deadline_ms,
                                          struct span *reply_out);

/* Sends a request with an id and waits for its answer, whatever kind it is. */
SC_MUST_USE enum sc_status sc_client_ask(struct sc_client *client,
                                         const struct sc_shim_request *request,
                                         struct sc_shim_response *response_out);

/* Type of a message by its name or decimal number, from the daemon's kernel list.
 * SC_ERR_NOT_FOUND: no such kernel or message. */
SC_MUST_USE enum sc_status sc_client_message_type(struct sc_client *client, struct span kernel,
                                                  struct span message, uint16_t *type_out);

/* Waits until the device serves. SC_ERR_UNAVAILABLE: not within timeout_ms. */
SC_MUST_USE enum sc_status sc_client_wait_ready(struct sc_client *client, uint32_t timeout_ms);

#endif
