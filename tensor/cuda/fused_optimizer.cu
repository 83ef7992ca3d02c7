/* SPDX-License-Identifier: Apache-2.0 */
/* Adam and SGD over all parameters at once, and the norm of all gradients. What is to be worked on
 * comes to the kernel as a table, among its arguments; a block takes a chunk of one parameter. */
#include "tensor/fused/clip.h"
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"

/* A launch's arguments have 4 KiB. */
enum { CHUNK = 16384, TABLE = 56 };

/* One parameter: its block numbers start at first_block. */
template <typename real> struct entry {
    real *param, *first_moment, *second_moment; /* SGD: buffer or NULL, NULL */
    const real *grad;
    const double *rates;
    int64_t count, first_block;
};

template <typename real> struct table {
    entry<real> at[TABLE];
    int count;
    int64_t blocks;
};
static_assert(sizeof(table<double>) <= 3968);

/* What all parameters share, the numbers in the parameters' precision. */
struct clipping {
    const double *norm;
    double limit;
    int times, report_kind;
    ct_report *report;
};
template <typename real> struct adam_constants {
    real b1, b2, c2, eps, decay;
    clipping clip;
};
template <typename real> struct sgd_constants {
    real ahead, decay;
    bool nesterov;
    clipping clip;
};

/* What gradients are multiplied by; false, for all threads, if nothing is to be updated. */
static __device__ inline bool clip_factor(const clipping &clip, double *scale) {
    *scale = 1;
    if (!clip.norm) return true;
    double norm = *clip.norm;
    *scale = ct_clip_factor(norm, clip.limit, clip.times);
    if (norm - norm == 0) return true;
    if (ct_first() == 0) ct_report_wrong(clip.report, clip.report_kind, 0, 0, 0);
    return false;
}

/* The entry that a block works for. */
template <typename real>
static __device__ inline int entry_of_block(const table<real> &work, int64_t block) {
    int i = 0;
    while (i + 1 < work.count && work.at[i + 1].first_block <= block) i++;
    return i;
}

/* Elements start .. start + n - 1 of an entry: a block's. */
template <typename real> struct chunk {
    const entry<real> &of;
    int64_t start, n;
};
template <typename real>
static __device__ inline chunk<real> chunk_of_block(const table<real> &work) {
    const entry<real> &e = work.at[entry_of_block(work, blockIdx.x)];
    int64_t start = ((int64_t)blockIdx.x - e.first_block) * CHUNK;
    return {e, start, e.count - start < CHUNK ? e.count - start : (int64_t)CHUNK};
}

/* PyTorch's order of operations. */
template <typename real>
static __global__ void adam(const __grid_constant__ table<real> work,
                            const __grid_constant__ adam_constants<real> o) {
    const auto [e, start, n] = chunk_of_block(work);
    double factor;
    if (!clip_factor(o.clip, &factor)) return;
    real *p = e.param + start, *m = e.first_moment + start, *v = e.second_moment + start;
    const real *grad = e.grad + start, scale = (real)factor;
    const real step_size = (real)e.rates[0], root = (real)e.rates[1], keep = (real)e.rates[2];
    ct_each<real>(n, ct_head(n, grad, p, m, v), [&]<int W>(int64_t i) {
        ct_pack<W, real> pi = ct_load<W>(p + i), gi = ct_load<W>(grad + i);
        ct_pack<W, real> mi = ct_load<W>(m + i), vi = ct_load<W>((const real *)v + i);
        for (int k = 0; k < W; k++) {
            real g = gi.at[k] * scale + o.decay * pi.at[k];
            mi.at[k] += (g - mi.at[k]) * o.b1;
            vi.at[k] = vi.at[k] * o.b2 + g * g * o.c2;
            real slower = R_SQRT(vi.at[k]) * root + o.eps;
            pi.at[k] = pi.at[k] * keep - step_size * mi.at[k] / slower;
        }
        ct_store(p + i, pi);
        ct_store(m + i, mi);
        ct_store(v + i, vi);
    });
}

/* A fresh buffer may hold anything, even NaN: it is not read. */
template <typename real>
static __global__ void sgd(const __grid_constant__ table<real> work,
                           const __grid_constant__ sgd_constants<real> o) {
    const auto [e, start, n] = chunk_of_block(work);
    double factor;
    if (!clip_factor(o.clip, &factor)) return;
    real *p = e.param + start, *b = e.first_moment ? e.first_moment + start : nullptr;
    const real *grad = e.grad + start, scale = (real)factor;
    const real lr = (real)e.rates[0], stays = (real)e.rates[1];
    int64_t head = b ? ct_head(n, grad, p, b) : ct_head(n, grad, p);
    ct_each<real>(n, head, [&]<int W>(int64_t i) {
        ct_pack<W, real> pi = ct_load<W>(p + i), gi = ct_load<W>(grad + i), bi = {};
        if (b && stays != 0) bi = ct_load<W>(b + i);
        for (int k = 0; k < W; k++) {
            real g = gi.at[k] * scale + o.decay * pi.at[k];
            bi.at[k] = stays * bi.at[k] + g;
            pi.at[k] -= lr * (b && o.nesterov ? g + o.ahead * bi.at[k] : bi.at[k]);
        }
        ct_store(p + i, pi);
        if (b) ct_store(b + i, bi);
    });
}

/* ---- launches --------------------------------------------------------------------------- */

template <typename real> static constexpr ct_dtype dtype_of = sizeof(real) == 4 ? CT_F32 : CT_F64;

/* Puts parameter x, or a gradient alone, into the table. */
template <typename real>
static void add_entry(table<real> *work, const ct_tensor *x, const ct_tensor *grad,
                      const ct_tensor *first_moment, const ct_tensor *second_moment,
                      const ct_tensor *rates) {
    entry<real> *e = &work->at[work->count++];
    *e = {ct_cuda_data<real>(x),
          ct_cuda_data<real>(first_moment),
          ct_cuda_data<real>(second_moment),
          ct_cuda_data<real>(grad),
          ct_cuda_data<double>(rates),
          ct_cuda_count(grad),
          work->blocks};
    work->blocks += (e->count + CHUNK - 1) / CHUNK;
}

static clipping clipping_of(const ct_clip &clip, int report_kind) {
    return {ct_cuda_data<double>(clip.norm), clip.limit, clip.times, report_kind, ct_cuda_report};
}

/* Runs the kernel on the table, and empties it, if it is full or this is the end. */
template <typename real, typename Constants>
static bool flush(const char *name, void (*kernel)(table<real>, Constants), table<real> *work,
                  const Constants &constants, bool end) {
    if (work->count == 0 || (work->count < TABLE && !end)) return true;
    bool ok = ct_cuda_launch(name, kernel, (unsigned)work->blocks, CT_THREADS, 0, *work, constants);
    work->count = 0;
    work->blocks = 0;
    return ok;
}

/* Those of the parameters that are of the type. */
template <typename real>
static bool launch_adam(ct_tensor *const *params, ct_tensor *const *grads,
                        ct_tensor *const *exp_avg, ct_tensor *const *exp_avg_sq,
                        ct_tensor *const *rates, int count, const ct_tensor_adam_options &o) {
    adam_constants<real> constants = {(real)(1 - o.beta1),
                                      (real)o.beta2,
                                      (real)(1 - o.beta2),
                                      (real)o.eps,
                                      (real)(o.decoupled ? 0 : o.weight_decay),
                                      clipping_of(o.clip, CT_REPORT_ADAM)};
    table<real> work = {};
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        if (!grads[i] || params[i]->dtype != dtype_of<real> || !ct_cuda_count(params[i])) continue;
        add_entry(&work, params[i], grads[i], exp_avg[i], exp_avg_sq[i], rates[i]);
        ok = flush("adam", adam<real>, &work, constants, false);
    }
    return ok && flush("adam", adam<real>, &work, constants, true);
}

bool ct_cuda_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                  ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                  ct_tensor_adam_options options) {
    return launch_adam<float>(params, grads, exp_avg, exp_avg_sq, rates, count, options) &&
           launch_adam<double>(params, grads, exp_avg, exp_avg_sq, rates, count, options);
}

template <typename real>
static bool launch_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                       ct_tensor *const *rates, int count, const ct_tensor_sgd_options &o) {
    sgd_constants<real> constants = {(real)o.momentum, (real)o.weight_decay, o.nesterov,
                                     clipping_of(o.clip, CT_REPORT_SGD)};
    table<real> work = {};
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        if (!grads[i] || params[i]->dtype != dtype_of<real> || !ct_cuda_count(params[i])) continue;
        const ct_tensor *buffer = o.momentum != 0 ? buffers[i] : nullptr;
        add_entry<real>(&work, params[i], grads[i], buffer, nullptr, rates[i]);
        ok = flush("sgd", sgd<real>, &work, constants, false);
    }
    return ok && flush("sgd", sgd<real>, &work, constants, true);
}

bool ct_cuda_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                 ct_tensor *const *rates, int count, ct_tensor_sgd_options options) {
    return launch_sgd<float>(params, grads, buffers, rates, count, options) &&
           launch_sgd<double>(params, grads, buffers, rates, count, options);
}

/* ---- the norm of all gradients ---------------------------------------------------------- */

/* A block's chunk to its place among the parts. */
template <typename real>
static __global__ void square_chunks(const __grid_constant__ table<real> work, double *parts) {
    const auto [e, start, n] = chunk_of_block(work);
    const real *x = e.grad + start;
    double sum = 0;
    ct_each<real>(n, ct_head(n, x), [&]<int W>(int64_t i) {
        ct_pack<W, real> xi = ct_load<W>(x + i);
        for (int k = 0; k < W; k++) sum += (double)xi.at[k] * (double)xi.at[k];
    });
    sum = ct_block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/* By one block, in a fixed order. */
static __global__ void join_squares(double *norm, const double *parts, int64_t count) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
    sum = ct_block_sum(sum);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}

/* Those that are contiguous and of the type; parts: where theirs begin. */
template <typename real>
static bool launch_squares(ct_tensor *const *tensors, int count, double **parts) {
    table<real> work = {};
    for (int i = 0; i <= count; i++) {
        bool end = i == count;
        if (!end && (tensors[i]->dtype != dtype_of<real> || !ct_cuda_count(tensors[i]))) continue;
        if (!end) add_entry<real>(&work, nullptr, tensors[i], nullptr, nullptr, nullptr);
        if (!end && work.count < TABLE) continue;
        int64_t blocks = work.blocks;
        if (!flush("square_chunks", square_chunks<real>, &work, *parts, true)) return false;
        *parts += blocks;
    }
    return true;
}

bool ct_cuda_global_norm(ct_tensor *norm, ct_tensor *const *tensors, int count) {
    int64_t chunks = 0;
    for (int i = 0; i < count; i++) chunks += (ct_cuda_count(tensors[i]) + CHUNK - 1) / CHUNK;
    ct_scratch room((size_t)chunks * sizeof(double));
    double *parts = static_cast<double *>(room.data), *end = parts;
    return parts && launch_squares<float>(tensors, count, &end) &&
           launch_squares<double>(tensors, count, &end) &&
           CT_LAUNCH(join_squares, 1, CT_THREADS, 0, ct_cuda_data<double>(norm), parts, chunks);
}
