/* SPDX-License-Identifier: Apache-2.0 */
/* The discrete-continuous policy head: a block for the actions of one head, which are read once.
 * Formulas as in tensor/cpu/matching_policy_kernels.h. */
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"

/* Probabilities of a head that shared memory takes; those of a wider one stand in the result y. */
enum { MOST_SHARED_BYTES = 32 << 10, NO_INDEX = INT32_MAX };

/* ---- the draw --------------------------------------------------------------------------- */

/* The sum of what the block's threads before this one brought: within the warp, then warp after
 * warp. */
static __device__ inline double sum_before(double value) {
    __shared__ double of_warp[CT_WARP];
    int lane = (int)threadIdx.x % CT_WARP, warp = (int)threadIdx.x / CT_WARP;
    double sum = value;
    for (int step = 1; step < CT_WARP; step *= 2) {
        double before = __shfl_up_sync(ct_whole_warp, sum, step);
        if (lane >= step) sum += before;
    }
    double before = __shfl_up_sync(ct_whole_warp, sum, 1);
    __syncthreads();
    if (lane == CT_WARP - 1) of_warp[warp] = sum;
    __syncthreads();
    if (lane == 0) before = 0;
    for (int w = 0; w < warp; w++) before += of_warp[w];
    return before;
}

/* The first index in start..stop at which `sum` plus the running sum of y exceeds v, or else the
 * last one with a probability; -1 if none has one. */
template <typename real>
static __device__ inline int scan(const real *y, int start, int stop, double sum, double v) {
    int last = -1;
    for (int i = start; i < stop; i++) {
        sum += y[i];
        if (y[i] > 0) last = i;
        if (sum > v) break;
    }
    return last;
}

/* The first index at which the running sum of y exceeds v; where rounding keeps all of it below,
 * the last possible one. Each thread has a run of neighbours: the first whose end exceeds v looks
 * where. Runs are of odd length: shared memory's banks. */
template <typename real> static __device__ inline int draw(const real *y, int n, double v) {
    int length = (n + (int)blockDim.x - 1) / (int)blockDim.x | 1;
    int64_t begin = (int64_t)threadIdx.x * length;
    int start = begin < n ? (int)begin : n, stop = n - start < length ? n : start + length;
    double sum = 0;
    for (int i = start; i < stop; i++) sum += y[i];
    double before = sum_before(sum);
    int found = before + sum > v ? scan(y, start, stop, before, v) : -1;
    int first = ct_block_reduce(found < 0 ? (int)NO_INDEX : found, ct_combine_min(), (int)NO_INDEX);
    if (first != NO_INDEX) return first;
    int last = scan(y, start, stop, 0, (double)INFINITY);
    last = ct_block_reduce(last, ct_combine_max(), -1);
    return last < 0 ? 0 : last;
}

/* ---- forward ---------------------------------------------------------------------------- */

template <typename real> struct policy_arguments {
    const real *logits, *rho, *uniform, *choice, *normal, *normal_2;
    const int64_t *given;
    real *y, *log_discrete, *log_continuous, *weight, *sample;
    int64_t *index;
    int64_t heads;
    int n; /* actions */
    bool shared;
    real rate, scale;
};

/* What the softmax is taken of: the logit, or the perturbed one. */
template <typename real>
static __device__ inline real perturbed(real logit, real uniform, real rate) {
    real gumbel = -R_LOG(-R_LOG(uniform + R(1e-20)) + R(1e-20));
    return (logit + gumbel) * rate;
}

/* row = softmax of head i's logits, by the whole block, which sees all of it; y likewise. Returns
 * log sum exp. */
template <typename real>
static __device__ inline real probabilities(const policy_arguments<real> &p, real *row, int64_t i) {
    const real *x = p.logits + i * p.n, *u = p.uniform ? p.uniform + i * p.n : nullptr;
    real *y = p.y + i * p.n, largest = -(real)INFINITY, sum = 0;
    int64_t head = u ? ct_head(p.n, x, y, u, row) : ct_head(p.n, x, y, row);
    ct_each<real>(p.n, head, [&]<int W>(int64_t a) {
        ct_pack<W, real> t = ct_load<W>(x + a);
        if (u) {
            ct_pack<W, real> noise = ct_load<W>(u + a);
            for (int k = 0; k < W; k++) t.at[k] = perturbed(t.at[k], noise.at[k], p.rate);
        }
        for (int k = 0; k < W; k++) largest = R_MAX(t.at[k], largest);
        ct_store(row + a, t);
    });
    largest = ct_block_reduce(largest, ct_combine_max(), -(real)INFINITY);
    ct_each<real>(p.n, head, [&]<int W>(int64_t a) {
        ct_pack<W, real> t = ct_load<W>(row + a);
        for (int k = 0; k < W; k++) {
            t.at[k] = R_EXP(t.at[k] - largest);
            sum += t.at[k];
        }
        ct_store(row + a, t);
    });
    sum = ct_block_sum(sum);
    const real scale = 1 / sum;
    ct_each<real>(p.n, head, [&]<int W>(int64_t a) {
        ct_pack<W, real> t = ct_load<W>(row + a);
        for (int k = 0; k < W; k++) t.at[k] *= scale;
        ct_store(row + a, t);
        if (row != y) ct_store(y + a, t);
    });
    __syncthreads();
    return largest + R_LOG(sum);
}

/* The given index of head i, if it is one; else it is reported, and the next read from the device
 * gives the error. */
template <typename real>
static __device__ inline bool check_given(const policy_arguments<real> &p, int64_t i,
                                          ct_report *report) {
    if (p.given[i] >= 0 && p.given[i] < p.n) return true;
    if (threadIdx.x == 0) ct_report_wrong(report, CT_REPORT_POLICY_HEAD, p.given[i], i, p.n);
    return false;
}

/* Log-probabilities, weight and sample of head i, of which action k was taken. */
template <typename real>
static __device__ inline void act(const policy_arguments<real> &p, int64_t i, int k, real log_sum) {
    real chosen = p.logits[i * p.n + k];
    if (p.uniform) chosen = perturbed(chosen, p.uniform[i * p.n + k], p.rate);
    const real mu = (real)k / (real)p.n, rho = p.rho[i], sigma = R_EXP(R(0.5) * rho);
    const real normal = p.normal[i], normal_2 = p.normal_2[i];
    const real half_log_two_pi = R(0.91893853320467274178);
    p.index[i] = k;
    p.log_discrete[i] = chosen - log_sum;
    p.weight[i] = p.scale * R_SIGMOID(mu + sigma * normal);
    p.sample[i] = mu + sigma * normal_2;
    p.log_continuous[i] = R(-0.5) * normal_2 * normal_2 - R(0.5) * rho - half_log_two_pi;
}

template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    policy_head(policy_arguments<real> p, ct_report *report) {
    CT_SHARED(real, shared_row);
    for (int64_t i = blockIdx.x; i < p.heads; i += gridDim.x) {
        real *y = p.y + i * p.n; /* the shared row lies on 16 bytes where it does */
        real *row = p.shared ? shared_row + (uintptr_t)y % 16 / sizeof(real) : y;
        real log_sum = probabilities(p, row, i);
        int k = 0;
        if (!p.given) {
            k = draw(row, p.n, (double)p.choice[i]);
        } else if (check_given(p, i, report)) {
            k = (int)p.given[i];
        }
        if (threadIdx.x == 0) act(p, i, k, log_sum);
        __syncthreads(); /* the row is the next head's */
    }
}

template <typename real>
bool ct_cuda_policy_head(const ct_policy_result *to, const ct_tensor *logits, const ct_tensor *rho,
                         const ct_policy_noise *noise, ct_policy_options options) {
    int64_t heads = ct_cuda_count(rho), n = logits->shape.dim[2];
    if (n > INT32_MAX / 2) return ct_host->fail_bool("policy head: %lld actions", (long long)n);
    if (heads == 0) return true;
    size_t bytes = (size_t)n * sizeof(real) + 16;
    bool shared = bytes <= MOST_SHARED_BYTES;
    policy_arguments<real> p = {
        ct_cuda_data<real>(logits),
        ct_cuda_data<real>(rho),
        ct_cuda_data<real>(noise->uniform),
        ct_cuda_data<real>(noise->choice),
        ct_cuda_data<real>(noise->normal),
        ct_cuda_data<real>(noise->normal_2 ? noise->normal_2 : noise->normal),
        ct_cuda_data<int64_t>(noise->index),
        ct_cuda_data<real>(to->y),
        ct_cuda_data<real>(to->log_discrete),
        ct_cuda_data<real>(to->log_continuous),
        ct_cuda_data<real>(to->weight),
        ct_cuda_data<real>(to->sample),
        ct_cuda_data<int64_t>(to->index),
        heads,
        (int)n,
        shared,
        (real)(1 / options.temperature),
        (real)options.scale};
    return CT_LAUNCH(policy_head<real>, ct_row_blocks(heads), ct_row_threads(n), shared ? bytes : 0,
                     p, ct_cuda_report);
}
CT_BOTH_REALS(policy_head);

/* ---- gradient --------------------------------------------------------------------------- */

/* d log y[k] / d logit = (onehot - y) rate;  d log N / d mu = z / sigma, which reaches the logits
 * as if mu were sum_a (a/A) y[a]: a/A less its mean, times y rate;  d log N / d rho = (z^2-1)/2. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    policy_head_grad(real *g_logits, real *g_rho, const real *g_discrete, const real *g_continuous,
                     const real *rho, const real *y, const real *sample, const int64_t *index,
                     int64_t heads, int64_t n, real rate) {
    const real step = 1 / (real)n;
    for (int64_t i = blockIdx.x; i < heads; i += gridDim.x) {
        const real *yi = y + i * n;
        real *to = g_logits + i * n, mean = 0;
        int64_t head = ct_head(n, yi, to), chosen = index[i];
        const real sigma = R_EXP(R(0.5) * rho[i]);
        const real z = (sample[i] - (real)chosen * step) / sigma;
        const real discrete = g_discrete ? g_discrete[i] * rate : 0;
        const real continuous = g_continuous ? g_continuous[i] : 0;
        const real slope = continuous * z / sigma * rate;
        ct_each<real>(n, head, [&]<int W>(int64_t a) {
            ct_pack<W, real> v = ct_load<W>(yi + a);
            for (int k = 0; k < W; k++) mean += v.at[k] * (real)(int)(a + k);
        });
        mean = ct_block_sum(mean) * step;
        ct_each<real>(n, head, [&]<int W>(int64_t a) {
            ct_pack<W, real> v = ct_load<W>(yi + a);
            for (int k = 0; k < W; k++) {
                v.at[k] *= slope * ((real)(int)(a + k) * step - mean) - discrete;
                if (a + k == chosen) v.at[k] += discrete;
            }
            ct_store(to + a, v);
        });
        if (threadIdx.x == 0) g_rho[i] = continuous * R(0.5) * (z * z - 1);
    }
}

template <typename real>
bool ct_cuda_policy_head_grad(ct_tensor *g_logits, ct_tensor *g_rho, const ct_tensor *g_discrete,
                              const ct_tensor *g_continuous, const ct_tensor *rho,
                              const ct_policy_result *result, ct_policy_options options) {
    int64_t heads = ct_cuda_count(rho), n = result->y->shape.dim[2];
    double rate = options.perturbed ? 1 / options.temperature : 1;
    if (heads * n == 0) return true;
    return CT_LAUNCH(policy_head_grad<real>, ct_row_blocks(heads), ct_row_threads(n), 0,
                     ct_cuda_data<real>(g_logits), ct_cuda_data<real>(g_rho),
                     ct_cuda_data<real>(g_discrete), ct_cuda_data<real>(g_continuous),
                     ct_cuda_data<real>(rho), ct_cuda_data<real>(result->y),
                     ct_cuda_data<real>(result->sample), ct_cuda_data<int64_t>(result->index),
                     heads, n, (real)rate);
}
CT_BOTH_REALS(policy_head_grad);
