/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures with attention weights drawn over them, for TensorBoard. */
#ifndef CT_DRAWN_H
#define CT_DRAWN_H

#include "train/evaluate/observed.h"
#include "train/run/event_file.h"

/* For each module, of up to four of the images seen, evenly spread, a picture a head, side by side:
 * the stronger a region's weight among its image's, the more of it is red. Nothing where the images
 * have no pictures, or it is not known where their regions are. */
bool ct_drawn_write(ct_event_file *events, int64_t step, const ct_experiment *experiment,
                    const ct_split *split, const ct_observations *seen);

#endif
