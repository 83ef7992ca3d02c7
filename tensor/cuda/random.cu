/* SPDX-License-Identifier: Apache-2.0 */
/* Uniform and normal numbers of Philox counters: the words by cuRAND, the numbers made of them as
 * on the CPU. Which counter makes which element depends on its position alone. Compiled without
 * fused multiply-add: see tensor/ops/philox.h. */
#include <curand_kernel.h>

#include "tensor/cuda/cuda.h"
#include "tensor/ops/philox.h"

struct position {
    uint64_t seed, stream, offset;
    const int64_t *row; /* NULL, or which rows, of `each` counters, are made */
    int64_t each;
    const uint64_t *base; /* in a captured step, what the offset counts from; else NULL */
};

/* The numbers that one counter makes: four f32 or two f64. */
struct uniform_f32 {
    typedef float real;
    static __device__ void draw(uint4 word, float y[4]) {
        y[0] = ct_unit_f32(word.x);
        y[1] = ct_unit_f32(word.y);
        y[2] = ct_unit_f32(word.z);
        y[3] = ct_unit_f32(word.w);
    }
};
struct uniform_f64 {
    typedef double real;
    static __device__ void draw(uint4 word, double y[2]) {
        y[0] = ct_unit_f64(word.x, word.y);
        y[1] = ct_unit_f64(word.z, word.w);
    }
};
struct normal_f32 {
    typedef float real;
    static __device__ void draw(uint4 word, float y[4]) {
        ct_box_muller_f32(ct_unit_f32(word.x), ct_unit_f32(word.y), &y[0], &y[1]);
        ct_box_muller_f32(ct_unit_f32(word.z), ct_unit_f32(word.w), &y[2], &y[3]);
    }
};
struct normal_f64 {
    typedef double real;
    static __device__ void draw(uint4 word, double y[2]) {
        ct_box_muller_f64(ct_unit_f64(word.x, word.y), ct_unit_f64(word.z, word.w), &y[0], &y[1]);
    }
};

template <typename Draw>
static __global__ void draw_numbers(typename Draw::real *y, int64_t count, position p) {
    enum { EACH = 16 / sizeof(typename Draw::real) };
    uint64_t first = p.base ? *p.base + p.offset : p.offset;
    for (int64_t i = ct_first(); i * EACH < count; i += ct_step()) {
        int64_t at = p.row ? p.row[i / p.each] * p.each + i % p.each : i;
        uint64_t counter = first + (uint64_t)at;
        uint4 word = curand_Philox4x32_10(uint4{(uint32_t)counter, (uint32_t)(counter >> 32),
                                                (uint32_t)p.stream, (uint32_t)(p.stream >> 32)},
                                          uint2{(uint32_t)p.seed, (uint32_t)(p.seed >> 32)});
        typename Draw::real number[EACH];
        Draw::draw(word, number);
        for (int k = 0; k < EACH && i * EACH + k < count; k++) y[i * EACH + k] = number[k];
    }
}

template <typename Draw>
static bool draw(ct_tensor *y, const ct_tensor *rows, position p, uint64_t first,
                 uint64_t counters) {
    int64_t count = ct_cuda_count(y), each = 16 / (int64_t)sizeof(typename Draw::real);
    if (rows && count > 0) {
        p.row = ct_cuda_data<int64_t>(rows);
        p.each = count / ct_cuda_count(rows) / each;
    }
    if (counters == 0) return true;
    if (!ct_cuda_record_draw(p.seed, p.stream, counters, &p.offset, &p.base)) return false;
    p.offset += first;
    return count == 0 || CT_LAUNCH(draw_numbers<Draw>, ct_cuda_blocks((count + each - 1) / each),
                                   CT_THREADS, 0, ct_cuda_data<typename Draw::real>(y), count, p);
}

bool ct_cuda_uniform(ct_tensor *y, const ct_tensor *rows, uint64_t seed, uint64_t stream,
                     uint64_t offset, uint64_t first, uint64_t counters) {
    position p = {seed, stream, offset, nullptr, 0, nullptr};
    return y->dtype == CT_F32 ? draw<uniform_f32>(y, rows, p, first, counters)
                              : draw<uniform_f64>(y, rows, p, first, counters);
}

bool ct_cuda_normal(ct_tensor *y, const ct_tensor *rows, uint64_t seed, uint64_t stream,
                    uint64_t offset, uint64_t first, uint64_t counters) {
    position p = {seed, stream, offset, nullptr, 0, nullptr};
    return y->dtype == CT_F32 ? draw<normal_f32>(y, rows, p, first, counters)
                              : draw<normal_f64>(y, rows, p, first, counters);
}
