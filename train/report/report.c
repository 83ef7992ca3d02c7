/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/core/excuse.h"
#include "train/report/attention.h"
#include "train/report/compare.h"
#include "train/report/curves.h"
#include "train/report/findings.h"
#include "train/report/graph.h"
#include "train/report/html.h"
#include "train/report/page.h"
#include "train/report/retrieval.h"
#include "train/report/run.h"
#include "train/report/tables.h"
#include "train/run/console.h"

typedef struct {
    ct_config *config; /* the run's own, where it and its data are now */
    ct_run_record *run;
    ct_experiment *experiment; /* with the best weights; NULL: `no_model` says why */
    ct_findings *findings;     /* NULL: `no_findings` does */
    char *no_model, *no_findings;
} report;

/* ---- the model --------------------------------------------------------------------------- */

/* What cannot be had is left out, and the page says why. */
static bool leave_out(char **why) {
    *why = strdup(ct_error());
    return ct_error_excuse() && (*why || ct_fail_bool("out of memory"));
}

static bool open_model(report *r) {
    char *weights = ct_path(r->config->run_folder, "best.safetensors");
    if (!weights) return false;
    if (access(weights, F_OK) == 0) {
        r->experiment = ct_experiment_open_trained(r->config, weights, NULL);
    } else ct_fail("%s: not there yet", weights);
    free(weights);
    return r->experiment || leave_out(&r->no_model);
}

static bool find(report *r, const char *split) {
    if (!r->experiment) return true;
    const ct_config *c = r->config;
    const char *first = c->test_split_count ? c->test_splits[0] : c->dev_split;
    r->findings = ct_findings_make(r->experiment, split ? split : first);
    /* what is asked for is not left out */
    return r->findings || (!split && leave_out(&r->no_findings));
}

/* ---- the page ---------------------------------------------------------------------------- */

static void write_head(FILE *page, const ct_run_record *run) {
    fputs("<header>\n<p class=\"kind\">Cotangent, report of a run</p>\n", page);
    ct_htmlf(page,
             "<h1>%s</h1>\n<nav><a href=\"#recalls\">Recalls</a><a href=\"#curves\">Curves</a>"
             "<a href=\"#model\">Model</a><a href=\"#queries\">Queries</a>"
             "<a href=\"#confusions\">Confusions</a><a href=\"#attention\">Attention</a>"
             "<a href=\"#configuration\">Configuration</a>"
             "<a href=\"#machine\">Machine</a></nav>\n",
             run->name);
    ct_facts_write(page, run);
    fputs("</header>\n", page);
}

static bool write_model(FILE *page, const report *r) {
    ct_page_section(page, "model", "Model");
    if (r->experiment) return ct_graph_write(page, r->experiment);
    ct_htmlf(page, "<p class=\"note\">Not drawn: %s</p>\n", r->no_model);
    return true;
}

static bool write_findings(FILE *page, const report *r) {
    static const struct {
        const char *id, *heading;
        bool (*write)(FILE *page, const ct_findings *findings);
    } parts[] = {{"queries", "Queries", ct_queries_write},
                 {"confusions", "Confusions", ct_confusions_write},
                 {"attention", "Attention", ct_attention_write}};
    const char *why = r->experiment ? r->no_findings : r->no_model;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        ct_page_section(page, parts[i].id, parts[i].heading);
        if (!r->findings) ct_htmlf(page, "<p class=\"note\">Not shown: %s</p>\n", why);
        else if (!parts[i].write(page, r->findings)) return false;
    }
    return true;
}

static bool resample(const report *r, const ct_findings *f, ct_interval intervals[CT_RECALLS]) {
    enum { RESAMPLES = 10000 };
    ct_query_ranks ranks = {f->detail.i2t_rank, f->detail.t2i_rank, f->split->image_of,
                            f->split->image_count, f->split->caption_count};
    return ct_recall_intervals(&ranks, RESAMPLES, (uint64_t)r->config->seed, intervals);
}

/* By the ranks of the split whose queries are shown; of another one, which is ranked for it, if it
 * can be. Recalls of folds have none. */
static bool find_intervals(const void *context, const char *split,
                           ct_interval intervals[CT_RECALLS]) {
    const report *r = context;
    if (!r->findings) return false;
    if (!strcmp(split, "dev")) split = r->config->dev_split; /* so results.json calls it */
    if (!strcmp(split, r->findings->split->name)) return resample(r, r->findings, intervals);
    if (r->config->folds > 1) return false;
    ct_findings *other = ct_findings_make(r->experiment, split);
    bool found = other && resample(r, other, intervals);
    if (!other) ct_error_excuse();
    ct_findings_free(other);
    return found;
}

static bool write_body(FILE *page, void *context) {
    report *r = context;
    write_head(page, r->run);
    ct_page_section(page, "recalls", "Recalls");
    ct_recalls_write(page, r->run, find_intervals, r);
    if (!ct_ok()) return false;
    ct_page_section(page, "curves", "Curves");
    if (!ct_curves_write(page, r->run)) return false;
    if (!write_model(page, r) || !write_findings(page, r)) return false;
    ct_page_section(page, "configuration", "Configuration");
    ct_settings_write(page, r->run);
    ct_page_section(page, "machine", "Machine");
    ct_machine_write(page, r->run);
    return ct_ok();
}

/* Of the run's config.ini: the one that was given may be of another graph, or have changed since.
 * It says where the run is, its data, and what to compute on. */
static ct_config *own_config(const ct_config *given) {
    const struct {
        const char *key, *value;
    } places[] = {{"run.folder", given->run_folder},
                  {"data.folder", given->folder},
                  {"data.cache", given->cache},
                  {"run.device", given->device}};
    enum { PLACES = sizeof places / sizeof *places };
    char *path = ct_path(given->run_folder, "config.ini"), *settings[PLACES] = {NULL};
    bool made = path != NULL;
    for (int i = 0; made && i < PLACES; i++) {
        made = asprintf(&settings[i], "%s=%s", places[i].key, places[i].value) >= 0 ||
               ct_fail_bool("out of memory");
    }
    ct_config *config = made ? ct_config_read(path, (const char *const *)settings, PLACES) : NULL;
    for (int i = 0; i < PLACES; i++) free(settings[i]);
    free(path);
    return config;
}

/* To `path`, or to report.html in the run's folder. */
static bool save_report(report *r, const char *path) {
    char *own = path ? NULL : ct_path(r->config->run_folder, "report.html");
    const char *to = path ? path : own;
    bool done = to && ct_page_save(to, r->run->name, write_body, r);
    if (done) ct_console_line("%s", to);
    free(own);
    return done;
}

bool ct_report_command(const ct_config *config, const char *split, const char *path) {
    report r = {.run = ct_run_record_read(config->run_folder)};
    r.config = r.run ? own_config(config) : NULL;
    bool done = r.config && open_model(&r) && find(&r, split) && save_report(&r, path);
    ct_findings_free(r.findings);
    ct_experiment_close(r.experiment);
    ct_config_destroy(r.config);
    ct_run_record_free(r.run);
    free(r.no_model);
    free(r.no_findings);
    return done;
}

/* ---- several runs ------------------------------------------------------------------------ */

typedef struct {
    const char *title;
    ct_compared compared;
} comparison;

static void write_runs(FILE *page, const comparison *c) {
    fputs("<header>\n<p class=\"kind\">Cotangent, comparison of runs</p>\n", page);
    bool is_long = strlen(c->title) > 60; /* as what a sweep was told may be */
    ct_htmlf(page, is_long ? "<h1 class=\"long\">%s</h1>\n" : "<h1>%s</h1>\n", c->title);
    fputs("<nav><a href=\"#recalls\">Recalls</a><a href=\"#configuration\">Configuration</a>"
          "<a href=\"#curves\">Curves</a></nav>\n</header>\n",
          page);
}

static bool write_comparison(FILE *page, void *context) {
    const comparison *c = context;
    write_runs(page, c);
    ct_page_section(page, "recalls", "Recalls");
    ct_compare_recalls(page, &c->compared);
    ct_page_section(page, "configuration", "Where the configurations differ");
    ct_compare_settings(page, &c->compared);
    ct_page_section(page, "curves", "Curves");
    return ct_curves_compare(page, &c->compared);
}

/* A run twice would weigh double in a mean. */
static bool check_folders(ct_run_record *const *runs, int count) {
    struct stat *status = calloc((size_t)count, sizeof *status);
    if (!status) return ct_fail_bool("out of memory");
    for (int i = 0; i < count && ct_ok(); i++) {
        const char *folder = runs[i]->folder;
        if (stat(folder, &status[i]) < 0) ct_fail("%s: %s", folder, strerror(errno));
        for (int k = 0; k < i && ct_ok(); k++) {
            if (status[k].st_dev == status[i].st_dev && status[k].st_ino == status[i].st_ino) {
                ct_fail("--compare %s: given twice, first as %s", folder, runs[k]->folder);
            }
        }
    }
    free(status);
    return ct_ok();
}

bool ct_comparison_save(const char *path, const char *title, ct_run_record *const *runs,
                        int count) {
    comparison c = {.title = title};
    bool done = ct_compared_begin(&c.compared, runs, count) &&
                ct_page_save(path, title, write_comparison, &c);
    ct_compared_end(&c.compared);
    return done;
}

/* "a and b", "a and 2 more", as runs are called on the page; from malloc. */
static char *title_of(ct_run_record *const *runs, int count) {
    ct_compared c;
    char *title = NULL;
    int length = -1;
    if (ct_compared_begin(&c, runs, count)) {
        if (count == 2) length = asprintf(&title, "%s and %s", c.label[0], c.label[1]);
        else length = asprintf(&title, "%s and %d more", c.label[0], count - 1);
    }
    ct_compared_end(&c);
    return length < 0 ? ct_fail("out of memory") : title;
}

/* To `path`, or to comparison.html in the first run's folder. */
static bool save_comparison(const char *path, ct_run_record *const *runs, int count) {
    char *own = path ? NULL : ct_path(runs[0]->folder, "comparison.html");
    char *title = title_of(runs, count);
    const char *to = path ? path : own;
    bool done = to && title && ct_comparison_save(to, title, runs, count);
    if (done) ct_console_line("%s", to);
    free(title);
    free(own);
    return done;
}

bool ct_comparison_command(ct_config *config, const char *const *others, int count,
                           const char *path) {
    ct_run_record **runs = calloc((size_t)count + 1, sizeof *runs);
    bool done = runs || ct_fail_bool("out of memory");
    int read = 0;
    for (; done && read <= count; read += done) {
        runs[read] = ct_run_record_read(read ? others[read - 1] : config->run_folder);
        done = runs[read] != NULL;
    }
    done = done && check_folders(runs, read) && save_comparison(path, runs, read);
    for (int i = 0; i < read; i++) ct_run_record_free(runs[i]);
    free(runs);
    return done;
}
