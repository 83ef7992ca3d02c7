/* SPDX-License-Identifier: Apache-2.0 */
/* Batches and noise that another program recorded, read from safetensors files, so that a run can
 * be compared with that program's step by step ([recorded] of a configuration; docs/parity.md).
 *
 * The layout is that of tests/golden/README.md. A batch: `in.images` (B,N,F), `in.lengths` (B), and
 * the captions as ids `in.captions` (B,T), 0 beyond a length, or as word vectors `in.language`
 * (B,T,E); for an instance loss `in.idx` (B), for a decoder whose tokens are not the captions'
 * `in.caption_labels` (B,M) and `in.caption_masks` (B,M). Noise: `noise.txt_enc.*` and
 * `noise.img_enc.*` with `gumbel_u` (S,B*H,A), `index_v` (S,B*H), `z1` and `z2` (S,B,H). Ids and
 * lengths are i64, all else is of any float type. With several steps the names begin with `step1.`,
 * `step2.`, ... All errors name file and tensor.
 */
#ifndef CT_RECORDED_H
#define CT_RECORDED_H

#include "train/config/config.h"

typedef struct ct_recorded ct_recorded;

/* Opens [recorded] file and noise. NULL without an error if the configuration names neither. The
 * configuration outlives the result. */
ct_recorded *ct_recorded_open(const ct_config *config);
void ct_recorded_close(ct_recorded *recorded);

/* How many batches are recorded; 0: none, or `recorded` is NULL. */
int64_t ct_recorded_batches(const ct_recorded *recorded);

/* What the batches determine of a model: regions and features of the first batch's images;
 * vocabulary and images (classes) from [recorded], from the file's metadata V and num_classes, or
 * else, for the classes, one more than the largest in.idx. */
bool ct_recorded_sizes(const ct_recorded *recorded, ct_model_sizes *sizes);
/* Checks every batch against the model that is to be trained with it. */
bool ct_recorded_check(ct_recorded *recorded, ct_model *model);

/* Batch `step` (from 0) as it is in the file, in the innermost scope. */
bool ct_recorded_batch(const ct_recorded *recorded, int64_t step, ct_batch *batch);

/* For how many steps noise is recorded; 0: for none, and none is replayed. */
int64_t ct_recorded_noise_steps(const ct_recorded *recorded);
/* Gives `rng` the noise recorded for step `step` (from 0) to replay; it draws as before where
 * none is recorded at all. An error if noise is recorded, but for fewer steps. A draw that is not
 * among those recorded fails when it is made. */
bool ct_recorded_replay(ct_recorded *recorded, int64_t step, ct_rng *rng);

#endif
