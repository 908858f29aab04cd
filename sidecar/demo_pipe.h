/* Many requests in flight over one client of the local socket: as many as the daemon gives credits
 * for. One thread. */
#ifndef SIDECAR_DEMO_PIPE_H
#define SIDECAR_DEMO_PIPE_H

#include "sidecar/client.h"

enum { SC_DEMO_IN_FLIGHT_MAX = 4096 };

/* A request's answer: kind ERROR, or the kind that answers the request. `tag` came with the
 * request. Borrowed for the call, which must not make requests. */
typedef void (*sc_demo_answer_fn)(void *user, uint64_t tag, const struct sc_shim_response *answer);

struct sc_demo_slot {
    sc_demo_answer_fn fn; /* NULL: free */
    void *user;
    uint64_t tag;
    uint32_t next_free;
};

struct sc_demo_pipe {
    struct sc_client *client; /* borrowed */
    uint64_t epoch;           /* of the grains; when the device starts anew they are gone */
    enum sc_status status;    /* of the first failure: from then on nothing is called back */
    uint32_t in_flight;
    uint32_t free_slot;
    struct sc_demo_slot slots[SC_DEMO_IN_FLIGHT_MAX]; /* a request's id is its slot + 1 */
};

/* The client must be open, have nothing in flight, and be used by nobody else from now on. */
void sc_demo_pipe_init(struct sc_demo_pipe *pipe, struct sc_client *client);

/* Queues a request; its id is chosen here. Waits while all credits are in use; fn runs in this or
 * a later function of the pipe. On failure the client's error says why, and
 * everything in flight is forgotten. */
SC_MUST_USE enum sc_status sc_demo_pipe_ask(struct sc_demo_pipe *pipe,
                                            const struct sc_shim_request *request,
                                            sc_demo_answer_fn fn, void *user, uint64_t tag);

/* Waits until every request is answered. */
SC_MUST_USE enum sc_status sc_demo_pipe_drain(struct sc_demo_pipe *pipe);

#endif
