#include "orleans-proto/ids.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

enum { NAME_MAX_BYTES = 256, STREAM_ID_MAX = 1024 };

size_t orl_silo_format(const struct orl_silo *silo, char out[ORL_SILO_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "null";
    if (!orl_silo_is_null(silo))
        inet_ntop(silo->ip_len == 4 ? AF_INET : AF_INET6, silo->ip, ip, sizeof ip);
    int n = snprintf(out, ORL_SILO_TEXT_MAX, "%s:%" PRIu16 "@%" PRId32, ip, silo->port,
                     silo->generation);
    return (size_t)n;
}

/* Decimal digits with an optional sign, nothing else. */
static bool parse_decimal(struct span text, int64_t min, int64_t max, int64_t *v_out)
{
    int64_t v = 0;
    bool negative = text.len != 0 && text.ptr[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == text.len || text.len > 11)
        return false;
    for (; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        v = v * 10 + (text.ptr[i] - '0');
    }
    *v_out = negative ? -v : v;
    return *v_out >= min && *v_out <= max;
}

static bool parse_ip(struct span text, struct orl_silo *silo)
{
    char ip[INET6_ADDRSTRLEN];
    if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = span_of(text.ptr + 1, text.len - 2);
    if (text.len >= sizeof ip)
        return false;
    memcpy(ip, text.ptr, text.len);
    ip[text.len] = '\0';
    silo->ip_len = 4;
    if (inet_pton(AF_INET, ip, silo->ip) == 1)
        return true;
    silo->ip_len = 16;
    return inet_pton(AF_INET6, ip, silo->ip) == 1;
}

/* The part behind the last c, which is cut off text together with c; ptr NULL when there is none.
 */
static struct span cut_last(struct span *text, char c)
{
    for (size_t i = text->len; i > 0; i--) {
        if (text->ptr[i - 1] == (uint8_t)c) {
            struct span tail = span_of(text->ptr + i, text->len - i);
            text->len = i - 1;
            return tail;
        }
    }
    return (struct span){0};
}

enum sc_status orl_silo_parse(struct span text, struct orl_silo *silo_out)
{
    struct orl_silo silo = {0};
    int64_t port = 0;
    int64_t generation = 0;
    struct span tail = cut_last(&text, '@');
    if (tail.ptr != NULL && !parse_decimal(tail, INT32_MIN, INT32_MAX, &generation))
        return SC_ERR_ARGUMENT;
    tail = cut_last(&text, ':');
    if (tail.ptr == NULL || !parse_decimal(tail, 0, UINT16_MAX, &port) || !parse_ip(text, &silo))
        return SC_ERR_ARGUMENT;
    silo.port = (uint16_t)port;
    silo.generation = (int32_t)generation;
    *silo_out = silo;
    return SC_OK;
}

/* Where byte i of the text form lies in .NET order. */
static const uint8_t guid_order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

void orl_guid_format(const struct orl_guid *guid, char out[33])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        uint8_t b = guid->b[guid_order[i]];
        out[2 * i] = digits[b >> 4];
        out[2 * i + 1] = digits[b & 15];
    }
    out[32] = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_dash_place(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

enum sc_status orl_guid_parse(struct span text, struct orl_guid *guid_out)
{
    struct orl_guid guid = {{0}};
    bool dashed = text.len == 36;
    size_t digits = 0;
    if (text.len != 32 && !dashed)
        return SC_ERR_ARGUMENT;
    for (size_t i = 0; i < text.len; i++) {
        if (dashed && is_dash_place(i)) {
            if (text.ptr[i] != '-')
                return SC_ERR_ARGUMENT;
            continue;
        }
        int v = hex_value(text.ptr[i]);
        if (v < 0)
            return SC_ERR_ARGUMENT;
        uint8_t *b = &guid.b[guid_order[digits / 2]];
        *b = (uint8_t)(*b << 4 | v);
        digits++;
    }
    *guid_out = guid;
    return SC_OK;
}

static void put_extension(struct wbuf *w, struct span ext)
{
    if (ext.ptr == NULL)
        return;
    wb_u8(w, '+');
    wb_span(w, ext);
}

void orl_key_put_integer(struct wbuf *w, int64_t v, struct span ext)
{
    wb_printf(w, "%" PRIX64, (uint64_t)v);
    put_extension(w, ext);
}

void orl_key_put_guid(struct wbuf *w, const struct orl_guid *guid, struct span ext)
{
    char text[33];
    orl_guid_format(guid, text);
    wb_bytes(w, text, 32);
    put_extension(w, ext);
}

/* Splits at the first '+'; an extension may hold more of them. */
static struct span cut_extension(struct span *key)
{
    const uint8_t *plus = key->len != 0 ? memchr(key->ptr, '+', key->len) : NULL;
    if (plus == NULL)
        return (struct span){0};
    size_t at = (size_t)(plus - key->ptr);
    struct span ext = span_of(plus + 1, key->len - at - 1);
    key->len = at;
    return ext;
}

enum sc_status orl_key_parse_integer(struct span key, int64_t *v_out, struct span *ext_out)
{
    struct span ext = cut_extension(&key);
    uint64_t v = 0;
    if (key.len == 0 || key.len > 16)
        return SC_ERR_ARGUMENT;
    for (size_t i = 0; i < key.len; i++) {
        int digit = hex_value(key.ptr[i]);
        if (digit < 0)
            return SC_ERR_ARGUMENT;
        v = v << 4 | (uint64_t)digit;
    }
    *v_out = (int64_t)v;
    *ext_out = ext;
    return SC_OK;
}

enum sc_status orl_key_parse_guid(struct span key, struct orl_guid *guid_out, struct span *ext_out)
{
    struct span ext = cut_extension(&key);
    if (key.len != 32)
        return SC_ERR_ARGUMENT;
    enum sc_status st = orl_guid_parse(key, guid_out);
    if (st == SC_OK)
        *ext_out = ext;
    return st;
}

void orl_method_id(struct span signature, char out[9])
{
    snprintf(out, 9, "%08" PRIX32, orl_hash32(signature));
}

/* One code point of UTF-8; -1 for anything that is none. */
static int32_t next_code_point(struct reader *r)
{
    static const int32_t lowest[4] = {0, 0x80, 0x800, 0x10000};
    uint8_t first = rd_u8(r);
    int more = first < 0x80       ? 0
               : first >> 5 == 6  ? 1
               : first >> 4 == 14 ? 2
               : first >> 3 == 30 ? 3
                                  : -1;
    if (more < 0)
        return -1;
    int32_t cp = more == 0 ? first : first & (0x3f >> more);
    for (int i = 0; i < more; i++) {
        uint8_t b = rd_u8(r);
        if (r->bad || (b & 0xc0) != 0x80)
            return -1;
        cp = cp << 6 | (b & 0x3f);
    }
    bool surrogate = cp >= 0xd800 && cp < 0xe000;
    return cp < lowest[more] || cp > 0x10ffff || surrogate ? -1 : cp;
}

bool orl_is_utf8(struct span text)
{
    struct reader r = reader_of(text);
    while (r.left != 0)
        if (next_code_point(&r) < 0)
            return false;
    return true;
}

static void put_u16(uint8_t *out, uint16_t v)
{
    out[0] = (uint8_t)v;
    out[1] = (uint8_t)(v >> 8);
}

/* UTF-8 to UTF-16LE, the form in which .NET hashes provider and service names. out has room for two
 * bytes per byte of text. */
static enum sc_status to_utf16(struct span text, uint8_t *out, size_t *len_out)
{
    struct reader r = reader_of(text);
    size_t n = 0;
    while (r.left != 0) {
        int32_t cp = next_code_point(&r);
        if (cp < 0)
            return SC_ERR_ARGUMENT;
        if (cp >= 0x10000) {
            cp -= 0x10000;
            put_u16(out + n, (uint16_t)(0xd800 | cp >> 10));
            n += 2;
            cp = 0xdc00 | (cp & 0x3ff);
        }
        put_u16(out + n, (uint16_t)cp);
        n += 2;
    }
    *len_out = n;
    return SC_OK;
}

enum sc_status orl_grain_service_type(struct span interface, char out[ORL_SERVICE_TYPE_LEN + 1])
{
    uint8_t utf16[2 * NAME_MAX_BYTES];
    size_t len = 0;
    if (interface.len > NAME_MAX_BYTES)
        return SC_ERR_ARGUMENT;
    enum sc_status st = to_utf16(interface, utf16, &len);
    if (st != SC_OK)
        return st;
    snprintf(out, ORL_SERVICE_TYPE_LEN + 1, "sys.svc.user.%08" PRIX32,
             orl_stable_hash(span_of(utf16, len)));
    return SC_OK;
}

/* The ring holds queue i at portion * i; a stream goes to the first queue at or behind its hash. */
static void find_queue(uint32_t hash, uint32_t count, uint32_t *position_out, uint32_t *queue_out)
{
    uint64_t portion = ((uint64_t)1 << 32) / count + 1;
    uint64_t queue = (hash + portion - 1) / portion;
    if (queue >= count)
        queue = 0;
    *queue_out = (uint32_t)queue;
    *position_out = (uint32_t)(portion * queue);
}

/* The hash of a stream's namespace and key as one string of bytes. */
static uint32_t stream_hash(struct span ns, struct span key)
{
    uint8_t both[STREAM_ID_MAX];
    if (ns.len != 0)
        memcpy(both, ns.ptr, ns.len);
    if (key.len != 0)
        memcpy(both + ns.len, key.ptr, key.len);
    return orl_stable_hash(span_of(both, ns.len + key.len));
}

enum sc_status orl_memory_queue_key(struct span provider, uint32_t queue_count, struct span ns,
                                    struct span key, char out[33])
{
    uint8_t utf16[2 * NAME_MAX_BYTES];
    size_t len = 0;
    if (queue_count == 0 || provider.len > NAME_MAX_BYTES)
        return SC_ERR_ARGUMENT;
    if (ns.len > STREAM_ID_MAX || key.len > STREAM_ID_MAX - ns.len)
        return SC_ERR_ARGUMENT;
    enum sc_status st = to_utf16(provider, utf16, &len);
    if (st != SC_OK)
        return st;
    uint32_t position = 0;
    uint32_t queue = 0;
    find_queue(stream_hash(ns, key), queue_count, &position, &queue);
    uint64_t name = XXH64(utf16, len, 0);
    struct orl_guid guid;
    for (int i = 0; i < 8; i++)
        guid.b[i] = (uint8_t)(name >> (56 - 8 * i));
    for (int i = 0; i < 4; i++) {
        guid.b[8 + i] = (uint8_t)(position >> (8 * i));
        guid.b[12 + i] = (uint8_t)(queue >> (8 * i));
    }
    orl_guid_format(&guid, out);
    return SC_OK;
}
