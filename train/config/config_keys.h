/* SPDX-License-Identifier: Apache-2.0 */
/* The table of configuration keys. Internal to config*.c. */
#ifndef CT_CONFIG_KEYS_H
#define CT_CONFIG_KEYS_H

#include <stddef.h>

#include "train/config/config.h"

typedef enum {
    CT_KEY_TEXT,   /* char *, at least `low` bytes */
    CT_KEY_CHOICE, /* char *, one of `choices` */
    CT_KEY_DTYPE,  /* ct_dtype, one of `choices` */
    CT_KEY_LIST,   /* char ** and, at `count_offset`, int: separated by commas */
    CT_KEY_WHOLE,  /* int64_t from low to high */
    CT_KEY_NUMBER, /* double from low to high */
    CT_KEY_FLAG    /* bool */
} ct_key_type;

/* What a run that is gone on with under another value is. */
typedef enum {
    CT_CHANGE_SAID,     /* the same run, changed from there on: a line says so */
    CT_CHANGE_SILENT,   /* the same run */
    CT_CHANGE_REFUSED,  /* none: what is saved is of the earlier value */
    CT_CHANGE_OF_SCORE, /* none if it has a best score so far, which is of the earlier value */
} ct_key_change;

typedef struct {
    const char *section, *name;
    ct_key_type type;
    const char *fallback; /* the default as it would be written; NULL: the key must be given */
    size_t offset, count_offset; /* in ct_config */
    const char *help;
    const char *choices; /* "step|cosine|constant" */
    double low, high;
    double least; /* of a value that is not 0, where 0 has a meaning of its own; 0: low */
    ct_key_change change;
} ct_config_key;

enum { CT_CONFIG_MAX_KEYS = 64 };
extern const ct_config_key ct_config_keys[];
extern const int ct_config_key_count;
/* The key's place in the table; -1: there is none. */
int ct_config_find_key(const char *section, const char *name);

/* Converts `text` and stores it. NULL, or what was expected in a per-thread buffer. */
const char *ct_config_store(ct_config *config, const ct_config_key *key, const char *text);
/* A key's value as it would be written, the same for equal values; from malloc, or NULL. */
char *ct_config_value(const ct_config *config, const ct_config_key *key);
/* Frees what ct_config_store allocated for a key; it may be called again. */
void ct_config_clear(ct_config *config, const ct_config_key *key);

#endif
