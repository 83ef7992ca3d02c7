/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that go along one axis in order: arg max and min, running sums, sorting. */
#include <math.h>
#include <stdlib.h>

#include "tensor/cpu/cpu.h"

/* All lines of a tensor along an axis, numbered row-major over the other dimensions. */
static int64_t line_count(const ct_tensor *x, int axis) {
    int64_t n = 1;
    for (int i = 0; i < x->shape.ndim; i++) n *= i == axis ? 1 : x->shape.dim[i];
    return n;
}

/* Elements from x's first to the first of a line. The shape is x's or y's: they agree but for the
 * axis. */
static int64_t line_offset(const ct_tensor *x, int axis, int64_t line) {
    int64_t offset = 0;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        if (i == axis) continue;
        offset += line % x->shape.dim[i] * x->stride[i];
        line /= x->shape.dim[i];
    }
    return offset;
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/order_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/order_kernels.h"

bool CT_CPU(arg_reduce)(bool largest, ct_tensor *y, const ct_tensor *x, int axis) {
    int64_t lines = line_count(x, axis), n = x->shape.dim[axis];
    int threads = ct_cpu_threads(lines * n);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < lines; i++) {
        int64_t from = line_offset(x, axis, i), stride = x->stride[axis];
        int64_t *to = (int64_t *)ct_cpu_data(y) + line_offset(y, axis, i);
        if (x->dtype == CT_F32) {
            *to = arg_line_f32((const float *)ct_cpu_data(x) + from, stride, n, largest);
        } else {
            *to = arg_line_f64((const double *)ct_cpu_data(x) + from, stride, n, largest);
        }
    }
    return true;
}

bool CT_CPU(cumsum)(ct_tensor *y, const ct_tensor *x, int axis, bool reverse) {
    int64_t lines = line_count(x, axis), n = x->shape.dim[axis];
    if (n == 0) return true;
    int64_t from_stride = x->stride[axis], to_stride = y->stride[axis];
    int threads = ct_cpu_threads(lines * n);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < lines; i++) {
        int64_t from = line_offset(x, axis, i) + (reverse ? (n - 1) * from_stride : 0);
        int64_t to = line_offset(y, axis, i) + (reverse ? (n - 1) * to_stride : 0);
        int64_t sx = reverse ? -from_stride : from_stride, sy = reverse ? -to_stride : to_stride;
        if (x->dtype == CT_F32) {
            cumsum_line_f32((float *)ct_cpu_data(y) + to, sy, (const float *)ct_cpu_data(x) + from,
                            sx, n);
        } else {
            cumsum_line_f64((double *)ct_cpu_data(y) + to, sy,
                            (const double *)ct_cpu_data(x) + from, sx, n);
        }
    }
    return true;
}

bool CT_CPU(argsort)(ct_tensor *y, const ct_tensor *x, bool descending) {
    int axis = x->shape.ndim - 1;
    int64_t lines = line_count(x, axis), n = x->shape.dim[axis];
    if (lines * n == 0) return true;
    int threads = ct_cpu_threads(8 * lines * n);
    if (threads > lines) threads = (int)lines;
    /* a thread's keys, indices and the other half of each merge */
    size_t bytes = 2 * (size_t)n * (sizeof(double) + sizeof(int64_t));
    char *work = malloc((size_t)threads * bytes);
    if (!work) return ct_fail_bool("argsort: out of memory");
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        void *own = work + (size_t)t * bytes;
        for (int64_t i = lines * t / threads; i < lines * (t + 1) / threads; i++) {
            int64_t from = line_offset(x, axis, i), stride = x->stride[axis];
            int64_t *to = (int64_t *)ct_cpu_data(y) + line_offset(y, axis, i);
            if (x->dtype == CT_F32) {
                argsort_line_f32(to, (const float *)ct_cpu_data(x) + from, stride, n, descending,
                                 own);
            } else {
                argsort_line_f64(to, (const double *)ct_cpu_data(x) + from, stride, n, descending,
                                 own);
            }
        }
    }
    free(work);
    return true;
}
