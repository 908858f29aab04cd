#include "sidecar/health.h"

#include <inttypes.h>

static bool check(struct wbuf *body, bool good, const char *subject, const char *cause)
{
    wb_printf(body, "%s %s%s%s\n", good ? "ok" : "not ok", subject, good ? "" : ": ",
              good ? "" : cause);
    return good;
}

bool sc_health_ready(const struct sc_health *h, struct wbuf *body)
{
    bool good = check(body, !h->draining, "drain", "the daemon is draining");
    good &= check(body, h->device_ready, "device", h->device_cause);
    if (h->device_ready && h->heartbeat_age_ms > h->heartbeat_max_ms) {
        wb_printf(body, "not ok heartbeat: the device was last heard %" PRIu64 " ms ago\n",
                  h->heartbeat_age_ms);
        good = false;
    }
    if (h->silo_wanted)
        good &= check(body, h->silo_up, "silo", h->silo_cause);
    return good;
}

bool sc_health_started(const struct sc_health *h, struct wbuf *body)
{
    return check(body, h->was_ready, "device", h->device_cause);
}
