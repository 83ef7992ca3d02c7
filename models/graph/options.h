/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the right-hand sides of a description: "module option=value ... x N" and "a + b"; a value
 * with spaces stands in double quotes.
 * Internal to models/.
 */
#ifndef CT_MODELS_OPTIONS_H
#define CT_MODELS_OPTIONS_H

#include "models/register.h"

enum { CT_MAX_PARTS = 4 };

/* Where something stands in a configuration file. */
typedef struct {
    const char *file, *section, *key;
    int line;
} ct_place;

/* Whether a description is there and whole, before its entries are read; else an error. */
bool ct_description_check(const ct_description *description);
ct_place ct_place_of(const ct_description *description, int entry);

/* ct_fail with "FILE:LINE: [SECTION] KEY: " before the message. Always NULL. */
void *ct_fail_at(ct_place place, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct {
    const char *name, *value;
} ct_option_text;

/* One "module option=value ..." */
typedef struct {
    const char *module;
    ct_option_text option[CT_MAX_OPTIONS];
    int options;
} ct_spec_part;

/* One entry. Strings point into `text`. */
typedef struct {
    ct_place place;
    char *text;
    ct_spec_part part[CT_MAX_PARTS];
    int parts;
    int64_t repeat; /* of "x N"; 1 without */
} ct_spec;

/* False and an error naming the place if the value is not of that form. Free with ct_spec_free
 * either way. */
bool ct_spec_parse(ct_spec *spec, const ct_description *description, int entry);
void ct_spec_free(ct_spec *spec);

/* Fills value[i] for options[i] of a table with at most CT_MAX_OPTIONS rows. Unknown options,
 * repeated ones and values out of range are errors naming place and module. */
bool ct_options_read(ct_place place, const ct_spec_part *part, const ct_option *options,
                     ct_option_value *value);
/* One value of one option; `what` is how messages call it. */
bool ct_option_read(ct_place place, const char *what, const ct_option *option, const char *text,
                    ct_option_value *value);

#endif
