/* SPDX-License-Identifier: Apache-2.0 */
/* Learning rates as functions of the step. */
#include <math.h>

#include "nn/nn.h"
#include "tensor/core/check.h"

static bool check_steps(const char *op, const char *what, int64_t value) {
    return value >= 0 ||
           ct_fail_bool("%s: %s is %lld, expected 0 or more", op, what, (long long)value);
}

double ct_schedule_step(double lr, int64_t step, int64_t every, double factor) {
    static const char op[] = "schedule_step";
    if (!ct_check_not_negative(op, "lr", lr) || !ct_check_not_negative(op, "factor", factor) ||
        !check_steps(op, "step", step) || !check_steps(op, "every", every)) {
        return 0;
    }
    return every ? lr * pow(factor, (double)(step / every)) : lr;
}

/* Loshchilov and Hutter (2017), without restarts: from lr at step 0 to floor at step `steps`. */
double ct_schedule_cosine(double lr, int64_t step, int64_t steps, double floor) {
    static const char op[] = "schedule_cosine";
    if (!ct_check_not_negative(op, "lr", lr) || !ct_check_not_negative(op, "floor", floor) ||
        !check_steps(op, "step", step) || !check_steps(op, "steps", steps)) {
        return 0;
    }
    if (step >= steps) return floor;
    double progress = (double)step / (double)steps;
    return floor + 0.5 * (lr - floor) * (1 + cos(M_PI * progress));
}

double ct_schedule_warmup(double lr, int64_t step, int64_t warmup) {
    static const char op[] = "schedule_warmup";
    if (!ct_check_not_negative(op, "lr", lr) || !check_steps(op, "step", step) ||
        !check_steps(op, "warmup", warmup)) {
        return 0;
    }
    return step < warmup ? lr * (double)(step + 1) / (double)warmup : lr;
}
