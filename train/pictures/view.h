/* SPDX-License-Identifier: Apache-2.0 */
/* What is drawn for a view of a picture. Internal to train/pictures/. */
#ifndef CT_PICTURE_VIEW_H
#define CT_PICTURE_VIEW_H

#include "train/pictures/resample.h"

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
