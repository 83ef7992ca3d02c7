/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of many rows in f16. Formulas as in tensor/cpu/matching_scores.c. */
#include "tensor/core/convert.h"
#include "tensor/cuda/block.h"
#include "tensor/cuda/cuda.h"

/* A warp for a row, which stays in the cache for all questions. */
static __global__ void row_scores(float *s, const float *a, const ct_f16 *b, int64_t questions,
                                  int64_t rows, int64_t width, ct_score_kind kind) {
    int64_t warps = ct_step() / CT_WARP;
    int lane = (int)threadIdx.x % CT_WARP;
    for (int64_t r = ct_first() / CT_WARP; r < rows; r += warps) {
        for (int64_t q = 0; q < questions; q++) {
            float sum = 0;
            for (int64_t c = lane; c < width; c += CT_WARP) {
                float x = ct_f32_of_f16(b[r * width + c]), y = a[q * width + c];
                float d = kind == CT_SCORE_ORDER ? x - y : y - x;
                d = d < 0 ? 0 : d; /* NaN stays */
                sum += kind == CT_SCORE_PRODUCT ? y * x : d * d;
            }
            sum = ct_warp_reduce(sum, ct_combine_sum());
            if (kind != CT_SCORE_PRODUCT) sum = sum == 0 ? 0 : -sqrtf(sum);
            if (lane == 0) s[q * rows + r] = sum;
        }
    }
}

bool ct_cuda_row_scores(ct_tensor *s, const ct_tensor *a, const ct_tensor *b, ct_score_kind kind) {
    int64_t rows = b->shape.dim[0];
    return CT_LAUNCH(row_scores, ct_cuda_blocks(rows * CT_WARP), CT_THREADS, 0,
                     ct_cuda_data<float>(s), ct_cuda_data<float>(a), ct_cuda_data<ct_f16>(b),
                     a->shape.dim[0], rows, b->shape.dim[1], kind);
}
