/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy: a block for a row of logits, which is read once. */
#include <float.h>

#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"

/* log sum exp as it goes: the sum of exp(x - largest) over what has passed. `largest` is finite,
 * so that no difference is NaN: a row of -inf has the sum 0, one with +inf an infinite sum. */
template <typename real> struct running_sum { real largest, sum; };

template <typename real> static __device__ inline running_sum<real> nothing_summed() {
    return {sizeof(real) == 4 ? -(real)FLT_MAX : -(real)DBL_MAX, 0};
}

/* An infinite sum stays so, whatever larger number comes later. */
template <typename real>
static __device__ inline real rescaled(const running_sum<real> &s, real largest) {
    return s.sum - s.sum == 0 ? s.sum * R_EXP(s.largest - largest) : s.sum;
}

template <int W, typename real>
static __device__ inline void add_to_sum(running_sum<real> *s, const ct_pack<W, real> &x) {
    real largest = s->largest;
    for (int k = 0; k < W; k++) {
        if (x.at[k] > largest && x.at[k] - x.at[k] == 0) largest = x.at[k];
    }
    if (largest > s->largest) {
        s->sum = rescaled(*s, largest);
        s->largest = largest;
    }
    for (int k = 0; k < W; k++) s->sum += R_EXP(x.at[k] - largest);
}

/* log sum exp of the whole block's sums: shift + rest. */
template <typename real> struct row_sums { real shift, rest; };

template <typename real>
static __device__ inline row_sums<real> block_log_sum(const running_sum<real> &s) {
    real none = nothing_summed<real>().largest;
    real largest = ct_block_reduce(s.largest, ct_combine_max(), none);
    return {largest, R_LOG(ct_block_sum(rescaled(s, largest)))};
}

static __device__ inline bool is_far(float lse) { return ct_is_far_f32(lse); }
static __device__ inline bool is_far(double lse) { return ct_is_far_f64(lse); }

/* Those of a row that is read for them alone. */
template <typename real>
static __device__ inline row_sums<real> sums_of(const real *row, int64_t classes) {
    running_sum<real> sum = nothing_summed<real>();
    ct_each<real>(classes, ct_head(classes, row),
                  [&]<int W>(int64_t i) { add_to_sum(&sum, ct_load<W>(row + i)); });
    return block_log_sum(sum);
}

/* The mean of a row's differences from `shift`. */
template <typename real>
static __device__ inline real mean_below(const real *row, int64_t classes, real shift) {
    real mean = 0, scale = 1 / (real)classes;
    ct_each<real>(classes, ct_head(classes, row), [&]<int W>(int64_t i) {
        ct_pack<W, real> x = ct_load<W>(row + i);
        for (int k = 0; k < W; k++) mean += (shift - x.at[k]) * scale;
    });
    return ct_block_sum(mean);
}

/* Whether the label of a row names a class; one that neither does nor is to be ignored is reported:
 * the next read from the device gives the error. */
static __device__ inline bool names_class(int64_t label, int64_t row, int64_t classes,
                                          int64_t ignore_index, ct_report *report) {
    if (label == ignore_index) return false;
    if (label >= 0 && label < classes) return true;
    if (threadIdx.x == 0) {
        ct_report_wrong(report, CT_REPORT_CROSS_ENTROPY, label, row, classes);
    }
    return false;
}

template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    cross_entropy(real *loss, real *log_sum_exp, const real *logits, const int64_t *labels,
                  int64_t rows, int64_t classes, int64_t ignore_index, real smooth,
                  ct_report *report) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *row = logits + r * classes;
        running_sum<real> sum = nothing_summed<real>();
        real total = 0;
        ct_each<real>(classes, ct_head(classes, row), [&]<int W>(int64_t i) {
            ct_pack<W, real> x = ct_load<W>(row + i);
            add_to_sum(&sum, x);
            for (int k = 0; k < W; k++) total += x.at[k];
        });
        row_sums<real> of = block_log_sum(sum);
        real lse = of.shift + of.rest, y = 0;
        bool far = is_far(lse); /* of differences from the largest logit alone */
        if (smooth > 0) total = far ? mean_below(row, classes, of.shift) : ct_block_sum(total);
        if (names_class(labels[r], r, classes, ignore_index, report)) {
            y = (far ? of.shift : lse) - row[labels[r]];
            if (smooth > 0) {
                real mean = far ? total : lse - total / (real)classes;
                y = (smooth < 1 ? (1 - smooth) * y : 0) + smooth * mean;
            }
            if (far) y += of.rest;
        }
        if (threadIdx.x != 0) continue;
        log_sum_exp[r] = lse;
        loss[r] = y;
    }
}

/* g (softmax - (1-s) onehot - s/V) */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    cross_entropy_grad(real *g_logits, const real *g, const real *logits, const int64_t *labels,
                       const real *log_sum_exp, int64_t rows, int64_t classes, int64_t ignore_index,
                       real share, real hit, ct_report *report) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *row = logits + r * classes;
        real *to = g_logits + r * classes;
        int64_t label = labels[r];
        bool counts = names_class(label, r, classes, ignore_index, report);
        row_sums<real> of = {log_sum_exp[r], 0};
        if (is_far(of.shift)) of = sums_of(row, classes);
        real scale = g[r], shift = of.shift, rest = of.rest;
        ct_each<real>(classes, ct_head(classes, row, to), [&]<int W>(int64_t i) {
            ct_pack<W, real> y = {};
            if (counts) y = ct_load<W>(row + i);
            for (int k = 0; counts && k < W; k++) {
                y.at[k] = scale * (R_EXP(y.at[k] - shift - rest) - share);
                if (i + k == label) y.at[k] -= scale * hit;
            }
            ct_store(to + i, y);
        });
    }
}

/* ---- launches --------------------------------------------------------------------------- */

template <typename real>
bool ct_cuda_cross_entropy(ct_tensor *loss, ct_tensor *log_sum_exp, const ct_tensor *logits,
                           const ct_tensor *labels, int64_t ignore_index, double smoothing) {
    int64_t rows = logits->shape.dim[0], classes = logits->shape.dim[1];
    if (rows == 0) return true;
    return CT_LAUNCH(cross_entropy<real>, ct_row_blocks(rows), ct_row_threads(classes), 0,
                     ct_cuda_data<real>(loss), ct_cuda_data<real>(log_sum_exp),
                     ct_cuda_data<real>(logits), ct_cuda_data<int64_t>(labels), rows, classes,
                     ignore_index, (real)smoothing, ct_cuda_report);
}
CT_BOTH_REALS(cross_entropy);

template <typename real>
bool ct_cuda_cross_entropy_grad(ct_tensor *g_logits, const ct_tensor *g, const ct_tensor *logits,
                                const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                int64_t ignore_index, double smoothing) {
    int64_t rows = logits->shape.dim[0], classes = logits->shape.dim[1];
    if (rows == 0) return true;
    return CT_LAUNCH(cross_entropy_grad<real>, ct_row_blocks(rows), ct_row_threads(classes), 0,
                     ct_cuda_data<real>(g_logits), ct_cuda_data<real>(g),
                     ct_cuda_data<real>(logits), ct_cuda_data<int64_t>(labels),
                     ct_cuda_data<real>(log_sum_exp), rows, classes, ignore_index,
                     (real)(smoothing / (double)classes), (real)(1 - smoothing), ct_cuda_report);
}
CT_BOTH_REALS(cross_entropy_grad);
