/* SPDX-License-Identifier: Apache-2.0 */
/* Strided tensors of one shape, element by element. Internal to tensor/cuda/.
 *
 * A walk is a kernel's argument: for the row-major position i of an element it gives where that
 * element lies in each of N tensors. Dimensions that all N tensors step through evenly are one, so
 * that contiguous tensors (and scalars broadcast against them) cost no division. Neighbours that
 * lie together in all tensors are taken together, up to 16 bytes at a time.
 */
#ifndef CT_CUDA_WALK_H
#define CT_CUDA_WALK_H

#include "tensor/cuda/pack.h"

template <int N> struct ct_walk {
    int64_t count, packs; /* elements; packs that they begin with, of neighbours */
    int ndim;             /* at least 1 */
    int64_t dim[CT_MAX_DIMS], stride[N][CT_MAX_DIMS];
    void *data[N];

    /* The element at the offset of tensor k. */
    template <typename T> __device__ T &at(int k, const int64_t (&offset)[N]) const {
        return static_cast<T *>(data[k])[offset[k]];
    }
    /* W neighbours from there on, of a tensor that is broadcast along them W times the same. */
    template <int W, typename T>
    __device__ ct_pack<W, T> load(int k, const int64_t (&offset)[N]) const {
        const T *from = static_cast<const T *>(data[k]) + offset[k];
        if (stride[k][ndim - 1] != 0) return ct_load<W>(from);
        ct_pack<W, T> same;
        for (int i = 0; i < W; i++) same.at[i] = *from;
        return same;
    }
    template <int W, typename T>
    __device__ void store(const int64_t (&offset)[N], const ct_pack<W, T> &value) const {
        ct_store(static_cast<T *>(data[0]) + offset[0], value);
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

/* Packs of so many neighbours as are 16 bytes in the tensor of the largest elements, if each lies
 * together, on a multiple of its size, in every tensor that is not broadcast along it; else 0. */
template <int N>
static inline int64_t ct_walk_packs(const ct_walk<N> &w, const ct_tensor *const (&x)[N]) {
    int last = w.ndim - 1;
    int64_t width = 16;
    for (int k = 0; k < N; k++) {
        int64_t lanes = 16 / (int64_t)ct_cuda_size(x[k]->dtype);
        width = lanes < width ? lanes : width;
    }
    if (last > 0 && w.dim[last] % width != 0) return 0;
    for (int k = 0; k < N; k++) {
        if (w.stride[k][last] == 0) continue;
        uint64_t bytes = (uint64_t)width * ct_cuda_size(x[k]->dtype);
        if (w.stride[k][last] != 1 || (uintptr_t)w.data[k] % bytes != 0) return 0;
        for (int d = 0; d < last; d++) {
            if (w.stride[k][d] % width != 0) return 0;
        }
    }
    return w.count / width;
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
    w.packs = ct_walk_packs(w, x);
    return w;
}

/* Blocks for a kernel that takes packs where there are any. */
template <int N> static inline unsigned ct_walk_blocks(const ct_walk<N> &w) {
    return ct_cuda_blocks(w.packs ? w.packs : w.count);
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

/* Calls f.operator()<V>(offset), for V neighbours, until all elements have had their turn: for
 * packs of W, which is ct_lanes of the tensors' largest type, then for one at a time. */
template <int W, int N, typename F>
static __device__ inline void ct_walk_each(const ct_walk<N> &w, F f) {
    int64_t at[N];
    for (int64_t p = ct_first(); p < w.packs; p += ct_step()) {
        ct_walk_to(w, p * W, at);
        f.template operator()<W>(at);
    }
    for (int64_t i = w.packs * W + ct_first(); i < w.count; i += ct_step()) {
        ct_walk_to(w, i, at);
        f.template operator()<1>(at);
    }
}

#endif
