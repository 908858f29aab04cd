/* What the probes answer, from facts; pure. */
#ifndef SIDECAR_HEALTH_H
#define SIDECAR_HEALTH_H

#include "sidecar/base/wbuf.h"

struct sc_health {
    bool was_ready;    /* the device has served since the daemon started */
    bool device_ready; /* it serves now */
    const char *device_cause;
    uint64_t heartbeat_age_ms, heartbeat_max_ms;
    bool silo_wanted; /* an endpoint is configured */
    bool silo_up;
    const char *silo_cause;
    bool draining;
};

/* Each writes a line a check, "ok ..." or "not ok ...", and says whether all hold. */
bool sc_health_ready(const struct sc_health *health, struct wbuf *body);
bool sc_health_started(const struct sc_health *health, struct wbuf *body);

#endif
