/* SPDX-License-Identifier: Apache-2.0 */
#include "train/config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "tensor/core/nearest.h"
#include "tensor/io/text_stream.h"
#include "train/config/config_keys.h"
#include "train/config/ini.h"
#include "train/data/text.h"

enum { LONGEST_NAME = 48 }; /* of a key: tensors and columns are named after it */

static const char *const model_sections[] = {"image", "text", "loss", "compat"};
enum { MODEL_SECTIONS = sizeof model_sections / sizeof *model_sections };

/* A configuration being read. */
typedef struct {
    ct_config *config;
    char *value[CT_CONFIG_MAX_KEYS]; /* as written; NULL: not given */
    int value_line[CT_CONFIG_MAX_KEYS];
    ct_description_entry *entries;
    int entry_count, entry_capacity;
} reader;

/* Where a setting comes from: a line of the file, or an argument of --set. */
typedef struct {
    const char *file, *setting; /* setting: "train.lr=3", NULL in a file */
    int line;
} origin;

/* ---- messages ---------------------------------------------------------------------------- */

/* "config.ini:12: [train] " or "--set train.lr=3: ". */
static bool fail_at(origin from, const char *section, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail_at(origin from, const char *section, const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (from.setting) return ct_fail_bool("--set %s: %s", from.setting, message);
    return section ? ct_fail_bool("%s:%d: [%s] %s", from.file, from.line, section, message)
                   : ct_fail_bool("%s:%d: %s", from.file, from.line, message);
}

static bool is_section(const char *name) {
    for (int i = 0; i < ct_config_key_count; i++) {
        if (strcmp(ct_config_keys[i].section, name) == 0) return true;
    }
    return ct_model_section(name);
}

static bool unknown_section(origin from, const char *name) {
    const char *known[CT_CONFIG_MAX_KEYS + MODEL_SECTIONS];
    int count = 0;
    for (int i = 0; i < ct_config_key_count; i++) known[count++] = ct_config_keys[i].section;
    for (int i = 0; i < MODEL_SECTIONS; i++) known[count++] = model_sections[i];
    const char *near = ct_nearest(name, known, count);
    return near ? fail_at(from, NULL, "unknown section [%s]; did you mean [%s]?", name, near)
                : fail_at(from, NULL, "unknown section [%s]", name);
}

/* The key's section may be the mistake, or its name. */
static bool unknown_key(origin from, const char *section, const char *name) {
    const char *known[CT_CONFIG_MAX_KEYS], *elsewhere = NULL;
    int count = 0;
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (strcmp(key->section, section) == 0) known[count++] = key->name;
        else if (strcmp(key->name, name) == 0) elsewhere = key->section;
    }
    if (elsewhere) {
        return fail_at(from, section, "unknown key '%s'; it belongs to [%s]", name, elsewhere);
    }
    return fail_at(from, section, "unknown key '%s'%s", name, ct_did_you_mean(name, known, count));
}

/* ---- settings ---------------------------------------------------------------------------- */

static bool copy_text(char **out, const char *text) {
    char *copy = strdup(text);
    if (!copy) return ct_fail_bool("config: out of memory");
    free(*out);
    *out = copy;
    return true;
}

static int find_entry(const reader *r, const char *section, const char *name) {
    for (int i = 0; i < r->entry_count; i++) {
        if (strcmp(r->entries[i].section, section) == 0 && strcmp(r->entries[i].key, name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool duplicate(origin from, const char *section, const char *name, int line) {
    return fail_at(from, section, "'%s' is given twice, first in line %d", name, line);
}

static bool set_key(reader *r, origin from, int i, const char *value) {
    const ct_config_key *key = &ct_config_keys[i];
    if (r->value[i] && !from.setting) {
        return duplicate(from, key->section, key->name, r->value_line[i]);
    }
    char *text = ct_ini_unquoted(value);
    if (!text) return ct_fail_bool("config: out of memory");
    ct_config_clear(r->config, key);
    const char *wanted = ct_config_store(r->config, key, text);
    free(text);
    if (wanted && from.setting) return fail_at(from, key->section, "expected %s", wanted);
    if (wanted) {
        return fail_at(from, key->section, "%s = %s: expected %s", key->name, value, wanted);
    }
    r->value_line[i] = from.line;
    return copy_text(&r->value[i], value);
}

static void free_entry(ct_description_entry entry) {
    free((char *)entry.section);
    free((char *)entry.key);
    free((char *)entry.value);
}

static bool append_entry(reader *r, ct_description_entry entry) {
    if (r->entry_count == r->entry_capacity) {
        int capacity = r->entry_capacity ? 2 * r->entry_capacity : 32;
        ct_description_entry *more = realloc(r->entries, (size_t)capacity * sizeof *more);
        if (!more) return ct_fail_bool("config: out of memory");
        r->entries = more;
        r->entry_capacity = capacity;
    }
    ct_description_entry copy = {strdup(entry.section), strdup(entry.key), strdup(entry.value),
                                 entry.line};
    if (!copy.section || !copy.key || !copy.value) {
        free_entry(copy);
        return ct_fail_bool("config: out of memory");
    }
    r->entries[r->entry_count++] = copy;
    return true;
}

/* A module or a loss. An empty value by --set takes the entry out. */
static bool set_entry(reader *r, origin from, const char *section, const char *name,
                      const char *value) {
    int i = find_entry(r, section, name);
    if (i < 0) {
        if (from.setting && !*value) {
            return fail_at(from, section, "there is no '%s' in [%s] to take out", name, section);
        }
        return append_entry(r, (ct_description_entry){section, name, value, from.line});
    }
    if (!from.setting) return duplicate(from, section, name, r->entries[i].line);
    if (!*value) {
        free_entry(r->entries[i]);
        r->entry_count--;
        memmove(&r->entries[i], &r->entries[i + 1],
                (size_t)(r->entry_count - i) * sizeof *r->entries);
        return true;
    }
    char *text = (char *)r->entries[i].value;
    if (!copy_text(&text, value)) return false;
    r->entries[i].value = text;
    r->entries[i].line = 0;
    return true;
}

static bool set(reader *r, origin from, const char *section, const char *name, const char *value) {
    if (!*section) return fail_at(from, NULL, "'%s' stands before any [section]", name);
    if (!is_section(section)) return unknown_section(from, section);
    if (strlen(name) > LONGEST_NAME) {
        return fail_at(from, section, "'%.*s...': names have at most %d bytes", LONGEST_NAME, name,
                       LONGEST_NAME);
    }
    if (ct_model_section(section)) return set_entry(r, from, section, name, value);
    int i = ct_config_find_key(section, name);
    return i < 0 ? unknown_key(from, section, name) : set_key(r, from, i, value);
}

/* ---- the file ---------------------------------------------------------------------------- */

/* `section` is the one that the line stands in. */
static bool take_line(reader *r, int number, char *line, const char **section) {
    origin from = {.file = r->config->file, .line = number};
    ct_ini_line found = ct_ini_parse(line);
    switch (found.kind) {
    case CT_INI_NOTHING: return true;
    case CT_INI_SECTION:
        *section = found.name;
        return is_section(found.name) || unknown_section(from, found.name);
    case CT_INI_SETTING: return set(r, from, *section, found.name, found.value);
    case CT_INI_WRONG: break;
    }
    return fail_at(from, NULL, "expected [section], key = value, or ; comment");
}

/* The text (from malloc, freed here) of the file. */
static bool read_text(reader *r, char *text, size_t bytes) {
    int64_t count = 0;
    char **lines = text ? ct_text_lines(text, bytes, &count) : NULL;
    const char *section = "";
    bool taken = lines != NULL;
    for (int64_t i = 0; taken && i < count; i++) {
        taken = take_line(r, (int)i + 1, lines[i], &section);
    }
    free(lines);
    free(text);
    return taken;
}

/* ---- --set ------------------------------------------------------------------------------- */

static bool is_name(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.';
        if (!good) return false;
    }
    return length > 0;
}

/* The value as it is to be written into the INI text that is saved with the run, from malloc: a
 * key's is quoted where it would not come back from there as it is. */
static char *writable(origin from, const char *section, const char *value) {
    if (u8_check((const uint8_t *)value, strlen(value))) {
        fail_at(from, NULL, "expected UTF-8");
        return NULL;
    }
    bool quoted = !ct_ini_comes_back(value);
    if (quoted && (ct_model_section(section) || strpbrk(value, "\"\r\n"))) {
        fail_at(from, NULL,
                "a value has no space at its ends, no ' ;' outside double quotes and "
                "one line");
        return NULL;
    }
    char *text = NULL;
    if (asprintf(&text, quoted ? "\"%s\"" : "%s", value) < 0) {
        return ct_fail("config: out of memory");
    }
    return text;
}

static bool override(reader *r, const char *setting) {
    origin from = {.file = r->config->file, .setting = setting};
    const char *dot = strchr(setting, '.'), *equals = strchr(setting, '=');
    if (!dot || !equals || equals < dot || !is_name(setting, (size_t)(dot - setting)) ||
        !is_name(dot + 1, (size_t)(equals - dot - 1))) {
        return fail_at(from, NULL, "expected section.key=value");
    }
    char *section = strndup(setting, (size_t)(dot - setting));
    char *name = strndup(dot + 1, (size_t)(equals - dot - 1));
    if (!section || !name) ct_fail("config: out of memory");
    char *value = ct_ok() ? writable(from, section, equals + 1) : NULL;
    bool done = value && set(r, from, section, name, value);
    free(section);
    free(name);
    free(value);
    return done;
}

/* ---- completing -------------------------------------------------------------------------- */

/* runs/NAME for FOLDER/NAME.ini. */
static char *default_run_folder(const char *file) {
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    const char *dot = strrchr(name, '.');
    char *folder = NULL;
    int length = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    if (asprintf(&folder, "runs/%.*s", length, name) < 0) {
        return ct_fail("config: out of memory");
    }
    return folder;
}

/* Not given, or nothing: as such or between quotes. */
static bool is_empty(const reader *r, int i) {
    const char *value = r->value[i];
    return !value || !*value || strcmp(value, "\"\"") == 0;
}

/* What a key is that is not given; NULL: it must be. */
static const char *default_of(const reader *r, const ct_config_key *key) {
    if (!key->fallback) {
        /* recorded batches take the place of the one key that must be given, [data] folder */
        return is_empty(r, ct_config_find_key("recorded", "file")) ? NULL : "";
    }
    const char *optimizer = r->value[ct_config_find_key("train", "optimizer")];
    bool adamw = optimizer && strcmp(optimizer, "adamw") == 0;
    return adamw && strcmp(key->name, "weight_decay") == 0 ? "0.01" : key->fallback;
}

static bool fill_defaults(reader *r) {
    origin from = {.file = r->config->file};
    int run_folder = ct_config_find_key("run", "folder");
    if (is_empty(r, run_folder)) {
        char *folder = default_run_folder(r->config->file);
        from.setting = "run.folder";
        char *value = folder ? writable(from, "run", folder) : NULL;
        bool done = value && set(r, from, "run", "folder", value);
        free(folder);
        free(value);
        if (!done) return false;
        from.setting = NULL;
    }
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        const char *fallback = default_of(r, key);
        if (r->value[i] && (fallback || !is_empty(r, i))) continue;
        if (!fallback) {
            return ct_fail_bool("%s: [%s] %s is missing: %s", from.file, key->section, key->name,
                                key->help);
        }
        if (!set_key(r, from, i, fallback)) return false;
    }
    return true;
}

static void write_text(FILE *out, const reader *r) {
    const char *section = "";
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (strcmp(section, key->section) != 0) {
            fprintf(out, "%s[%s]\n", *section ? "\n" : "", key->section);
        }
        section = key->section;
        fprintf(out, "%s = %s\n", key->name, r->value[i]);
    }
    for (int i = 0; i < MODEL_SECTIONS; i++) {
        bool begun = false;
        for (int k = 0; k < r->entry_count; k++) {
            const ct_description_entry *entry = &r->entries[k];
            if (strcmp(entry->section, model_sections[i]) != 0) continue;
            if (!begun) fprintf(out, "\n[%s]\n", model_sections[i]);
            begun = true;
            fprintf(out, "%s = %s\n", entry->key, entry->value);
        }
    }
}

static bool make_text(reader *r) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (out) write_text(out, r);
    r->config->text = ct_text_stream_close(&stream, out);
    return r->config->text || ct_fail_bool("config: out of memory");
}

static bool read_all(reader *r, char *text, size_t bytes, const char *const *overrides, int count) {
    if (!read_text(r, text, bytes)) return false;
    for (int i = 0; i < count; i++) {
        if (!override(r, overrides[i])) return false;
    }
    return fill_defaults(r) && make_text(r);
}

/* Frees `text`. */
static ct_config *read_config(const char *name, char *text, size_t bytes,
                              const char *const *overrides, int count) {
    ct_config *config = text ? calloc(1, sizeof *config) : NULL;
    if (!config || !copy_text(&config->file, name)) {
        free(text);
        free(config);
        return ct_ok() ? ct_fail("config: out of memory") : NULL;
    }
    reader r = {.config = config};
    bool done = read_all(&r, text, bytes, overrides, count);
    for (int i = 0; i < ct_config_key_count; i++) free(r.value[i]);
    config->model = (ct_description){config->file, r.entries, r.entry_count};
    if (done) return config;
    ct_config_destroy(config);
    return NULL;
}

ct_config *ct_config_read(const char *path, const char *const *overrides, int count) {
    if (!ct_ok()) return NULL;
    size_t bytes = 0;
    char *text = ct_text_read(path, &bytes);
    return text ? read_config(path, text, bytes, overrides, count) : NULL;
}

ct_config *ct_config_read_text(const char *name, const char *text) {
    if (!ct_ok()) return NULL;
    return read_config(name, strdup(text), strlen(text), NULL, 0);
}

void ct_config_destroy(ct_config *config) {
    if (!config) return;
    for (int i = 0; i < ct_config_key_count; i++) ct_config_clear(config, &ct_config_keys[i]);
    for (int i = 0; i < config->model.count; i++) free_entry(config->model.entries[i]);
    free((void *)config->model.entries);
    free(config->file);
    free(config->text);
    free(config);
}
