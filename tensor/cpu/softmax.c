/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax and log-softmax over the last axis of contiguous tensors. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

enum {
    LANES = 32,
    SPAN = 64 * LANES, /* elements whose sum stays in lanes, in the type of the tensor */
    COST = 8,          /* of an element, relative to an addition */
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/softmax_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/softmax_kernels.h"

bool CT_CPU(softmax)(ct_tensor *y, const ct_tensor *x, bool logarithm) {
    int64_t n = x->shape.dim[x->shape.ndim - 1], count = ct_count(x);
    int64_t rows = n ? count / n : 0;
    void *to = ct_cpu_data(y);
    const void *from = ct_cpu_data(x);
    int threads = ct_cpu_threads(count * COST);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        if (x->dtype == CT_F32) {
            softmax_row_f32((float *)to + i * n, (const float *)from + i * n, n, logarithm);
        } else {
            softmax_row_f64((double *)to + i * n, (const double *)from + i * n, n, logarithm);
        }
    }
    return true;
}

bool CT_CPU(softmax_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y, bool logarithm) {
    int64_t n = y->shape.dim[y->shape.ndim - 1], count = ct_count(y);
    int64_t rows = n ? count / n : 0;
    void *to = ct_cpu_data(gx);
    const void *gradient = ct_cpu_data(g), *value = ct_cpu_data(y);
    int threads = ct_cpu_threads(count * COST);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        if (y->dtype == CT_F32) {
            softmax_grad_row_f32((float *)to + i * n, (const float *)gradient + i * n,
                                 (const float *)value + i * n, n, logarithm);
        } else {
            softmax_grad_row_f64((double *)to + i * n, (const double *)gradient + i * n,
                                 (const double *)value + i * n, n, logarithm);
        }
    }
    return true;
}
