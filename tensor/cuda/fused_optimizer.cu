/* Adam and SGD over all parameters at once. What is to be updated comes to the kernel as a table,
 * among its arguments; a block takes a chunk of one parameter. */
#include <math.h>

#include "tensor/cuda/fused.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"

/* A launch's arguments have 4 KiB. */
enum { CHUNK = 16384, TABLE = 56 };

/* One parameter: its block numbers start at first_block. */
template <typename real> struct entry {
    real *param, *first_moment, *second_moment; /* SGD: buffer or NULL, NULL */
    const real *grad;
    int64_t count, first_block;
    real step_size, root; /* Adam's bias corrections; SGD: the share of the buffer that stays */
};

template <typename real> struct table {
    entry<real> at[TABLE];
    int count;
    int64_t blocks;
};
static_assert(sizeof(table<double>) <= 3968);

/* What all parameters share, in the parameters' precision. `scale`, the clip factor, is read in one
 * place of each kernel: it can become a number on the device there. */
template <typename real> struct adam_constants {
    real b1, b2, c2, eps, keep, decay, scale;
};
template <typename real> struct sgd_constants {
    real lr, ahead, decay, scale;
    bool nesterov;
};

/* The entry that a block works for. */
template <typename real>
static __device__ inline int entry_of_block(const table<real> &work, int64_t block) {
    int i = 0;
    while (i + 1 < work.count && work.at[i + 1].first_block <= block) i++;
    return i;
}

/* PyTorch's order of operations. */
template <typename real>
static __global__ void adam(const __grid_constant__ table<real> work,
                            const __grid_constant__ adam_constants<real> o) {
    const entry<real> &e = work.at[entry_of_block(work, blockIdx.x)];
    int64_t start = ((int64_t)blockIdx.x - e.first_block) * CHUNK;
    int64_t n = e.count - start < CHUNK ? e.count - start : (int64_t)CHUNK;
    real *p = e.param + start, *m = e.first_moment + start, *v = e.second_moment + start;
    const real *grad = e.grad + start, step_size = e.step_size, root = e.root;
    ct_each<real>(n, ct_head(n, grad, p, m, v), [&]<int W>(int64_t i) {
        ct_pack<W, real> pi = ct_load<W>(p + i), gi = ct_load<W>(grad + i);
        ct_pack<W, real> mi = ct_load<W>(m + i), vi = ct_load<W>((const real *)v + i);
        for (int k = 0; k < W; k++) {
            real g = gi.at[k] * o.scale + o.decay * pi.at[k];
            mi.at[k] += (g - mi.at[k]) * o.b1;
            vi.at[k] = vi.at[k] * o.b2 + g * g * o.c2;
            real slower = R_SQRT(vi.at[k]) * root + o.eps;
            pi.at[k] = pi.at[k] * o.keep - step_size * mi.at[k] / slower;
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
    const entry<real> &e = work.at[entry_of_block(work, blockIdx.x)];
    int64_t start = ((int64_t)blockIdx.x - e.first_block) * CHUNK;
    int64_t n = e.count - start < CHUNK ? e.count - start : (int64_t)CHUNK;
    real *p = e.param + start, *b = e.first_moment ? e.first_moment + start : nullptr;
    const real *grad = e.grad + start, stays = e.step_size;
    int64_t head = b ? ct_head(n, grad, p, b) : ct_head(n, grad, p);
    ct_each<real>(n, head, [&]<int W>(int64_t i) {
        ct_pack<W, real> pi = ct_load<W>(p + i), gi = ct_load<W>(grad + i), bi = {};
        if (b && stays != 0) bi = ct_load<W>(b + i);
        for (int k = 0; k < W; k++) {
            real g = gi.at[k] * o.scale + o.decay * pi.at[k];
            bi.at[k] = stays * bi.at[k] + g;
            pi.at[k] -= o.lr * (b && o.nesterov ? g + o.ahead * bi.at[k] : bi.at[k]);
        }
        ct_store(p + i, pi);
        if (b) ct_store(b + i, bi);
    });
}

/* ---- launches --------------------------------------------------------------------------- */

template <typename real> static constexpr ct_dtype dtype_of = sizeof(real) == 4 ? CT_F32 : CT_F64;

/* Puts parameter x into the table. */
template <typename real>
static entry<real> *add_entry(table<real> *work, const ct_tensor *x, const ct_tensor *grad,
                              const ct_tensor *first_moment, const ct_tensor *second_moment) {
    entry<real> *e = &work->at[work->count++];
    *e = {ct_cuda_data<real>(x), ct_cuda_data<real>(first_moment),
          ct_cuda_data<real>(second_moment), ct_cuda_data<real>(grad), ct_cuda_count(x),
          work->blocks, 0, 0};
    work->blocks += (e->count + CHUNK - 1) / CHUNK;
    return e;
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
                        const int64_t *steps, int count, const ct_adam_options &o) {
    double keep = o.decoupled ? 1 - o.lr * o.weight_decay : 1;
    adam_constants<real> constants = {
        (real)(1 - o.beta1), (real)o.beta2, (real)(1 - o.beta2), (real)o.eps, (real)keep,
        (real)(o.decoupled ? 0 : o.weight_decay), (real)o.grad_scale};
    table<real> work = {};
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        if (!grads[i] || params[i]->dtype != dtype_of<real> || !ct_cuda_count(params[i])) continue;
        entry<real> *e = add_entry(&work, params[i], grads[i], exp_avg[i], exp_avg_sq[i]);
        e->step_size = (real)(o.lr / (1 - pow(o.beta1, (double)steps[i])));
        e->root = (real)(1 / sqrt(1 - pow(o.beta2, (double)steps[i])));
        ok = flush("adam", adam<real>, &work, constants, false);
    }
    return ok && flush("adam", adam<real>, &work, constants, true);
}

bool ct_cuda_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                  ct_tensor *const *exp_avg_sq, const int64_t *steps, int count,
                  ct_adam_options options) {
    return launch_adam<float>(params, grads, exp_avg, exp_avg_sq, steps, count, options) &&
           launch_adam<double>(params, grads, exp_avg, exp_avg_sq, steps, count, options);
}

template <typename real>
static bool launch_sgd(ct_tensor *const *params, ct_tensor *const *grads,
                       ct_tensor *const *buffers, const bool *first, int count,
                       const ct_sgd_options &o) {
    bool momentum = o.momentum != 0;
    sgd_constants<real> constants = {(real)o.lr, (real)o.momentum, (real)o.weight_decay,
                                     (real)o.grad_scale, o.nesterov};
    table<real> work = {};
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        if (!grads[i] || params[i]->dtype != dtype_of<real> || !ct_cuda_count(params[i])) continue;
        entry<real> *e = add_entry<real>(&work, params[i], grads[i],
                                         momentum ? buffers[i] : nullptr, nullptr);
        e->step_size = momentum && !first[i] ? (real)o.momentum : 0;
        ok = flush("sgd", sgd<real>, &work, constants, false);
    }
    return ok && flush("sgd", sgd<real>, &work, constants, true);
}

bool ct_cuda_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                 const bool *first, int count, ct_sgd_options options) {
    return launch_sgd<float>(params, grads, buffers, first, count, options) &&
           launch_sgd<double>(params, grads, buffers, first, count, options);
}
