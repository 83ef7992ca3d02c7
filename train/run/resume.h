/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a run can be gone on with: a position among batches, a best score and an optimiser's
 * state mean something only under the configuration and on the data that they were made with. So
 * both are saved with them, and compared. */
#ifndef CT_RESUME_H
#define CT_RESUME_H

#include "train/run/preparation.h"

/* What tells the data of a training from others, as text (JSON) for its checkpoints; from malloc,
 * NULL and an error otherwise. */
char *ct_resume_data(const ct_prepared *prepared);

/* Compares what is prepared, and `data_text` of it, with what the run in its folder was made with.
 * What makes another run of it is an error that names the key, its value and the earlier one; of
 * what may change a line on the console says that it has. A checkpoint that does not say what it
 * was made with is taken as it is. */
bool ct_resume_check(const ct_prepared *prepared, const char *data_text);

/* The same, for a dry run: nothing is said of a folder with `resume = released`, from which nothing
 * but the encoders' weights would be taken. */
bool ct_resume_possible(const ct_prepared *prepared);

#endif
