/* The gateway of a silo with one grain, gpu-publisher, that behaves as it is told and remembers the
 * events it was given. */
#ifndef TESTS_SUPPORT_FAKE_SILO_H
#define TESTS_SUPPORT_FAKE_SILO_H

#include "sidecar/base/span.h"

struct rig;
struct fake_silo;

enum fake_silo_mood {
    FAKE_SILO_GOOD,
    FAKE_SILO_MUTE,      /* takes the events, answers nothing */
    FAKE_SILO_DEAF,      /* answers nothing, takes nothing */
    FAKE_SILO_THROWS,    /* the grain throws */
    FAKE_SILO_BUSY,      /* rejection: gateway too busy */
    FAKE_SILO_NO_KEY_BAD /* rejects stream key "bad" as unrecoverable, else good */
};

/* port 0: any free one. */
void fake_silo_open(struct rig *rig, uint16_t port, struct fake_silo **silo_out);
void fake_silo_close(struct fake_silo *silo);

uint16_t fake_silo_port(const struct fake_silo *silo);
void fake_silo_be(struct fake_silo *silo, enum fake_silo_mood mood);
unsigned fake_silo_clients(const struct fake_silo *silo);
unsigned fake_silo_calls(const struct fake_silo *silo);

/* Tells every client to go elsewhere. */
void fake_silo_say_stop(struct fake_silo *silo);

/* What the grain was given: "ns/key#encoding:payload\n" an event, batches ended by "--\n". */
struct span fake_silo_heard(const struct fake_silo *silo);

/* Keeps what was heard over a restart. */
void fake_silo_hear_on(struct fake_silo *silo, struct span heard);

#endif
