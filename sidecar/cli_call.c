/* gpu-sidecar call: one call from the command line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sidecar/app.h"
#include "sidecar/cli.h"
#include "sidecar/client.h"

static const char usage[] =
    "usage: gpu-sidecar call [--socket PATH] [--timeout MS] KERNEL/KEY MESSAGE [PAYLOAD...]\n"
    "  MESSAGE   name or number of the kernel's manifest\n"
    "  PAYLOAD   pieces put one after the other:\n"
    "            --data HEX   bytes\n"
    "            --text TEXT  UTF-8 text\n"
    "            --u64 N, --u32 N, --u16 N, --u8 N   little endian numbers\n"
    "Prints the reply as hex, as text where it is text, and as u64 numbers where it may be.\n";

struct call_args {
    const char *socket;
    uint32_t timeout_ms;
    struct span kernel, key, message;
    struct wbuf payload;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool put_hex(struct wbuf *out, const char *text)
{
    for (; *text != '\0'; text += 2) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return false;
        wb_u8(out, (uint8_t)(high << 4 | low));
    }
    return true;
}

static bool parse_u64(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    uint64_t v = strtoull(text, &end, 0);
    if (*end != '\0' || v > max)
        return false;
    *out = v;
    return true;
}

static bool put_number(struct wbuf *out, const char *text, unsigned bytes)
{
    uint64_t v;
    if (!parse_u64(text, bytes == 8 ? UINT64_MAX : (1ull << (8 * bytes)) - 1, &v))
        return false;
    for (unsigned i = 0; i < bytes; i++)
        wb_u8(out, (uint8_t)(v >> (8 * i)));
    return true;
}

static bool take_option(struct call_args *args, const char *name, const char *value)
{
    uint64_t n;
    if (strcmp(name, "--socket") == 0) {
        args->socket = value;
        return true;
    }
    if (strcmp(name, "--timeout") == 0) {
        if (!parse_u64(value, 86400000, &n) || n == 0)
            return false;
        args->timeout_ms = (uint32_t)n;
        return true;
    }
    if (strcmp(name, "--data") == 0)
        return put_hex(&args->payload, value);
    if (strcmp(name, "--text") == 0) {
        wb_bytes(&args->payload, value, strlen(value));
        return true;
    }
    if (strcmp(name, "--u64") == 0)
        return put_number(&args->payload, value, 8);
    if (strcmp(name, "--u32") == 0)
        return put_number(&args->payload, value, 4);
    if (strcmp(name, "--u16") == 0)
        return put_number(&args->payload, value, 2);
    return strcmp(name, "--u8") == 0 && put_number(&args->payload, value, 1);
}

static bool take_target(struct call_args *args, const char *text)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL || slash == text || slash[1] == '\0')
        return false;
    args->kernel = span_of(text, (size_t)(slash - text));
    args->key = span_of_str(slash + 1);
    return true;
}

static bool parse(int argc, char **argv, struct call_args *args)
{
    for (int i = 0; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        bool good;
        if (strncmp(argv[i], "--", 2) != 0) {
            good = args->kernel.len == 0    ? take_target(args, argv[i])
                   : args->message.len == 0 ? (args->message = span_of_str(argv[i])).len != 0
                                            : false;
        } else if (equals != NULL) {
            *equals = '\0';
            good = take_option(args, argv[i], equals + 1);
            *equals = '=';
        } else {
            good = i + 1 < argc && take_option(args, argv[i], argv[i + 1]);
            i++;
        }
        if (!good) {
            fprintf(stderr, "gpu-sidecar call: bad argument %s\n", i < argc ? argv[i] : "");
            return false;
        }
    }
    return args->message.len != 0 && !args->payload.failed;
}

static bool is_text(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e)
            return false;
    return s.len != 0;
}

static void print_reply(struct span reply)
{
    printf("hex ");
    for (size_t i = 0; i < reply.len; i++)
        printf("%02x", reply.ptr[i]);
    printf("\n");
    if (is_text(reply))
        printf("text %.*s\n", SPAN_ARG(reply));
    if (reply.len == 0 || reply.len % 8 != 0 || reply.len > 64)
        return;
    printf("u64");
    struct reader r = reader_of(reply);
    while (r.left != 0)
        printf(" %" PRIu64, rd_u64le(&r));
    printf("\n");
}

static enum sc_status run(struct sc_client *client, const struct call_args *args,
                          struct span *reply_out)
{
    uint16_t type;
    uint64_t grain;
    enum sc_status st = sc_client_wait_ready(client, args->timeout_ms);
    if (st == SC_OK)
        st = sc_client_message_type(client, args->kernel, args->message, &type);
    if (st == SC_OK)
        st = sc_client_activate(client, args->kernel, args->key, 0, span_of(NULL, 0), &grain);
    if (st != SC_OK)
        return st;
    return sc_client_call(client, grain, type, wbuf_span(&args->payload), args->timeout_ms,
                          reply_out);
}

int sc_cli_call(int argc, char **argv)
{
    struct call_args args = {.socket = getenv("GPU_SIDECAR_SOCKET_PATH"), .timeout_ms = 10000};
    if (args.socket == NULL)
        args.socket = "/run/gpu-sidecar/gpu-sidecar.sock";
    wbuf_init(&args.payload, 16 << 20);
    if (!parse(argc, argv, &args)) {
        fputs(usage, stderr);
        wbuf_fini(&args.payload);
        return SC_EXIT_CONFIG;
    }
    struct sc_client client;
    struct span reply;
    /* The daemon keeps the deadline; the client waits a little longer for its word. */
    enum sc_status st =
        sc_client_open(&client, args.socket, "gpu-sidecar call", args.timeout_ms + 1000);
    if (st == SC_OK) {
        st = run(&client, &args, &reply);
        if (st == SC_OK)
            print_reply(reply);
        sc_client_close(&client);
    }
    if (st != SC_OK)
        fprintf(stderr, "gpu-sidecar call: %s: %s\n", sc_status_name(st), client.error);
    wbuf_fini(&args.payload);
    return st == SC_OK ? SC_EXIT_OK : SC_EXIT_FAILED;
}
