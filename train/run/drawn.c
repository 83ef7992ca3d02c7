/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/drawn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/evaluate/regions.h"
#include "train/report/pictures.h"

enum { SHOWN = 4, MOST_HEADS = 8, SIDE = 160 };

typedef struct {
    const ct_experiment *experiment;
    const ct_split *split;
    const ct_seen_weights *seen;
    const ct_images *shown; /* or NULL */
    const ct_tensor *boxes; /* or NULL */
} drawing;

/* Towards red by `part`, 0 to 1. */
static void tint(uint8_t *pixel, double part) {
    static const double red[3] = {225, 30, 40};
    for (int c = 0; c < 3; c++) {
        pixel[c] = (uint8_t)lround((1 - part) * pixel[c] + part * red[c]);
    }
}

static int clamp(double x, int most) { return !(x > 0) ? 0 : x > most ? most : (int)lround(x); }

/* A region of the picture that begins `at` columns from the left of a wider one. */
static void tint_region(ct_picture *wide, int at, int width, ct_region r, double part) {
    int left = clamp(r.left * width, width), right = clamp(r.right * width, width);
    int top = clamp(r.top * wide->height, wide->height),
        bottom = clamp(r.bottom * wide->height, wide->height);
    for (int y = top; y < bottom; y++) {
        for (int x = left; x < right; x++) {
            tint(wide->rgb + 3 * ((size_t)y * (size_t)wide->width + (size_t)(at + x)), part);
        }
    }
}

static bool tint_head(const drawing *d, int64_t row, int head, ct_picture *wide, int width) {
    const ct_seen_weights *w = d->seen;
    double least = INFINITY, most = -INFINITY;
    for (int64_t s = 0; s < w->length[row]; s++) {
        least = fmin(least, ct_seen_weight(w, row, s, head));
        most = fmax(most, ct_seen_weight(w, row, s, head));
    }
    for (int64_t s = 0; s < w->length[row]; s++) {
        ct_region r;
        if (!ct_region_find(d->experiment, d->boxes, w->which[row], s, w->length[row], &r)) {
            return false;
        }
        double part = most > least ? (ct_seen_weight(w, row, s, head) - least) / (most - least) : 0;
        tint_region(wide, head * width, width, r, 0.7 * part);
    }
    return true;
}

/* The picture as often as there are heads, side by side. */
static bool repeat(const ct_picture *one, int heads, ct_picture *wide) {
    size_t row = 3 * (size_t)one->width;
    *wide = (ct_picture){one->width * heads, one->height,
                         malloc(row * (size_t)heads * (size_t)one->height)};
    if (!wide->rgb) return ct_fail_bool("out of memory");
    for (size_t y = 0; y < (size_t)one->height; y++) {
        for (size_t h = 0; h < (size_t)heads; h++) {
            memcpy(wide->rgb + (y * (size_t)heads + h) * row, one->rgb + y * row, row);
        }
    }
    return true;
}

static bool write_picture(ct_event_file *events, int64_t step, const char *tag,
                          const ct_picture *picture) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ct_picture_to_jpeg(picture, &bytes, &size)) return false;
    bool done =
        ct_event_file_picture(events, step, tag, picture->width, picture->height, bytes, size);
    free(bytes);
    return done;
}

/* A picture that cannot be read now is left out. */
static bool draw(const drawing *d, ct_event_file *events, int64_t step, int64_t row) {
    const ct_seen_weights *w = d->seen;
    int heads = w->heads < MOST_HEADS ? (int)w->heads : MOST_HEADS;
    char *const *paths = d->shown ? d->shown->picture : d->split->images->picture;
    ct_picture one, wide = {0};
    char tag[160];
    if (!ct_picture_small(paths[w->which[row]], d->shown ? NULL : &d->experiment->view, SIDE,
                          &one)) {
        ct_error_clear();
        return true;
    }
    snprintf(tag, sizeof tag, "%s/image %lld", w->path, (long long)w->which[row]);
    bool done = repeat(&one, heads, &wide), known = done;
    for (int h = 0; known && h < heads; h++) known = tint_head(d, row, h, &wide, one.width);
    if (known) done = write_picture(events, step, tag, &wide);
    ct_picture_free(&wide);
    ct_picture_free(&one);
    return done;
}

static bool write_module(ct_event_file *events, int64_t step, drawing *d) {
    const ct_seen_weights *seen = d->seen;
    bool done = true;
    CT_SCOPE {
        d->boxes = ct_region_boxes(d->experiment, d->split, seen->length[0]);
        int64_t count = seen->rows < SHOWN ? seen->rows : SHOWN;
        ct_error_clear(); /* boxes that are wrong are none: no reason to end a training */
        for (int64_t k = 0; done && k < count; k++) {
            done = draw(d, events, step, ct_spread(k, count, seen->rows));
        }
    }
    return done && ct_ok();
}

bool ct_drawn_write(ct_event_file *events, int64_t step, const ct_experiment *e,
                    const ct_split *split, const ct_observations *seen) {
    ct_images *shown = seen->count ? ct_region_pictures(split) : NULL;
    bool done = true;
    for (int i = 0; done && i < seen->count && (shown || split->images->picture); i++) {
        drawing d = {e, split, &seen->weights[i], shown, NULL};
        done = write_module(events, step, &d);
    }
    ct_images_close(shown);
    return done;
}
