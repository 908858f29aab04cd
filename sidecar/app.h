/* The daemon: owns every module, starts them in order, stops them in reverse. */
#ifndef SIDECAR_APP_H
#define SIDECAR_APP_H

#include "sidecar/config.h"

enum { SC_EXIT_OK = 0, SC_EXIT_FAILED = 1, SC_EXIT_CONFIG = 2 };

/* Serves until SIGTERM or SIGINT: the first drains, a second one ends at once. SIGHUP reads the
 * configuration again from `input`. `config` is the one in force, and changes with it. Returns the
 * exit code; what went wrong has been logged. */
int sc_app_serve(struct sc_config *config, const struct sc_config_input *input);

#endif
