/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine tells a profile (autograd/profile.h). Internal to autograd/. */
#ifndef CT_AUTOGRAD_TIMING_H
#define CT_AUTOGRAD_TIMING_H

#include "autograd/profile.h"

/* Whether this thread has a profile that wants to be told. */
bool ct_profile_running(void);
/* An operation has just been computed. */
void ct_profile_forward(const ct_op *op, int inputs, ct_tensor *const *input, int outputs,
                        ct_tensor *const *output);
/* An operation's backward, begun at `start` by ct_profile_clock, has just been computed. */
void ct_profile_backward(const ct_op *op, double start);

#endif
