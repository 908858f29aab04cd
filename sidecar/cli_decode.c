/* `gpu-sidecar decode`: recorded bytes of one direction of a gateway connection as text. */
#include "orleans-proto/dump.h"
#include "orleans-proto/frame.h"
#include "sidecar/app.h"
#include "sidecar/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { INPUT_MAX = 1 << 30, OUTPUT_MAX = 1 << 30 };

static bool read_all(FILE *f, struct wbuf *in)
{
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) != 0)
        wb_bytes(in, chunk, n);
    return ferror(f) == 0 && !in->failed;
}

static int decode(FILE *f, const char *name, bool has_preamble)
{
    struct wbuf in, out;
    wbuf_init(&in, INPUT_MAX);
    wbuf_init(&out, OUTPUT_MAX);
    int code = SC_EXIT_FAILED;
    if (!read_all(f, &in)) {
        fprintf(stderr, "gpu-sidecar decode: %s cannot be read, or is over 1 GiB\n", name);
    } else {
        const struct orl_limits limits = {ORL_HEADER_MAX, ORL_BODY_MAX};
        struct span rest;
        size_t messages = orl_dump_stream(&out, wbuf_span(&in), has_preamble, &limits, &rest);
        fwrite(out.ptr, 1, out.len, stdout);
        fprintf(stderr, "gpu-sidecar decode: %zu messages, %zu bytes left over\n", messages,
                rest.len);
        code = rest.len == 0 && !out.failed ? SC_EXIT_OK : SC_EXIT_FAILED;
    }
    wbuf_fini(&in);
    wbuf_fini(&out);
    return code;
}

int sc_cli_decode(int argc, char **argv)
{
    bool has_preamble = true;
    if (argc > 0 && strcmp(argv[0], "--no-preamble") == 0) {
        has_preamble = false;
        argc--;
        argv++;
    }
    if (argc == 0)
        return decode(stdin, "standard input", has_preamble);
    FILE *f = argc == 1 ? fopen(argv[0], "rb") : NULL;
    if (f == NULL) {
        fprintf(stderr, "gpu-sidecar decode: %s\n",
                argc == 1 ? strerror(errno) : "usage: decode [--no-preamble] [FILE]");
        return SC_EXIT_CONFIG;
    }
    int code = decode(f, argv[0], has_preamble);
    fclose(f);
    return code;
}
