/* SPDX-License-Identifier: Apache-2.0 */
#include "train/options.h"

#include <string.h>

#include "tensor/core/nearest.h"
#include "tensor/tensor.h"

/* argp's, without a value. */
static const struct argp_option own[] = {
    {.name = "help"}, {.name = "usage"}, {.name = "version"}, {0}};
enum { OWN = sizeof own / sizeof *own - 1, MOST_NAMES = 64 };

static size_t name_length(const char *name) { return strcspn(name, "="); }

/* The option of that name, or else the first that begins so; NULL: none. */
static const struct argp_option *find_long(const struct argp_option *options, const char *name) {
    const struct argp_option *begun = NULL;
    size_t length = name_length(name);
    for (const struct argp_option *o = options; o->name || o->key; o++) {
        if (!o->name || strncmp(o->name, name, length) != 0) continue;
        if (!o->name[length]) return o;
        if (!begun) begun = o;
    }
    return begun;
}

static bool needs_value(const struct argp_option *o) {
    return o->arg && !(o->flags & OPTION_ARG_OPTIONAL);
}

/* Whether the value of the last of some short options is the argument behind them. */
static bool short_takes_next(const struct argp_option *options, const char *letters) {
    for (const char *at = letters; *at; at++) {
        for (const struct argp_option *o = options; o->name || o->key; o++) {
            if (o->key == *at && needs_value(o)) return !at[1];
        }
    }
    return false;
}

static bool unknown(const struct argp_option *options, const char *name) {
    const char *names[MOST_NAMES];
    char word[64];
    int count = 0;
    for (const struct argp_option *o = options; o->name && count < MOST_NAMES - OWN; o++)
        names[count++] = o->name;
    for (int i = 0; i < OWN; i++) names[count++] = own[i].name;
    size_t length = name_length(name);
    if (length >= sizeof word) length = sizeof word - 1;
    memcpy(word, name, length);
    word[length] = '\0';
    const char *near = ct_nearest(word, names, count);
    return near ? ct_fail_bool("unknown option --%s; did you mean --%s?", word, near)
                : ct_fail_bool("unknown option --%s; --help has them all", word);
}

bool ct_options_known(const struct argp_option *options, char *const *argv) {
    for (int i = 1; argv[i]; i++) {
        const char *argument = argv[i], *name = argument + 2;
        if (argument[0] != '-' || !argument[1]) continue;
        if (!strcmp(argument, "--")) return true;
        bool next = false;
        if (argument[1] != '-') next = short_takes_next(options, argument + 1);
        else {
            const struct argp_option *o = find_long(options, name);
            if (!o && !find_long(own, name)) return unknown(options, name);
            next = o && needs_value(o) && !strchr(name, '=');
        }
        if (next && argv[i + 1]) i++;
    }
    return true;
}
