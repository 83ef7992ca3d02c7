/* SPDX-License-Identifier: Apache-2.0 */
#include "train/sweep/plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tensor/io/text_stream.h"
#include "train/config/config_keys.h"
#include "train/config/difference.h"
#include "train/config/ini.h"

enum { MOST_RUNS = 500, LONGEST_FOLDER = 200 };

static bool out_of_memory(void) { return ct_fail_bool("--sweep: out of memory"); }

/* ---- values ------------------------------------------------------------------------------ */

static bool too_many(void) { return ct_fail_bool("--sweep: more than %d runs", MOST_RUNS); }

/* Takes `value`. */
static bool add_value(ct_sweep_key *key, char *value) {
    char **more = key->count < MOST_RUNS
                      ? realloc(key->values, (size_t)(key->count + 1) * sizeof *more)
                      : NULL;
    if (more) key->values = more;
    if (!value || !more) {
        free(value);
        return key->count < MOST_RUNS ? out_of_memory() : too_many();
    }
    key->values[key->count++] = value;
    return true;
}

static bool is_number(const char *text, size_t length) {
    char copy[64], *end;
    if (!length || length >= sizeof copy) return false;
    snprintf(copy, sizeof copy, "%.*s", (int)length, text);
    strtod(copy, &end);
    return !*end;
}

static bool is_whole(const char *text, const char *end, long long *value) {
    char *stop;
    errno = 0;
    *value = strtoll(text, &stop, 10);
    return stop == end && !errno;
}

/* Of "M..N", where both are numbers: a path has two dots, too. */
static bool add_range(ct_sweep_key *key, const char *text, const char *dots) {
    long long first, last;
    if (!is_whole(text, dots, &first) || !is_whole(dots + 2, text + strlen(text), &last)) {
        return ct_fail_bool("--sweep %s=%s: expected whole numbers around ..", key->name, text);
    }
    if (first > last) {
        return ct_fail_bool("--sweep %s=%s: expected the smaller number first", key->name, text);
    }
    for (long long i = first;; i++) {
        char *value = NULL;
        if (!add_value(key, asprintf(&value, "%lld", i) < 0 ? NULL : value)) return false;
        if (i == last) return true; /* which may have no next one */
    }
}

static bool add_item(ct_sweep_key *key, const char *begin, const char *end) {
    while (begin < end && isspace((unsigned char)*begin)) begin++;
    while (end > begin && isspace((unsigned char)end[-1])) end--;
    if (begin == end) {
        return ct_fail_bool("--sweep %s: a value is missing; \"\" is the empty one", key->name);
    }
    char *text = strndup(begin, (size_t)(end - begin));
    const char *dots = text ? strstr(text, "..") : NULL;
    bool range =
        dots && is_number(text, (size_t)(dots - text)) && is_number(dots + 2, strlen(dots + 2));
    bool added =
        text && (range ? add_range(key, text, dots) : add_value(key, ct_ini_unquoted(text)));
    free(text);
    return added || (ct_ok() ? out_of_memory() : false);
}

/* ---- the text ---------------------------------------------------------------------------- */

static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

/* The length of "section.key" if "section.key=" stands here; else 0. */
static size_t setting_begins(const char *at) {
    size_t section = strspn(at, name_bytes);
    if (!section || at[section] != '.') return 0;
    size_t key = 0;
    const char *name = at + section + 1;
    while (name[key] && (strchr(name_bytes, name[key]) || name[key] == '.')) key++;
    return key && name[key] == '=' ? section + 1 + key : 0;
}

/* The end of a value that begins here: a comma, the text's end, or white space before a setting.
 * NULL: a quote is not closed. */
static const char *value_end(const char *at) {
    bool quoted = false;
    for (; *at; at++) {
        if (*at == '"') quoted = !quoted;
        if (quoted) continue;
        if (*at == ',') return at;
        if (isspace((unsigned char)*at) && setting_begins(at + 1)) return at;
    }
    return quoted ? NULL : at;
}

static bool take_values(ct_sweep_key *key, const char **text) {
    for (;;) {
        const char *end = value_end(*text);
        if (!end) return ct_fail_bool("--sweep %s: a quote is not closed", key->name);
        if (!add_item(key, *text, end)) return false;
        *text = end + (*end == ',');
        if (*end != ',') return true;
    }
}

/* A key under whose values runs would be one and the same, or none. */
static bool can_be_swept(const char *name) {
    char section[64];
    const char *own = strchr(name, '.') + 1;
    snprintf(section, sizeof section, "%.*s", (int)(own - 1 - name), name);
    int i = ct_config_find_key(section, own);
    if (strcmp(name, "run.folder") == 0) {
        return ct_fail_bool("--sweep run.folder: each run has a folder of its own, below "
                            "[run] folder");
    }
    return i < 0 || ct_config_keys[i].change != CT_CHANGE_SILENT ||
           ct_fail_bool("--sweep %s: it changes nothing that is computed", name);
}

static bool is_free(const ct_sweep *s, const char *name, const char *const *overrides, int count) {
    size_t length = strlen(name);
    for (int i = 0; i < s->key_count - 1; i++) {
        if (strcmp(s->keys[i].name, name) == 0) {
            return ct_fail_bool("--sweep: %s is given twice", name);
        }
    }
    for (int i = 0; i < count; i++) {
        if (strncmp(overrides[i], name, length) == 0 && overrides[i][length] == '=') {
            return ct_fail_bool("--sweep %s and --set %s: one of them", name, overrides[i]);
        }
    }
    return can_be_swept(name);
}

static bool take_setting(ct_sweep *s, const char **text, const char *const *overrides, int count) {
    size_t length = setting_begins(*text);
    if (!length) {
        return ct_fail_bool("--sweep: '%.40s': expected section.key=VALUE,VALUE,...", *text);
    }
    ct_sweep_key *more = realloc(s->keys, (size_t)(s->key_count + 1) * sizeof *more);
    if (!more) return out_of_memory();
    s->keys = more;
    ct_sweep_key *key = &s->keys[s->key_count++];
    *key = (ct_sweep_key){.name = strndup(*text, length)};
    *text += length + 1;
    return key->name ? is_free(s, key->name, overrides, count) && take_values(key, text)
                     : out_of_memory();
}

static bool take_text(ct_sweep *s, const char *const *overrides, int count) {
    for (const char *at = s->text;;) {
        while (isspace((unsigned char)*at)) at++;
        if (!*at) break;
        if (!take_setting(s, &at, overrides, count)) return false;
    }
    return s->key_count || ct_fail_bool("--sweep: expected section.key=VALUE,VALUE,...");
}

/* ---- names ------------------------------------------------------------------------------- */

/* The key's name, with its section where another key has the same. */
static const char *short_name(const ct_sweep *s, int k) {
    const char *own = strchr(s->keys[k].name, '.') + 1;
    for (int i = 0; i < s->key_count; i++) {
        if (i != k && strcmp(strchr(s->keys[i].name, '.') + 1, own) == 0) return s->keys[k].name;
    }
    return own;
}

/* What a shell or a folder's name could take for something else becomes _. */
static void put_plain(FILE *out, const char *value) {
    for (bool odd = false; *value; value++) {
        bool plain = isalnum((unsigned char)*value) || strchr("._-+:@=", *value) ||
                     (unsigned char)*value >= 0x80;
        if (plain || !odd) fputc(plain ? *value : '_', out);
        odd = !plain;
    }
}

/* "lr=1e-3,seed=1" */
static char *name_values(const ct_sweep *s, const ct_sweep_run *run, bool with_seed) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    const char *between = "";
    for (int k = 0; out && k < s->key_count; k++) {
        if (!with_seed && strcmp(s->keys[k].name, "run.seed") == 0) continue;
        fprintf(out, "%s%s=", between, short_name(s, k));
        put_plain(out, run->value[k]);
        between = ",";
    }
    char *name = ct_text_stream_close(&stream, out);
    return name ? name : ct_fail("--sweep: out of memory");
}

char *ct_sweep_setting_name(const ct_sweep *s, const ct_sweep_run *run) {
    return name_values(s, run, false);
}

/* ---- runs -------------------------------------------------------------------------------- */

/* What is wrong with a value is said as it is of --set, since it is read so. */
static bool say_of_sweep(void) {
    char *reason = strdup(ct_error() ? ct_error() : "failed");
    static const char set[] = "--set ";
    ct_error_clear();
    bool of_set = reason && strncmp(reason, set, sizeof set - 1) == 0;
    ct_fail("--sweep%s%s", of_set ? " " : ": ",
            reason ? reason + (of_set ? sizeof set - 1 : 0) : "out of memory");
    free(reason);
    return false;
}

static bool read_config(const ct_sweep *s, ct_sweep_run *run, const ct_config *base,
                        const char *const *overrides, int count) {
    int all = count + s->key_count + 1;
    char **settings = calloc((size_t)all, sizeof *settings);
    bool done = settings != NULL;
    for (int i = 0; done && i < count; i++) done = (settings[i] = strdup(overrides[i])) != NULL;
    for (int k = 0; done && k < s->key_count; k++) {
        done = asprintf(&settings[count + k], "%s=%s", s->keys[k].name, run->value[k]) >= 0;
    }
    done =
        done && asprintf(&settings[all - 1], "run.folder=%s/%s", base->run_folder, run->name) >= 0;
    if (done) run->config = ct_config_read(base->file, (const char *const *)settings, all);
    for (int i = 0; settings && i < all; i++) free(settings[i]);
    free(settings);
    if (run->config) return true;
    return done ? say_of_sweep() : out_of_memory();
}

static bool make_run(const ct_sweep *s, int number, const ct_config *base,
                     const char *const *overrides, int count) {
    ct_sweep_run *run = &s->runs[number];
    run->value = calloc((size_t)s->key_count, sizeof *run->value);
    if (!run->value) return out_of_memory();
    for (int k = s->key_count - 1; k >= 0; k--) {
        run->value[k] = s->keys[k].values[number % s->keys[k].count];
        number /= s->keys[k].count;
    }
    run->name = name_values(s, run, true);
    if (!run->name) return false;
    if (strlen(run->name) > LONGEST_FOLDER) {
        return ct_fail_bool(
            "--sweep: a run's folder is named by its values, %.40s... has %zu bytes, "
            "expected at most %d",
            run->name, strlen(run->name), LONGEST_FOLDER);
    }
    if (!read_config(s, run, base, overrides, count)) return false;
    return !*run->config->recorded_file ||
           ct_fail_bool(
               "--sweep: [recorded] file = %s: recorded batches have no recalls to compare",
               run->config->recorded_file);
}

/* Whether the run is another than those before it. */
static bool is_new(const ct_sweep *s, int number) {
    ct_config_difference unused;
    const ct_sweep_run *run = &s->runs[number];
    for (int i = 0; i < number; i++) {
        int differ = ct_config_compare(s->runs[i].config, run->config, &unused);
        if (differ < 0) return false;
        if (!differ) {
            return ct_fail_bool("--sweep: %s and %s are the same run", s->runs[i].name, run->name);
        }
        if (strcmp(s->runs[i].name, run->name) == 0) {
            return ct_fail_bool("--sweep: two runs would have one folder, %s", run->name);
        }
    }
    return true;
}

static bool make_runs(ct_sweep *s, const ct_config *base, const char *const *overrides, int count) {
    int64_t runs = 1;
    for (int k = 0; k < s->key_count; k++) {
        runs *= s->keys[k].count;
        if (runs > MOST_RUNS) return too_many();
    }
    s->runs = calloc((size_t)runs, sizeof *s->runs);
    if (!s->runs) return out_of_memory();
    s->run_count = (int)runs;
    for (int i = 0; i < s->run_count; i++) {
        if (!make_run(s, i, base, overrides, count) || !is_new(s, i)) return false;
    }
    return true;
}

/* It is read again for each run. */
static bool can_be_read_again(const ct_config *base) {
    struct stat file;
    return (stat(base->file, &file) == 0 && S_ISREG(file.st_mode)) ||
           ct_fail_bool("--sweep: %s: expected a file, which is read again for each run",
                        base->file);
}

ct_sweep *ct_sweep_read(const char *text, const ct_config *base, const char *const *overrides,
                        int override_count) {
    ct_sweep *s = calloc(1, sizeof *s);
    if (!s) return ct_fail("--sweep: out of memory");
    s->text = text;
    if (can_be_read_again(base) && take_text(s, overrides, override_count) &&
        make_runs(s, base, overrides, override_count)) {
        return s;
    }
    ct_sweep_free(s);
    return NULL;
}

void ct_sweep_free(ct_sweep *s) {
    if (!s) return;
    for (int k = 0; k < s->key_count; k++) {
        for (int i = 0; i < s->keys[k].count; i++) free(s->keys[k].values[i]);
        free(s->keys[k].values);
        free(s->keys[k].name);
    }
    for (int i = 0; i < s->run_count; i++) {
        free(s->runs[i].name);
        free(s->runs[i].value);
        ct_config_destroy(s->runs[i].config);
    }
    free(s->keys);
    free(s->runs);
    free(s);
}
