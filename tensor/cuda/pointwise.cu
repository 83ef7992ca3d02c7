/* tensor/pointwise.def as kernels. */
#include "tensor/cuda/real.h"
#include "tensor/cuda/walk.h"

/* ---- formulas --------------------------------------------------------------------------- */

/* Each operation as a type, for the kernels to be made of. */
#define CT_UNARY(name, nparams, formula, slope, lo, hi)                                           \
    struct unary_##name {                                                                         \
        template <typename real> static __device__ real value(real X, real P, real Q) {           \
            (void)P, (void)Q;                                                                     \
            return formula;                                                                       \
        }                                                                                         \
        template <typename real> static __device__ real derivative(real X, real Y, real P,        \
                                                                   real Q) {                      \
            (void)X, (void)Y, (void)P, (void)Q;                                                   \
            return slope;                                                                         \
        }                                                                                         \
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
#define CT_COMPARE(name, formula)                                                                 \
    struct compare_##name {                                                                       \
        template <typename T> static __device__ bool value(T A, T B) { return formula; }          \
    };
#include "tensor/pointwise.def"

/* ---- kernels ---------------------------------------------------------------------------- */

template <typename Op, typename real>
static __global__ void unary(ct_walk<2> w, real p, real q) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[2];
        ct_walk_to(w, i, at);
        w.at<real>(0, at) = Op::value(w.at<real>(1, at), p, q);
    }
}

template <typename Op, typename real>
static __global__ void unary_grad(ct_walk<4> w, real p, real q) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[4];
        ct_walk_to(w, i, at);
        real g = w.at<real>(1, at), x = w.at<real>(2, at), y = w.at<real>(3, at);
        w.at<real>(0, at) = g * Op::derivative(x, y, p, q);
    }
}

template <typename Op, typename real> static __global__ void binary(ct_walk<3> w) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[3];
        ct_walk_to(w, i, at);
        w.at<real>(0, at) = Op::value(w.at<real>(1, at), w.at<real>(2, at));
    }
}

template <typename Op, typename real>
static __global__ void binary_grad(ct_walk<4> w, int which) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[4];
        ct_walk_to(w, i, at);
        real g = w.at<real>(1, at), a = w.at<real>(2, at), b = w.at<real>(3, at);
        w.at<real>(0, at) = g * Op::derivative(which, a, b);
    }
}

template <typename Op, typename T> static __global__ void compare(ct_walk<3> w) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[3];
        ct_walk_to(w, i, at);
        w.at<uint8_t>(0, at) = Op::value(w.at<T>(1, at), w.at<T>(2, at));
    }
}

/* Values are only moved: one kernel for each size of element. */
template <typename T> static __global__ void where(ct_walk<4> w) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[4];
        ct_walk_to(w, i, at);
        w.at<T>(0, at) = w.at<uint8_t>(1, at) ? w.at<T>(2, at) : w.at<T>(3, at);
    }
}

template <typename real> static __global__ void add_to(ct_walk<2> w, real alpha) {
    for (int64_t i = ct_first(); i < w.count; i += ct_step()) {
        int64_t at[2];
        ct_walk_to(w, i, at);
        w.at<real>(0, at) += alpha * w.at<real>(1, at);
    }
}

/* ---- launches --------------------------------------------------------------------------- */

/* Over all elements of a walk. */
#define LAUNCH(kernel, w, ...) \
    CT_LAUNCH(kernel, ct_cuda_blocks((w).count), CT_THREADS, 0, __VA_ARGS__)

template <typename real>
static bool launch_unary(ct_unary_kind kind, const ct_walk<2> &w, double p, double q) {
    switch (kind) {
#define CT_UNARY(name, ...) \
    case CT_UNARY_##name: return LAUNCH((unary<unary_##name, real>), w, w, p, q);
#include "tensor/pointwise.def"
    case CT_UNARY_COUNT: break;
    }
    return false;
}

bool ct_cuda_unary(ct_unary_kind kind, ct_tensor *y, const ct_tensor *x, double p, double q) {
    ct_walk<2> w = ct_walk_of({y, x});
    if (w.count == 0) return true;
    return y->dtype == CT_F32 ? launch_unary<float>(kind, w, p, q)
                              : launch_unary<double>(kind, w, p, q);
}

template <typename real>
static bool launch_unary_grad(ct_unary_kind kind, const ct_walk<4> &w, double p, double q) {
    switch (kind) {
#define CT_UNARY(name, ...) \
    case CT_UNARY_##name: return LAUNCH((unary_grad<unary_##name, real>), w, w, p, q);
#include "tensor/pointwise.def"
    case CT_UNARY_COUNT: break;
    }
    return false;
}

bool ct_cuda_unary_grad(ct_unary_kind kind, ct_tensor *gx, const ct_tensor *g, const ct_tensor *x,
                        const ct_tensor *y, double p, double q) {
    ct_walk<4> w = ct_walk_of({gx, g, x, y});
    if (w.count == 0) return true;
    return gx->dtype == CT_F32 ? launch_unary_grad<float>(kind, w, p, q)
                               : launch_unary_grad<double>(kind, w, p, q);
}

template <typename real> static bool launch_binary(ct_binary_kind kind, const ct_walk<3> &w) {
    switch (kind) {
#define CT_BINARY(name, ...) \
    case CT_BINARY_##name: return LAUNCH((binary<binary_##name, real>), w, w);
#include "tensor/pointwise.def"
    case CT_BINARY_COUNT: break;
    }
    return false;
}

bool ct_cuda_binary(ct_binary_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b) {
    ct_walk<3> w = ct_walk_of({y, a, b});
    if (w.count == 0) return true;
    return y->dtype == CT_F32 ? launch_binary<float>(kind, w) : launch_binary<double>(kind, w);
}

template <typename real>
static bool launch_binary_grad(ct_binary_kind kind, int which, const ct_walk<4> &w) {
    switch (kind) {
#define CT_BINARY(name, ...) \
    case CT_BINARY_##name: return LAUNCH((binary_grad<binary_##name, real>), w, w, which);
#include "tensor/pointwise.def"
    case CT_BINARY_COUNT: break;
    }
    return false;
}

bool ct_cuda_binary_grad(ct_binary_kind kind, int which, ct_tensor *gx, const ct_tensor *g,
                         const ct_tensor *a, const ct_tensor *b) {
    ct_walk<4> w = ct_walk_of({gx, g, a, b});
    if (w.count == 0) return true;
    return gx->dtype == CT_F32 ? launch_binary_grad<float>(kind, which, w)
                               : launch_binary_grad<double>(kind, which, w);
}

template <typename T> static bool launch_compare(ct_compare_kind kind, const ct_walk<3> &w) {
    switch (kind) {
#define CT_COMPARE(name, ...) \
    case CT_COMPARE_##name: return LAUNCH((compare<compare_##name, T>), w, w);
#include "tensor/pointwise.def"
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

bool ct_cuda_add_to(ct_tensor *y, double alpha, const ct_tensor *x) {
    ct_walk<2> w = ct_walk_of({y, x});
    if (w.count == 0) return true;
    return y->dtype == CT_F32 ? LAUNCH(add_to<float>, w, w, alpha)
                              : LAUNCH(add_to<double>, w, w, alpha);
}
