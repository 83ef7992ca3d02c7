/* SPDX-License-Identifier: Apache-2.0 */
#include "train/config/difference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/config/config_keys.h"

static int differ(ct_config_difference *found, const char *section, const char *key, const char *a,
                  const char *b) {
    snprintf(found->key, sizeof found->key, "[%s] %s", section, key);
    snprintf(found->value[0], sizeof found->value[0], "%s", a);
    snprintf(found->value[1], sizeof found->value[1], "%s", b);
    return 1;
}

static int compare_key(const ct_config *a, const ct_config *b, const ct_config_key *key,
                       ct_config_difference *found) {
    char *x = ct_config_value(a, key), *y = ct_config_value(b, key);
    int result = 0;
    if (!x || !y) {
        ct_fail("config: out of memory");
        result = -1;
    } else if (strcmp(x, y) != 0) result = differ(found, key->section, key->name, x, y);
    free(x);
    free(y);
    return result;
}

/* The entry of a section at or behind `i`; NULL: no more. */
static const ct_description_entry *entry_from(const ct_config *config, const char *section,
                                              int *i) {
    for (; *i < config->model.count; ++*i) {
        const ct_description_entry *entry = &config->model.entries[*i];
        if (strcmp(entry->section, section) == 0) return entry;
    }
    return NULL;
}

/* Their order counts, too. */
static int compare_section(const ct_config *a, const ct_config *b, const char *section,
                           ct_config_difference *found) {
    for (int i = 0, k = 0;; i++, k++) {
        const ct_description_entry *x = entry_from(a, section, &i), *y = entry_from(b, section, &k);
        if (!x && !y) return 0;
        bool same_key = x && y && strcmp(x->key, y->key) == 0;
        if (same_key && strcmp(x->value, y->value) == 0) continue;
        if (same_key) return differ(found, section, x->key, x->value, y->value);
        return x ? differ(found, section, x->key, x->value, "")
                 : differ(found, section, y->key, "", y->value);
    }
}

int ct_config_compare(const ct_config *a, const ct_config *b, ct_config_difference *found) {
    static const char *const sections[] = {"image", "text", "loss", "compat"};
    int result = 0;
    for (int i = 0; !result && i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (key->change != CT_CHANGE_SILENT) result = compare_key(a, b, key, found);
    }
    for (size_t i = 0; !result && i < sizeof sections / sizeof *sections; i++) {
        result = compare_section(a, b, sections[i], found);
    }
    return result;
}
