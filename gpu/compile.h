/* Runs the system C compiler. */
#ifndef GPU_COMPILE_H
#define GPU_COMPILE_H

#include "sidecar/base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { GPU_COMPILE_LIMIT_MS = 60 * 1000 };

/* Runs argv (argv[0] looked up in PATH, no shell) with folder_fd as its working directory; its
 * temporary files go to `scratch`. Blocks until it ends; past limit_ms it is killed with everything
 * it started. What it printed goes into text, cut at text_cap with a NUL. SC_ERR_NOT_FOUND: there
 * is no such program. SC_ERR_DEADLINE: killed. SC_ERR_KERNEL: it ended with a failure. Any thread.
 */
SC_MUST_USE enum sc_status gpu_compile_run(const char *const *argv, int folder_fd,
                                           const char *scratch, uint32_t limit_ms, char *text,
                                           size_t text_cap);

#endif
