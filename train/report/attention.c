/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/attention.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/excuse.h"
#include "train/report/html.h"
#include "train/evaluate/observed.h"
#include "train/evaluate/regions.h"
#include "train/report/pictures.h"
#include "train/report/plot.h"
#include "train/report/retrieval.h"

enum { SHOWN = 4, SAMPLE = 128, MOST_HEADS = 8, SIDE = 160, BINS = 24 };

/* ---- weights over something -------------------------------------------------------------- */

static void weight_range(const ct_seen_weights *w, int64_t row, int head, double range[2]) {
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (int64_t s = 0; s < w->length[row]; s++) {
        double value = ct_seen_weight(w, row, s, head);
        range[0] = fmin(range[0], value);
        range[1] = fmax(range[1], value);
    }
}

/* 0 to 1 within the range; of one that is a point 0: nothing stands out. */
static double part_of(double value, const double range[2]) {
    return range[1] > range[0] ? (value - range[0]) / (range[1] - range[0]) : 0;
}

static bool is_one_value(const double range[2]) {
    return range[1] - range[0] <= 1e-3 * fabs(range[1]);
}

/* "10.2 to 11.5", or "11.5 everywhere". */
static void write_range(FILE *page, const double range[2]) {
    bool one = is_one_value(range);
    if (!one) {
        ct_plot_number(page, range[0], 3);
        fputs(" to ", page);
    }
    ct_plot_number(page, range[1], 3);
    if (one) fputs(" everywhere", page);
}

static void write_head(FILE *page, const ct_seen_weights *w, int head, const double range[2]) {
    ct_htmlf(page, "<figcaption>%s, head %d: ", w->path, head + 1);
    write_range(page, range);
    fputs("</figcaption>", page);
}

static bool write_regions(FILE *page, const ct_findings *f, const ct_tensor *boxes,
                          const ct_picture *picture, const ct_seen_weights *w, int64_t row,
                          int head) {
    double range[2];
    weight_range(w, row, head, range);
    fprintf(page,
            "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"weights\">"
            "<image width=\"%d\" height=\"%d\" href=\"",
            picture->width, picture->height, picture->width, picture->height);
    if (!ct_picture_write_uri(page, picture)) return false;
    fputs("\"/>", page);
    for (int64_t s = 0; s < w->length[row]; s++) {
        ct_region b;
        if (!ct_region_find(f->experiment, boxes, w->which[row], s, w->length[row], &b)) continue;
        double value = ct_seen_weight(w, row, s, head);
        fprintf(page,
                "<rect class=\"heat\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                "fill-opacity=\"%.2f\"><title>region %" PRId64 ": %.4g</title></rect>",
                b.left * picture->width, b.top * picture->height,
                (b.right - b.left) * picture->width, (b.bottom - b.top) * picture->height,
                is_one_value(range) ? 0 : 0.65 * part_of(value, range), s + 1, value);
    }
    fputs("</svg>", page);
    write_head(page, w, head, range);
    fputs("</figure>\n", page);
    return true;
}

/* What step s of a row is called. */
static void write_step(FILE *page, const ct_findings *f, const ct_seen_weights *w, int64_t row,
                       int64_t s) {
    if (!w->captions) fprintf(page, "%" PRId64, s + 1);
    else ct_html(page, ct_step_word(f->experiment, &f->split->encoded[w->which[row]], s));
}

static void write_steps(FILE *page, const ct_findings *f, const ct_seen_weights *w, int64_t row) {
    int heads = w->heads < MOST_HEADS ? (int)w->heads : MOST_HEADS;
    fputs("<figure class=\"steps\"><ol>", page);
    for (int64_t s = 0; s < w->length[row]; s++) {
        fputs("<li><span class=\"bars\">", page);
        for (int head = 0; head < heads; head++) {
            double range[2], value = ct_seen_weight(w, row, s, head);
            weight_range(w, row, head, range);
            double most = fmax(fabs(range[0]), fabs(range[1]));
            fprintf(page, "<i class=\"c%d\" style=\"--w:%.3f\" title=\"head %d: %.4g\"></i>",
                    head % CT_CURVE_COLOURS, most > 0 ? fabs(value) / most : 0, head + 1, value);
        }
        fputs("</span><b>", page);
        write_step(page, f, w, row, s);
        fputs("</b></li>", page);
    }
    fputs("</ol>", page);
    fputs("<figcaption>", page);
    ct_html(page, w->path);
    for (int head = 0; head < heads; head++) {
        double range[2];
        weight_range(w, row, head, range);
        fprintf(page, "%s <i class=\"c%d\"></i> head %d: ", head ? ";" : "",
                head % CT_CURVE_COLOURS, head + 1);
        write_range(page, range);
    }
    fputs("</figcaption></figure>\n", page);
}

/* ---- one image, one caption -------------------------------------------------------------- */

static bool knows_places(const ct_findings *f, const ct_tensor *boxes, const ct_seen_weights *w) {
    ct_region b;
    return !w->captions && ct_region_find(f->experiment, boxes, 0, 0, w->length[0], &b);
}

static bool read_picture(const ct_findings *f, int64_t image, ct_picture *picture) {
    const char *path = ct_findings_picture(f, image);
    const ct_picture_view *view = f->experiment->pictures ? &f->experiment->view : NULL;
    bool read = path && ct_picture_small(path, view, SIDE, picture);
    ct_error_excuse(); /* one that cannot be read is not drawn over */
    return read;
}

static bool write_sample(FILE *page, const ct_findings *f, const ct_tensor *boxes,
                         const ct_observations *seen, int64_t row) {
    int64_t which = seen->weights[0].which[row];
    bool captions = seen->weights[0].captions, done = true;
    ct_htmlf(page, "<article class=\"attended\"><h3>%s</h3><div class=\"heads\">\n",
             captions ? f->split->captions[which] : ct_findings_caption(f, which));
    ct_picture picture = {0};
    bool read = !captions && read_picture(f, which, &picture);
    for (int i = 0; done && i < seen->count; i++) {
        const ct_seen_weights *w = &seen->weights[i];
        if (!read || !knows_places(f, boxes, w)) {
            write_steps(page, f, w, row);
            continue;
        }
        for (int head = 0; done && head < w->heads && head < MOST_HEADS; head++)
            done = write_regions(page, f, boxes, &picture, w, row, head);
    }
    if (read) ct_picture_free(&picture);
    fputs("</div></article>\n", page);
    return done;
}

/* ---- histograms -------------------------------------------------------------------------- */

enum { WIDTH = 240 };

static void write_bars(FILE *page, const int64_t *bin, int head) {
    enum { HEIGHT = 80 };
    int64_t most = 1;
    for (int b = 0; b < BINS; b++) most = bin[b] > most ? bin[b] : most;
    for (int b = 0; b < BINS; b++) {
        double height = (double)HEIGHT * (double)bin[b] / (double)most;
        if (!bin[b]) continue;
        fprintf(page,
                "<rect class=\"bar c%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                "<title>%" PRId64 " weights</title></rect>",
                head % CT_CURVE_COLOURS, (double)(WIDTH * b) / BINS, HEIGHT - height,
                (double)WIDTH / BINS - 1, height, bin[b]);
    }
    fprintf(page, "<path class=\"axis\" d=\"M0 %dH%d\"/>", HEIGHT, WIDTH);
}

static void write_end(FILE *page, int x, const char *anchor, double value) {
    fprintf(page, "<text x=\"%d\" y=\"95\" text-anchor=\"%s\">", x, anchor);
    ct_plot_number(page, value, 3);
    fputs("</text>", page);
}

static void write_histogram(FILE *page, const ct_seen_weights *w, int head) {
    double all[2] = {INFINITY, -INFINITY};
    int64_t bin[BINS] = {0};
    for (int64_t row = 0; row < w->rows; row++) {
        double range[2];
        weight_range(w, row, head, range);
        all[0] = fmin(all[0], range[0]);
        all[1] = fmax(all[1], range[1]);
    }
    for (int64_t row = 0; row < w->rows; row++) {
        for (int64_t s = 0; s < w->length[row]; s++) {
            int b = (int)(BINS * part_of(ct_seen_weight(w, row, s, head), all));
            bin[is_one_value(all) ? BINS / 2 : b < BINS ? b : BINS - 1]++;
        }
    }
    ct_htmlf(page,
             "<figure class=\"histogram\"><figcaption>%s, head %d</figcaption>"
             "<svg viewBox=\"0 0 240 98\" role=\"img\" aria-label=\"histogram of weights\">",
             w->path, head + 1);
    write_bars(page, bin, head);
    if (is_one_value(all)) write_end(page, WIDTH / 2, "middle", all[1]);
    else {
        write_end(page, 0, "start", all[0]);
        write_end(page, WIDTH, "end", all[1]);
    }
    fputs("</svg></figure>\n", page);
}

static bool write_histograms(FILE *page, const ct_findings *f, bool captions) {
    ct_observations seen = {0};
    bool done = ct_observe(f->experiment, f->split, captions, SAMPLE, &seen);
    for (int i = 0; done && i < seen.count; i++) {
        for (int head = 0; head < seen.weights[i].heads && head < MOST_HEADS; head++)
            write_histogram(page, &seen.weights[i], head);
    }
    ct_observations_free(&seen);
    return done;
}

/* ---- the section ------------------------------------------------------------------------- */

static bool write_side(FILE *page, const ct_findings *f, bool captions) {
    ct_observations seen = {0};
    bool done = ct_observe(f->experiment, f->split, captions, SHOWN, &seen);
    if (done && seen.count) {
        CT_SCOPE {
            ct_tensor *boxes =
                captions ? NULL
                         : ct_region_boxes(f->experiment, f->split, seen.weights[0].length[0]);
            done = ct_ok();
            ct_htmlf(page, "<h3 class=\"way\">%s</h3>\n<div class=\"samples\">\n",
                     captions ? "Words" : "Regions");
            for (int64_t row = 0; done && row < seen.weights[0].rows; row++)
                done = write_sample(page, f, boxes, &seen, row);
            fputs("</div>\n", page);
        }
    }
    ct_observations_free(&seen);
    return done;
}

/* Whether images or captions have weights that are seen. */
static bool has_any(const ct_findings *f, bool *any) {
    bool done = true;
    *any = false;
    for (int captions = 0; done && captions < 2 && !*any; captions++) {
        ct_observations seen = {0};
        done = ct_observe(f->experiment, f->split, captions, 1, &seen);
        *any = seen.count > 0;
        ct_observations_free(&seen);
    }
    return done;
}

bool ct_attention_write(FILE *page, const ct_findings *f) {
    bool any;
    if (!has_any(f, &any)) return false;
    if (!any) {
        fputs("<p class=\"note\">The model has no attention whose weights are seen.</p>\n", page);
        return true;
    }
    fprintf(page, "<p class=\"note\">Not picked by hand: %d images and %d captions of split ",
            SHOWN, SHOWN);
    ct_htmlf(page,
             "%s, evenly spread. A policy attention's weight is that of its best action, by "
             "which the head's part of a region or word is multiplied; a self-attention's "
             "is what a step gets from all steps, on average. Shading goes from the smallest "
             "to the largest weight of the picture, bars from 0 to the largest.</p>\n",
             f->split->name);
    if (!write_side(page, f, false) || !write_side(page, f, true)) return false;
    ct_htmlf(page,
             "<h3 class=\"way\">Histograms of the weights</h3>\n<p class=\"note\">Of up to %d "
             "images and as many captions, evenly spread.</p>\n<div class=\"histograms\">\n",
             (int)SAMPLE);
    bool done = write_histograms(page, f, false) && write_histograms(page, f, true);
    fputs("</div>\n", page);
    return done;
}
