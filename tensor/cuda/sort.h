/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting lines of keys, stably. Internal to tensor/cuda/.
 *
 * Tiles of a line are sorted in shared memory by a bitonic network, on keys and, where they are
 * equal, on positions, so that the order is the only one there is. Then pairs of sorted runs are
 * merged: each element finds its place by counting those of the other run that come before it.
 */
#ifndef CT_CUDA_SORT_H
#define CT_CUDA_SORT_H

#include "tensor/cuda/cuda.h"

/* `lines` lines of n keys (uint32_t or uint64_t) each, with the positions 0..n-1 that they came
 * from once sorted; and as much room again, to merge into. */
template <typename Key> struct ct_sorting {
    int64_t lines, n;
    Key *key, *other_key;
    int32_t *position, *other_position;
};

enum { CT_SORT_TILE = 1024 };

template <typename Key> static inline size_t ct_sort_bytes(int64_t lines, int64_t n) {
    return (size_t)(lines * n) * 2 * (sizeof(Key) + sizeof(int32_t));
}

/* Laid out in ct_sort_bytes(lines, n) bytes at `room`. */
template <typename Key>
static inline ct_sorting<Key> ct_sorting_in(void *room, int64_t lines, int64_t n) {
    Key *key = static_cast<Key *>(room);
    int32_t *position = reinterpret_cast<int32_t *>(key + 2 * lines * n);
    return {lines, n, key, key + lines * n, position, position + lines * n};
}

/* Two threads' worth of elements a thread: blockDim.x is half of `tile`. */
template <typename Key> static __global__ void ct_sort_tiles(ct_sorting<Key> s, int tile) {
    __shared__ Key key[CT_SORT_TILE];
    __shared__ int32_t position[CT_SORT_TILE];
    int64_t tiles = (s.n + tile - 1) / tile;
    int thread = (int)threadIdx.x;
    for (int64_t i = blockIdx.x; i < s.lines * tiles; i += gridDim.x) {
        int64_t line = i / tiles * s.n, start = i % tiles * tile;
        __syncthreads(); /* the last tile has been written */
        for (int j = thread; j < tile; j += tile / 2) {
            bool there = start + j < s.n;
            key[j] = there ? s.key[line + start + j] : ~Key(0);
            position[j] = there ? (int32_t)(start + j) : INT32_MAX;
        }
        for (int size = 2; size <= tile; size *= 2) {
            for (int step = size / 2; step > 0; step /= 2) {
                __syncthreads();
                int a = 2 * thread - (thread & (step - 1)), b = a + step;
                Key key_a = key[a], key_b = key[b];
                int32_t at_a = position[a], at_b = position[b];
                bool after = key_a > key_b || (key_a == key_b && at_a > at_b);
                if (after != ((a & size) == 0)) continue;
                key[a] = key_b, key[b] = key_a;
                position[a] = at_b, position[b] = at_a;
            }
        }
        __syncthreads();
        for (int j = thread; j < tile && start + j < s.n; j += tile / 2) {
            s.key[line + start + j] = key[j];
            s.position[line + start + j] = position[j];
        }
    }
}

/* Of n sorted keys: how many are less than `key`, or, with `equal`, not greater. */
template <typename Key>
static __device__ inline int64_t ct_count_before(const Key *sorted, int64_t n, Key key,
                                                 bool equal) {
    int64_t first = 0;
    while (n > 0) {
        int64_t half = n / 2;
        bool before = equal ? sorted[first + half] <= key : sorted[first + half] < key;
        if (before) first += half + 1;
        n = before ? n - half - 1 : half;
    }
    return first;
}

/* Runs of `run` sorted keys, two and two. */
template <typename Key> static __global__ void ct_sort_merge(ct_sorting<Key> s, int64_t run) {
    for (int64_t i = ct_first(); i < s.lines * s.n; i += ct_step()) {
        int64_t line = i / s.n * s.n, at = i - line;
        bool second = at / run % 2;
        int64_t start = at / run * run - (second ? run : 0);
        int64_t other = second ? start : min(start + run, s.n);
        int64_t length = second ? run : min(run, s.n - other);
        int64_t before = ct_count_before(s.key + line + other, length, s.key[i], second);
        int64_t to = line + at - (second ? run : 0) + before;
        s.other_key[to] = s.key[i];
        s.other_position[to] = s.position[i];
    }
}

/* Sorts s->key ascending; s->position tells where each came from. n is below 2^31. */
template <typename Key> static inline bool ct_sort(ct_sorting<Key> *s) {
    int tile = 2 * CT_WARP;
    while (tile < s->n && tile < CT_SORT_TILE) tile *= 2;
    int64_t tiles = s->lines * ((s->n + tile - 1) / tile);
    if (!CT_LAUNCH(ct_sort_tiles<Key>, ct_cuda_blocks(tiles * CT_THREADS), tile / 2, 0, *s, tile)) {
        return false;
    }
    for (int64_t run = tile; run < s->n; run *= 2) {
        if (!CT_LAUNCH(ct_sort_merge<Key>, ct_cuda_blocks(s->lines * s->n), CT_THREADS, 0, *s,
                       run)) {
            return false;
        }
        *s = {s->lines, s->n, s->other_key, s->key, s->other_position, s->position};
    }
    return true;
}

#endif
