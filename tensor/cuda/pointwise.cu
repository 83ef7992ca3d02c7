/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/ops/pointwise.def as kernels. */
#include "tensor/cuda/real.h"
#include "tensor/cuda/walk.h"

/* ---- formulas --------------------------------------------------------------------------- */

/* Each operation as a type, for the kernels to be made of. */
#define CT_UNARY(name, nparams, formula, slope, lo, hi)                                 \
    struct unary_##name {                                                               \
        template <typename real> static __device__ real value(real X, real P, real Q) { \
            (void)P, (void)Q;                                                           \
            return formula;                                                             \
        }                                                                               \
        template <typename real>                                                        \
        static __device__ real derivative(real X, real Y, real P, real Q) {             \
            (void)X, (void)Y, (void)P, (void)Q;                                         \
            return slope;                                                               \
        }                                                                               \
    };
#define CT_BINARY(name, formula, da, db, lo, hi)                                                  \
    struct binary_##name {                                                                        \
        template <typename real> static __device__ real value(real A, real B) { return formula; } \
        template <typename real> static __device__ real derivative(int which, real A, real B) {   \
            const real Y = formula;                                                               \
            (void)Y;                                                                              \
            return which == 0 ? real(da) : real(db);                                              \
        }                                                                                         \
    };
#define CT_COMPARE(name, formula)                                                        \
    struct compare_##name {                                                              \
        template <typename T> static __device__ bool value(T A, T B) { return formula; } \
    };
#include "tensor/ops/pointwise.def"

/* ---- kernels ---------------------------------------------------------------------------- */

template <typename Op, typename real>
static __global__ void unary(const ct_walk<2> w, real p, real q) {
    ct_walk_each<ct_lanes<real>>(w, [&]<int W>(const int64_t(&at)[2]) {
        auto x = w.load<W, real>(1, at);
        for (int i = 0; i < W; i++) x.at[i] = Op::value(x.at[i], p, q);
        w.store(at, x);
    });
}

template <typename Op, typename real>
static __global__ void unary_grad(const ct_walk<4> w, real p, real q) {
    ct_walk_each<ct_lanes<real>>(w, [&]<int W>(const int64_t(&at)[4]) {
        auto g = w.load<W, real>(1, at), x = w.load<W, real>(2, at), y = w.load<W, real>(3, at);
        for (int i = 0; i < W; i++) g.at[i] *= Op::derivative(x.at[i], y.at[i], p, q);
        w.store(at, g);
    });
}

template <typename Op, typename real> static __global__ void binary(const ct_walk<3> w) {
    ct_walk_each<ct_lanes<real>>(w, [&]<int W>(const int64_t(&at)[3]) {
        auto a = w.load<W, real>(1, at), b = w.load<W, real>(2, at);
        for (int i = 0; i < W; i++) a.at[i] = Op::value(a.at[i], b.at[i]);
        w.store(at, a);
    });
}

template <typename Op, typename real>
static __global__ void binary_grad(const ct_walk<4> w, int which) {
    ct_walk_each<ct_lanes<real>>(w, [&]<int W>(const int64_t(&at)[4]) {
        auto g = w.load<W, real>(1, at), a = w.load<W, real>(2, at), b = w.load<W, real>(3, at);
        for (int i = 0; i < W; i++) g.at[i] *= Op::derivative(which, a.at[i], b.at[i]);
        w.store(at, g);
    });
}

template <typename Op, typename T> static __global__ void compare(const ct_walk<3> w) {
    ct_walk_each<ct_lanes<T>>(w, [&]<int W>(const int64_t(&at)[3]) {
        auto a = w.load<W, T>(1, at), b = w.load<W, T>(2, at);
        ct_pack<W, uint8_t> y;
        for (int i = 0; i < W; i++) y.at[i] = Op::value(a.at[i], b.at[i]);
        w.store(at, y);
    });
}

/* Values are only moved: one kernel for each size of element. */
template <typename T> static __global__ void where(const ct_walk<4> w) {
    ct_walk_each<ct_lanes<T>>(w, [&]<int W>(const int64_t(&at)[4]) {
        auto condition = w.load<W, uint8_t>(1, at);
        auto a = w.load<W, T>(2, at), b = w.load<W, T>(3, at);
        for (int i = 0; i < W; i++) a.at[i] = condition.at[i] ? a.at[i] : b.at[i];
        w.store(at, a);
    });
}

template <typename real> static __global__ void add_to(const ct_walk<2> w, real alpha) {
    ct_walk_each<ct_lanes<real>>(w, [&]<int W>(const int64_t(&at)[2]) {
        auto y = w.load<W, real>(0, at), x = w.load<W, real>(1, at);
        for (int i = 0; i < W; i++) y.at[i] += alpha * x.at[i];
        w.store(at, y);
    });
}

/* ---- launches --------------------------------------------------------------------------- */

/* Over all elements of a walk. */
#define LAUNCH(kernel, w, ...) CT_LAUNCH(kernel, ct_walk_blocks(w), CT_THREADS, 0, __VA_ARGS__)

template <typename real>
bool ct_cuda_unary(ct_unary_kind kind, ct_tensor *y, const ct_tensor *x, double p, double q) {
    ct_walk<2> w = ct_walk_of({y, x});
    if (w.count == 0) return true;
    switch (kind) {
#define CT_UNARY(name, ...) \
    case CT_UNARY_##name:   \
        return LAUNCH((unary<unary_##name, real>), w, w, p, q);
#include "tensor/ops/pointwise.def"
    case CT_UNARY_COUNT: break;
    }
    return false;
}
CT_BOTH_REALS(unary);

template <typename real>
bool ct_cuda_unary_grad(ct_unary_kind kind, ct_tensor *gx, const ct_tensor *g, const ct_tensor *x,
                        const ct_tensor *y, double p, double q) {
    ct_walk<4> w = ct_walk_of({gx, g, x, y});
    if (w.count == 0) return true;
    switch (kind) {
#define CT_UNARY(name, ...) \
    case CT_UNARY_##name:   \
        return LAUNCH((unary_grad<unary_##name, real>), w, w, p, q);
#include "tensor/ops/pointwise.def"
    case CT_UNARY_COUNT: break;
    }
    return false;
}
CT_BOTH_REALS(unary_grad);

template <typename real>
bool ct_cuda_binary(ct_binary_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b) {
    ct_walk<3> w = ct_walk_of({y, a, b});
    if (w.count == 0) return true;
    switch (kind) {
#define CT_BINARY(name, ...) \
    case CT_BINARY_##name:   \
        return LAUNCH((binary<binary_##name, real>), w, w);
#include "tensor/ops/pointwise.def"
    case CT_BINARY_COUNT: break;
    }
    return false;
}
CT_BOTH_REALS(binary);

template <typename real>
bool ct_cuda_binary_grad(ct_binary_kind kind, int which, ct_tensor *gx, const ct_tensor *g,
                         const ct_tensor *a, const ct_tensor *b) {
    ct_walk<4> w = ct_walk_of({gx, g, a, b});
    if (w.count == 0) return true;
    switch (kind) {
#define CT_BINARY(name, ...) \
    case CT_BINARY_##name:   \
        return LAUNCH((binary_grad<binary_##name, real>), w, w, which);
#include "tensor/ops/pointwise.def"
    case CT_BINARY_COUNT: break;
    }
    return false;
}
CT_BOTH_REALS(binary_grad);

template <typename T> static bool launch_compare(ct_compare_kind kind, const ct_walk<3> &w) {
    switch (kind) {
#define CT_COMPARE(name, ...) \
    case CT_COMPARE_##name:   \
        return LAUNCH((compare<compare_##name, T>), w, w);
#include "tensor/ops/pointwise.def"
    case CT_COMPARE_COUNT: break;
    }
    return false;
}

bool ct_cuda_compare(ct_compare_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b) {
    ct_walk<3> w = ct_walk_of({y, a, b});
    if (w.count == 0) return true;
    switch (a->dtype) {
    case CT_F32: return launch_compare<float>(kind, w);
    case CT_F64: return launch_compare<double>(kind, w);
    case CT_I32: return launch_compare<int32_t>(kind, w);
    case CT_I64: return launch_compare<int64_t>(kind, w);
    default: return launch_compare<uint8_t>(kind, w);
    }
}

bool ct_cuda_where(ct_tensor *y, const ct_tensor *condition, const ct_tensor *a,
                   const ct_tensor *b) {
    ct_walk<4> w = ct_walk_of({y, condition, a, b});
    if (w.count == 0) return true;
    switch (ct_cuda_size(y->dtype)) {
    case 1: return LAUNCH(where<uint8_t>, w, w);
    case 2: return LAUNCH(where<uint16_t>, w, w);
    case 4: return LAUNCH(where<uint32_t>, w, w);
    default: return LAUNCH(where<uint64_t>, w, w);
    }
}

template <typename real> bool ct_cuda_add_to(ct_tensor *y, double alpha, const ct_tensor *x) {
    ct_walk<2> w = ct_walk_of({y, x});
    return w.count == 0 || LAUNCH(add_to<real>, w, w, alpha);
}
CT_BOTH_REALS(add_to);
