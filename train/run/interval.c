/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/interval.h"

#include <stdlib.h>

enum { REWARD = CT_LOSS_COUNT, REWARD_SPREAD, SUMS };

struct ct_interval {
    ct_tensor *sums; /* f64 (SUMS) */
    int64_t steps;
};

ct_interval *ct_interval_create(ct_device device) {
    ct_interval *interval = calloc(1, sizeof *interval);
    if (!interval) return ct_fail("interval: out of memory");
    CT_SCOPE { interval->sums = ct_keep(ct_zeros(CT_F64, device, CT_SHAPE(SUMS))); }
    if (interval->sums) return interval;
    ct_interval_destroy(interval);
    return NULL;
}

void ct_interval_destroy(ct_interval *interval) {
    if (!interval) return;
    ct_release(interval->sums);
    free(interval);
}

/* value: a scalar. */
static bool add(const ct_interval *interval, int which, const ct_tensor *value) {
    ct_tensor *wide = value ? ct_tensor_cast(value, CT_F64) : NULL;
    ct_tensor *one = wide ? ct_tensor_reshape(wide, CT_SHAPE(1)) : NULL;
    ct_tensor *sum = one ? ct_tensor_slice(interval->sums, 0, which, which + 1, 1) : NULL;
    return sum && ct_tensor_add_to(sum, 1, one);
}

static ct_tensor *mean_of(const ct_tensor *x) {
    ct_tensor *mean = x ? ct_tensor_reduce(CT_MEAN, x, CT_ALL_AXES, false) : NULL;
    return mean ? ct_tensor_cast(mean, CT_F64) : NULL;
}

/* What the policies are paid: without a spread within the batch they have nothing to learn from. */
static bool add_reward(const ct_interval *interval, const ct_tensor *reward) {
    ct_tensor *mean = mean_of(reward), *mean_square = mean_of(ct_tensor_mul(reward, reward));
    if (!mean || !mean_square) return false;
    ct_tensor *variance = ct_tensor_sub(mean_square, ct_tensor_mul(mean, mean));
    ct_tensor *zero = ct_scalar(CT_F64, mean->device, 0);
    variance = variance && zero ? ct_tensor_binary(CT_BINARY_maximum, variance, zero) : NULL;
    return variance && add(interval, REWARD, mean) &&
           add(interval, REWARD_SPREAD, ct_tensor_unary(CT_UNARY_sqrt, variance, 0, 0));
}

bool ct_interval_add(ct_interval *interval, const ct_losses *losses) {
    bool added = true;
    CT_SCOPE {
        for (int i = 0; added && i < CT_LOSS_COUNT; i++) {
            added = !losses->term[i] || add(interval, i, losses->term[i]);
        }
        added = added && (!losses->reward || add_reward(interval, losses->reward));
    }
    return added && ct_ok();
}

void ct_interval_count(ct_interval *interval) { interval->steps++; }

/* Ranks' terms are shares of the whole batch's, which add up; rewards are the whole's already. */
static bool read_sums(const ct_interval *interval, double sum[SUMS]) {
    if (!ct_read(interval->sums, sum) || ct_ranks() == 1) return ct_ok();
    bool read = false;
    CT_SCOPE {
        ct_tensor *terms = ct_from_data(CT_F64, CT_CPU, CT_SHAPE(CT_LOSS_COUNT), sum);
        read = terms && ct_tensor_all_reduce(terms) && ct_read(terms, sum);
    }
    return read;
}

bool ct_interval_read(const ct_interval *interval, ct_interval_means *means) {
    double sum[SUMS];
    *means = (ct_interval_means){.steps = interval->steps};
    if (!read_sums(interval, sum)) return false;
    double steps = interval->steps ? (double)interval->steps : 1;
    for (int i = 0; i < CT_LOSS_COUNT; i++) means->term[i] = sum[i] / steps;
    means->reward = sum[REWARD] / steps;
    means->reward_spread = sum[REWARD_SPREAD] / steps;
    return true;
}

bool ct_interval_reset(ct_interval *interval) {
    interval->steps = 0;
    return ct_tensor_fill(interval->sums, 0);
}
