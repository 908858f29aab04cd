/* The YAML file: nested mappings of scalars and lists, flattened to dotted names. */
#ifndef SIDECAR_CONFIG_FILE_H
#define SIDECAR_CONFIG_FILE_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

/* One value; a list's items come joined by commas. Return other than SC_OK to stop, with the text
 * of the error written to `error`. */
typedef enum sc_status (*sc_config_file_fn)(void *user, struct span name, struct span value,
                                            uint32_t line, char *error);

/* Calls fn for each value of the text. SC_ERR_CONFIG: not YAML of the kind above; error
 * (SC_CONFIG_ERROR_BYTES) holds file:line and the reason. */
SC_MUST_USE enum sc_status sc_config_file_read(struct span yaml, const char *file,
                                               sc_config_file_fn fn, void *user, char *error);

#endif
