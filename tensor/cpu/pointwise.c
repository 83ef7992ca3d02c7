/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/ops/pointwise.def as loops, and tables of them. */
#include "tensor/cpu/iterate.h"

/* Of operations with an elementary function; the cheap ones are then a little too eager to use
 * threads, which costs less than waiting for a slow one. */
enum { UNARY_COST = 4 };

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/pointwise_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/pointwise_kernels.h"

/* ---- comparisons and where, of more types ----------------------------------------------- */

#define DEFINE_COMPARE(name, T, value)                                            \
    static void compare_##name##_##T(void *out, const void *const *in, int64_t n, \
                                     const double *params) {                      \
        uint8_t *to = out;                                                        \
        const T *a = in[0], *b = in[1];                                           \
        (void)params;                                                             \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                     \
            const T A = a[i], B = b[i];                                           \
            to[i] = value;                                                        \
        }                                                                         \
    }
#define CT_COMPARE(name, value)          \
    DEFINE_COMPARE(name, float, value)   \
    DEFINE_COMPARE(name, double, value)  \
    DEFINE_COMPARE(name, int32_t, value) \
    DEFINE_COMPARE(name, int64_t, value) \
    DEFINE_COMPARE(name, uint8_t, value)
#include "tensor/ops/pointwise.def"

/* Values are only moved: one loop for each size of element. */
#define DEFINE_WHERE(T)                                                                         \
    static void where_##T(void *out, const void *const *in, int64_t n, const double *params) {  \
        typedef T __attribute__((may_alias)) any;                                               \
        any *to = out;                                                                          \
        const uint8_t *condition = in[0];                                                       \
        const any *a = in[1], *b = in[2];                                                       \
        (void)params;                                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) to[i] = condition[i] ? a[i] : b[i]; \
    }
DEFINE_WHERE(uint8_t)
DEFINE_WHERE(uint16_t)
DEFINE_WHERE(uint32_t)
DEFINE_WHERE(uint64_t)

static const ct_map_kernel compare_kernels[][CT_DTYPE_COUNT] = {
#define CT_COMPARE(name, value)           \
    {[CT_F32] = compare_##name##_float,   \
     [CT_F64] = compare_##name##_double,  \
     [CT_I32] = compare_##name##_int32_t, \
     [CT_I64] = compare_##name##_int64_t, \
     [CT_U8] = compare_##name##_uint8_t},
#include "tensor/ops/pointwise.def"
};

bool CT_CPU(compare)(ct_compare_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b) {
    const ct_tensor *inputs[] = {a, b};
    CT_CPU(map)(compare_kernels[kind][a->dtype], y, 2, inputs, NULL, 1);
    return true;
}

bool CT_CPU(where)(ct_tensor *y, const ct_tensor *condition, const ct_tensor *a,
                   const ct_tensor *b) {
    const ct_tensor *inputs[] = {condition, a, b};
    size_t size = ct_dtype_size(y->dtype);
    ct_map_kernel kernel = size == 1   ? where_uint8_t
                           : size == 2 ? where_uint16_t
                           : size == 4 ? where_uint32_t
                                       : where_uint64_t;
    CT_CPU(map)(kernel, y, 3, inputs, NULL, 1);
    return true;
}
