/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/io/json.h"
#include "train/report/plot.h"

/* ---- what there is ----------------------------------------------------------------------- */

enum { MOST_TOGETHER = 3 };

typedef struct {
    const char *title, *unit;
    const char *path[MOST_TOGETHER], *label[MOST_TOGETHER];
    bool linear;
} figure;

static const figure figures[] = {
    {"Loss", "", {"loss"}, {NULL}, false},
    {"Dev recall, image to text",
     "%",
     {"dev/i2t/r1", "dev/i2t/r5", "dev/i2t/r10"},
     {"R@1", "R@5", "R@10"},
     true},
    {"Dev recall, text to image",
     "%",
     {"dev/t2i/r1", "dev/t2i/r5", "dev/t2i/r10"},
     {"R@1", "R@5", "R@10"},
     true},
    {"Dev sum of recalls", "%", {"dev/rsum"}, {NULL}, false},
    {"Retrieval loss", "", {"retrieval"}, {NULL}, false},
    {"Discrete policy loss", "", {"discrete_image", "discrete_text"}, {"image", "text"}, false},
    {"Continuous policy loss",
     "",
     {"continuous_image", "continuous_text"},
     {"image", "text"},
     false},
    {"Instance loss", "", {"instance_image", "instance_text"}, {"image", "text"}, false},
    {"Decoder loss", "", {"decoder"}, {NULL}, false},
    {"Reward", "", {"reward"}, {NULL}, false},
    {"Spread of the reward", "", {"reward_spread"}, {NULL}, false},
    {"Learning rate", "", {"lr"}, {NULL}, true},
    {"Gradient norm", "", {"grad_norm"}, {NULL}, false},
    {"Speed", "pairs/s", {"pairs_per_second"}, {NULL}, true},
    {"Memory of the device", "bytes", {"device_bytes"}, {NULL}, false},
};
enum { FIGURES = sizeof figures / sizeof *figures };

/* Numbers that are no curve of their own. */
static const char *const passed_over[] = {"step", "epoch", "score"};

static bool is_known(const char *key) {
    for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++) {
        if (!strcmp(key, passed_over[i])) return true;
    }
    for (int i = 0; i < FIGURES; i++) {
        for (int k = 0; k < MOST_TOGETHER && figures[i].path[k]; k++) {
            if (!strcmp(key, figures[i].path[k])) return true;
        }
    }
    return false;
}

/* ---- a curve ----------------------------------------------------------------------------- */

/* Points from malloc, one for each line that has the number. */
static bool collect(const ct_run_record *run, const char *path, ct_curve *curve) {
    size_t lines = json_array_size(run->metrics);
    curve->point = malloc((lines + 1) * sizeof *curve->point);
    if (!curve->point) return ct_fail_bool("out of memory");
    for (size_t i = 0; i < lines; i++) {
        const json_t *line = json_array_get(run->metrics, i);
        ct_point p;
        if (ct_record_number(line, "step", &p.x) && ct_record_number(line, path, &p.y))
            curve->point[curve->points++] = p;
    }
    return true;
}

static void free_curves(ct_curve *curve, int count) {
    for (int i = 0; i < count; i++) free(curve[i].point);
}

/* Of all runs, so that all figures have one axis. */
static double last_step(ct_run_record *const *runs, int count) {
    double last = 1, step;
    for (int i = 0; i < count; i++) {
        size_t lines = json_array_size(runs[i]->metrics);
        if (lines && ct_record_number(json_array_get(runs[i]->metrics, lines - 1), "step", &step))
            last = fmax(last, step);
    }
    return last;
}

static double best_step(const ct_run_record *run, const char *path) {
    double step = NAN;
    const json_t *best = ct_record_best(run);
    if (best && !strncmp(path, "dev/", 4)) ct_record_number(best, "step", &step);
    return step;
}

/* Whose curves are drawn. */
typedef struct {
    ct_run_record *const *runs;
    int count;
    const ct_compared *compared; /* NULL: of one run alone */
} selection;

/* ---- figures ----------------------------------------------------------------------------- */

static bool write_together(FILE *page, ct_run_record *run, const figure *f) {
    ct_curve curve[MOST_TOGETHER] = {0};
    int count = 0;
    for (; ct_ok() && count < MOST_TOGETHER && f->path[count]; count++) {
        curve[count].label = f->label[count];
        curve[count].colour = count;
        curve[count].dashed = count == 1;
        collect(run, f->path[count], &curve[count]);
    }
    ct_plot plot = {f->title, f->unit, curve, count, last_step(&run, 1), best_step(run, f->path[0]),
                    f->linear};
    if (ct_ok()) ct_plot_write(page, &plot);
    free_curves(curve, count);
    return ct_ok();
}

/* The mean of a group's curves; without points where their steps are not the same. */
static bool take_mean(const ct_curve *curve, int count, const int *group, int of, ct_curve *mean) {
    int first = 0, members = 0;
    while (group[first] != of) first++;
    const ct_curve *model = &curve[first];
    mean->point = calloc((size_t)model->points + 1, sizeof *mean->point);
    if (!mean->point) return ct_fail_bool("out of memory");
    mean->points = model->points;
    for (int i = first; i < count; i++) {
        if (group[i] != of) continue;
        members++;
        if (curve[i].points != model->points) mean->points = 0;
        for (int k = 0; k < mean->points; k++) {
            if (curve[i].point[k].x != model->point[k].x) mean->points = 0;
            mean->point[k].x = model->point[k].x;
            mean->point[k].y += curve[i].point[k].y;
        }
    }
    for (int k = 0; k < mean->points; k++) mean->point[k].y /= members;
    if (members < 2) mean->points = 0;
    return true;
}

/* Behind the runs' curves those of the groups' means. */
static bool collect_all(const ct_compared *c, const char *path, ct_curve *curve, int *curves) {
    const int *group = c->group;
    for (int i = 0; i < c->count; i++, ++*curves) {
        curve[i] = (ct_curve){
            .label = c->label[i], .colour = group[i], .dashed = group[i] / CT_CURVE_COLOURS % 2};
        if (!collect(c->runs[i], path, &curve[i])) return false;
    }
    for (int g = 0; g < c->groups; g++) {
        ct_curve *mean = &curve[(*curves)++];
        *mean =
            (ct_curve){.label = c->mean_label[g], .colour = g, .dashed = g / CT_CURVE_COLOURS % 2};
        if (!take_mean(curve, c->count, group, g, mean)) return false;
        for (int i = 0; i < c->count; i++) {
            if (group[i] == g) curve[i].faint = mean->points > 0;
        }
    }
    for (int i = 0; i < *curves; i++) curve[i].unnamed = ct_compared_many(c) || curve[i].faint;
    return true;
}

static bool write_beside(FILE *page, const selection *s, const figure *f, int k) {
    ct_curve *curve = calloc(2 * (size_t)s->count, sizeof *curve);
    int curves = 0;
    if (!curve) return ct_fail_bool("out of memory");
    bool done = collect_all(s->compared, f->path[k], curve, &curves);
    char title[256];
    const char *label = f->label[k];
    snprintf(title, sizeof title, "%s%s%s", f->title, label ? ", " : "", label ? label : "");
    ct_plot plot = {title, f->unit, curve, curves, last_step(s->runs, s->count), NAN, f->linear};
    if (done) ct_plot_write(page, &plot);
    free_curves(curve, curves);
    free(curve);
    return done;
}

static bool write_figure(FILE *page, const selection *s, const figure *f) {
    if (!s->compared) return write_together(page, s->runs[0], f);
    bool done = true;
    for (int k = 0; done && k < MOST_TOGETHER && f->path[k]; k++)
        done = write_beside(page, s, f, k);
    return done;
}

/* Whatever number else is in a line, of a newer version or a loss of the user's own. */
static bool write_others(FILE *page, const selection *s) {
    json_t *written = json_object();
    for (int r = 0; r < s->count; r++) {
        for (size_t i = 0; ct_ok() && i < json_array_size(s->runs[r]->metrics); i++) {
            const char *key;
            json_t *value;
            json_object_foreach(json_array_get(s->runs[r]->metrics, i), key, value) {
                if (!json_is_number(value) || is_known(key) || json_object_get(written, key)) {
                    continue;
                }
                ct_json_set(written, key, json_true());
                write_figure(page, s, &(figure){key, "", {key}, {NULL}, false});
            }
        }
    }
    json_decref(written);
    return ct_ok();
}

/* One for all figures, where there would be as many lines in each. */
static void write_common_legend(FILE *page, const ct_compared *c) {
    fputs("<ul class=\"legend common\">", page);
    for (int g = 0; g < c->groups; g++) {
        ct_curve group = {
            .label = c->group_label[g], .colour = g, .dashed = g / CT_CURVE_COLOURS % 2};
        ct_plot_key(page, &group);
        fputs("</li>", page);
    }
    fputs("</ul>\n", page);
}

static bool write_all(FILE *page, const selection *s) {
    if (s->compared && ct_compared_many(s->compared)) write_common_legend(page, s->compared);
    fputs("<div class=\"plots\">\n", page);
    bool done = true;
    for (int i = 0; done && i < FIGURES; i++) done = write_figure(page, s, &figures[i]);
    done = done && write_others(page, s);
    fputs("</div>\n", page);
    return done;
}

bool ct_curves_write(FILE *page, ct_run_record *run) {
    return write_all(page, &(selection){&run, 1, NULL});
}

bool ct_curves_compare(FILE *page, const ct_compared *c) {
    return write_all(page, &(selection){c->runs, c->count, c});
}
