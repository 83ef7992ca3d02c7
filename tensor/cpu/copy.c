/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, with conversion between any two dtypes, and fills. */
#include <string.h>

#include "tensor/core/convert.h"
#include "tensor/cpu/iterate.h"

/* ---- conversion ------------------------------------------------------------------------- */

/* A conversion goes through a type that holds every value of the source and from which the
 * target is rounded once: WIDEN_source, then NARROW_target_from_that. */
#define WIDEN_f32(x) (x)
#define WIDEN_f64(x) (x)
#define WIDEN_bf16(x) ct_f32_of_bf16(x)
#define WIDEN_f16(x) ct_f32_of_f16(x)
#define WIDEN_i32(x) (x)
#define WIDEN_i64(x) (x)
#define WIDEN_u8(x) (x)

typedef float type_f32;
typedef double type_f64;
typedef ct_bf16 type_bf16;
typedef ct_f16 type_f16;
typedef int32_t type_i32;
typedef int64_t type_i64;
typedef uint8_t type_u8;

/* From float types (F): f32, or f64 rounded to odd first. From integers (I). */
#define F32_F(x) ((float)(x))
#define F64_F(x) ((double)(x))
#define ODD_F32(x) _Generic((x), double : ct_round_to_odd((double)(x)), default : (float)(x))
#define BF16_F(x) ct_bf16_of_f32(ODD_F32(x))
#define F16_F(x) ct_f16_of_f32(ODD_F32(x))
#define I32_F(x) ct_i32_of_f64((double)(x))
#define I64_F(x) ct_i64_of_f64((double)(x))
#define U8_F(x) ct_u8_of_f64((double)(x))

#define F32_I(x) ((float)(x))
#define F64_I(x) ((double)(x))
#define BF16_I(x) ct_bf16_of_f32(ct_round_to_odd((double)(x)))
#define F16_I(x) ct_f16_of_f32(ct_round_to_odd((double)(x)))
#define I32_I(x) ((int32_t)(x))
#define I64_I(x) ((int64_t)(x))
#define U8_I(x) ((uint8_t)(x))

#define DEFINE_CONVERT(from, to, NARROW)                                                       \
    static void from##_to_##to(void *out, const void *const *in, int64_t n,                    \
                               const double *params) {                                         \
        type_##to *y = out;                                                                    \
        const type_##from *x = in[0];                                                          \
        (void)params;                                                                          \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = NARROW(WIDEN_##from(x[i])); \
    }
#define DEFINE_FROM(from, KIND)             \
    DEFINE_CONVERT(from, f32, F32_##KIND)   \
    DEFINE_CONVERT(from, f64, F64_##KIND)   \
    DEFINE_CONVERT(from, bf16, BF16_##KIND) \
    DEFINE_CONVERT(from, f16, F16_##KIND)   \
    DEFINE_CONVERT(from, i32, I32_##KIND)   \
    DEFINE_CONVERT(from, i64, I64_##KIND)   \
    DEFINE_CONVERT(from, u8, U8_##KIND)
DEFINE_FROM(f32, F)
DEFINE_FROM(f64, F)
DEFINE_FROM(bf16, F)
DEFINE_FROM(f16, F)
DEFINE_FROM(i32, I)
DEFINE_FROM(i64, I)
DEFINE_FROM(u8, I)

#define ROW(from)                                                                       \
    {                                                                                   \
        [CT_F32] = from##_to_f32, [CT_F64] = from##_to_f64, [CT_BF16] = from##_to_bf16, \
        [CT_F16] = from##_to_f16, [CT_I32] = from##_to_i32, [CT_I64] = from##_to_i64,   \
        [CT_U8] = from##_to_u8                                                          \
    }
static const ct_map_kernel convert_kernels[CT_DTYPE_COUNT][CT_DTYPE_COUNT] = {
    [CT_F32] = ROW(f32), [CT_F64] = ROW(f64), [CT_BF16] = ROW(bf16), [CT_F16] = ROW(f16),
    [CT_I32] = ROW(i32), [CT_I64] = ROW(i64), [CT_U8] = ROW(u8),
};

/* ---- copies of one dtype ---------------------------------------------------------------- */

static void copy_chunk(const ct_walk *y, const ct_walk *x, int64_t start, int64_t n) {
    void *to = CT_CPU(in_place)(y, start, n);
    if (to) {
        const void *from = CT_CPU(load)(x, start, n, to);
        if (from != to) memcpy(to, from, (size_t)n * x->size);
        return;
    }
    uint64_t buffer[CT_BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i += CT_BLOCK) {
        int64_t block = n - i < CT_BLOCK ? n - i : CT_BLOCK;
        CT_CPU(store)(y, start + i, block, CT_CPU(load)(x, start + i, block, buffer));
    }
}

CT_PART copy_chunks(ct_part part, const ct_walk *y, const ct_walk *x, int64_t count) {
    for (int64_t i = part.begin; i < part.end; i++) {
        int64_t left = count - i * CT_CHUNK;
        copy_chunk(y, x, i * CT_CHUNK, left < CT_CHUNK ? left : CT_CHUNK);
    }
}

static void copy_rows(const ct_walk *y, const ct_walk *x, int64_t count) {
    int64_t chunks = (count + CT_CHUNK - 1) / CT_CHUNK;
    CT_IN_PARTS(ct_cpu_threads(count), chunks, copy_chunks(part, y, x, count));
}

/* ---- transposition: rows of y are columns of x ------------------------------------------- */

enum { TILE = 32 };

/* to[i*to_stride + j] = from[i + j*from_stride] for i < m, j < n <= TILE. By way of a small buffer,
 * so that memory is read and written in whole rows only: columns of a large matrix often share one
 * set of the cache. */
#define DEFINE_TILE(T)                                                                       \
    static void tile_##T(void *to, int64_t to_stride, const void *from, int64_t from_stride, \
                         int64_t m, int64_t n) {                                             \
        typedef T __attribute__((may_alias)) any;                                            \
        any buffer[TILE][TILE + 64 / sizeof(T)] __attribute__((aligned(64)));                \
        for (int64_t j = 0; j < n; j++) {                                                    \
            const any *x = (const any *)from + j * from_stride;                              \
            memcpy(buffer[j], x, (size_t)m * sizeof *x);                                     \
        }                                                                                    \
        for (int64_t i = 0; i < m; i++) {                                                    \
            any *y = (any *)to + i * to_stride;                                              \
            for (int64_t j = 0; j < n; j++) y[j] = buffer[j][i];                             \
        }                                                                                    \
    }
DEFINE_TILE(uint8_t)
DEFINE_TILE(uint16_t)
DEFINE_TILE(uint32_t)
DEFINE_TILE(uint64_t)

/* Eight 32-bit elements, loaded and stored at any address. */
typedef uint32_t __attribute__((vector_size(32), may_alias)) lanes;
typedef uint32_t __attribute__((vector_size(32), may_alias, aligned(4))) lanes_anywhere;

/* Rows of an 8 x 8 block become its columns: row i joins row i + 4 alternately, three times. */
static inline void transpose_block(lanes row[8]) {
    for (int round = 0; round < 3; round++) {
        lanes next[8];
        for (int i = 0; i < 4; i++) {
            next[2 * i] = __builtin_shufflevector(row[i], row[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            next[2 * i + 1] =
                __builtin_shufflevector(row[i], row[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(row, next, sizeof next);
    }
}

/* tile_uint32_t in whole vectors, for whole tiles: most of what is ever transposed. */
static void tile_32_bits(void *to, int64_t to_stride, const void *from, int64_t from_stride,
                         int64_t m, int64_t n) {
    if (m != TILE || n != TILE) {
        tile_uint32_t(to, to_stride, from, from_stride, m, n);
        return;
    }
    lanes buffer[TILE][TILE / 8];
    for (int j = 0; j < TILE; j++) {
        memcpy(buffer[j], (const char *)from + 4 * j * from_stride, sizeof buffer[j]);
    }
    for (int i = 0; i < TILE / 8; i++) {
        for (int j = 0; j < TILE / 8; j++) {
            lanes row[8];
            for (int k = 0; k < 8; k++) row[k] = buffer[8 * j + k][i];
            transpose_block(row);
            char *y = (char *)to + 4 * (8 * i * to_stride + 8 * j);
            for (int k = 0; k < 8; k++) *(lanes_anywhere *)(y + 4 * k * to_stride) = row[k];
        }
    }
}

typedef void (*tile_kernel)(void *to, int64_t to_stride, const void *from, int64_t from_stride,
                            int64_t m, int64_t n);

/* A task is a band of TILE rows of y in one matrix of the batch. */
CT_PART transpose_bands(ct_part part, const ct_walk *y, const ct_walk *x, int unit,
                        const int64_t *to_stride) {
    tile_kernel kernel = x->size == 1   ? tile_uint8_t
                         : x->size == 2 ? tile_uint16_t
                         : x->size == 4 ? tile_32_bits
                                        : tile_uint64_t;
    int last = x->ndim - 1;
    int64_t m = x->dim[unit], n = x->dim[last], bands = (m + TILE - 1) / TILE;
    for (int64_t task = part.begin; task < part.end; task++) {
        int64_t from = 0, to = 0, rest = task / bands, i = task % bands * TILE;
        for (int d = last - 1; d >= 0; d--) {
            if (d == unit) continue;
            from += rest % x->dim[d] * x->stride[d];
            to += rest % x->dim[d] * to_stride[d];
            rest /= x->dim[d];
        }
        int64_t height = m - i < TILE ? m - i : TILE;
        for (int64_t j = 0; j < n; j += TILE) {
            kernel(y->data + (size_t)(to + i * to_stride[unit] + j) * y->size, to_stride[unit],
                   x->data + (size_t)(from + i + j * x->stride[last]) * x->size, x->stride[last],
                   height, n - j < TILE ? n - j : TILE);
        }
    }
}

/* y is contiguous and the dimension of x with stride 1, number `unit`, is not its last. */
static void transpose(const ct_walk *y, const ct_walk *x, int unit, int64_t count) {
    int last = x->ndim - 1;
    int64_t m = x->dim[unit], n = x->dim[last], to_stride[CT_MAX_DIMS], step = 1;
    for (int i = last; i >= 0; i--) {
        to_stride[i] = step;
        step *= x->dim[i];
    }
    int64_t tasks = count / (m * n) * ((m + TILE - 1) / TILE);
    CT_IN_PARTS(ct_cpu_threads(count), tasks, transpose_bands(part, y, x, unit, to_stride));
}

/* The dimension to transpose with, or -1 if rows are the better way. */
static int transposed_dimension(const ct_walk *x) {
    int last = x->ndim - 1;
    if (x->stride[last] == 1 || x->stride[last] == 0 || x->dim[last] < 4) return -1;
    for (int i = 0; i < last; i++) {
        if (x->stride[i] == 1 && x->dim[i] >= 4) return i;
    }
    return -1;
}

bool CT_CPU(is_transposed)(const ct_walk *x) { return transposed_dimension(x) >= 0; }

/* ---- entries ---------------------------------------------------------------------------- */

bool CT_CPU(copy)(ct_tensor *y, const ct_tensor *x) {
    int64_t count = ct_count(y);
    if (count == 0) return true;
    if (x->dtype != y->dtype) {
        CT_CPU(map)(convert_kernels[x->dtype][y->dtype], y, 1, &x, NULL, 1);
        return true;
    }
    ct_walk from = ct_walk_of(x), to = ct_walk_of(y);
    int unit = transposed_dimension(&from);
    if (unit >= 0 && to.ndim == 1 && to.stride[0] == 1) {
        transpose(&to, &from, unit, count);
    } else {
        copy_rows(&to, &from, count);
    }
    return true;
}

/* params points to the bytes of the element */
#define DEFINE_FILL(T)                                                                        \
    static void fill_##T(void *out, const void *const *in, int64_t n, const double *params) { \
        typedef T __attribute__((may_alias)) any;                                             \
        any *y = out;                                                                         \
        any value = *(const any *)params;                                                     \
        (void)in;                                                                             \
        for (int64_t i = 0; i < n; i++) y[i] = value;                                         \
    }
DEFINE_FILL(uint8_t)
DEFINE_FILL(uint16_t)
DEFINE_FILL(uint32_t)
DEFINE_FILL(uint64_t)

bool CT_CPU(fill)(ct_tensor *y, double value) {
    double element;
    const void *from = &value;
    convert_kernels[CT_F64][y->dtype](&element, &from, 1, NULL);
    size_t size = ct_dtype_size(y->dtype);
    ct_map_kernel kernel = size == 1   ? fill_uint8_t
                           : size == 2 ? fill_uint16_t
                           : size == 4 ? fill_uint32_t
                                       : fill_uint64_t;
    CT_CPU(map)(kernel, y, 0, NULL, &element, 1);
    return true;
}

bool CT_CPU(arange)(ct_tensor *y) {
    int64_t *value = ct_data(y), count = ct_count(y);
    for (int64_t i = 0; i < count; i++) value[i] = i;
    return true;
}
