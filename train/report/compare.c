/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- names ------------------------------------------------------------------------------- */

static bool names_differ(ct_run_record *const *runs, int count) {
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < i; k++) {
            if (!strcmp(runs[i]->name, runs[k]->name)) return false;
        }
    }
    return true;
}

/* How long the beginning is, up to a '/', that all folders have in common. */
static size_t common_place(ct_run_record *const *runs, int count) {
    const char *first = runs[0]->folder;
    size_t length = strlen(first);
    for (int i = 1; i < count; i++) {
        size_t same = 0;
        while (same < length && runs[i]->folder[same] == first[same]) same++;
        length = same;
    }
    while (length && first[length - 1] != '/') length--;
    return length;
}

/* Up to where they part, and there up to the setting or the folder before: "lr=1e-3" of
 * "lr=1e-3,seed=1" and "lr=1e-3,seed=2"; where they have nothing in common, "first and 2 more", or
 * "all runs" of a group that is alone. NULL without memory. */
static char *common_label(const ct_compared *c, int group) {
    const char *first = NULL;
    size_t length = 0;
    for (int i = 0; i < c->count; i++) {
        if (c->group[i] != group) continue;
        size_t same = 0;
        if (!first) first = c->label[i], length = strlen(first);
        while (same < length && c->label[i][same] == first[same]) same++;
        length = same;
    }
    bool whole = !first[length];
    while (!whole && length && first[length] != ',' && first[length] != '/') length--;
    if (whole || length) return strndup(first, length);
    if (c->groups == 1) return strdup("all runs");
    char *label = NULL;
    int others = ct_compared_size(c, group) - 1;
    return asprintf(&label, "%s and %d more", first, others) < 0 ? NULL : label;
}

static bool label_groups(ct_compared *c) {
    for (int g = 0; g < c->groups; g++) {
        int size = ct_compared_size(c, g);
        c->group_label[g] = common_label(c, g);
        if (!c->group_label[g]) return false;
        if (asprintf(&c->mean_label[g], "%s, mean of %d", c->group_label[g], size) < 0) {
            c->mean_label[g] = NULL;
            return false;
        }
    }
    return true;
}

bool ct_compared_begin(ct_compared *c, ct_run_record *const *runs, int count) {
    *c = (ct_compared){.runs = runs, .count = count};
    c->group = calloc((size_t)count, sizeof *c->group);
    c->label = calloc((size_t)count, sizeof *c->label);
    c->group_label = calloc((size_t)count, sizeof *c->group_label);
    c->mean_label = calloc((size_t)count, sizeof *c->mean_label);
    bool done = c->group && c->label && c->group_label && c->mean_label;
    if (done) c->groups = ct_compare_groups(runs, count, c->group);
    bool differ = names_differ(runs, count);
    size_t place = common_place(runs, count);
    for (int i = 0; done && i < count; i++) {
        c->label[i] = differ ? runs[i]->name : runs[i]->folder + place;
    }
    return (done && label_groups(c)) || ct_fail_bool("out of memory");
}

void ct_compared_end(ct_compared *c) {
    for (int g = 0; g < c->groups; g++) {
        if (c->group_label) free(c->group_label[g]);
        if (c->mean_label) free(c->mean_label[g]);
    }
    free(c->group_label);
    free(c->mean_label);
    free(c->label);
    free(c->group);
    *c = (ct_compared){0};
}

bool ct_compared_many(const ct_compared *c) { return c->count > 12; }

int ct_compared_size(const ct_compared *c, int group) {
    int size = 0;
    for (int i = 0; i < c->count; i++) size += c->group[i] == group;
    return size;
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

/* It may be broken behind a comma, which is better than within a setting. */
static void write_label(FILE *page, const char *label) {
    char part[512];
    while (*label) {
        size_t length = strcspn(label, ",");
        length += label[length] == ',';
        if (length >= sizeof part) length = sizeof part - 1;
        memcpy(part, label, length);
        part[length] = '\0';
        ct_html(page, part);
        label += length;
        if (*label) fputs("<wbr>", page);
    }
}

static void write_row(FILE *page, const ct_compared *c, int run, const char *split) {
    const json_t *recalls = recalls_of(c->runs[run], split);
    if (!recalls) return;
    fputs("<tr><th scope=\"row\">", page);
    write_label(page, c->label[run]);
    fputs("</th>", page);
    for (int i = 0; i < PATHS; i++) {
        fputs("<td>", page);
        ct_recall_write(page, recalls, paths[i], 1);
        fputs("</td>", page);
    }
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

/* `label` NULL: below its runs. */
static void write_spread(FILE *page, const ct_compared *c, int of, const char *split,
                         const char *label) {
    double mean, deviation;
    int n = ct_compare_spread(c->runs, c->count, c->group, of, split, "rsum", &mean, &deviation);
    if (n < 2) return;
    fputs("<tr class=\"mean\"><th scope=\"row\">", page);
    if (label) write_label(page, label);
    fprintf(page, label ? " <small>mean of %d runs</small></th>" : "mean of %d runs</th>", n);
    for (int i = 0; i < PATHS; i++) {
        ct_compare_spread(c->runs, c->count, c->group, of, split, paths[i], &mean, &deviation);
        fprintf(page, "<td>%.1f <small>\u00b1 %.1f</small></td>", mean, deviation);
    }
    fputs("</tr>\n", page);
}

static void begin_table(FILE *page) {
    fputs("<div class=\"wide\"><table class=\"numbers runs\"><thead><tr>"
          "<th rowspan=\"2\">run</th><th colspan=\"3\" class=\"group\">image to text</th>"
          "<th colspan=\"3\" class=\"group\">text to image</th><th rowspan=\"2\">sum</th>"
          "</tr><tr>",
          page);
    for (int way = 0; way < 2; way++) fputs("<th>R@1</th><th>R@5</th><th>R@10</th>", page);
    fputs("</tr></thead><tbody>\n", page);
}

static void end_table(FILE *page) { fputs("</tbody></table></div>\n", page); }

/* Each run, below those of a group their mean. */
static void write_each(FILE *page, const ct_compared *c, const char *split) {
    begin_table(page);
    for (int g = 0; g < c->groups; g++) {
        for (int i = 0; i < c->count; i++) {
            if (c->group[i] == g) write_row(page, c, i, split);
        }
        write_spread(page, c, g, split, NULL);
    }
    end_table(page);
}

/* The groups alone: means of several runs, and those of one. */
static void write_groups(FILE *page, const ct_compared *c, const char *split) {
    begin_table(page);
    for (int g = 0; g < c->groups; g++) {
        write_spread(page, c, g, split, c->group_label[g]);
        for (int i = 0; i < c->count; i++) {
            if (c->group[i] == g && ct_compared_size(c, g) == 1) write_row(page, c, i, split);
        }
    }
    end_table(page);
}

typedef struct {
    json_int_t images, captions;
} ranked_size;

enum { MOST_SIZES = 4 };

/* How much was ranked, each size once; how many there are, of which MOST_SIZES are kept. */
static int find_sizes(const ct_compared *c, const char *split, ranked_size size[MOST_SIZES]) {
    int found = 0;
    for (int i = 0; i < c->count; i++) {
        const json_t *recalls = recalls_of(c->runs[i], split);
        ranked_size one = {json_integer_value(json_object_get(recalls, "images")),
                           json_integer_value(json_object_get(recalls, "captions"))};
        int k = 0;
        while (k < found && k < MOST_SIZES &&
               (size[k].images != one.images || size[k].captions != one.captions))
            k++;
        if (!one.images || k < found) continue;
        if (found < MOST_SIZES) size[found] = one;
        found++;
    }
    return found;
}

static void write_sizes(FILE *page, const ct_compared *c, const char *split) {
    ranked_size size[MOST_SIZES];
    int found = find_sizes(c, split, size);
    if (!found) return;
    fputs(found > 1 ? "<p class=\"note wrong\">Not all runs ranked the same data: "
                    : "<p class=\"note\">",
          page);
    for (int k = 0; k < found && k < MOST_SIZES; k++) {
        if (k) fputs("; ", page);
        ct_html_whole(page, size[k].images);
        fputs(" images, ", page);
        ct_html_whole(page, size[k].captions);
        fputs(" captions", page);
    }
    fputs(found > 1 ? ". Their recalls do not compare.</p>\n" : "</p>\n", page);
}

static void write_split(FILE *page, const ct_compared *c, const char *split) {
    ct_htmlf(page, "<h3 class=\"way\">%s</h3>\n", split);
    write_sizes(page, c, split);
    bool apart = ct_compared_many(c) && c->groups < c->count;
    if (apart) {
        write_groups(page, c, split);
        fprintf(page, "<details><summary>each of the %d runs</summary>\n", c->count);
    }
    write_each(page, c, split);
    if (apart) fputs("</details>\n", page);
}

/* Those that any run has, dev behind all others. */
void ct_compare_recalls(FILE *page, const ct_compared *c) {
    json_t *written = json_object();
    for (int i = 0; i < c->count; i++) {
        const char *split;
        json_t *value;
        json_object_foreach(c->runs[i]->results, split, value) {
            if (!json_object_get(value, "rsum") || json_object_get(written, split)) continue;
            if (!strcmp(split, "dev")) continue;
            ct_json_set(written, split, json_true());
            write_split(page, c, split);
        }
    }
    json_decref(written);
    write_split(page, c, "dev");
    fputs("<p class=\"note\">R@k: per cent of the queries with a right answer among the first k. "
          "Behind a mean is the standard deviation over its runs (n \u2212 1).</p>\n",
          page);
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

static bool is_shown(const ct_compared *c, int run, const ct_setting *s) {
    return !changes_nothing(s) && differs(c->runs, c->count, s) && !is_earlier(c->runs, run, s);
}

/* A cell says what its column is of: `label`, or, if that is NULL, the setting. */
static void write_value(FILE *page, const ct_run_record *run, const ct_setting *s,
                        const char *label) {
    const char *value = ct_record_setting(run, s->section, s->key);
    if (label) ct_htmlf(page, "<td data-of=\"%s\">", label);
    else ct_htmlf(page, "<td data-of=\"[%s] %s\">", s->section, s->key);
    ct_htmlf(page, "<code>%s</code></td>", value ? value : "\u2013");
}

/* A row a setting, a column a run. How many there are. */
static int write_rows_of_settings(FILE *page, const ct_compared *c) {
    int rows = 0;
    fputs("<tr><th>setting</th>", page);
    for (int i = 0; i < c->count; i++) ct_htmlf(page, "<th>%s</th>", c->label[i]);
    fputs("</tr></thead><tbody>\n", page);
    for (int r = 0; r < c->count; r++) {
        for (int k = 0; k < c->runs[r]->setting_count; k++) {
            const ct_setting *s = &c->runs[r]->settings[k];
            if (!is_shown(c, r, s)) continue;
            ct_htmlf(page, "<tr><th scope=\"row\">[%s] %s</th>", s->section, s->key);
            for (int i = 0; i < c->count; i++) write_value(page, c->runs[i], s, c->label[i]);
            fputs("</tr>\n", page);
            rows++;
        }
    }
    return rows;
}

/* The settings themselves, or a run's values of them. */
static int write_across(FILE *page, const ct_compared *c, const ct_run_record *run) {
    int columns = 0;
    for (int r = 0; r < c->count; r++) {
        for (int k = 0; k < c->runs[r]->setting_count; k++) {
            const ct_setting *s = &c->runs[r]->settings[k];
            if (!is_shown(c, r, s)) continue;
            columns++;
            if (run) write_value(page, run, s, NULL);
            else ct_htmlf(page, "<th>[%s] %s</th>", s->section, s->key);
        }
    }
    return columns;
}

/* A row a run, a column a setting. How many there are. */
static int write_rows_of_runs(FILE *page, const ct_compared *c) {
    fputs("<tr><th>run</th>", page);
    int columns = write_across(page, c, NULL);
    fputs("</tr></thead><tbody>\n", page);
    for (int i = 0; columns && i < c->count; i++) {
        fputs("<tr><th scope=\"row\">", page);
        write_label(page, c->label[i]);
        fputs("</th>", page);
        write_across(page, c, c->runs[i]);
        fputs("</tr>\n", page);
    }
    return columns;
}

void ct_compare_settings(FILE *page, const ct_compared *c) {
    bool many = ct_compared_many(c);
    if (many) fprintf(page, "<details><summary>of the %d runs</summary>\n", c->count);
    fprintf(page, "<div class=\"wide\"><table class=\"texts%s\"><thead>", many ? " each" : "");
    int settings = many ? write_rows_of_runs(page, c) : write_rows_of_settings(page, c);
    fputs("</tbody></table></div>\n", page);
    if (many) fputs("</details>\n", page);
    if (!settings) fputs("<p class=\"note\">The configurations are the same.</p>\n", page);
}
