/* SPDX-License-Identifier: Apache-2.0 */
/* What a training step computed, in a file of its own, to be compared with another program's
 * (docs/parity.md):
 *
 *     loss.NAME                            every term, unweighted, and loss.total, the weighted sum
 *     out.img_emb, out.cap_emb             embeddings as the chains give them
 *     out.advantage                        of each pair
 *     out.total_grad_norm                  over what is optimised, before clipping
 *     grad.param.NAME, grad_norm.NAME      of each parameter that has one, before clipping
 *     param_after.NAME, buffer_after.NAME  after the optimiser's step
 *
 * and as metadata step (from 1), epoch (from 0), lr, seed and config. Under [run] names = released
 * the names are the released code's, with its sums rl_loss1, rl_loss2, classification, and what
 * that code does not have is left out. Shapes are ours: 1x1 convolutions are (out,in).
 */
#ifndef CT_DUMP_H
#define CT_DUMP_H

#include "train/run/run_folder.h"

typedef struct ct_dump ct_dump;

/* Makes the folder if it is not there. Steps that an earlier run left in it are an error for a new
 * run, removed by one that overwrites, and added to by one that resumes. The experiment outlives
 * the dump. */
ct_dump *ct_dump_open(const ct_experiment *experiment, const char *folder, ct_run_mode mode);
void ct_dump_close(ct_dump *dump);
/* Between backward and the optimiser's step: takes losses, embeddings and gradients. */
bool ct_dump_gradients(ct_dump *dump, const ct_losses *losses);
/* After the optimiser's step: takes the rest and writes FOLDER/step_000001.safetensors for step 1,
 * as ct_safetensors_save does. */
bool ct_dump_write(ct_dump *dump, const ct_optimizer *optimizer, int64_t step, int64_t epoch);

#endif
