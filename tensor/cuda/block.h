/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions within a warp and a block, in a fixed order: which threads' values are added first
 * depends on the block's size alone. Every thread of the block (of the warp) must call them.
 * Internal to tensor/cuda/. */
#ifndef CT_CUDA_BLOCK_H
#define CT_CUDA_BLOCK_H

#include "tensor/cuda/cuda.h"

static const unsigned ct_whole_warp = 0xffffffffu;

struct ct_combine_sum {
    template <typename T> __device__ T operator()(T a, T b) const { return a + b; }
};
/* NaN stays. */
struct ct_combine_max {
    template <typename T> __device__ T operator()(T a, T b) const {
        return a > b || a != a ? a : b;
    }
};
struct ct_combine_min {
    template <typename T> __device__ T operator()(T a, T b) const {
        return a < b || a != a ? a : b;
    }
};

/* All lanes receive the result. */
template <typename T, typename Combine>
static __device__ inline T ct_warp_reduce(T value, Combine combine) {
    for (int step = CT_WARP / 2; step > 0; step /= 2) {
        value = combine(value, __shfl_xor_sync(ct_whole_warp, value, step));
    }
    return value;
}

/* All threads receive the result. `none` is what combining changes nothing with. May be called
 * again and again: a barrier at the start keeps apart two calls' use of shared memory. */
template <typename T, typename Combine>
static __device__ inline T ct_block_reduce(T value, Combine combine, T none) {
    __shared__ T of_warp[CT_WARP];
    int lane = (int)threadIdx.x % CT_WARP, warp = (int)threadIdx.x / CT_WARP;
    value = ct_warp_reduce(value, combine);
    __syncthreads();
    if (lane == 0) of_warp[warp] = value;
    __syncthreads();
    int warps = (int)blockDim.x / CT_WARP;
    return ct_warp_reduce(lane < warps ? of_warp[lane] : none, combine);
}

template <typename T> static __device__ inline T ct_block_sum(T value) {
    return ct_block_reduce(value, ct_combine_sum(), T(0));
}

#endif
