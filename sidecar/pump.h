/* Keeps a device moving: takes its completions when it notifies, polls it for a short while after
 * messages were sent (a wake-up costs more than a quick answer), ticks its supervision. */
#ifndef SIDECAR_PUMP_H
#define SIDECAR_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "sidecar/base/status.h"

struct gpu_device;
struct sc_loop;
struct sc_pump;

/* after_poll runs after each look at the device. busy says whether an answer may come soon. */
struct sc_pump_ops {
    void (*after_poll)(void *user);
    bool (*busy)(void *user);
};

SC_MUST_USE enum sc_status sc_pump_open(struct sc_loop *loop, struct gpu_device *device,
                                        uint32_t spin_us, const struct sc_pump_ops *ops, void *user,
                                        struct sc_pump **pump_out);
void sc_pump_close(struct sc_pump *pump);

/* Something was sent. Cheap; may be called for every message. */
void sc_pump_kick(struct sc_pump *pump);

/* Somebody waits for room in the device's ring: look again soon, completions or not. */
void sc_pump_want_room(struct sc_pump *pump);

#endif
