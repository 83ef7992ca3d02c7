/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of CUDA kernels: the same tensors on both devices, and comparisons.
 *
 * They run wherever ct_backend_of(CT_CUDA) finds a backend: under the shim in suite cuda. */
#ifndef CT_CUDA_TEST_H
#define CT_CUDA_TEST_H

#include "tests/tensor/kernel_test.h"
#include "tensor/device/backend.h" /* ct_view */

/* How many cases of a list are run here, of which the last `large` are for a GPU alone: its grid
 * takes more to fill than the shim's, and the shim more time. */
static inline size_t cases_here(size_t count, size_t large) {
    return at_full_size() ? count : count - large;
}

/* How an operand lies in memory. */
typedef enum { DENSE, TRANSPOSED, STRIDED, LAYOUTS } test_layout;

/* Beyond the grid: more elements than ct_cuda_blocks lets threads have at once, 16 blocks for each
 * of a GPU's up to 150 processors and for the shim's only one, and four elements a thread. */
static inline int64_t beyond_the_grid(void) { return at_full_size() ? 2500003 : 20000; }

/* The number of columns of matrices of so many rows, i from 0: sizes around those of warps, blocks
 * and tiles, and a matrix beyond the grid. */
enum { ODD_SIZES = 6 };
static inline int64_t odd_size(int i, int64_t rows) {
    const int64_t sizes[ODD_SIZES] = {0, 1, 31, 33, 257, beyond_the_grid() / rows + 1};
    return sizes[i];
}

/* x on the device in the same layout: its whole storage goes over. NULL for NULL. */
static inline ct_tensor *on_cuda(const ct_tensor *x) {
    if (!x) return NULL;
    int64_t most = 0;                         /* the largest offset from the first element */
    for (int i = 0; i < x->shape.ndim; i++) { /* no memory behind an empty one */
        if (x->shape.dim[i] == 0) return ct_empty(x->dtype, CT_CUDA, x->shape);
        most += (x->shape.dim[i] - 1) * x->stride[i];
    }
    ct_tensor *storage = ct_from_data(x->dtype, CT_CUDA, CT_SHAPE(most + 1), ct_data(x));
    return storage ? ct_view(storage, x->shape, x->stride, 0) : NULL;
}

/* Dense on the device, from one element into its storage on: not on 16 bytes. NULL for NULL. */
static inline ct_tensor *misaligned(const ct_tensor *x) {
    if (!x || ct_count(x) == 0) return on_cuda(x);
    ct_tensor *storage = ct_full(x->dtype, CT_CPU, CT_SHAPE(ct_count(x) + 1), NAN);
    ct_tensor *values = ct_tensor_reshape(x, CT_SHAPE(ct_count(x)));
    ct_tensor_copy_to(ct_tensor_slice(storage, 0, 1, ct_count(x) + 1, 1), values);
    return ct_view(on_cuda(storage), x->shape, NULL, 1);
}

static inline ct_tensor *on_cpu(const ct_tensor *x) { return ct_tensor_to_device(x, CT_CPU); }

/* The values of x, a matrix, in another layout. Strided ones have NaN (or what a cast makes of it)
 * between their elements. */
static inline ct_tensor *laid_out(const ct_tensor *x, test_layout how) {
    if (how == TRANSPOSED) {
        ct_tensor *other = ct_tensor_contiguous(ct_tensor_transpose(x, 0, 1));
        return ct_tensor_transpose(other, 0, 1);
    }
    if (how == DENSE) return ct_tensor_copy(x);
    ct_shape wide = x->shape;
    wide.dim[wide.ndim++] = 2;
    ct_tensor *room = ct_full(x->dtype, CT_CPU, wide, NAN);
    ct_tensor *view = ct_tensor_squeeze(ct_tensor_slice(room, -1, 0, 1, 1), -1);
    return ct_tensor_copy_to(view, x) ? view : NULL;
}

/* Check writes down every assertion that it passes, which takes longer than most kernels here. */
#define require(condition, ...)                      \
    do {                                             \
        if (!(condition)) ck_abort_msg(__VA_ARGS__); \
    } while (0)

/* |a - b| <= relative * max|b|, NaN equal to NaN. Where even the smallest f32 number is more than
 * that, a few of those: what a function of a GPU's library rounds to. */
static inline void assert_values(const double *a, const double *b, int64_t count, double relative,
                                 const char *what) {
    double largest = 0;
    for (int64_t i = 0; i < count; i++) {
        if (fabs(b[i]) > largest && !isinf(b[i])) largest = fabs(b[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        bool same = a[i] == b[i] || (isnan(a[i]) && isnan(b[i])) ||
                    fabs(a[i] - b[i]) <= relative * largest + (relative > 0 ? 6e-45 : 0);
        require(same, "%s: element %lld is %.17g, on the cpu %.17g", what, (long long)i, a[i],
                b[i]);
    }
}

/* What CUDA computed against what the CPU did: of one dtype and shape, contiguous there. */
static inline void assert_as_cpu(const ct_tensor *cuda, const ct_tensor *cpu, double relative,
                                 const char *what) {
    require(ct_ok(), "%s: %s", what, ct_error());
    require(cuda->device == CT_CUDA && cuda->dtype == cpu->dtype &&
                ct_shape_equal(cuda->shape, cpu->shape) && ct_is_contiguous(cuda),
            "%s: %s on %s, expected %s", what, ct_tensor_text(cuda), ct_device_name(cuda->device),
            ct_tensor_text(cpu));
    CT_SCOPE {
        ct_tensor *read = ct_empty(cuda->dtype, CT_CPU, cuda->shape);
        if (ct_count(read)) ct_read(cuda, ct_data(read));
        const double *a = ct_data(ct_tensor_cast(read, CT_F64));
        const double *b = ct_data(ct_tensor_cast(cpu, CT_F64));
        require(ct_ok(), "%s: %s", what, ct_error());
        assert_values(a, b, ct_count(read), relative, what);
    }
}

/* The same, to the last bit, but for those of a NaN: x86 keeps what a NaN holds, a GPU does not. */
static inline void assert_same_on_both(const ct_tensor *cuda, const ct_tensor *cpu,
                                       const char *what) {
    assert_as_cpu(cuda, cpu, 0, what);
    CT_SCOPE {
        size_t bytes = (size_t)ct_count(cpu) * ct_dtype_size(cpu->dtype);
        ct_tensor *read = ct_empty(cuda->dtype, CT_CPU, cuda->shape);
        const ct_tensor *dense = ct_tensor_contiguous(cpu);
        if (bytes) ct_read(cuda, ct_data(read));
        const char *a = ct_data(read), *b = ct_data(dense);
        bool same = bytes == 0 || memcmp(a, b, bytes) == 0;
        const double *value = same ? NULL : ct_data(ct_tensor_cast(dense, CT_F64));
        size_t size = ct_dtype_size(cpu->dtype);
        for (int64_t i = 0; !same && i < ct_count(cpu); i++, a += size, b += size) {
            require(isnan(value[i]) || memcmp(a, b, size) == 0, "%s: bits of element %lld differ",
                    what, (long long)i);
        }
    }
}

/* A loop over both types: for (int d = 0; d < 2; d++) ... reals[d]. */
static const ct_dtype reals[] = {CT_F32, CT_F64};

/* Rounding of one operation in a dtype, with room for another library's functions. */
static inline double close_enough(ct_dtype dtype) { return dtype == CT_F64 ? 1e-14 : 2e-6; }

#endif
