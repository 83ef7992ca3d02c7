/* SPDX-License-Identifier: Apache-2.0 */
/* The weights that tests/golden/record_backbones.py gives its nets, by the same formula. */
#ifndef CT_TEST_BACKBONE_FORMULA_H
#define CT_TEST_BACKBONE_FORMULA_H

#include "nn/nn.h"
#include "tests/test.h"

/* Numbers of -1 to 1 for a name: FNV-1a of it, then SplitMix64; multiples of 2^-23. */
static inline double formula_number(uint64_t state, int64_t i) {
    uint64_t z = state + ((uint64_t)i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 40) * 0x1p-23 - 1;
}

static inline uint64_t formula_state(const char *name) {
    uint64_t state = 0xCBF29CE484222325u;
    for (; *name; name++) state = (state ^ (uint8_t)*name) * 0x100000001B3u;
    return state;
}

static inline bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* Numbers of -1 to 1 times `scale`, plus `shift`, rounded to f32 if `rounded`. */
static inline ct_tensor *formula_tensor(const char *name, ct_shape shape, double scale,
                                        double shift, bool rounded) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, shape);
    assert_no_error();
    double *data = ct_data(x);
    uint64_t state = formula_state(name);
    for (int64_t i = 0, count = ct_count(x); i < count; i++) {
        double value = shift + scale * formula_number(state, i);
        data[i] = rounded ? (double)(float)value : value;
    }
    return x;
}

/* What a tensor of a state dictionary holds. */
static inline ct_tensor *formula_value(const char *name, ct_shape shape) {
    if (shape.ndim > 1) {
        double fan_in = 1;
        for (int d = 1; d < shape.ndim; d++) fan_in *= (double)shape.dim[d];
        return formula_tensor(name, shape, sqrt(6 / fan_in), 0, true);
    }
    if (ends_with(name, "running_var")) return formula_tensor(name, shape, 0.5, 1, true);
    if (ends_with(name, "weight")) return formula_tensor(name, shape, 0.25, 0.75, true);
    return formula_tensor(name, shape, 0.125, 0, true);
}

static inline bool formula_fill_one(void *context, const char *name, ct_tensor *x, bool buffer) {
    const bool *buffers_alone = context;
    if (*buffers_alone && !buffer) return true;
    CT_SCOPE {
        if (ct_dtype_is_float(x->dtype)) ct_tensor_copy_to(x, formula_value(name, x->shape));
        else ct_tensor_fill(x, 0);
    }
    return ct_ok();
}

/* Every parameter (but for `buffers_alone`) and every buffer of a net; no gradients then. */
static inline void formula_fill(ct_module *net, bool buffers_alone) {
    ck_assert(ct_module_visit(net, formula_fill_one, &buffers_alone));
    ct_module_zero_grad(net);
    assert_no_error();
}

#endif
