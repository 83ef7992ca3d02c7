/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of kernels: reproducible values, and equality of bits. */
#ifndef CT_KERNEL_TEST_H
#define CT_KERNEL_TEST_H

#include "tests/test.h"

/* Values in (-scale, scale), the same on every run. */
static inline ct_tensor *noise(ct_dtype dtype, ct_shape shape, double scale, uint64_t seed) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, shape);
    double *v = ct_data(x);
    uint64_t state = seed;
    for (int64_t i = 0; i < ct_count(x); i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        v[i] = scale * (double)(int64_t)state * 0x1p-63;
    }
    return ct_tensor_cast(x, dtype);
}

/* Same dtype, shape and, element by element, bits. */
static inline void assert_same_bits(const ct_tensor *a, const ct_tensor *b, const char *what) {
    assert_no_error();
    ck_assert(ct_shape_equal(a->shape, b->shape) && a->dtype == b->dtype);
    CT_SCOPE {
        const ct_tensor *p = ct_tensor_contiguous(a), *q = ct_tensor_contiguous(b);
        size_t bytes = (size_t)ct_count(a) * ct_dtype_size(a->dtype);
        ck_assert_msg(bytes == 0 || memcmp(ct_data(p), ct_data(q), bytes) == 0,
                      "%s: bits differ with layout, size or threads", what);
    }
}

#endif
