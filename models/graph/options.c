/* SPDX-License-Identifier: Apache-2.0 */
#include "models/graph/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/check.h"
#include "tensor/core/nearest.h"

bool ct_description_check(const ct_description *description) {
    if (!ct_check_pointer("model", "the description", description) ||
        !ct_check_list("model", "entries of a description", description->entries,
                       description->count)) {
        return false;
    }
    for (int i = 0; i < description->count; i++) {
        const ct_description_entry *entry = &description->entries[i];
        if (!entry->section || !entry->key || !entry->value)
            return ct_fail_bool("model: description entry %d has no section, key or value", i);
    }
    return true;
}

ct_place ct_place_of(const ct_description *description, int entry) {
    const ct_description_entry *e = &description->entries[entry];
    return (ct_place){description->file ? description->file : "description", e->section, e->key,
                      e->line};
}

void *ct_fail_at(ct_place place, const char *format, ...) {
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (place.line == 0) return ct_fail("--set %s.%s: %s", place.section, place.key, message);
    return ct_fail("%s:%d: [%s] %s: %s", place.file, place.line, place.section, place.key, message);
}

/* ---- the form of an entry ----------------------------------------------------------------- */

typedef struct {
    ct_place place;
    const char *from; /* what is left of the value */
    char *out;        /* where the next word is copied */
} ct_words;

/* The quote that closes the one at `p`, with the word's end behind it. */
static const char *closing_quote(const ct_words *words, const char *p) {
    const char *closing = strchr(p + 1, '"');
    if (closing && (!closing[1] || isspace((unsigned char)closing[1]))) return closing;
    return ct_fail_at(words->place,
                      "expected a second '\"', and a space or the end behind it, "
                      "after '%s'",
                      p);
}

/* The next word, copied; a '+' that is not part of an option's value is a word of its own, and a
 * value may stand in double quotes. NULL at the end and on error. */
static char *take_word(ct_words *words) {
    const char *p = words->from;
    while (isspace((unsigned char)*p)) p++;
    if (!*p) return NULL;
    char *copy = words->out, *out = copy;
    bool value = false;
    for (; *p && !isspace((unsigned char)*p); p++) {
        if (*p == '+' && !value) {
            if (out == copy) *out++ = *p++;
            break;
        }
        if (*p == '"' && value && out[-1] == '=') {
            const char *closing = closing_quote(words, p);
            if (!closing) return NULL;
            out = mempcpy(out, p + 1, (size_t)(closing - p) - 1);
            p = closing;
            continue;
        }
        if (*p == '=') value = true;
        *out++ = *p;
    }
    *out = 0;
    words->from = p;
    words->out = out + 1;
    return copy;
}

static bool parse_repeat(ct_spec *spec, ct_words *words) {
    const char *number = take_word(words);
    static const ct_option repeat = {"x", CT_OPTION_INTEGER, NULL, 1, 1000, NULL};
    ct_option_value value = {0};
    if (!number) return ct_fail_at(spec->place, "'x' is followed by a number: 'gcn x 4'") != NULL;
    if (!ct_option_read(spec->place, "the repetition 'x'", &repeat, number, &value)) return false;
    if (take_word(words))
        return ct_fail_at(spec->place, "nothing may follow 'x %s'", number) != NULL;
    if (spec->parts > 1)
        return ct_fail_at(spec->place, "a sum ('+') cannot be repeated ('x')") != NULL;
    spec->repeat = (int64_t)value.number;
    return true;
}

static bool parse_part(ct_spec *spec, ct_words *words, const char *module, bool *more) {
    if (spec->parts == CT_MAX_PARTS)
        return ct_fail_at(spec->place, "more than %d parts in a sum", CT_MAX_PARTS) != NULL;
    ct_spec_part *part = &spec->part[spec->parts++];
    part->module = module;
    *more = false;
    for (char *word; (word = take_word(words));) {
        char *equals = strchr(word, '=');
        if (!strcmp(word, "+")) {
            *more = true;
            return true;
        }
        if (!strcmp(word, "x")) return parse_repeat(spec, words);
        if (!equals || equals == word || !equals[1])
            return ct_fail_at(spec->place,
                              "expected 'option=value' (without spaces), '+' or 'x N' after '%s', "
                              "found '%s'",
                              module, word) != NULL;
        if (part->options == CT_MAX_OPTIONS)
            return ct_fail_at(spec->place, "more than %d options", CT_MAX_OPTIONS) != NULL;
        *equals = 0;
        part->option[part->options++] = (ct_option_text){word, equals + 1};
    }
    return true;
}

bool ct_spec_parse(ct_spec *spec, const ct_description *description, int entry) {
    *spec = (ct_spec){.place = ct_place_of(description, entry), .repeat = 1};
    const char *value = description->entries[entry].value;
    spec->text = malloc(2 * strlen(value) + 1); /* each word may be one character and its NUL */
    if (!spec->text) return ct_fail("description: out of memory") != NULL;
    ct_words words = {spec->place, value, spec->text};
    for (bool more = true; more;) {
        const char *module = take_word(&words);
        if (!module || !strcmp(module, "+") || strchr(module, '='))
            return ct_fail_at(spec->place, "expected the name of a module%s%s%s",
                              spec->parts ? " after '+'" : "", module ? ", found " : "",
                              module ? module : "") != NULL;
        if (!parse_part(spec, &words, module, &more)) return false;
    }
    return ct_ok();
}

void ct_spec_free(ct_spec *spec) {
    free(spec->text);
    spec->text = NULL;
}

/* ---- values --------------------------------------------------------------------------------- */

static bool read_number(ct_place place, const char *what, const ct_option *option, const char *text,
                        double *number) {
    char *end = NULL;
    errno = 0;
    *number =
        option->type == CT_OPTION_INTEGER ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    bool whole = end != text && !*end && !errno;
    if (whole && *number >= option->low && *number <= option->high) return true;
    return ct_fail_at(place, "%s is '%s', expected %s from %g to %g", what, text,
                      option->type == CT_OPTION_INTEGER ? "a whole number" : "a number",
                      option->low, option->high) != NULL;
}

static bool read_flag(ct_place place, const char *what, const char *text, double *number) {
    static const char *const words[] = {"no", "yes", "false", "true", "0", "1", "off", "on"};
    for (int i = 0; i < 8; i++)
        if (!strcmp(text, words[i])) {
            *number = i % 2;
            return true;
        }
    return ct_fail_at(place, "%s is '%s', expected yes or no", what, text) != NULL;
}

static bool read_choice(ct_place place, const char *what, const ct_option *option, const char *text,
                        double *number) {
    enum { MOST = 8 };
    char copy[256];
    const char *known[MOST];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", option->choices);
    for (char *rest = copy, *word; count < MOST && (word = strsep(&rest, "|"));)
        known[count++] = word;
    for (int i = 0; i < count; i++)
        if (!strcmp(text, known[i])) {
            *number = i;
            return true;
        }
    return ct_fail_at(place, "%s is '%s', expected %s%s", what, text, option->choices,
                      ct_did_you_mean(text, known, count)) != NULL;
}

static bool read_triple(ct_place place, const char *what, const ct_option *option, const char *text,
                        double *triple) {
    const char *at = text;
    int count = 0;
    while (count < 3) {
        char *end;
        double number = strtod(at, &end);
        if (end == at || !(number >= option->low && number <= option->high)) break;
        triple[count++] = number;
        at = end;
        if (*at != ',') break;
        at++;
    }
    if (count == 1 && !*at) triple[1] = triple[2] = triple[0];
    if (!*at && (count == 1 || count == 3) && (at == text || at[-1] != ',')) return true;
    return ct_fail_at(place,
                      "%s is '%s', expected a number from %g to %g, or three of them: 0.5,0.4,0.4",
                      what, text, option->low, option->high) != NULL;
}

static bool read_amount(ct_place place, const char *what, const ct_option *option, const char *text,
                        double *number) {
    *number = strcmp(text, "yes") == 0 ? -1 : 0;
    if (*number != 0 || strcmp(text, "no") == 0) return true;
    char *end;
    errno = 0;
    *number = (double)strtoll(text, &end, 10);
    if (end != text && !*end && !errno && *number >= 1 && *number <= option->high) return true;
    return ct_fail_at(place, "%s is '%s', expected no, yes or a whole number from 1 to %g", what,
                      text, option->high) != NULL;
}

bool ct_option_read(ct_place place, const char *what, const ct_option *option, const char *text,
                    ct_option_value *value) {
    value->given = true;
    switch (option->type) {
    case CT_OPTION_INTEGER:
    case CT_OPTION_REAL: return read_number(place, what, option, text, &value->number);
    case CT_OPTION_FLAG: return read_flag(place, what, text, &value->number);
    case CT_OPTION_CHOICE: return read_choice(place, what, option, text, &value->number);
    case CT_OPTION_TEXT: value->text = text; return true;
    case CT_OPTION_TRIPLE: return read_triple(place, what, option, text, value->triple);
    case CT_OPTION_AMOUNT: return read_amount(place, what, option, text, &value->number);
    }
    return false;
}

static bool unknown_option(ct_place place, const ct_spec_part *part, const ct_option *options,
                           const char *name) {
    const char *known[CT_MAX_OPTIONS] = {0};
    char list[256] = "";
    int count = 0;
    size_t used = 0;
    for (; options[count].name; count++) {
        known[count] = options[count].name;
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "",
                                     known[count]);
    }
    const char *near = ct_did_you_mean(name, known, count);
    if (*near) ct_fail_at(place, "unknown option '%s'%s", name, near);
    else if (!count) ct_fail_at(place, "unknown option '%s'; %s has none", name, part->module);
    else ct_fail_at(place, "unknown option '%s'; %s takes %s", name, part->module, list);
    return false;
}

bool ct_options_read(ct_place place, const ct_spec_part *part, const ct_option *options,
                     ct_option_value *value) {
    for (int i = 0; options[i].name; i++) {
        value[i] = (ct_option_value){0};
        if (!options[i].fallback) continue;
        if (!ct_option_read(place, options[i].name, &options[i], options[i].fallback, &value[i]))
            return false;
        value[i].given = false;
    }
    for (int k = 0; k < part->options; k++) {
        const ct_option_text *option = &part->option[k];
        int i = 0;
        while (options[i].name && strcmp(options[i].name, option->name)) i++;
        if (!options[i].name) return unknown_option(place, part, options, option->name);
        if (value[i].given)
            return ct_fail_at(place, "option '%s' is given twice", option->name) != NULL;
        if (!ct_option_read(place, option->name, &options[i], option->value, &value[i]))
            return false;
    }
    return true;
}
