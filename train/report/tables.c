/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/tables.h"

#include <math.h>
#include <string.h>

#include "train/config/config_keys.h"
#include "train/report/html.h"

/* ---- facts ------------------------------------------------------------------------------- */

/* A file's number may be larger than a whole one can be. */
static bool is_whole(double value) { return fabs(value) < 1e18; }

static void write_duration(FILE *page, double seconds) {
    long s = is_whole(seconds) ? (long)(seconds + 0.5) : 0;
    if (s >= 3600) fprintf(page, "%ld h %02ld min", s / 3600, s / 60 % 60);
    else if (s >= 60) fprintf(page, "%ld min %02ld s", s / 60, s % 60);
    else if (is_whole(seconds)) fprintf(page, "%.1f s", seconds);
    else fprintf(page, "%.3g s", seconds);
}

static void write_bytes(FILE *page, double bytes) {
    if (bytes >= 1e9) fprintf(page, "%.2f GB", 1e-9 * bytes);
    else fprintf(page, "%.0f MB", 1e-6 * bytes);
}

typedef enum { FACT_PERCENT, FACT_SUM, FACT_WHOLE, FACT_DURATION, FACT_BYTES } fact_kind;

static void write_fact(FILE *page, const json_t *of, const char *path, const char *what,
                       fact_kind kind) {
    double value;
    if (!ct_record_number(of, path, &value)) return;
    fputs("<li><b>", page);
    switch (kind) {
    case FACT_PERCENT: fprintf(page, "%.1f<small>%%</small>", value); break;
    case FACT_SUM: fprintf(page, "%.1f", value); break;
    case FACT_WHOLE:
        if (is_whole(value)) ct_html_whole(page, (int64_t)value);
        else fprintf(page, "%.3g", value);
        break;
    case FACT_DURATION: write_duration(page, value); break;
    case FACT_BYTES: write_bytes(page, value); break;
    }
    ct_htmlf(page, "</b><span>%s</span></li>\n", what);
}

/* The first test split of the results, and its name; else the best validation, "dev". */
static const json_t *first_split(const ct_run_record *run, const char **name) {
    const char *key;
    json_t *value;
    *name = "dev";
    json_object_foreach(run->results, key, value) {
        if (!json_object_get(value, "rsum") || !strcmp(key, "dev")) continue;
        *name = key;
        return value;
    }
    return json_object_get(ct_record_best(run), "dev");
}

void ct_facts_write(FILE *page, const ct_run_record *run) {
    const char *name;
    const json_t *recalls = first_split(run, &name);
    char what[3][256], steps[64] = "steps";
    double best;
    if (ct_record_number(run->results, "best_epoch", &best) && is_whole(best))
        snprintf(steps, sizeof steps, "steps; best epoch: %.0f", best);
    snprintf(what[0], sizeof what[0], "R@1 image to text, %s", name);
    snprintf(what[1], sizeof what[1], "R@1 text to image, %s", name);
    snprintf(what[2], sizeof what[2], "sum of recalls, %s", name);
    fputs("<ul class=\"facts\">\n", page);
    write_fact(page, recalls, "i2t/r1", what[0], FACT_PERCENT);
    write_fact(page, recalls, "t2i/r1", what[1], FACT_PERCENT);
    write_fact(page, recalls, "rsum", what[2], FACT_SUM);
    write_fact(page, run->results, "parameters", "parameters", FACT_WHOLE);
    write_fact(page, run->results, "steps", steps, FACT_WHOLE);
    write_fact(page, run->results, "train_seconds", "training", FACT_DURATION);
    fputs("</ul>\n", page);
}

/* ---- recalls ----------------------------------------------------------------------------- */

void ct_recall_write(FILE *page, const json_t *object, const char *path, int decimals) {
    double value;
    if (ct_record_number(object, path, &value)) fprintf(page, "%.*f", decimals, value);
    else fputs("\u2013", page);
}

/* `interval` NULL: none. */
static void write_cell(FILE *page, const char *heading, const json_t *split, const char *path,
                       int decimals, const ct_interval *interval) {
    ct_htmlf(page, "<td data-of=\"%s\">", heading);
    ct_recall_write(page, split, path, decimals);
    if (interval) fprintf(page, " <small>%.1f\u2013%.1f</small>", interval->low, interval->high);
    fputs("</td>", page);
}

static void write_size(FILE *page, const json_t *split, const char *what) {
    const json_t *size = json_object_get(split, what);
    ct_htmlf(page, "<td data-of=\"%s\">", what);
    if (json_is_integer(size)) ct_html_whole(page, json_integer_value(size));
    else fputs("\u2013", page);
    fputs("</td>", page);
}

static const char *const headings[] = {"R@1", "R@5", "R@10", "median", "mean"};
enum { HEADINGS = sizeof headings / sizeof *headings };

/* `intervals` NULL: none. Of ranks there are none. */
static void write_split(FILE *page, const char *name, const json_t *split,
                        const ct_interval *intervals) {
    static const char *const paths[2][HEADINGS] = {
        {"i2t/r1", "i2t/r5", "i2t/r10", "i2t/medr", "i2t/meanr"},
        {"t2i/r1", "t2i/r5", "t2i/r10", "t2i/medr", "t2i/meanr"}};
    ct_htmlf(page, "<tr><th scope=\"row\">%s</th>", name);
    write_size(page, split, "images");
    write_size(page, split, "captions");
    for (int way = 0; way < 2; way++) {
        for (int i = 0; i < HEADINGS; i++) {
            write_cell(page, headings[i], split, paths[way][i], i == 3 ? 0 : 1,
                       intervals && i < 3 ? &intervals[3 * way + i] : NULL);
        }
    }
    write_cell(page, "sum", split, "rsum", 1, intervals ? &intervals[CT_RECALLS - 1] : NULL);
    fputs("</tr>\n", page);
}

static const char *const resampled[CT_RECALLS] = {"i2t/r1", "i2t/r5",  "i2t/r10", "t2i/r1",
                                                  "t2i/r5", "t2i/r10", "rsum"};

/* Recalls of folds, or of data that have changed since, are others. */
static bool are_of(const ct_interval *intervals, const json_t *split) {
    for (int i = 0; i < CT_RECALLS; i++) {
        double value;
        bool same = ct_record_number(split, resampled[i], &value) &&
                    fabs(value - intervals[i].value) < 1e-3;
        if (!same) return false;
    }
    return true;
}

/* Results stay where --resume takes more steps, until these come to their end. */
static void note_older(FILE *page, const ct_run_record *run) {
    double of, at;
    const json_t *last = json_array_get(run->metrics, json_array_size(run->metrics) - 1);
    if (!ct_record_number(run->results, "steps", &of) || !ct_record_number(last, "step", &at) ||
        at <= of || !is_whole(of) || !is_whole(at)) {
        return;
    }
    fputs("<p class=\"note wrong\">The run has gone on since: these recalls are of its first ",
          page);
    ct_html_whole(page, (int64_t)of);
    fputs(" steps, and it has taken ", page);
    ct_html_whole(page, (int64_t)at);
    fputs(".</p>\n", page);
}

void ct_recalls_write(FILE *page, const ct_run_record *run, ct_intervals_of find,
                      const void *context) {
    bool shown = false;
    const json_t *best = ct_record_best(run);
    if (!run->results && !best) {
        fputs("<p class=\"note\">The run has not validated yet.</p>\n", page);
        return;
    }
    note_older(page, run);
    fputs("<div class=\"wide\"><table class=\"numbers splits\"><thead><tr>"
          "<th rowspan=\"2\">split</th>"
          "<th rowspan=\"2\">images</th><th rowspan=\"2\">captions</th>"
          "<th colspan=\"5\" class=\"group\">image to text</th>"
          "<th colspan=\"5\" class=\"group\">text to image</th><th rowspan=\"2\">sum</th></tr><tr>",
          page);
    for (int i = 0; i < 2 * HEADINGS; i++) fprintf(page, "<th>%s</th>", headings[i % HEADINGS]);
    fputs("</tr></thead><tbody>\n", page);
    const char *key;
    json_t *value;
    json_object_foreach(run->results, key, value) {
        if (!json_object_get(value, "rsum")) continue;
        ct_interval intervals[CT_RECALLS];
        bool resampled_too = find(context, key, intervals) && are_of(intervals, value);
        write_split(page, key, value, resampled_too ? intervals : NULL);
        shown |= resampled_too;
    }
    if (!run->results) write_split(page, "dev", json_object_get(best, "dev"), NULL);
    fputs("</tbody></table></div>\n<p class=\"note\">R@k: per cent of the queries with a right "
          "answer "
          "among the first k. Median and mean are of the rank of the first right answer, the best "
          "being 1.",
          page);
    if (shown) {
        fputs(" Below a recall is its 95% interval: percentiles of 10,000 bootstrap samples of the "
              "images, each with its captions.",
              page);
    }
    if (!run->results) fputs(" The run has not come to its end: its best validation so far.", page);
    fputs("</p>\n", page);
}

/* ---- configuration ----------------------------------------------------------------------- */

/* A key of a fixed section, as ct_config_value writes its default, is no news. */
static bool is_default(const ct_setting *s) {
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        if (!strcmp(key->section, s->section) && !strcmp(key->name, s->key))
            return key->fallback && !strcmp(key->fallback, s->value);
    }
    return false;
}

void ct_settings_write(FILE *page, const ct_run_record *run) {
    const char *section = NULL;
    fputs("<p class=\"note\">What is not a default is bold.</p>\n<div class=\"settings\">", page);
    for (int i = 0; i < run->setting_count; i++) {
        const ct_setting *s = &run->settings[i];
        if (!section || strcmp(section, s->section)) {
            ct_htmlf(page, "<section><h3>%s</h3><dl>\n", s->section);
            section = s->section;
        }
        bool plain = is_default(s);
        ct_htmlf(page,
                 plain ? "<div class=\"default\"><dt>%s</dt><dd>%s</dd></div>\n"
                       : "<div><dt>%s</dt><dd>%s</dd></div>\n",
                 s->key, *s->value ? s->value : "\u2013");
        bool last = i + 1 == run->setting_count || strcmp(run->settings[i + 1].section, section);
        if (last) fputs("</dl></section>\n", page);
    }
    fputs("</div>\n", page);
}

/* ---- machine ----------------------------------------------------------------------------- */

static void write_row(FILE *page, const char *what, const json_t *text) {
    if (json_is_string(text))
        ct_htmlf(page, "<div><dt>%s</dt><dd>%s</dd></div>\n", what, json_string_value(text));
}

void ct_machine_write(FILE *page, const ct_run_record *run) {
    const json_t *versions = json_object_get(run->results, "versions");
    if (!versions) {
        fputs("<p class=\"note\">Written with the results, at the run's end.</p>\n", page);
        return;
    }
    fputs("<ul class=\"facts\">\n", page);
    write_fact(page, run->results, "train_seconds", "training, all starts together", FACT_DURATION);
    write_fact(page, run->results, "wall_seconds", "since the last start, all included",
               FACT_DURATION);
    write_fact(page, run->results, "peak_memory_bytes", "memory at the peak", FACT_BYTES);
    fputs("</ul>\n<dl class=\"machine\">\n", page);
    write_row(page, "machine", json_object_get(versions, "machine"));
    write_row(page, "cotangent", json_object_get(versions, "cotangent"));
    write_row(page, "compiler", json_object_get(versions, "compiler"));
    fputs("</dl>\n", page);
}
