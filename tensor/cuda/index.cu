/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and adding at indices along an axis; all tensors contiguous, indices i64.
 *
 * Additions: what is to be added is sorted by where it goes, and one thread adds all that goes to
 * an element, in the order of the indices: the sums are those of the CPU, bit for bit, and no
 * atomics are needed. Lists too short to be worth sorting are gone through as they are.
 *
 * An index out of range is written down (ct_report_wrong) and skipped: what is read there is 0,
 * nothing is added. The error comes with the next value that is read from the device, since
 * waiting here would stop the stream at every step.
 */
#include "tensor/cuda/sort.h"

/* A contiguous tensor as (outer, size, inner) around an axis, and the length of the index. */
struct around {
    int64_t outer, size, inner, count;
};

static around around_axis(const ct_tensor *x, int axis, int64_t count) {
    around a = {1, x->shape.dim[axis], 1, count};
    for (int i = 0; i < x->shape.ndim; i++) {
        if (i < axis) a.outer *= x->shape.dim[i];
        if (i > axis) a.inner *= x->shape.dim[i];
    }
    return a;
}

/* Whether index[at] names an element; if not, it is written down. */
static __device__ inline bool in_range(int64_t index, int64_t at, const around &a, int op,
                                       ct_report *report) {
    if (index >= 0 && index < a.size) return true;
    ct_report_wrong(report, op, index, at, a.size);
    return false;
}

/* Quotient and remainder; 32 bits are far cheaper to divide. */
static __device__ inline int64_t divide(int64_t n, int64_t by, int64_t *rest) {
    int64_t quotient = ((n | by) >> 32) == 0 ? (int64_t)((uint32_t)n / (uint32_t)by) : n / by;
    *rest = n - quotient * by;
    return quotient;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* a.inner counts units of T, of which rows are made. */
template <typename T>
static __global__ void index_select(T *y, const T *x, const int64_t *index, const around a,
                                    ct_report *report) {
    int64_t count = a.outer * a.count * a.inner;
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t k, j, outer = divide(divide(i, a.inner, &k), a.count, &j), from = index[j];
        bool there = in_range(from, j, a, CT_REPORT_INDEX_SELECT, report);
        y[i] = there ? x[(outer * a.size + from) * a.inner + k] : T{};
    }
}

template <typename T>
static __global__ void gather(T *y, const T *x, const int64_t *index, const around a,
                              ct_report *report) {
    int64_t count = a.outer * a.count * a.inner;
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t k, j, outer = divide(divide(i, a.inner, &k), a.count, &j), from = index[i];
        bool there = in_range(from, i, a, CT_REPORT_GATHER, report);
        y[i] = there ? x[(outer * a.size + from) * a.inner + k] : T{};
    }
}

/* The most bytes, up to 16, that a row of `bytes` and both tensors are made of. */
static size_t unit_of(const void *y, const void *x, size_t bytes) {
    uintptr_t any = (uintptr_t)y | (uintptr_t)x | bytes | 16;
    return (size_t)(any & (~any + 1));
}

template <typename T>
static bool launch_select(ct_tensor *y, const ct_tensor *x, const ct_tensor *index, around a) {
    a.inner = a.inner * (int64_t)ct_cuda_size(x->dtype) / (int64_t)sizeof(T);
    return CT_LAUNCH(index_select<T>, ct_cuda_blocks(a.outer * a.count * a.inner), CT_THREADS, 0,
                     ct_cuda_data<T>(y), ct_cuda_data<T>(x), ct_cuda_data<int64_t>(index), a,
                     ct_cuda_report);
}

/* Where rows are empty there is nothing else to do with an index. */
static __global__ void check_indices(const int64_t *index, const around a, ct_report *report) {
    for (int64_t j = ct_first(); j < a.count; j += ct_step()) {
        in_range(index[j], j, a, CT_REPORT_INDEX_SELECT, report);
    }
}

bool ct_cuda_index_select(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index) {
    around a = around_axis(x, axis, index->shape.dim[0]);
    if (a.count == 0) return true;
    if (ct_cuda_count(y) == 0) {
        return CT_LAUNCH(check_indices, ct_cuda_blocks(a.count), CT_THREADS, 0,
                         ct_cuda_data<int64_t>(index), a, ct_cuda_report);
    }
    switch (unit_of(ct_cuda_data<char>(y), ct_cuda_data<char>(x),
                    (size_t)a.inner * ct_cuda_size(x->dtype))) {
    case 1: return launch_select<uint8_t>(y, x, index, a);
    case 2: return launch_select<uint16_t>(y, x, index, a);
    case 4: return launch_select<uint32_t>(y, x, index, a);
    case 8: return launch_select<uint64_t>(y, x, index, a);
    default: return launch_select<uint4>(y, x, index, a);
    }
}

template <typename T>
static bool launch_gather(ct_tensor *y, const ct_tensor *x, const ct_tensor *index,
                          const around &a) {
    return CT_LAUNCH(gather<T>, ct_cuda_blocks(ct_cuda_count(y)), CT_THREADS, 0, ct_cuda_data<T>(y),
                     ct_cuda_data<T>(x), ct_cuda_data<int64_t>(index), a, ct_cuda_report);
}

bool ct_cuda_gather(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index) {
    around a = around_axis(x, axis, y->shape.dim[axis]);
    if (ct_cuda_count(y) == 0) return true;
    switch (ct_cuda_size(x->dtype)) {
    case 1: return launch_gather<uint8_t>(y, x, index, a);
    case 2: return launch_gather<uint16_t>(y, x, index, a);
    case 4: return launch_gather<uint32_t>(y, x, index, a);
    default: return launch_gather<uint64_t>(y, x, index, a);
    }
}

/* ---- adding ----------------------------------------------------------------------------- */

/* Lines of indices: index_add has one, for all there is; scatter_add one for each (outer, inner),
 * whose indices lie `inner` apart. Those out of range are sorted behind all others. */
static __global__ void make_keys(uint64_t *key, const int64_t *index, const around a, int op,
                                 ct_report *report) {
    int64_t count = a.outer * a.count * a.inner;
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t k, j, outer = divide(divide(i, a.inner, &k), a.count, &j);
        bool there = in_range(index[i], i, a, op, report);
        key[(outer * a.inner + k) * a.count + j] = there ? (uint64_t)index[i] : UINT64_MAX;
    }
}

/* *to += from[position[0] * stride], then position[1], as long as the keys are the first. */
template <typename real>
static __device__ inline void add_run(real *to, const real *from, int64_t stride,
                                      const uint64_t *key, const int32_t *position, int64_t left) {
    int64_t run = 1;
    while (run < left && key[run] == key[0]) run++;
    real sum = *to;
#pragma unroll 8
    for (int64_t i = 0; i < run; i++) sum += from[position[i] * stride];
    *to = sum;
}

/* A thread has a place in the sorted list, and a column. It acts if another key begins there. */
template <typename real>
static __global__ void index_add(real *y, const real *x, const uint64_t *key,
                                 const int32_t *position, const around a) {
    int64_t count = a.outer * a.count * a.inner;
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t k, j, outer = divide(divide(i, a.inner, &k), a.count, &j);
        if (key[j] == UINT64_MAX || (j > 0 && key[j - 1] == key[j])) continue;
        add_run(y + (outer * a.size + (int64_t)key[j]) * a.inner + k,
                x + outer * a.count * a.inner + k, a.inner, key + j, position + j, a.count - j);
    }
}

/* The same, of a line of its own for each column. */
template <typename real>
static __global__ void scatter_add(real *y, const real *x, const uint64_t *key,
                                   const int32_t *position, const around a) {
    int64_t count = a.outer * a.count * a.inner;
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t k, j, outer = divide(divide(i, a.count, &j), a.inner, &k);
        if (key[i] == UINT64_MAX || (j > 0 && key[i - 1] == key[i])) continue;
        add_run(y + (outer * a.size + (int64_t)key[i]) * a.inner + k,
                x + outer * a.count * a.inner + k, a.inner, key + i, position + i, a.count - j);
    }
}

/* A thread goes through a line. */
template <typename real>
static __global__ void scatter_add_short(real *y, const real *x, const int64_t *index,
                                         const around a, ct_report *report) {
    for (int64_t i = ct_first(); i < a.outer * a.inner; i += ct_step()) {
        int64_t k, outer = divide(i, a.inner, &k);
        for (int64_t j = 0; j < a.count; j++) {
            int64_t at = (outer * a.count + j) * a.inner + k, to = index[at];
            if (!in_range(to, at, a, CT_REPORT_SCATTER_ADD, report)) continue;
            y[(outer * a.size + to) * a.inner + k] += x[at];
        }
    }
}

/* Sorts the indices of all lines; false with an error if a line is too long. */
static bool sort_indices(const char *name, ct_sorting<uint64_t> *s, const ct_tensor *index,
                         const around &a, int op) {
    if (a.count > INT32_MAX) {
        return ct_host->fail_bool("%s: the index %s is longer than 2^31", name,
                                  ct_host->tensor_text(index));
    }
    return CT_LAUNCH(make_keys, ct_cuda_blocks(s->lines * s->n), CT_THREADS, 0, s->key,
                     ct_cuda_data<int64_t>(index), a, op, ct_cuda_report) &&
           ct_sort(s);
}

template <typename real>
bool ct_cuda_index_add(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    around a = around_axis(y, axis, index->shape.dim[0]), list = {1, a.size, 1, a.count};
    if (a.count == 0) return true;
    ct_scratch room(ct_sort_bytes<uint64_t>(1, a.count));
    if (!room.data) return false;
    ct_sorting<uint64_t> s = ct_sorting_in<uint64_t>(room.data, 1, a.count);
    if (!sort_indices("index_add", &s, index, list, CT_REPORT_INDEX_ADD)) return false;
    if (ct_cuda_count(x) == 0) return true;
    return CT_LAUNCH(index_add<real>, ct_cuda_blocks(ct_cuda_count(x)), CT_THREADS, 0,
                     ct_cuda_data<real>(y), ct_cuda_data<real>(x), s.key, s.position, a);
}
CT_BOTH_REALS(index_add);

template <typename real>
bool ct_cuda_scatter_add(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    around a = around_axis(y, axis, x->shape.dim[axis]);
    if (ct_cuda_count(x) == 0) return true;
    real *to = ct_cuda_data<real>(y);
    const real *from = ct_cuda_data<real>(x);
    enum { SHORT = 64 };
    if (a.count <= SHORT) {
        return CT_LAUNCH(scatter_add_short<real>, ct_cuda_blocks(a.outer * a.inner), CT_THREADS, 0,
                         to, from, ct_cuda_data<int64_t>(index), a, ct_cuda_report);
    }
    int64_t lines = a.outer * a.inner;
    ct_scratch room(ct_sort_bytes<uint64_t>(lines, a.count));
    if (!room.data) return false;
    ct_sorting<uint64_t> s = ct_sorting_in<uint64_t>(room.data, lines, a.count);
    return sort_indices("scatter_add", &s, index, a, CT_REPORT_SCATTER_ADD) &&
           CT_LAUNCH(scatter_add<real>, ct_cuda_blocks(lines * a.count), CT_THREADS, 0, to, from,
                     s.key, s.position, a);
}
CT_BOTH_REALS(scatter_add);
