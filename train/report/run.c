/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensor/io/json.h"
#include "train/config/ini.h"
#include "train/run/experiment.h"

/* ---- metrics.jsonl ----------------------------------------------------------------------- */

static bool take_line(json_t *lines, const char *path, int number, const char *line,
                      size_t length) {
    json_error_t wrong;
    json_t *object = ct_json_read(line, length, 0, &wrong);
    if (json_is_object(object)) return ct_json_append(lines, object);
    json_decref(object);
    return ct_fail_bool("%s:%d: %s, expected a JSON object a line", path, number,
                        object ? "something else" : wrong.text);
}

static json_t *read_lines(const char *path) {
    size_t bytes = 0;
    char *text = ct_file_read(path, &bytes);
    json_t *lines = text ? json_array() : NULL;
    if (text && !lines) ct_fail("%s: out of memory", path);
    int number = 1;
    for (const char *at = text; lines && ct_ok(); number++) {
        const char *end = memchr(at, '\n', bytes - (size_t)(at - text));
        if (!end) break; /* a line that is cut, or the end */
        take_line(lines, path, number, at, (size_t)(end - at));
        at = end + 1;
    }
    free(text);
    if (ct_ok()) return lines;
    json_decref(lines);
    return NULL;
}

static json_t *read_results(const char *path) {
    if (access(path, F_OK) != 0) return NULL; /* no error: the run has not ended */
    size_t bytes = 0;
    char *text = ct_file_read(path, &bytes);
    json_error_t wrong = {0};
    json_t *results = text ? ct_json_read(text, bytes, 0, &wrong) : NULL;
    free(text);
    if (json_is_object(results) || !ct_ok()) return results;
    json_decref(results);
    return ct_fail("%s:%d: %s, expected the results of a run", path, wrong.line,
                   *wrong.text ? wrong.text : "no JSON object");
}

/* ---- config.ini -------------------------------------------------------------------------- */

static bool split_settings(ct_run_record *r) {
    int most = 0;
    r->settings_text = strdup(r->config->text);
    for (const char *at = r->config->text; *at; at++) most += *at == '\n';
    r->settings = calloc((size_t)most + 1, sizeof *r->settings);
    if (!r->settings || !r->settings_text) return ct_fail_bool("out of memory");
    const char *section = "";
    char *rest = r->settings_text, *line;
    while ((line = strsep(&rest, "\n"))) {
        ct_ini_line parsed = ct_ini_parse(line);
        if (parsed.kind == CT_INI_SECTION) section = parsed.name;
        if (parsed.kind != CT_INI_SETTING) continue;
        r->settings[r->setting_count++] = (ct_setting){section, parsed.name, parsed.value};
    }
    return true;
}

/* ---- the whole --------------------------------------------------------------------------- */

static char *last_part(const char *folder) {
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/') length--;
    size_t first = length;
    while (first && folder[first - 1] != '/') first--;
    return strndup(folder + first, length - first);
}

static bool read_all(ct_run_record *r) {
    char *config = ct_path(r->folder, "config.ini"), *metrics = ct_path(r->folder, "metrics.jsonl"),
         *results = ct_path(r->folder, "results.json");
    bool paths = config && metrics && results;
    if (paths && access(config, F_OK) != 0) {
        ct_fail("%s: no config.ini in it, expected the folder of a run", r->folder);
    }
    r->config = paths && ct_ok() ? ct_config_read(config, NULL, 0) : NULL;
    r->metrics = r->config ? read_lines(metrics) : NULL;
    r->results = r->metrics ? read_results(results) : NULL;
    free(config);
    free(metrics);
    free(results);
    return ct_ok() && split_settings(r);
}

ct_run_record *ct_run_record_read(const char *folder) {
    ct_run_record *r = calloc(1, sizeof *r);
    if (!r) return ct_fail("out of memory");
    r->folder = strdup(folder);
    r->name = last_part(folder);
    bool named = r->folder && r->name;
    if (named ? read_all(r) : ct_fail_bool("out of memory")) return r;
    ct_run_record_free(r);
    return NULL;
}

void ct_run_record_free(ct_run_record *r) {
    if (!r) return;
    ct_config_destroy(r->config);
    json_decref(r->metrics);
    json_decref(r->results);
    free(r->settings);
    free(r->settings_text);
    free(r->folder);
    free(r->name);
    free(r);
}

/* ---- looking something up ---------------------------------------------------------------- */

bool ct_record_number(const json_t *object, const char *path, double *number) {
    const json_t *member = json_object_get(object, path);
    for (const char *slash; !member && (slash = strchr(path, '/'));) {
        object = json_object_getn(object, path, (size_t)(slash - path));
        path = slash + 1;
        member = json_object_get(object, path);
    }
    if (!json_is_number(member)) return false;
    *number = json_number_value(member);
    return true;
}

const json_t *ct_record_best(const ct_run_record *r) {
    const json_t *best = NULL;
    for (size_t i = 0; i < json_array_size(r->metrics); i++) {
        const json_t *line = json_array_get(r->metrics, i);
        if (json_is_true(json_object_get(line, "best"))) best = line;
    }
    return best;
}

const char *ct_record_setting(const ct_run_record *r, const char *section, const char *key) {
    for (int i = 0; i < r->setting_count; i++) {
        const ct_setting *s = &r->settings[i];
        if (!strcmp(s->section, section) && !strcmp(s->key, key)) return s->value;
    }
    return NULL;
}
