/* SPDX-License-Identifier: Apache-2.0 */
/* A batch's way to the device: uploaded beside the step before (tensor/device/upload.h), then
 * copied to the tensors that every step reads, which stay where they are, so that a step can be
 * recorded. */
#ifndef CT_INPUTS_H
#define CT_INPUTS_H

#include "train/run/experiment.h"

typedef struct ct_inputs ct_inputs;
/* For host batches like this one, on the experiment's device. */
ct_inputs *ct_inputs_create(const ct_experiment *experiment, const ct_host_batch *like);
void ct_inputs_destroy(ct_inputs *inputs);
/* Begins to upload a batch of the size of the first; its memory stays as it is until
 * ct_inputs_wait. */
bool ct_inputs_send(ct_inputs *inputs, const ct_host_batch *host);
bool ct_inputs_wait(ct_inputs *inputs);
/* What was sent last, for what is asked of the device from here on; in the innermost scope. The
 * next one comes to the same memory. (Captions are as wide as the batch's longest: the noise of a
 * policy is drawn in that shape, and is to be the CPU's.) */
bool ct_inputs_receive(ct_inputs *inputs, ct_batch *batch);

#endif
