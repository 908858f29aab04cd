#include "gpu/worker.h"

#include "gpu/abi/region.h"
#include "gpu/backend_cpu.h"
#include "gpu/engine/k_grain.h"

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void send_note(enum gpu_note_kind kind, uint32_t kernel, const struct gpu_manifest *m,
                      const char *text)
{
    struct gpu_note note = {.kind = kind, .kernel = kernel};
    if (m != NULL) {
        memcpy(note.id, m->id, sizeof note.id);
        memcpy(note.version, m->version, sizeof note.version);
    }
    snprintf(note.text, sizeof note.text, "%s", text);
    /* The daemon not listening any more shows as end of file below. */
    ssize_t n = send(GPU_WORKER_CONTROL_FD, &note, sizeof note, MSG_NOSIGNAL);
    uint64_t one = 1;
    n += write(GPU_WORKER_NOTIFY_FD, &one, sizeof one);
    (void)n;
}

static struct gpu_region_header *map_region(void)
{
    struct stat st;
    if (fstat(GPU_WORKER_REGION_FD, &st) != 0 ||
        (size_t)st.st_size < sizeof(struct gpu_region_header))
        return NULL;
    struct gpu_region_header *h =
        mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, GPU_WORKER_REGION_FD, 0);
    if (h == MAP_FAILED)
        return NULL;
    if (h->magic != GPU_REGION_MAGIC || h->version != GPU_REGION_VERSION ||
        h->region_bytes != (uint64_t)st.st_size)
        return NULL;
    return h;
}

/* The handler's symbol is k_handler_<id>, with '-' written '_'. */
static void symbol_name(char *out, size_t cap, const char *prefix, const char *id)
{
    snprintf(out, cap, "%s%s", prefix, id);
    for (char *c = out; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
}

static void (*kernel_load(const struct gpu_manifest *m, const struct gpu_build_config *build,
                          char *error))(void)
{
    char path[4096];
    if (gpu_kernel_build(m, build, path, sizeof path, error) != SC_OK)
        return NULL;
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "kernel %s %s does not load: %s", m->id, m->version,
                 dlerror());
        return NULL;
    }
    char symbol[GPU_KERNEL_ID_BYTES + 16];
    symbol_name(symbol, sizeof symbol, "k_abi_", m->id);
    const uint32_t *abi = dlsym(object, symbol);
    symbol_name(symbol, sizeof symbol, "k_handler_", m->id);
    void (*handler)(void) = NULL;
    *(void **)&handler = dlsym(object, symbol);
    if (abi == NULL || handler == NULL) {
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "kernel %s %s defines no K_HANDLER(%s)", m->id,
                 m->version, symbol + strlen("k_handler_"));
    } else if (*abi != K_ABI_VERSION) {
        snprintf(error, GPU_KERNEL_TEXT_BYTES,
                 "kernel %s %s was built for handler API %u, this is %d", m->id, m->version, *abi,
                 K_ABI_VERSION);
        handler = NULL;
    }
    return handler;
}

static struct gpu_cpu_kernel *kernels_load(const struct gpu_catalog *catalog,
                                           const struct gpu_build_config *build)
{
    struct gpu_cpu_kernel *kernels =
        calloc(catalog->count != 0 ? catalog->count : 1, sizeof *kernels);
    if (kernels == NULL)
        return NULL;
    for (uint32_t i = 0; i < catalog->count; i++) {
        const struct gpu_catalog_entry *entry = &catalog->entries[i];
        char error[GPU_KERNEL_TEXT_BYTES] = "";
        if (entry->error[0] != '\0') {
            snprintf(error, sizeof error, "%s", entry->error);
        } else {
            kernels[i].handler = kernel_load(&entry->manifest, build, error);
            kernels[i].sends_max = entry->manifest.sends_max;
            kernels[i].emits_max = entry->manifest.emits_max;
        }
        send_note(GPU_NOTE_KERNEL, i, &entry->manifest, error);
    }
    return kernels;
}

/* The daemon never sends anything: readable means it is gone. */
static void wait_for_stop(const struct gpu_region_header *h)
{
    const struct gpu_control *c =
        (const struct gpu_control *)((const uint8_t *)h + h->control_offset);
    struct pollfd pfd = {.fd = GPU_WORKER_CONTROL_FD, .events = POLLIN};
    while (__atomic_load_n(&c->host.stop, __ATOMIC_ACQUIRE) == GPU_RUN) {
        if (poll(&pfd, 1, 100) > 0)
            _exit(1);
    }
}

int gpu_worker_main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "gpu-sidecar worker: started by the daemon only\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* A terminal, a service manager or `timeout` sends these to the whole group. They are for the
     * daemon, which drains and then tells its worker by the stop word. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    struct gpu_region_header *region = map_region();
    if (region == NULL) {
        send_note(GPU_NOTE_FATAL, 0, NULL,
                  "the shared region cannot be mapped or is of another version");
        return 1;
    }
    char error[GPU_KERNEL_TEXT_BYTES] = "";
    struct gpu_catalog catalog;
    if (gpu_catalog_read(argv[0], &catalog, error) != SC_OK) {
        send_note(GPU_NOTE_FATAL, 0, NULL, error);
        return 1;
    }
    struct gpu_build_config build = {.cache = argv[1], .include_dir = argv[2], .compiler = argv[3]};
    struct gpu_cpu_kernel *kernels = kernels_load(&catalog, &build);
    struct gpu_cpu *cpu = NULL;
    if (kernels == NULL ||
        gpu_cpu_open(region, kernels, catalog.count, GPU_WORKER_NOTIFY_FD, &cpu) != SC_OK) {
        send_note(GPU_NOTE_FATAL, 0, NULL, "no memory or threads for the device");
        return 1;
    }
    send_note(GPU_NOTE_READY, 0, NULL, "");
    wait_for_stop(region);
    gpu_cpu_close(cpu);
    free(kernels);
    gpu_catalog_free(&catalog);
    return 0;
}
