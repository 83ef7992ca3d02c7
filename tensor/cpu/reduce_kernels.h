/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of reductions for one type: a template, included by cpu/reduce.c after real_f32.h
 * or real_f64.h.
 *
 * A row kernel reduces n contiguous elements to one value: element i goes to lane i % lanes,
 * whatever the vector width, and the lanes are joined pairwise. A column kernel joins `rows` rows
 * of n elements into n accumulators. Sums of f32 run in f32 inside one call, of ROW_LENGTH elements
 * or COLUMN_ROWS rows at most, and in f64 between calls. */

#define DEFINE_ROW(name, type, lanes, start, step, join)                              \
    static double REAL_NAME(row_##name)(const void *from, int64_t n) {                \
        const real *x = from;                                                         \
        type lane[lanes] __attribute__((aligned(64)));                                \
        for (int j = 0; j < lanes; j++) lane[j] = start;                              \
        int64_t i = 0;                                                                \
        for (; i + lanes <= n; i += lanes) {                                          \
            _Pragma("omp simd") for (int j = 0; j < lanes; j++) {                     \
                const type A = lane[j], X = (type)x[i + j];                           \
                lane[j] = step;                                                       \
            }                                                                         \
        }                                                                             \
        _Pragma("omp simd") for (int64_t j = 0; j < n - i; j++) {                     \
            const type A = lane[j], X = (type)x[i + j];                               \
            lane[j] = step;                                                           \
        }                                                                             \
        _Pragma("GCC unroll 8") for (int width = lanes / 2; width >= 1; width /= 2) { \
            _Pragma("omp simd") for (int j = 0; j < width; j++) {                     \
                const type A = lane[j], X = lane[j + width];                          \
                lane[j] = join;                                                       \
            }                                                                         \
        }                                                                             \
        return (double)lane[0];                                                       \
    }

#define DEFINE_COLUMNS(name, start, step, join)                                       \
    static void REAL_NAME(columns_##name)(double *to, const void *from, int64_t rows, \
                                          int64_t stride, int64_t n) {                \
        const real *x = from;                                                         \
        real sum[COLUMNS] __attribute__((aligned(64)));                               \
        for (int64_t j = 0; j < n; j++) sum[j] = start;                               \
        for (int64_t i = 0; i < rows; i++) {                                          \
            _Pragma("omp simd") for (int64_t j = 0; j < n; j++) {                     \
                const real A = sum[j], X = x[i * stride + j];                         \
                sum[j] = step;                                                        \
            }                                                                         \
        }                                                                             \
        for (int64_t j = 0; j < n; j++) {                                             \
            const double A = to[j], X = sum[j];                                       \
            to[j] = join;                                                             \
        }                                                                             \
    }

/* In f64 from the start: products and squares soon leave the range of f32. */
#define DEFINE_WIDE_COLUMNS(name, step)                                               \
    static void REAL_NAME(columns_##name)(double *to, const void *from, int64_t rows, \
                                          int64_t stride, int64_t n) {                \
        const real *x = from;                                                         \
        for (int64_t i = 0; i < rows; i++) {                                          \
            _Pragma("omp simd") for (int64_t j = 0; j < n; j++) {                     \
                const double A = to[j], X = (double)x[i * stride + j];                \
                to[j] = step;                                                         \
            }                                                                         \
        }                                                                             \
    }

#define DEFINE_NARROW(name, start, step, join)       \
    DEFINE_ROW(name, real, LANES, start, step, join) \
    DEFINE_COLUMNS(name, start, step, join)
#define DEFINE_WIDE(name, start, step, join)                \
    DEFINE_ROW(name, double, WIDE_LANES, start, step, join) \
    DEFINE_WIDE_COLUMNS(name, step)

DEFINE_NARROW(sum, R(0), A + X, A + X)
DEFINE_NARROW(max, -R(INFINITY), X > A || X != X ? X : A, X > A || X != X ? X : A)
DEFINE_NARROW(min, R(INFINITY), X < A || X != X ? X : A, X < A || X != X ? X : A)
DEFINE_NARROW(nonfinite, R(0), X - X == R(0) ? A : R(1), X > A ? X : A)
DEFINE_WIDE(prod, 1.0, A *X, A *X)
DEFINE_WIDE(square, 0.0, A + X * X, A + X)

#undef DEFINE_ROW
#undef DEFINE_COLUMNS
#undef DEFINE_WIDE_COLUMNS
#undef DEFINE_NARROW
#undef DEFINE_WIDE
