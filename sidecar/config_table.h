/* The option table; shared by config.c and config_value.c only. */
#ifndef SIDECAR_CONFIG_TABLE_H
#define SIDECAR_CONFIG_TABLE_H

#include "sidecar/config.h"

enum sc_option_type {
    SC_OPTION_STRING, /* char * */
    SC_OPTION_U32,
    SC_OPTION_BYTES,  /* uint64_t; 64MiB, 1GiB, 4096 */
    SC_OPTION_MODE,   /* uint32_t; octal */
    SC_OPTION_CHOICE, /* an enum; choices are its names in order */
    SC_OPTION_IDS     /* struct sc_id_list */
};

struct sc_option {
    const char *name;
    enum sc_option_type type;
    const char *initial; /* the default, as it would be written */
    const char *unit;    /* "" when the value has none */
    uint64_t min, max;   /* of numbers; of strings: bytes */
    const char *choices; /* "a|b|c" */
    bool reloadable;
    size_t offset; /* in struct sc_config */
    const char *help;
};

extern const struct sc_option sc_options[];
extern const uint32_t sc_option_count;

/* Row of an option by name; -1 when there is none. */
int sc_option_find(struct span name);

/* Sets an option from text. On failure `why` (128 bytes) says what would be right. */
SC_MUST_USE enum sc_status sc_option_set(struct sc_config *config, const struct sc_option *option,
                                         struct span text, char *why);

/* Writes the present value as sc_option_set would read it. */
void sc_option_write(const struct sc_config *config, const struct sc_option *option,
                     struct wbuf *out);

/* True when both have the same value. */
bool sc_option_same(const struct sc_config *a, const struct sc_config *b,
                    const struct sc_option *option);

#endif
