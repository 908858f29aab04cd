/* The worker process: `gpu-sidecar worker`, started by gpu_device with three descriptors. It builds
 * and loads the kernels, runs the device, and leaves when told to, or when the daemon is gone. */
#ifndef GPU_WORKER_H
#define GPU_WORKER_H

#include "gpu/catalog.h"

/* Descriptors the worker inherits. */
enum {
    GPU_WORKER_REGION_FD = 3,  /* memfd of the region */
    GPU_WORKER_CONTROL_FD = 4, /* SOCK_SEQPACKET: notes to the daemon; its end of file: leave */
    GPU_WORKER_NOTIFY_FD = 5   /* eventfd: completions wait */
};

enum gpu_note_kind {
    GPU_NOTE_KERNEL = 1, /* a kernel of the catalog was loaded, or not (text) */
    GPU_NOTE_READY = 2,  /* the device runs */
    GPU_NOTE_FATAL = 3   /* the worker gives up (text) */
};

/* One packet on the control socket. */
struct gpu_note {
    uint32_t kind;
    uint32_t kernel;
    char id[GPU_KERNEL_ID_BYTES];
    char version[GPU_KERNEL_VERSION_BYTES];
    char text[GPU_KERNEL_TEXT_BYTES]; /* "" is good news */
};

/* The worker's main. Arguments after the subcommand: kernel root, cache, include folder, compiler.
 * Returns the exit code. */
int gpu_worker_main(int argc, char **argv);

#endif
