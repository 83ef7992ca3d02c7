/* Strided tensors of one shape, element by element. Internal to tensor/cuda/.
 *
 * A walk is a kernel's argument: for the row-major position i of an element it gives where that
 * element lies in each of N tensors. Dimensions that all N tensors step through evenly are one, so
 * that contiguous tensors (and scalars broadcast against them) cost no division.
 */
#ifndef CT_CUDA_WALK_H
#define CT_CUDA_WALK_H

#include "tensor/cuda/cuda.h"

template <int N> struct ct_walk {
    int64_t count;
    int ndim; /* at least 1 */
    int64_t dim[CT_MAX_DIMS], stride[N][CT_MAX_DIMS];
    void *data[N];

    /* The element at the offset of tensor k. */
    template <typename T> __device__ T &at(int k, const int64_t (&offset)[N]) const {
        return static_cast<T *>(data[k])[offset[k]];
    }
};

/* Whether dimension `stride`, of size `size`, goes on evenly inside the last one of the walk. */
template <int N>
static inline bool ct_walk_merges(const ct_walk<N> *w, const ct_tensor *const (&x)[N], int axis) {
    for (int k = 0; k < N; k++) {
        if (w->stride[k][w->ndim - 1] != x[k]->stride[axis] * x[k]->shape.dim[axis]) return false;
    }
    return true;
}

template <int N> static inline ct_walk<N> ct_walk_of(const ct_tensor *const (&x)[N]) {
    ct_walk<N> w = {};
    w.count = ct_cuda_count(x[0]);
    for (int axis = 0; axis < x[0]->shape.ndim; axis++) {
        int64_t size = x[0]->shape.dim[axis];
        if (size == 1) continue;
        if (w.ndim && ct_walk_merges(&w, x, axis)) {
            w.dim[w.ndim - 1] *= size;
        } else {
            w.dim[w.ndim++] = size;
        }
        for (int k = 0; k < N; k++) w.stride[k][w.ndim - 1] = x[k]->stride[axis];
    }
    if (!w.ndim) w.dim[w.ndim++] = 1;
    for (int k = 0; k < N; k++) w.data[k] = ct_cuda_data<char>(x[k]);
    return w;
}

/* offset[k]: where element i lies in tensor k, in elements. Dividing 32 bits is far cheaper. */
template <int N>
static __device__ inline void ct_walk_to(const ct_walk<N> &w, int64_t i, int64_t (&offset)[N]) {
    bool narrow = w.count <= INT32_MAX;
    for (int k = 0; k < N; k++) offset[k] = 0;
    for (int d = w.ndim - 1; d > 0; d--) {
        int64_t rest = narrow ? (int64_t)((uint32_t)i / (uint32_t)w.dim[d]) : i / w.dim[d];
        int64_t at = i - rest * w.dim[d];
        for (int k = 0; k < N; k++) offset[k] += at * w.stride[k][d];
        i = rest;
    }
    for (int k = 0; k < N; k++) offset[k] += i * w.stride[k][0];
}

#endif
