/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/report/curves.h"
#include "train/report/graph.h"
#include "train/report/html.h"
#include "train/report/page.h"
#include "train/report/run.h"
#include "train/report/tables.h"
#include "train/run/console.h"

typedef struct {
    ct_config *config;
    ct_run_record *run;
    ct_experiment *experiment; /* with the best weights; NULL: `why` */
    char *why;
} report;

/* ---- the model --------------------------------------------------------------------------- */

/* What needs the model is left out where it cannot be opened, and the page says why. */
static bool open_model(report *r) {
    char *weights = ct_path(r->config->run_folder, "best.safetensors");
    if (!weights) return false;
    if (access(weights, F_OK) == 0)
        r->experiment = ct_experiment_open_trained(r->config, weights, NULL);
    else ct_fail("%s: not there yet", weights);
    free(weights);
    if (r->experiment) return true;
    r->why = strdup(ct_error());
    ct_error_clear();
    return r->why || ct_fail_bool("out of memory");
}

/* ---- the page ---------------------------------------------------------------------------- */

static void write_head(FILE *page, const ct_run_record *run) {
    fputs("<header>\n<p class=\"kind\">Cotangent, report of a run</p>\n", page);
    ct_htmlf(page,
             "<h1>%s</h1>\n<nav><a href=\"#recalls\">Recalls</a><a href=\"#curves\">Curves</a>"
             "<a href=\"#model\">Model</a><a href=\"#configuration\">Configuration</a>"
             "<a href=\"#machine\">Machine</a></nav>\n",
             run->name);
    ct_facts_write(page, run);
    fputs("</header>\n", page);
}

static bool write_model(FILE *page, const report *r) {
    ct_page_section(page, "model", "Model");
    if (r->experiment) return ct_graph_write(page, r->experiment);
    ct_htmlf(page, "<p class=\"note\">Not drawn: %s</p>\n", r->why);
    return true;
}

static bool write_body(FILE *page, void *context) {
    report *r = context;
    write_head(page, r->run);
    ct_page_section(page, "recalls", "Recalls");
    ct_recalls_write(page, r->run);
    ct_page_section(page, "curves", "Curves");
    fputs("<div class=\"plots\">\n", page);
    if (!ct_curves_write(page, &r->run, 1)) return false;
    fputs("</div>\n", page);
    if (!write_model(page, r)) return false;
    ct_page_section(page, "configuration", "Configuration");
    ct_settings_write(page, r->run);
    ct_page_section(page, "machine", "Machine");
    ct_machine_write(page, r->run);
    return ct_ok();
}

/* ---- the command ------------------------------------------------------------------------- */

bool ct_report_command(ct_config *config, const char *path) {
    report r = {.config = config, .run = ct_run_record_read(config->run_folder)};
    char *own = path ? NULL : ct_path(config->run_folder, "report.html");
    char *title = NULL;
    bool done = r.run && (path || own) && open_model(&r);
    if (done && asprintf(&title, "%s: report", r.run->name) < 0)
        done = ct_fail_bool("out of memory");
    done = done && ct_page_save(path ? path : own, title, write_body, &r);
    if (done) ct_console_line("%s", path ? path : own);
    ct_experiment_close(r.experiment);
    ct_run_record_free(r.run);
    free(r.why);
    if (done) free(title);
    free(own);
    return done;
}
