#include "sidecar/base/wbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WBUF_FIRST_BYTES = 256 };

void wbuf_init(struct wbuf *w, size_t max_bytes)
{
    *w = (struct wbuf){.max_bytes = max_bytes};
}

void wbuf_fini(struct wbuf *w)
{
    free(w->ptr);
    *w = (struct wbuf){0};
}

void wbuf_clear(struct wbuf *w)
{
    w->len = 0;
    w->failed = false;
}

uint8_t *wbuf_reserve_slow(struct wbuf *w, size_t n)
{
    if (w->failed || w->max_bytes < w->len || n > w->max_bytes - w->len) {
        w->failed = true;
        return NULL;
    }
    /* cap never passes max_bytes, which the fast path of wbuf_reserve relies on. */
    size_t cap = w->cap != 0 ? w->cap : WBUF_FIRST_BYTES;
    while (cap - w->len < n && cap <= w->max_bytes / 2)
        cap *= 2;
    if (cap > w->max_bytes || cap - w->len < n)
        cap = w->max_bytes;
    uint8_t *ptr = realloc(w->ptr, cap);
    if (ptr == NULL) {
        w->failed = true;
        return NULL;
    }
    w->ptr = ptr;
    w->cap = cap;
    return w->ptr + w->len;
}

void wbuf_consume(struct wbuf *w, size_t n)
{
    assert(n <= w->len);
    w->len -= n;
    if (w->len != 0)
        memmove(w->ptr, w->ptr + n, w->len);
}

void wb_printf(struct wbuf *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char small[256];
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) {
        w->failed = true;
        return;
    }
    if ((size_t)n < sizeof small) {
        wb_bytes(w, small, (size_t)n);
        return;
    }
    char *to = (char *)wbuf_reserve(w, (size_t)n + 1);
    if (to == NULL)
        return;
    va_start(args, format);
    vsnprintf(to, (size_t)n + 1, format, args);
    va_end(args);
    w->len += (size_t)n;
}
