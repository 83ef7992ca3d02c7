/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and adding at indices along an axis; all tensors contiguous, indices i64.
 *
 * Additions are spread over threads by what they add to, never by index, so each element receives
 * its terms in the order of the indices.
 */
#include <string.h>

#include "tensor/cpu/cpu.h"

/* A contiguous tensor as (outer, size, inner) around an axis. */
typedef struct {
    int64_t outer, size, inner;
} around;

static around around_axis(const ct_tensor *x, int axis) {
    around a = {1, x->shape.dim[axis], 1};
    for (int i = 0; i < x->shape.ndim; i++) {
        if (i < axis) a.outer *= x->shape.dim[i];
        if (i > axis) a.inner *= x->shape.dim[i];
    }
    return a;
}

static bool check_indices(const char *op, const ct_tensor *index, int64_t size) {
    const int64_t *j = ct_cpu_data(index);
    int64_t count = ct_count(index);
    for (int64_t i = 0; i < count; i++) {
        if (j[i] < 0 || j[i] >= size) {
            return ct_fail_bool("%s: index %lld at position %lld is outside 0..%lld", op,
                                (long long)j[i], (long long)i, (long long)size - 1);
        }
    }
    return true;
}

CT_PART select_rows(ct_part part, ct_tensor *y, const ct_tensor *x, around a,
                    const ct_tensor *index) {
    const int64_t *j = ct_cpu_data(index), count = ct_count(index);
    const char *from = ct_cpu_data(x);
    char *to = ct_cpu_data(y);
    size_t bytes = (size_t)a.inner * ct_dtype_size(x->dtype);
    for (int64_t i = part.begin; i < part.end; i++) {
        int64_t row = i / count * a.size + j[i % count];
        memcpy(to + (size_t)i * bytes, from + (size_t)row * bytes, bytes);
    }
}

bool CT_CPU(index_select)(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index) {
    around a = around_axis(x, axis);
    if (!check_indices("index_select", index, a.size)) return false;
    if (a.inner == 0) return true;
    CT_IN_PARTS(ct_cpu_threads(ct_count(y)), a.outer * ct_count(index),
                select_rows(part, y, x, a, index));
    return true;
}

#define DEFINE_GATHER(T)                                                           \
    static void gather_##T(void *y, const void *x, around a, const int64_t *index, \
                           int64_t count) {                                        \
        typedef T __attribute__((may_alias)) any;                                  \
        any *to = y;                                                               \
        const any *from = x;                                                       \
        for (int64_t i = 0; i < count; i++) {                                      \
            for (int64_t k = 0; k < a.inner; k++) {                                \
                to[i * a.inner + k] = from[index[i * a.inner + k] * a.inner + k];  \
            }                                                                      \
        }                                                                          \
    }
DEFINE_GATHER(uint8_t)
DEFINE_GATHER(uint16_t)
DEFINE_GATHER(uint32_t)
DEFINE_GATHER(uint64_t)

/* A task is an outer position; an index row holds `count` times a.inner entries. */
CT_PART gather_rows(ct_part part, ct_tensor *y, const ct_tensor *x, around a,
                    const ct_tensor *index, int64_t count) {
    size_t size = ct_dtype_size(x->dtype);
    void (*kernel)(void *, const void *, around, const int64_t *, int64_t) =
        size == 1   ? gather_uint8_t
        : size == 2 ? gather_uint16_t
        : size == 4 ? gather_uint32_t
                    : gather_uint64_t;
    int64_t line = count * a.inner;
    for (int64_t i = part.begin; i < part.end; i++) {
        kernel((char *)ct_cpu_data(y) + (size_t)(i * line) * size,
               (const char *)ct_cpu_data(x) + (size_t)(i * a.size * a.inner) * size, a,
               (const int64_t *)ct_cpu_data(index) + i * line, count);
    }
}

bool CT_CPU(gather)(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index) {
    around a = around_axis(x, axis);
    if (!check_indices("gather", index, a.size)) return false;
    CT_IN_PARTS(ct_cpu_threads(ct_count(y)), a.outer,
                gather_rows(part, y, x, a, index, y->shape.dim[axis]));
    return true;
}

/* ---- additions -------------------------------------------------------------------------- */

/* Columns that one thread adds to at a time. */
enum { COLUMNS = 64 };

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/index_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/index_kernels.h"
