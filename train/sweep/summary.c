/* SPDX-License-Identifier: Apache-2.0 */
#include "train/sweep/summary.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/io/json.h"
#include "train/report/compare.h"
#include "train/report/report.h"
#include "train/run/console.h"
#include "train/run/experiment.h"

/* The runs that are done. */
typedef struct {
    const ct_sweep *sweep;
    const ct_sweep_run **run;
    ct_run_record **record;
    int *group; /* of runs with one setting, from 0 */
    int count, groups;
    json_t *splits; /* names of those that were evaluated */
} finished;

static const char *const recalls[] = {"r1", "r5", "r10"}, *const ways[] = {"i2t", "t2i"};

/* ---- reading ----------------------------------------------------------------------------- */

static void add_splits(json_t *splits, const json_t *results) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)results, name, value) {
        if (json_object_get(value, "rsum")) ct_json_set(splits, name, json_true());
    }
}

static bool read_finished(finished *f, const ct_sweep *sweep, const ct_job *jobs) {
    size_t most = (size_t)sweep->run_count;
    *f = (finished){sweep, calloc(most, sizeof *f->run), calloc(most, sizeof *f->record),
                    calloc(most, sizeof *f->group), .splits = json_object()};
    if (!f->run || !f->record || !f->group || !f->splits) return ct_fail_bool("out of memory");
    for (int i = 0; i < sweep->run_count; i++) {
        if (jobs[i].state != CT_JOB_DONE) continue;
        ct_run_record *record = ct_run_record_read(jobs[i].run->config->run_folder);
        if (!record) return false;
        add_splits(f->splits, record->results);
        f->run[f->count] = jobs[i].run;
        f->record[f->count++] = record;
    }
    f->groups = ct_compare_groups(f->record, f->count, f->group);
    return true;
}

static void free_finished(finished *f) {
    for (int i = 0; f->record && i < f->count; i++) ct_run_record_free(f->record[i]);
    free(f->run);
    free(f->record);
    free(f->group);
    json_decref(f->splits);
}

static const ct_sweep_run *first_of(const finished *f, int group) {
    int i = 0;
    while (f->group[i] != group) i++;
    return f->run[i];
}

static int spread_of(const finished *f, int group, const char *split, const char *path,
                     double *mean, double *deviation) {
    return ct_compare_spread(f->record, f->count, f->group, group, split, path, mean, deviation);
}

/* ---- the table --------------------------------------------------------------------------- */

static void print_setting(const finished *f, int group, const char *split, int width) {
    static const char *const paths[] = {"i2t/r1", "i2t/r5",  "i2t/r10", "t2i/r1",
                                        "t2i/r5", "t2i/r10", "rsum"};
    enum { PATHS = sizeof paths / sizeof *paths, CELL = 20 };
    char cells[PATHS * CELL + 1] = "", *name = ct_sweep_setting_name(f->sweep, first_of(f, group));
    int runs = 0;
    for (int i = 0; i < PATHS; i++) {
        double mean, deviation;
        char *cell = cells + strlen(cells);
        runs = spread_of(f, group, split, paths[i], &mean, &deviation);
        if (runs > 1) snprintf(cell, CELL, "  %5.1f ± %4.1f", mean, deviation);
        else snprintf(cell, CELL, i + 1 < PATHS ? "  %5.1f       " : "  %5.1f", mean);
    }
    if (name && runs) ct_console_result("%-*s %5d%s", width, *name ? name : "all", runs, cells);
    free(name);
}

static int widest(const finished *f) {
    int width = 12;
    for (int g = 0; g < f->groups; g++) {
        char *name = ct_sweep_setting_name(f->sweep, first_of(f, g));
        if (name && (int)strlen(name) > width) width = (int)strlen(name);
        free(name);
    }
    return width;
}

static void print_tables(const finished *f) {
    int width = widest(f);
    const char *split;
    json_t *unused;
    json_object_foreach(f->splits, split, unused) {
        ct_console_result("\n%-*s        image -> text                           text -> image",
                          width, split);
        ct_console_result(
            "%-*s  runs    R@1           R@5          R@10           R@1           R@5"
            "          R@10          rsum",
            width, "");
        for (int g = 0; g < f->groups; g++) print_setting(f, g, split, width);
    }
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* {"train.lr": "1e-3", ...}; `with_seed`: run.seed, too, if it is one of the keys. */
static json_t *values_json(const ct_sweep *sweep, const ct_sweep_run *run, bool with_seed) {
    json_t *object = json_object();
    for (int k = 0; k < sweep->key_count; k++) {
        if (!with_seed && strcmp(sweep->keys[k].name, "run.seed") == 0) continue;
        ct_json_set(object, sweep->keys[k].name, json_string(run->value[k]));
    }
    return object;
}

static json_t *run_json(const finished *f, const ct_job *job) {
    static const char *const states[] = {"waits", "interrupted", "done", "failed"};
    json_t *object = json_pack("{s:s, s:o, s:s}", "folder", job->run->name, "settings",
                               values_json(f->sweep, job->run, true), "state", states[job->state]);
    if (job->why) ct_json_set(object, "why", json_string(job->why));
    for (int i = 0; i < f->count; i++) {
        const char *split;
        json_t *unused;
        if (f->run[i] != job->run) continue;
        json_object_foreach(f->splits, split, unused) {
            json_t *of_run = json_object_get(f->record[i]->results, split);
            if (of_run) ct_json_set(object, split, json_incref(of_run));
        }
    }
    return object;
}

static json_t *spread_json(const finished *f, int group, const char *split, const char *path,
                           int *runs) {
    double mean, deviation;
    *runs = spread_of(f, group, split, path, &mean, &deviation);
    return *runs > 1 ? json_pack("{s:f, s:f}", "mean", mean, "deviation", deviation)
                     : json_pack("{s:f, s:n}", "mean", mean, "deviation");
}

static json_t *split_json(const finished *f, int group, const char *split) {
    json_t *object = json_object();
    int runs = 0;
    for (int way = 0; way < 2; way++) {
        json_t *one = json_object();
        for (int k = 0; k < 3; k++) {
            char path[16];
            snprintf(path, sizeof path, "%s/%s", ways[way], recalls[k]);
            ct_json_set(one, recalls[k], spread_json(f, group, split, path, &runs));
        }
        ct_json_set(object, ways[way], one);
    }
    ct_json_set(object, "rsum", spread_json(f, group, split, "rsum", &runs));
    ct_json_set(object, "runs", json_integer(runs));
    return object;
}

static json_t *setting_json(const finished *f, int group) {
    json_t *object =
        json_pack("{s:o}", "settings", values_json(f->sweep, first_of(f, group), false));
    const char *split;
    json_t *unused;
    json_object_foreach(f->splits, split, unused) {
        ct_json_set(object, split, split_json(f, group, split));
    }
    return object;
}

static bool write_json(const finished *f, const ct_job *jobs, const char *folder) {
    json_t *runs = json_array(), *settings = json_array();
    for (int i = 0; i < f->sweep->run_count; i++) ct_json_append(runs, run_json(f, &jobs[i]));
    for (int g = 0; g < f->groups; g++) ct_json_append(settings, setting_json(f, g));
    json_t *root =
        json_pack("{s:s, s:o, s:o}", "sweep", f->sweep->text, "settings", settings, "runs", runs);
    char *text = ct_ok() ? ct_json_text(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    char *path = ct_path(folder, "sweep.json");
    bool done = path && (text ? ct_file_write(path, text, strlen(text))
                              : ct_fail_bool("%s: out of memory", path));
    if (done) ct_console_result("%s", path);
    json_decref(root);
    free(text);
    free(path);
    return done;
}

/* ---- all --------------------------------------------------------------------------------- */

static bool write_page(const finished *f, const char *folder) {
    if (!f->count) return true;
    char *path = ct_path(folder, "sweep.html");
    bool done = path && ct_comparison_save(path, f->sweep->text, f->record, f->count);
    if (done) ct_console_result("%s", path);
    free(path);
    return done;
}

bool ct_sweep_summary(const ct_sweep *sweep, const ct_job *jobs, const char *folder) {
    finished f;
    bool done = read_finished(&f, sweep, jobs);
    if (done) print_tables(&f);
    if (done && f.count) ct_console_result("%s", "");
    done = done && write_json(&f, jobs, folder) && write_page(&f, folder);
    free_finished(&f);
    return done;
}
