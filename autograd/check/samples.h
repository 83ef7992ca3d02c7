/* SPDX-License-Identifier: Apache-2.0 */
/* Shorthands for the samples that operations hand to the gradient check. Internal to autograd/. */
#ifndef CT_AUTOGRAD_SAMPLES_H
#define CT_AUTOGRAD_SAMPLES_H

#include "autograd/gradcheck.h"

static inline ct_sample_input ct_sample_between(ct_shape shape, double lo, double hi) {
    return (ct_sample_input){CT_SAMPLE_REAL, shape, lo, hi};
}

static inline ct_sample_input ct_sample_real(ct_shape shape) {
    return ct_sample_between(shape, -2, 2);
}

static inline ct_sample_input ct_sample_distinct(ct_shape shape) {
    return (ct_sample_input){CT_SAMPLE_DISTINCT, shape, -2, 2};
}

static inline ct_sample_input ct_sample_index(ct_shape shape, int64_t count) {
    return (ct_sample_input){CT_SAMPLE_INDEX, shape, 0, (double)count};
}

static inline ct_sample_input ct_sample_mask(ct_shape shape) {
    return (ct_sample_input){CT_SAMPLE_MASK, shape, 0, 1};
}

static inline void ct_sample_1(ct_sampler *sampler, const char *name, ct_sample_function function,
                               const void *options, ct_sample_input a) {
    ct_sample sample = {name, function, options, 1, {a}};
    ct_add_sample(sampler, &sample);
}

static inline void ct_sample_2(ct_sampler *sampler, const char *name, ct_sample_function function,
                               const void *options, ct_sample_input a, ct_sample_input b) {
    ct_sample sample = {name, function, options, 2, {a, b}};
    ct_add_sample(sampler, &sample);
}

static inline void ct_sample_3(ct_sampler *sampler, const char *name, ct_sample_function function,
                               const void *options, ct_sample_input a, ct_sample_input b,
                               ct_sample_input c) {
    ct_sample sample = {name, function, options, 3, {a, b, c}};
    ct_add_sample(sampler, &sample);
}

/* One result, as a ct_sample_function returns it. */
static inline int ct_sample_result(ct_tensor **outputs, ct_tensor *y) {
    outputs[0] = y;
    return y != NULL;
}

#endif
