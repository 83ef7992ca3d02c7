/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of a split on their way to the model.
 *
 * Where the front of [image] stays as it is (ct_model_front) and nothing changes the pictures in
 * training, what it makes of them is computed once and kept as f16 features,
 *
 *     CACHE/{split}-0123456789abcdef/00000.npy, 00001.npy, ...
 *
 * under a hash of all that it depends on: the front's parameters, how pictures come to their size,
 * and the pictures' paths, sizes and times. Each file has CT_FRONT_PART images and appears whole:
 * an interrupted computation goes on behind the last. Training then reads features.
 */
#ifndef CT_FRONT_H
#define CT_FRONT_H

#include "train/run/experiment.h"

enum { CT_FRONT_PART = 1024 };

/* Sets experiment->pictures and ->view as [image] `pictures` and [data] say. */
bool ct_front_view(ct_experiment *experiment);
/* Whether features are kept in the place of pictures, and their sizes. */
bool ct_front_counts(const ct_experiment *experiment, int64_t *regions, int64_t *features);
/* Replaces a split's pictures by such features, made now if they are not there. A line says so.
 * True where there is nothing to replace. */
bool ct_front_take(const ct_experiment *experiment, ct_split *split);
/* (count,N,F) f32 of images that are in no split, as a split's would be. In the innermost scope. */
ct_tensor *ct_front_of(const ct_experiment *experiment, ct_tensor *images);

/* [data] broken_pictures = skip: takes those that are no pictures, or not whole ones, out of a
 * split, with their captions, and says how many they are. Else true: reading one is an error. */
bool ct_front_skip_broken(const ct_experiment *experiment, ct_split *split);

#endif
