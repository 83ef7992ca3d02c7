/* SPDX-License-Identifier: Apache-2.0 */
/* Resizing a part of a picture to a part of a larger result. Internal to train/pictures/. */
#ifndef CT_PICTURE_RESAMPLE_H
#define CT_PICTURE_RESAMPLE_H

#include "train/pictures/picture.h"

/* Pixels of a picture, or of a rectangle in one; borrowed. */
typedef struct {
    const uint8_t *rgb;
    int width, height;
    size_t row; /* bytes from one row to the next */
} ct_pixels;

/* `box` of `from` becomes width x height pixels, of which the rectangle at (left, top) of
 * `part_width` x `part_height` is computed. */
typedef struct {
    ct_picture_box box;
    int width, height;
    int left, top, part_width, part_height;
    ct_picture_filter filter;
} ct_resampling;

ct_pixels ct_pixels_of(const ct_picture *picture);
ct_pixels ct_pixels_within(const ct_picture *picture, int left, int top, int width, int height);

/* To rows of part_width * 3 bytes, `row` bytes from one to the next. False and an error without
 * memory. */
bool ct_resample(const ct_pixels *from, const ct_resampling *how, uint8_t *to, size_t row);

#endif
