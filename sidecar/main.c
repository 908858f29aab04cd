#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/worker.h"
#include "sidecar/app.h"
#include "sidecar/base/wbuf.h"
#include "sidecar/cli.h"
#include "sidecar/demo.h"

static const char usage[] =
    "usage: gpu-sidecar COMMAND [ARGUMENT...]\n"
    "  serve [--config FILE] [--OPTION=VALUE...]    run the daemon\n"
    "  config [--config FILE] [--OPTION=VALUE...]   print the effective configuration\n"
    "  call KERNEL/KEY MESSAGE [PAYLOAD...]         make one call through the daemon's socket\n"
    "  demo impact [ARGUMENT...]                    packages as grains: what breaks without one\n"
    "  kernels list|build [--root DIR]              show or compile kernel packages\n"
    "  decode [--no-preamble] [FILE]                recorded bytes of an Orleans connection as "
    "text\n"
    "  version\n"
    "  help [options]                               this text, and the options of serve\n"
    "  worker                                       started by serve, not by people\n";

int sc_cli_config(char **argv, struct sc_config *config, struct sc_config_input *input)
{
    char error[SC_CONFIG_ERROR_BYTES];
    *input = (struct sc_config_input){.env = (const char *const *)environ,
                                      .flags = (const char *const *)argv};
    /* Only as the first flag: everything after it is an option of the table. */
    if (argv[0] != NULL && strncmp(argv[0], "--config=", 9) == 0) {
        input->file = argv[0] + 9;
        input->flags += 1;
    } else if (argv[0] != NULL && strcmp(argv[0], "--config") == 0 && argv[1] != NULL) {
        input->file = argv[1];
        input->flags += 2;
    }
    if (sc_config_load(input, config, error) == SC_OK)
        return SC_EXIT_OK;
    fprintf(stderr, "gpu-sidecar: %s\n", error);
    return SC_EXIT_CONFIG;
}

static int serve(char **argv)
{
    struct sc_config config;
    struct sc_config_input input;
    int code = sc_cli_config(argv, &config, &input);
    if (code != SC_EXIT_OK)
        return code;
    code = sc_app_serve(&config, &input);
    sc_config_free(&config);
    return code;
}

static void print_and_free(struct wbuf *text)
{
    fwrite(text->ptr, 1, text->len, stdout);
    wbuf_fini(text);
}

static int print_config(char **argv)
{
    struct sc_config config;
    struct sc_config_input input;
    int code = sc_cli_config(argv, &config, &input);
    if (code != SC_EXIT_OK)
        return code;
    struct wbuf out;
    wbuf_init(&out, 1 << 20);
    sc_config_print(&config, &out);
    print_and_free(&out);
    sc_config_free(&config);
    return SC_EXIT_OK;
}

static int help(const char *topic)
{
    fputs(usage, stdout);
    if (topic == NULL || strcmp(topic, "options") != 0)
        return SC_EXIT_OK;
    struct wbuf out;
    wbuf_init(&out, 1 << 20);
    sc_config_describe(&out);
    printf("options, as flag --name=value, in a YAML file, or as GPU_SIDECAR_NAME:\n");
    print_and_free(&out);
    return SC_EXIT_OK;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "serve") == 0)
        return serve(argv + 2);
    if (strcmp(command, "worker") == 0)
        return gpu_worker_main(argc - 2, argv + 2);
    if (strcmp(command, "call") == 0)
        return sc_cli_call(argc - 2, argv + 2);
    if (strcmp(command, "config") == 0)
        return print_config(argv + 2);
    if (strcmp(command, "decode") == 0)
        return sc_cli_decode(argc - 2, argv + 2);
    if (strcmp(command, "demo") == 0)
        return sc_demo_main(argc - 1, argv + 1);
    if (strcmp(command, "kernels") == 0)
        return sc_cli_kernels(argc - 2, argv + 2);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        printf("gpu-sidecar %s\n", SC_VERSION);
        return SC_EXIT_OK;
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    fputs(usage, stderr);
    return SC_EXIT_CONFIG;
}
