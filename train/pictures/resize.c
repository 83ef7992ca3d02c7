/* SPDX-License-Identifier: Apache-2.0 */
/* Resizing with filters that are as wide as what becomes one pixel (no aliases), in two passes,
 * columns then rows, each rounded to bytes: the arithmetic of Pillow, whose weights are integers
 * of 22 bits behind the point. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/check.h"
#include "train/pictures/passes.h"
#include "train/pictures/resample.h"

enum { MOST_SIDE = 65535 };

/* ---- weights ----------------------------------------------------------------------------- */

/* The results of one direction. */
typedef struct {
    int results;
    ct_span *spans;
    ct_weight_pair *pairs;
} taps;

static double bilinear(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static const struct {
    double (*weight)(double x);
    double support;
} filters[] = {[CT_PICTURE_BILINEAR] = {bilinear, 1}, [CT_PICTURE_BICUBIC] = {bicubic, 2}};

/* One direction: [begin, end) of `size` values becomes `all` results, of which those from `first`
 * on are wanted. */
typedef struct {
    int size;
    float begin, end;
    int all, first;
    ct_picture_filter filter;
} direction;

static void put_weight(ct_weight_pair *pairs, int k, double weight) {
    int32_t fixed = (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << CT_WEIGHT_BITS));
    int32_t high = fixed >> CT_WEIGHT_LOW_BITS;
    pairs[k / 2].high[k % 2] = (int16_t)high;
    pairs[k / 2].low[k % 2] = (int16_t)(fixed - high * (1 << CT_WEIGHT_LOW_BITS));
}

/* `weight` has room for as many as a result may have. */
static ct_span weigh(const direction *d, int i, double *weight, ct_weight_pair *pairs) {
    double scale = (double)(d->end - d->begin) / d->all, stretch = scale < 1 ? 1 : scale;
    double support = filters[d->filter].support * stretch;
    double centre = d->begin + (d->first + i + 0.5) * scale, sum = 0, inverse = 1 / stretch;
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > d->size ? d->size : end;
    for (int k = 0; k < end - first; k++) {
        weight[k] = filters[d->filter].weight((k + first - centre + 0.5) * inverse);
        sum += weight[k];
    }
    for (int k = 0; k < end - first; k++) put_weight(pairs, k, sum != 0 ? weight[k] / sum : 0);
    return (ct_span){first, end - first, pairs};
}

static bool make_taps(const direction *d, int results, taps *t) {
    double scale = (double)(d->end - d->begin) / d->all;
    int most = (int)ceil(filters[d->filter].support * (scale < 1 ? 1 : scale)) * 2 + 1;
    size_t pairs = (size_t)(most + 1) / 2;
    double *weight = malloc((size_t)most * sizeof *weight);
    t->results = results;
    t->spans = malloc((size_t)results * sizeof *t->spans);
    t->pairs = calloc((size_t)results * pairs, sizeof *t->pairs);
    bool done = t->spans && t->pairs && weight;
    for (int i = 0; done && i < results; i++) {
        t->spans[i] = weigh(d, i, weight, t->pairs + (size_t)i * pairs);
    }
    free(weight);
    return done;
}

static void free_taps(taps *t) {
    free(t->spans);
    free(t->pairs);
}

/* Rows of `from` that the second pass reads become rows of the result's width. */
static bool resample(const ct_pixels *from, const taps *across, const taps *down, uint8_t *to,
                     size_t to_row) {
    int top = down->spans[0].first;
    ct_span last = down->spans[down->results - 1];
    size_t rows = (size_t)(last.first + last.count - top), bytes = (size_t)across->results * 3;
    size_t wide = (size_t)from->width * 3;
    uint8_t *narrow = malloc(rows * bytes), *line = calloc(1, wide + CT_ROW_SLACK);
    bool done = narrow && line;
    for (size_t y = 0; done && y < rows; y++) {
        memcpy(line, from->rgb + ((size_t)top + y) * from->row, wide);
        ct_pass_across(line, across->spans, across->results, narrow + y * bytes);
    }
    for (int i = 0; done && i < down->results; i++) {
        ct_span span = down->spans[i];
        span.first -= top;
        ct_pass_down(narrow, bytes, bytes, &span, to + (size_t)i * to_row);
    }
    free(narrow);
    free(line);
    return done;
}

/* ---- the caller's side ------------------------------------------------------------------- */

ct_pixels ct_pixels_within(const ct_picture *picture, int left, int top, int width, int height) {
    size_t row = (size_t)picture->width * 3;
    return (ct_pixels){picture->rgb + (size_t)top * row + (size_t)left * 3, width, height, row};
}

ct_pixels ct_pixels_of(const ct_picture *picture) {
    return ct_pixels_within(picture, 0, 0, picture->width, picture->height);
}

bool ct_resample(const ct_pixels *from, const ct_resampling *how, uint8_t *to, size_t row) {
    direction x = {from->width, how->box.left, how->box.right, how->width, how->left, how->filter};
    direction y = {from->height, how->box.top, how->box.bottom, how->height, how->top, how->filter};
    taps across = {0}, down = {0};
    bool done = make_taps(&x, how->part_width, &across) && make_taps(&y, how->part_height, &down) &&
                resample(from, &across, &down, to, row);
    free_taps(&across);
    free_taps(&down);
    return done || ct_fail_bool("picture: out of memory");
}

static bool check_resize(const ct_picture *from, const ct_picture_box *box, int width, int height,
                         ct_picture_filter filter) {
    if (!ct_check_pointer("picture_resize", "from", from) ||
        !ct_check_pointer("picture_resize", "from->rgb", from->rgb) ||
        !ct_check_choice("picture_resize", "filter", filter, 2)) {
        return false;
    }
    if (width < 1 || height < 1 || width > MOST_SIDE || height > MOST_SIDE) {
        return ct_fail_bool("picture_resize: to %d x %d pixels, expected sides of 1 to %d", width,
                            height, MOST_SIDE);
    }
    if (box->left >= 0 && box->top >= 0 && box->left < box->right && box->top < box->bottom &&
        box->right <= (float)from->width && box->bottom <= (float)from->height) {
        return true;
    }
    return ct_fail_bool("picture_resize: the box from (%g, %g) to (%g, %g), expected one within "
                        "%d x %d pixels",
                        (double)box->left, (double)box->top, (double)box->right,
                        (double)box->bottom, from->width, from->height);
}

bool ct_picture_resize(const ct_picture *from, const ct_picture_box *box, int width, int height,
                       ct_picture_filter filter, ct_picture *to) {
    if (!ct_check_pointer("picture_resize", "to", to)) return false;
    *to = (ct_picture){0};
    if (!ct_ok() || !ct_check_pointer("picture_resize", "from", from)) return false;
    ct_picture_box whole = {0, 0, (float)from->width, (float)from->height};
    ct_resampling how = {box ? *box : whole, width, height, 0, 0, width, height, filter};
    if (!check_resize(from, &how.box, width, height, filter)) return false;
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    ct_pixels pixels = ct_pixels_of(from);
    if (!rgb) return ct_fail_bool("picture_resize: out of memory");
    if (!ct_resample(&pixels, &how, rgb, (size_t)width * 3)) {
        free(rgb);
        return false;
    }
    *to = (ct_picture){width, height, rgb};
    return true;
}
