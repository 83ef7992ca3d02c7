/* SPDX-License-Identifier: Apache-2.0 */
/* Work in parts of which each is many kernels long, on the CPU: a thread does all of a part, and
 * waits for the others once. Internal to tensor/. */
#ifndef CT_TEAM_H
#define CT_TEAM_H

#include "tensor/tensor.h"

/* A part's work, in a scope of its own. False with an error if it fails. */
typedef bool ct_team_work(void *context, int part);

/* Does work(context, i) for i = 0 to parts - 1, at most ct_team_size() of them side by side;
 * kernels that it calls then stay on their thread. False with the error of the first part (by
 * number) that fails; the others are done all the same. */
bool ct_team(int parts, ct_team_work *work, void *context);
/* The most parts that are done side by side here: 1 within a part. */
int ct_team_size(void);

#endif
