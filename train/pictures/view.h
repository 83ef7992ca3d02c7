/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a picture, and what is drawn for it. Internal to train/pictures/. */
#ifndef CT_PICTURE_VIEW_H
#define CT_PICTURE_VIEW_H

#include "train/pictures/resample.h"

/* A picture as it was decoded, and its size but for that. Sides of a reduced one are these divided
 * by `reduced` and rounded up: what is too much is at its end as the file has it, which
 * `orientation` may have turned to its beginning. */
typedef struct {
    const ct_picture *picture;
    int width, height, reduced, orientation;
} ct_looked_at;

/* ct_picture_look of one that may be reduced, without its checks. */
bool ct_picture_look_at(const ct_looked_at *at, const ct_picture_view *view,
                        const ct_picture_draw *draw, float *out);
/* 1, 2, 4 or 8: what the sides of a picture of this size can be divided by so that what is seen of
 * it is not smaller than what it becomes. */
int ct_picture_reduction(const ct_picture_view *view, const ct_picture_draw *draw, int width,
                         int height);

bool ct_picture_changes_check(const ct_picture_changes *changes);
/* NULL is a draw too: of no changes. */
bool ct_picture_draw_check(const ct_picture_draw *draw);

typedef struct {
    int left, top, width, height;
} ct_rectangle;

/* Each draws from counters of its own: one change does not depend on which others there are. */
ct_rectangle ct_picture_draw_crop(const ct_picture_changes *changes, const ct_picture_draw *draw,
                                  int width, int height);
bool ct_picture_draw_flip(const ct_picture_changes *changes, const ct_picture_draw *draw);
/* Brightness, contrast, saturation of three planes of `pixels` values. */
void ct_picture_jitter(const ct_picture_changes *changes, const ct_picture_draw *draw,
                       int64_t pixels, float *planes);

#endif
