/* SPDX-License-Identifier: Apache-2.0 */
/* Augmentation: what is changed of a picture for one epoch, drawn from (seed, epoch, number). */
#include <inttypes.h>
#include <math.h>

#include "tensor/core/check.h"
#include "train/pictures/view.h"

enum {
    STREAM = 0x70696374, /* of random numbers: "pict" */
    NUMBER_BITS = 32,
    COUNTER_BITS = 6, /* a sample has 64 counters, */
    CROPS = 10,       /* of which tries of a crop use two each, and the one that fits two more */
    AT_PLACE = 2 * CROPS,
    AT_FLIP = 48,
    AT_BRIGHTNESS,
    AT_CONTRAST,
    AT_SATURATION,
};

ct_picture_changes ct_picture_changes_defaults(void) {
    return (ct_picture_changes){.scale = {0.08, 1}, .ratio = {3.0 / 4, 4.0 / 3}};
}

/* ---- checks ------------------------------------------------------------------------------ */

static bool check_range(const char *what, const double range[2], double most) {
    if (range[0] > 0 && range[0] <= range[1] && range[1] <= most) return true;
    return ct_fail_bool("pictures: %s is %g to %g, expected numbers above 0, %g at most, the "
                        "smaller one first",
                        what, range[0], range[1], most);
}

static bool check_number(const char *what, double value, double most) {
    if (value >= 0 && value <= most) return true;
    return ct_fail_bool("pictures: %s is %g, expected 0 to %g", what, value, most);
}

bool ct_picture_changes_check(const ct_picture_changes *c) {
    const double most_ratio = 1000, most_factor = 100;
    return (!c->crop ||
            (check_range("scale", c->scale, 1) && check_range("ratio", c->ratio, most_ratio))) &&
           check_number("flip", c->flip, 1) &&
           check_number("brightness", c->brightness, most_factor) &&
           check_number("contrast", c->contrast, most_factor) &&
           check_number("saturation", c->saturation, most_factor);
}

bool ct_picture_draw_check(const ct_picture_draw *draw) {
    const int64_t numbers = (int64_t)1 << NUMBER_BITS;
    const int64_t epochs = (int64_t)1 << (64 - NUMBER_BITS - COUNTER_BITS);
    if (!draw ||
        (draw->number >= 0 && draw->number < numbers && draw->epoch >= 0 && draw->epoch < epochs)) {
        return true;
    }
    return ct_fail_bool("pictures: sample %" PRId64 " of epoch %" PRId64
                        ", expected samples 0 to %" PRId64 " of epochs 0 to %" PRId64,
                        draw->number, draw->epoch, numbers - 1, epochs - 1);
}

/* ---- draws ------------------------------------------------------------------------------- */

/* A generator at one of the sample's counters. */
static ct_rng at(const ct_picture_draw *draw, int counter) {
    ct_rng rng = ct_rng_create(draw->seed, STREAM);
    uint64_t sample = (uint64_t)draw->epoch << NUMBER_BITS | (uint64_t)draw->number;
    rng.offset = (sample << COUNTER_BITS) + (uint64_t)counter;
    return rng;
}

static double between(ct_rng *rng, double low, double high) {
    return low + (high - low) * ct_random_double(rng);
}

/* The whole picture, or the middle of it that has the nearest ratio allowed. */
static ct_rectangle middle_of(const ct_picture_changes *c, int width, int height) {
    double ratio = (double)width / height;
    int w = width, h = height;
    if (ratio < c->ratio[0]) h = (int)nearbyint(width / c->ratio[0]);
    else if (ratio > c->ratio[1]) w = (int)nearbyint(height * c->ratio[1]);
    h = h < 1 ? 1 : h > height ? height : h;
    w = w < 1 ? 1 : w > width ? width : w;
    return (ct_rectangle){(width - w) / 2, (height - h) / 2, w, h};
}

ct_rectangle ct_picture_draw_crop(const ct_picture_changes *c, const ct_picture_draw *draw,
                                  int width, int height) {
    ct_rng rng = at(draw, 0);
    for (int i = 0; i < CROPS; i++) {
        double area = (double)width * height * between(&rng, c->scale[0], c->scale[1]);
        double ratio = exp(between(&rng, log(c->ratio[0]), log(c->ratio[1])));
        double w = nearbyint(sqrt(area * ratio)), h = nearbyint(sqrt(area / ratio));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        ct_rng place = at(draw, AT_PLACE);
        int top = (int)ct_random_below(&place, (uint64_t)(height - (int)h + 1));
        int left = (int)ct_random_below(&place, (uint64_t)(width - (int)w + 1));
        return (ct_rectangle){left, top, (int)w, (int)h};
    }
    return middle_of(c, width, height);
}

bool ct_picture_draw_flip(const ct_picture_changes *c, const ct_picture_draw *draw) {
    ct_rng rng = at(draw, AT_FLIP);
    return ct_random_double(&rng) < c->flip;
}

static float draw_factor(const ct_picture_draw *draw, int counter, double most) {
    ct_rng rng = at(draw, counter);
    return (float)between(&rng, most < 1 ? 1 - most : 0, 1 + most);
}

/* ---- colours ----------------------------------------------------------------------------- */

static float grey(const float *planes, int64_t pixels, int64_t i) {
    return 0.2989f * planes[i] + 0.587f * planes[i + pixels] + 0.114f * planes[i + 2 * pixels];
}

/* Away from `other` by the factor, within 0 and 1. */
static float blend(float value, float other, float factor) {
    float x = other + (value - other) * factor;
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static void change_all(float *planes, int64_t pixels, float other, float factor) {
    for (int64_t i = 0; i < 3 * pixels; i++) planes[i] = blend(planes[i], other, factor);
}

static void change_contrast(float *planes, int64_t pixels, float factor) {
    double sum = 0;
    for (int64_t i = 0; i < pixels; i++) sum += (double)grey(planes, pixels, i);
    change_all(planes, pixels, (float)(sum / (double)pixels), factor);
}

static void change_saturation(float *planes, int64_t pixels, float factor) {
    for (int64_t i = 0; i < pixels; i++) {
        float other = grey(planes, pixels, i);
        for (int c = 0; c < 3; c++) {
            planes[c * pixels + i] = blend(planes[c * pixels + i], other, factor);
        }
    }
}

void ct_picture_jitter(const ct_picture_changes *c, const ct_picture_draw *draw, int64_t pixels,
                       float *planes) {
    if (c->brightness > 0) {
        change_all(planes, pixels, 0, draw_factor(draw, AT_BRIGHTNESS, c->brightness));
    }
    if (c->contrast > 0) {
        change_contrast(planes, pixels, draw_factor(draw, AT_CONTRAST, c->contrast));
    }
    if (c->saturation > 0) {
        change_saturation(planes, pixels, draw_factor(draw, AT_SATURATION, c->saturation));
    }
}
