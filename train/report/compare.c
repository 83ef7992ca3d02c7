/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/io/json.h"
#include "train/config/config_keys.h"
#include "train/report/html.h"
#include "train/report/tables.h"

/* ---- groups ------------------------------------------------------------------------------ */

static bool changes_nothing(const ct_setting *s) {
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (!strcmp(key->section, s->section) && !strcmp(key->name, s->key))
            return key->change == CT_CHANGE_SILENT;
    }
    return false;
}

static bool is_seed(const ct_setting *s) {
    return !strcmp(s->section, "run") && !strcmp(s->key, "seed");
}

/* Whether every setting of one that counts is the other's, too. */
static bool has_all(const ct_run_record *of, const ct_run_record *in) {
    for (int i = 0; i < of->setting_count; i++) {
        const ct_setting *s = &of->settings[i];
        if (is_seed(s) || changes_nothing(s)) continue;
        const char *value = ct_record_setting(in, s->section, s->key);
        if (!value || strcmp(value, s->value)) return false;
    }
    return true;
}

int ct_compare_groups(ct_run_record *const *runs, int count, int *group) {
    int groups = 0;
    for (int i = 0; i < count; i++) {
        group[i] = -1;
        for (int k = 0; k < i && group[i] < 0; k++) {
            if (has_all(runs[i], runs[k]) && has_all(runs[k], runs[i])) group[i] = group[k];
        }
        if (group[i] < 0) group[i] = groups++;
    }
    return groups;
}

/* ---- recalls ----------------------------------------------------------------------------- */

static const char *const paths[] = {"i2t/r1", "i2t/r5",  "i2t/r10", "t2i/r1",
                                    "t2i/r5", "t2i/r10", "rsum"};
enum { PATHS = sizeof paths / sizeof *paths };

static const json_t *recalls_of(const ct_run_record *run, const char *split) {
    const json_t *recalls = json_object_get(run->results, split);
    if (recalls || run->results || strcmp(split, "dev")) return recalls;
    return json_object_get(ct_record_best(run), "dev");
}

static void write_row(FILE *page, const ct_run_record *run, const char *split) {
    const json_t *recalls = recalls_of(run, split);
    if (!recalls) return;
    ct_htmlf(page, "<tr><th scope=\"row\">%s</th>", run->folder);
    for (int i = 0; i < PATHS; i++) ct_cell_write(page, recalls, paths[i], 1);
    fputs("</tr>\n", page);
}

int ct_compare_spread(ct_run_record *const *runs, int count, const int *group, int of,
                      const char *split, const char *path, double *mean, double *deviation) {
    double value, sum = 0, squares = 0;
    int n = 0;
    for (int pass = 0; pass < 2; pass++) {
        n = 0;
        for (int i = 0; i < count; i++) {
            if (group[i] != of || !ct_record_number(recalls_of(runs[i], split), path, &value))
                continue;
            n++;
            if (pass) squares += (value - *mean) * (value - *mean);
            else sum += value;
        }
        *mean = n ? sum / n : 0;
    }
    *deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
    return n;
}

static void write_spread(FILE *page, ct_run_record *const *runs, int count, const int *group,
                         int of, const char *split) {
    double mean, deviation;
    int n = ct_compare_spread(runs, count, group, of, split, "rsum", &mean, &deviation);
    if (n < 2) return;
    fprintf(page, "<tr class=\"mean\"><th scope=\"row\">mean of %d runs</th>", n);
    for (int i = 0; i < PATHS; i++) {
        ct_compare_spread(runs, count, group, of, split, paths[i], &mean, &deviation);
        fprintf(page, "<td>%.1f <small>\u00b1 %.1f</small></td>", mean, deviation);
    }
    fputs("</tr>\n", page);
}

static void write_split(FILE *page, ct_run_record *const *runs, int count, const int *group,
                        const char *split) {
    ct_htmlf(page,
             "<h3 class=\"way\">%s</h3>\n<div class=\"wide\"><table class=\"numbers\"><thead><tr>"
             "<th rowspan=\"2\">run</th><th colspan=\"3\" class=\"group\">image to text</th>"
             "<th colspan=\"3\" class=\"group\">text to image</th><th rowspan=\"2\">sum</th>"
             "</tr><tr>",
             split);
    for (int way = 0; way < 2; way++) fputs("<th>R@1</th><th>R@5</th><th>R@10</th>", page);
    fputs("</tr></thead><tbody>\n", page);
    int groups = 0;
    for (int i = 0; i < count; i++) groups = group[i] >= groups ? group[i] + 1 : groups;
    for (int g = 0; g < groups; g++) {
        for (int i = 0; i < count; i++) {
            if (group[i] == g) write_row(page, runs[i], split);
        }
        write_spread(page, runs, count, group, g, split);
    }
    fputs("</tbody></table></div>\n", page);
}

void ct_compare_recalls(FILE *page, ct_run_record *const *runs, int count, const int *group) {
    json_t *written = json_object();
    for (int i = 0; i < count; i++) {
        const char *split;
        json_t *value;
        json_object_foreach(runs[i]->results, split, value) {
            if (!json_object_get(value, "rsum") || json_object_get(written, split)) continue;
            ct_json_set(written, split, json_true());
            write_split(page, runs, count, group, split);
        }
    }
    if (!json_object_size(written)) write_split(page, runs, count, group, "dev");
    json_decref(written);
}

/* ---- settings ---------------------------------------------------------------------------- */

static bool differs(ct_run_record *const *runs, int count, const ct_setting *s) {
    for (int i = 0; i < count; i++) {
        const char *value = ct_record_setting(runs[i], s->section, s->key);
        if (!value || strcmp(value, s->value)) return true;
    }
    return false;
}

/* Whether an earlier run has the setting: then its row is written. */
static bool is_earlier(ct_run_record *const *runs, int run, const ct_setting *s) {
    for (int i = 0; i < run; i++) {
        if (ct_record_setting(runs[i], s->section, s->key)) return true;
    }
    return false;
}

static void write_setting(FILE *page, ct_run_record *const *runs, int count, const ct_setting *s) {
    ct_htmlf(page, "<tr><th scope=\"row\">[%s] %s</th>", s->section, s->key);
    for (int i = 0; i < count; i++) {
        const char *value = ct_record_setting(runs[i], s->section, s->key);
        ct_htmlf(page, "<td><code>%s</code></td>", value ? value : "\u2013");
    }
    fputs("</tr>\n", page);
}

void ct_compare_settings(FILE *page, ct_run_record *const *runs, int count) {
    int rows = 0;
    fputs("<div class=\"wide\"><table class=\"texts\"><thead><tr><th>setting</th>", page);
    for (int i = 0; i < count; i++) ct_htmlf(page, "<th>%s</th>", runs[i]->folder);
    fputs("</tr></thead><tbody>\n", page);
    for (int r = 0; r < count; r++) {
        for (int i = 0; i < runs[r]->setting_count; i++) {
            const ct_setting *s = &runs[r]->settings[i];
            if (changes_nothing(s) || !differs(runs, count, s) || is_earlier(runs, r, s)) continue;
            write_setting(page, runs, count, s);
            rows++;
        }
    }
    fputs("</tbody></table></div>\n", page);
    if (!rows) fputs("<p class=\"note\">The configurations are the same.</p>\n", page);
}
