/* gpu-sidecar kernels: what packages there are, and building them ahead of time. */
#include <limits.h>
#include <stdio.h>

#include "gpu/catalog.h"
#include "sidecar/app.h"
#include "sidecar/cli.h"

static const char usage[] =
    "usage: gpu-sidecar kernels list|build [--root DIR] [--cache DIR] [--include DIR]\n"
    "                                      [--compiler CC] [--config FILE] [--option=value...]\n"
    "  list   the newest version of each kernel under the root, and whether its manifest is good\n"
    "  build  compiles each into the cache; exit code 1 when one fails\n";

static void print_one(const struct gpu_catalog_entry *entry, const char *error)
{
    const struct gpu_manifest *m = &entry->manifest;
    printf("%s %s %s", m->id, m->version, error[0] == '\0' ? "ok" : "error");
    for (uint32_t i = 0; i < m->message_count; i++)
        printf(" %s=%u", m->messages[i].name, m->messages[i].type);
    printf("\n");
    if (error[0] != '\0')
        printf("  %s\n", error);
}

static int run(const struct sc_config *config, bool build)
{
    struct gpu_catalog catalog;
    char error[GPU_KERNEL_TEXT_BYTES] = "";
    if (gpu_catalog_read(config->kernels_root, &catalog, error) != SC_OK) {
        fprintf(stderr, "gpu-sidecar kernels: %s\n", error);
        return SC_EXIT_FAILED;
    }
    const struct gpu_build_config how = {.cache = config->kernels_cache,
                                         .include_dir = config->kernels_include,
                                         .compiler = config->kernels_compiler};
    int code = SC_EXIT_OK;
    for (uint32_t i = 0; i < catalog.count; i++) {
        const struct gpu_catalog_entry *entry = &catalog.entries[i];
        char path[PATH_MAX];
        snprintf(error, sizeof error, "%s", entry->error);
        if (build && error[0] == '\0' &&
            gpu_kernel_build(&entry->manifest, &how, path, sizeof path, error) == SC_OK)
            error[0] = '\0';
        print_one(entry, error);
        if (error[0] != '\0')
            code = SC_EXIT_FAILED;
    }
    gpu_catalog_free(&catalog);
    return code;
}

/* --root is short for --kernels.root, and so on. */
static const char *long_flag(const char *flag, char *out, size_t cap)
{
    static const char *const names[] = {"root", "cache", "include", "compiler"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        if (strncmp(flag, "--", 2) == 0 && strncmp(flag + 2, names[i], len) == 0 &&
            (flag[2 + len] == '\0' || flag[2 + len] == '=')) {
            snprintf(out, cap, "--kernels.%s", flag + 2);
            return out;
        }
    }
    return flag;
}

int sc_cli_kernels(int argc, char **argv)
{
    enum { FLAGS_MAX = 64 };
    static char text[FLAGS_MAX][PATH_MAX];
    char *flags[FLAGS_MAX + 1];
    bool build = argc > 0 && strcmp(argv[0], "build") == 0;
    if (argc < 1 || argc > FLAGS_MAX || (!build && strcmp(argv[0], "list") != 0)) {
        fputs(usage, stderr);
        return SC_EXIT_CONFIG;
    }
    for (int i = 1; i < argc; i++)
        flags[i - 1] = (char *)long_flag(argv[i], text[i], sizeof text[i]);
    flags[argc - 1] = NULL;
    struct sc_config config;
    struct sc_config_input input;
    int code = sc_cli_config(flags, &config, &input);
    if (code != SC_EXIT_OK)
        return code;
    code = run(&config, build);
    sc_config_free(&config);
    return code;
}
