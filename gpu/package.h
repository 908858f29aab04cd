/* Files of a kernel package, read without ever leaving its folder. Any thread. */
#ifndef GPU_PACKAGE_H
#define GPU_PACKAGE_H

#include "sidecar/base/span.h"
#include "sidecar/base/status.h"

#define GPU_MANIFEST_FILE "manifest.yaml"

enum {
    GPU_MANIFEST_MAX_BYTES = 256 * 1024,
    GPU_SOURCE_MAX_BYTES = 4 * 1024 * 1024,
    GPU_PREBUILT_MAX_BYTES = 64 * 1024 * 1024
};

/* Opens a package folder; it may be reached through links. A descriptor, or -1 with errno. */
int gpu_package_open(const char *folder);

/* Opens a regular file of the folder for reading. Links are followed only while they stay inside
 * the folder, as Kubernetes mounts need it. A descriptor, or -1 with errno; EXDEV: it leads out of
 * the folder or is no regular file. */
int gpu_package_open_file(int folder_fd, const char *name);

/* Reads such a file whole into memory the caller frees. On failure error (GPU_KERNEL_TEXT_BYTES)
 * names the file and the cause. */
SC_MUST_USE enum sc_status gpu_package_read(int folder_fd, const char *name, size_t max_bytes,
                                            uint8_t **data_out, size_t *len_out, char *error);

#endif
