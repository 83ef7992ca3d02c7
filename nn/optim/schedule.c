/* SPDX-License-Identifier: Apache-2.0 */
/* Learning rates as functions of the step. */
#include <math.h>

#include "nn/nn.h"

double ct_schedule_step(double lr, int64_t step, int64_t every, double factor) {
    if (every < 1 || step < 0) return lr;
    return lr * pow(factor, (double)(step / every));
}

/* Loshchilov and Hutter (2017), without restarts: from lr at step 0 to floor at step `steps`. */
double ct_schedule_cosine(double lr, int64_t step, int64_t steps, double floor) {
    if (step >= steps) return floor;
    double progress = step < 0 ? 0 : (double)step / (double)steps;
    return floor + 0.5 * (lr - floor) * (1 + cos(M_PI * progress));
}

double ct_schedule_warmup(double lr, int64_t step, int64_t warmup) {
    return step < warmup ? lr * (double)(step + 1) / (double)warmup : lr;
}
