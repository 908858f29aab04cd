/* The configuration file: what is taken prints as text that is taken again and prints the same. */
#include <stdlib.h>

#include "sidecar/base/wbuf.h"
#include "sidecar/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

/* A line without the comment that names its source. */
static struct span value_of(struct span text, size_t *at)
{
    const uint8_t *start = text.ptr + *at;
    const uint8_t *end = memchr(start, '\n', text.len - *at);
    size_t len = end != NULL ? (size_t)(end - start) : text.len - *at;
    *at += len + 1;
    const uint8_t *comment = memmem(start, len, " # ", 3);
    return span_of(start, comment != NULL ? (size_t)(comment - start) : len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[SC_CONFIG_ERROR_BYTES];
    struct sc_config first, second;
    if (sc_config_load_text(span_of(data, size), &first, error) != SC_OK) {
        require(error[0] != '\0' && strlen(error) < sizeof error);
        return 0;
    }
    struct wbuf one, two;
    wbuf_init(&one, 1 << 20);
    wbuf_init(&two, 1 << 20);
    sc_config_print(&first, &one);
    require(sc_config_load_text(wbuf_span(&one), &second, error) == SC_OK);
    sc_config_print(&second, &two);
    require(!one.failed && !two.failed);
    for (size_t i = 0, j = 0; i < one.len && j < two.len;)
        require(span_eq(value_of(wbuf_span(&one), &i), value_of(wbuf_span(&two), &j)));
    wbuf_fini(&one);
    wbuf_fini(&two);
    sc_config_free(&first);
    sc_config_free(&second);
    return 0;
}
