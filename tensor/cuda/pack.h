/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours in memory that are loaded and stored at once. Internal to tensor/cuda/. */
#ifndef CT_CUDA_PACK_H
#define CT_CUDA_PACK_H

#include "tensor/cuda/cuda.h"

template <int W, typename T> struct alignas(W * sizeof(T)) ct_pack { T at[W]; };

/* Elements in 16 bytes, the widest load there is. */
template <typename T> static constexpr int ct_lanes = 16 / (int)sizeof(T);

template <int W, typename T> static __device__ inline ct_pack<W, T> ct_load(const T *p) {
    return *reinterpret_cast<const ct_pack<W, T> *>(p);
}
template <int W, typename T>
static __device__ inline void ct_store(T *p, const ct_pack<W, T> &value) {
    *reinterpret_cast<ct_pack<W, T> *>(p) = value;
}

#endif
