/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of a split's images, and which part of one a region is: for what shows attention. */
#ifndef CT_REGIONS_H
#define CT_REGIONS_H

#include "train/run/experiment.h"

/* Of features, where their data folder says it: (regions,4), or (images,regions,4), f64 on the CPU,
 * in the innermost scope. NULL where nothing says it, and with an error if what does is wrong. */
ct_tensor *ct_region_boxes(const ct_experiment *experiment, const ct_split *split, int64_t regions);

typedef struct {
    double left, top, right, bottom; /* as parts of the picture's width and height */
} ct_region;

/* Of a model that sees pictures, its square grid; else what the boxes (or NULL) say. False: it is
 * not known. */
bool ct_region_find(const ct_experiment *experiment, const ct_tensor *boxes, int64_t image,
                    int64_t region, int64_t regions, ct_region *out);

/* What {split}_pictures.txt names, of features, for ct_images_close. A list that is wrong, or of
 * another number of images, is none; NULL then, and of a split that has pictures itself. */
ct_images *ct_region_pictures(const ct_split *split);

#endif
