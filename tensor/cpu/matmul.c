/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products by OpenBLAS and oneDNN: which call, on which operands, by which threads. Those of
 * bf16 operands are bf16 products where they are large enough for oneDNN's; smaller ones, for which
 * that takes longer, are made in f32 of the same numbers. In a batch, where each is a call of its
 * own, they must be larger. */
#include <limits.h>
#include <omp.h>
#include <stdatomic.h>

#include "tensor/core/convert.h"
#include "tensor/cpu/blas.h"
#include "tensor/cpu/cpu.h"

/* A matrix (or a batch of them) as BLAS takes it: row-major, or its transpose. */
typedef struct {
    const char *data; /* first element */
    CBLAS_TRANSPOSE transpose;
    int64_t leading; /* elements between rows (of the transpose, if transposed) */
} operand;

/* Whether the last two dimensions of x are a matrix that BLAS takes as it is. */
static bool resolve(const ct_tensor *x, operand *o) {
    int row = x->shape.ndim - 2, column = row + 1;
    int64_t rows = x->shape.dim[row], columns = x->shape.dim[column];
    int64_t row_stride = x->stride[row], column_stride = x->stride[column];
    o->data = ct_cpu_data(x);
    o->transpose = CblasNoTrans;
    if (column_stride == 1 || columns == 1) {
        o->leading = rows == 1 ? columns : row_stride;
        if (o->leading >= columns && (columns != 1 || o->leading >= 1)) return true;
    }
    if (row_stride == 1 || rows == 1) {
        o->transpose = CblasTrans;
        o->leading = columns == 1 ? rows : column_stride;
        if (o->leading >= rows) return true;
    }
    return false;
}

/* x if BLAS takes it and it has the dtype, else such a row-major copy in the innermost scope in
 * which broadcast batch dimensions stay broadcast. */
static const ct_tensor *blas_operand(const ct_tensor *x, ct_dtype dtype, operand *o) {
    if (x->dtype == dtype && resolve(x, o)) return x;
    ct_shape shape = x->shape;
    for (int i = 0; i < shape.ndim - 2; i++) {
        if (x->stride[i] == 0) shape.dim[i] = 1;
    }
    const ct_tensor *view = ct_view(x, shape, x->stride, x->offset);
    const ct_tensor *copy = view ? ct_tensor_cast(view, dtype) : NULL;
    const ct_tensor *expanded = copy ? ct_tensor_expand(copy, x->shape) : NULL;
    if (expanded) resolve(expanded, o);
    return expanded;
}

/* A batch of products: sizes and what all of them share. */
typedef struct {
    ct_dtype dtype; /* of the operands */
    bool onednn;    /* f32: not OpenBLAS */
    int64_t m, n, k;
    double alpha, beta;
    operand a, b;
    char *c;
    int64_t c_leading;
    const ct_tensor *a_tensor, *b_tensor, *c_tensor; /* batch dimensions and strides */
    int parts_m, parts_n; /* every product is computed in so many parts */
} job;

/* m rows and n columns of a product; a, b, c: elements from the start of the operands. False where
 * there is no memory. */
static bool gemm(const job *j, int64_t m, int64_t n, int64_t a, int64_t b, int64_t c) {
    if (j->dtype == CT_BF16) {
        const ct_bf16 *first = (const ct_bf16 *)j->a.data + a;
        const ct_bf16 *second = (const ct_bf16 *)j->b.data + b;
        return ct_onednn_gemm_bf16(j->a.transpose == CblasTrans, j->b.transpose == CblasTrans, m, n,
                                   j->k, (float)j->alpha, first, j->a.leading, second, j->b.leading,
                                   (float)j->beta, (float *)j->c + c,
                                   j->c_leading) == CT_ONEDNN_DONE;
    }
    if (j->dtype == CT_F32) {
        return ct_blas_sgemm(j->onednn, j->a.transpose, j->b.transpose, m, n, j->k, (float)j->alpha,
                             (const float *)j->a.data + a, j->a.leading,
                             (const float *)j->b.data + b, j->b.leading, (float)j->beta,
                             (float *)j->c + c, j->c_leading);
    }
    cblas_dgemm(CblasRowMajor, j->a.transpose, j->b.transpose, (int)m, (int)n, (int)j->k, j->alpha,
                (const double *)j->a.data + a, (int)j->a.leading, (const double *)j->b.data + b,
                (int)j->b.leading, j->beta, (double *)j->c + c, (int)j->c_leading);
    return true;
}

/* Where part i of n begins, at multiples of what BLAS kernels take at a time. */
static int64_t part_start(int64_t size, int parts, int64_t i) {
    enum { STEP = 16 };
    return i == parts ? size : size * i / parts / STEP * STEP;
}

/* Task number `task`: one part of one product. False where there is no memory. */
static bool gemm_task(const job *j, int64_t task) {
    int64_t part = task % (j->parts_m * j->parts_n), batch = task / (j->parts_m * j->parts_n);
    int64_t row = part_start(j->m, j->parts_m, part / j->parts_n);
    int64_t rows = part_start(j->m, j->parts_m, part / j->parts_n + 1) - row;
    int64_t column = part_start(j->n, j->parts_n, part % j->parts_n);
    int64_t columns = part_start(j->n, j->parts_n, part % j->parts_n + 1) - column;
    int64_t at_a = row * (j->a.transpose == CblasTrans ? 1 : j->a.leading);
    int64_t at_b = column * (j->b.transpose == CblasTrans ? j->b.leading : 1);
    int64_t at_c = row * j->c_leading + column;
    const ct_tensor *c = j->c_tensor;
    for (int i = c->shape.ndim - 3; i >= 0; i--) {
        int64_t here = batch % c->shape.dim[i];
        at_a += here * j->a_tensor->stride[i];
        at_b += here * j->b_tensor->stride[i];
        at_c += here * c->stride[i];
        batch /= c->shape.dim[i];
    }
    return !rows || !columns || gemm(j, rows, columns, at_a, at_b, at_c);
}

/* Cuts each product into parts if the batch alone does not occupy the threads evenly; the shape of
 * parts is that with the shortest sides, since a part's operands are packed for it, and of two such
 * that which leaves rows whole. */
static void choose_parts(job *j, int64_t count, int threads) {
    j->parts_m = j->parts_n = 1;
    if (threads == 1 || count % threads == 0 || count >= 8 * threads) return;
    int64_t shortest = INT64_MAX;
    for (int m = 1; m <= threads; m++) {
        if (threads % m != 0) continue;
        int64_t sides = j->m / m + j->n / (threads / m);
        if (sides > shortest) continue;
        shortest = sides;
        j->parts_m = m;
        j->parts_n = threads / m;
    }
}

/* Either library always runs on one thread, and we give each thread products or parts of them: a
 * batch of small products is twice as fast that way, and it does not matter which kind of threads
 * the BLAS was built with (two OpenMP runtimes in one process can even wait for each other
 * forever).
 */
static bool gemm_all(job *j, int64_t count) {
    enum { WORTH_THREADS = 1 << 19 }; /* multiplications: some microseconds of work */
    double one = (double)j->m * (double)j->n * (double)j->k, work = one * (double)count;
    int available = omp_get_max_threads();
    int threads = work < WORTH_THREADS || omp_in_parallel() ? 1 : available;
    atomic_bool done = true;
    j->onednn = j->dtype == CT_F32 && one >= ct_onednn_least_product();
    if (!ct_ok()) return false;
    ct_blas_on_one_thread();
    choose_parts(j, count, threads);
    int64_t tasks = count * j->parts_m * j->parts_n;
    if (threads > tasks) threads = (int)tasks;
    if (threads == 1) {
        omp_set_num_threads(1);
        for (int64_t i = 0; i < tasks && done; i++) done = gemm_task(j, i);
        omp_set_num_threads(available);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            omp_set_num_threads(1);
            if (!gemm_task(j, i)) done = false;
        }
    }
    return done ||
           ct_fail_bool(j->dtype == CT_BF16
                            ? "matmul: oneDNN has no memory for a bf16 product, or no product"
                            : "matmul: out of memory");
}

/* c *= beta, where nothing is added; beta = 0 also overwrites NaN */
static bool scale(ct_tensor *c, double beta) {
    const ct_backend *backend = ct_backend_of(CT_CPU);
    return beta == 0 ? backend->fill(c, 0) : backend->unary(CT_UNARY_mul_scalar, c, c, beta, 0);
}

/* Whether all rows of x lie at one distance from each other; strides then of the rows as one
 * matrix. Dimensions of one element have none that counts. */
static bool join_rows(const ct_tensor *x, int row, int64_t stride[2]) {
    int64_t next = 0;
    bool any = false;
    stride[0] = x->stride[row];
    stride[1] = x->stride[row + 1];
    for (int i = row; i >= 0; i--) {
        if (x->shape.dim[i] == 1) continue;
        if (any && x->stride[i] != next) return false;
        if (!any) stride[0] = x->stride[i];
        next = x->stride[i] * x->shape.dim[i];
        any = true;
    }
    return true;
}

/* Batch dimensions of a whose rows, with c's, are one longer matrix against a b that is the same
 * for all: merged into m. Returns views without them, or a, b, c themselves. */
static bool fold(const ct_tensor **a, const ct_tensor **b, ct_tensor **c) {
    int batch = (*c)->shape.ndim - 2;
    for (int i = 0; i < batch; i++) {
        if ((*b)->stride[i] != 0 && (*b)->shape.dim[i] != 1) return true;
    }
    int64_t of_a[2], of_c[2];
    if (!join_rows(*a, batch, of_a) || !join_rows(*c, batch, of_c)) return true;
    int64_t m = 1;
    for (int i = 0; i <= batch; i++) m *= (*c)->shape.dim[i];
    int64_t n = (*c)->shape.dim[batch + 1], k = (*a)->shape.dim[batch + 1];
    ct_tensor *const folded_a = ct_view(*a, CT_SHAPE(m, k), of_a, (*a)->offset);
    ct_tensor *const folded_b = ct_view(*b, CT_SHAPE(k, n), (*b)->stride + batch, (*b)->offset);
    ct_tensor *const folded_c = ct_view(*c, CT_SHAPE(m, n), of_c, (*c)->offset);
    if (!folded_a || !folded_b || !folded_c) return false;
    *a = folded_a;
    *b = folded_b;
    *c = folded_c;
    return true;
}

static bool multiply(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b,
                     double beta) {
    if (c->shape.ndim > 2 && !fold(&a, &b, &c)) return false;
    int row = c->shape.ndim - 2;
    int64_t m = c->shape.dim[row], n = c->shape.dim[row + 1], k = a->shape.dim[row + 1];
    int64_t count = ct_count(c) / (m * n);
    double least = count > 1 ? 8 * ct_onednn_least_bf16_product() : ct_onednn_least_bf16_product();
    bool bf16 = a->dtype == CT_BF16 && (double)m * (double)n * (double)k >= least;
    job j = {.dtype = bf16 ? CT_BF16 : c->dtype,
             .m = m,
             .n = n,
             .k = k,
             .alpha = alpha,
             .beta = beta,
             .c = ct_cpu_data(c),
             .c_tensor = c};
    j.a_tensor = blas_operand(a, j.dtype, &j.a);
    j.b_tensor = blas_operand(b, j.dtype, &j.b);
    if (!j.a_tensor || !j.b_tensor) return false;
    j.c_leading = m == 1 ? n : c->stride[row];
    if (m > INT_MAX || n > INT_MAX || k > INT_MAX || j.a.leading > INT_MAX ||
        j.b.leading > INT_MAX || j.c_leading > INT_MAX) {
        return ct_fail_bool("matmul: a size or stride of %s x %s is beyond the BLAS's 2^31",
                            ct_tensor_text(a), ct_tensor_text(b));
    }
    return gemm_all(&j, count);
}

bool CT_CPU(matmul)(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b,
                    double beta) {
    if (ct_count(c) == 0) return true;
    if (a->shape.dim[a->shape.ndim - 1] == 0) return scale(c, beta);
    bool done = false;
    CT_SCOPE { done = multiply(c, alpha, a, b, beta); }
    return done;
}
