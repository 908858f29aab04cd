/* gpu.h without a worker: requests are kept until the test answers them. For unit tests of the
 * router; its object file replaces the real device in that test program. */
#ifndef TESTS_SUPPORT_FAKE_DEVICE_H
#define TESTS_SUPPORT_FAKE_DEVICE_H

#include "gpu/catalog.h"
#include "gpu/gpu.h"

enum fake_kind { FAKE_ACTIVATE, FAKE_DEACTIVATE, FAKE_CALL, FAKE_SEND };

struct fake_request {
    enum fake_kind kind;
    uint64_t handle;
    uint64_t call;
    uint32_t kernel;
    uint16_t type;
    char payload[64];
    size_t len;
};

enum { FAKE_REQUESTS_MAX = 256 };

struct gpu_device {
    const struct gpu_device_ops *ops;
    void *user;
    enum gpu_device_state state;
    uint32_t epoch;
    bool full; /* the ring: requests get SC_AGAIN */
    int notify_fd;
    uint32_t slots; /* handed out so far */
    uint32_t generation;
    struct gpu_catalog catalog;
    struct gpu_catalog_entry entries[2]; /* "alpha" with message 1 and event 1; "broken" */
    struct fake_request requests[FAKE_REQUESTS_MAX];
    uint32_t count;
};

void fake_device_init(struct gpu_device *dev, const struct gpu_device_ops *ops, void *user);
void fake_device_fini(struct gpu_device *dev);

/* Answers request i. */
void fake_device_reply(struct gpu_device *dev, uint32_t i, enum sc_status status, const char *text);

/* Fails every request that waits, as a dying worker does, and tells. */
void fake_device_crash(struct gpu_device *dev, const char *cause);
void fake_device_restart(struct gpu_device *dev);

#endif
