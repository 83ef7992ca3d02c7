/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products through cuBLAS: which call, on which operands.
 *
 * cuBLAS takes matrices by columns. What lies row-major is to it the transpose of what we mean, so
 * that it is asked for c' = b' a'.
 */
#include <atomic>
#include <cublas_v2.h>
#include <limits.h>
#include <pthread.h>

#include "tensor/cuda/walk.h"

/* ---- the library ------------------------------------------------------------------------ */

/* Bytes of its own memory that cuBLAS advises for Hopper. Given once, so that it asks for none
 * while a step is captured. */
enum { WORKSPACE = 32 << 20 };

static cublasHandle_t handle;
static void *workspace;
static bool is_open;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static std::atomic<ct_precision> precision; /* set by any thread while others multiply */

static bool cublas_ok(cublasStatus_t status, const char *call) {
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    return ct_host->fail_bool("cuda: %.*s: %s", (int)strcspn(call, "("), call,
                              cublasGetStatusString(status));
}
#define CUBLAS(call) cublas_ok((ct_cuda_take_device(), (call)), #call)

/* With the first product, or before a capture: it takes time, and memory on the device. */
bool ct_cuda_open_cublas() {
    pthread_mutex_lock(&opening);
    if (!workspace) workspace = ct_cuda_allocate(WORKSPACE);
    is_open = is_open || (workspace && CUBLAS(cublasCreate(&handle)) &&
                          CUBLAS(cublasSetStream(handle, ct_cuda_stream)) &&
                          CUBLAS(cublasSetWorkspace(handle, workspace, WORKSPACE)));
    pthread_mutex_unlock(&opening);
    return is_open;
}

bool ct_cuda_set_precision(ct_precision wanted) {
    precision = wanted;
    return true;
}

/* ---- operands --------------------------------------------------------------------------- */

/* A matrix, or a batch of them, as cuBLAS takes it: row-major, or its transpose. */
struct operand {
    ct_tensor x;        /* shape, and strides of the batch */
    ct_storage storage; /* of a packed one */
    bool is_transposed;
    int64_t leading; /* elements between rows (of the transpose, if transposed) */
};

/* Whether the last two dimensions are a matrix that cuBLAS takes as it is. */
static bool resolve(operand *o) {
    const ct_tensor *x = &o->x;
    int row = x->shape.ndim - 2, column = row + 1;
    int64_t rows = x->shape.dim[row], columns = x->shape.dim[column];
    if (x->stride[column] == 1 || columns == 1) {
        o->is_transposed = false;
        o->leading = rows == 1 ? columns : x->stride[row];
        if (o->leading >= columns) return true;
    }
    if (x->stride[row] == 1 || rows == 1) {
        o->is_transposed = true;
        o->leading = columns == 1 ? rows : x->stride[column];
        if (o->leading >= rows) return true;
    }
    o->is_transposed = false;
    return false;
}

/* What is to be packed: the matrices that there are, a broadcast one once. */
static ct_tensor without_broadcast(const operand *o) {
    ct_tensor x = o->x;
    for (int i = 0; i < x.shape.ndim - 2; i++) {
        if (x.stride[i] == 0) x.shape.dim[i] = 1;
    }
    return x;
}

/* Copies an operand that cuBLAS does not take to `room`, by rows without gaps. */
static bool pack(operand *o, void *room) {
    ct_tensor from = without_broadcast(o), to = from;
    int64_t stride = 1;
    o->storage.data = room;
    to.storage = &o->storage;
    to.offset = 0;
    for (int i = to.shape.ndim - 1; i >= 0; i--) {
        to.stride[i] = stride;
        stride *= to.shape.dim[i];
    }
    if (!ct_cuda_copy(&to, &from)) return false;
    o->leading = to.shape.dim[to.shape.ndim - 1];
    for (int i = 0; i < to.shape.ndim - 2; i++) {
        o->x.stride[i] = from.stride[i] == 0 ? 0 : to.stride[i];
    }
    o->x.storage = to.storage;
    o->x.offset = 0;
    return true;
}

/* ---- products --------------------------------------------------------------------------- */

/* A batch of products, as cuBLAS takes them. */
struct product {
    int m, n, k, lda, ldb, ldc;
    cublasOperation_t op_a, op_b;
    cudaDataType_t type, type_c; /* of a and b, of c */
    cublasComputeType_t compute;
    union scale {
        float f32;
        double f64;
    } alpha, beta;
};

static void choose_arithmetic(product *p, ct_dtype operands, double alpha, double beta) {
    p->type = operands == CT_F64 ? CUDA_R_64F : operands == CT_F32 ? CUDA_R_32F : CUDA_R_16BF;
    p->type_c = operands == CT_F64 ? CUDA_R_64F : CUDA_R_32F;
    p->compute = operands == CT_F64 ? CUBLAS_COMPUTE_64F
                 : operands == CT_F32 && precision == CT_PRECISION_TF32
                     ? CUBLAS_COMPUTE_32F_FAST_TF32
                     : CUBLAS_COMPUTE_32F;
    if (operands == CT_F64) {
        p->alpha.f64 = alpha;
        p->beta.f64 = beta;
    } else {
        p->alpha.f32 = (float)alpha;
        p->beta.f32 = (float)beta;
    }
}

static bool multiply_one(const product &p, const ct_walk<3> &w) {
    return CUBLAS(cublasGemmEx(handle, p.op_b, p.op_a, p.n, p.m, p.k, &p.alpha, w.data[2], p.type,
                               p.ldb, w.data[1], p.type, p.lda, &p.beta, w.data[0], p.type_c, p.ldc,
                               p.compute, CUBLAS_GEMM_DEFAULT));
}

/* Of dimension `along`: operands at equal distances (0 for one that all share). data: the first
 * matrices of c, a and b. */
static bool multiply_along(const product &p, const ct_walk<3> &w, int along, char *const data[3]) {
    return CUBLAS(cublasGemmStridedBatchedEx(
        handle, p.op_b, p.op_a, p.n, p.m, p.k, &p.alpha, data[2], p.type, p.ldb, w.stride[2][along],
        data[1], p.type, p.lda, w.stride[1][along], &p.beta, data[0], p.type_c, p.ldc,
        w.stride[0][along], (int)w.dim[along], p.compute, CUBLAS_GEMM_DEFAULT));
}

/* One call for the largest dimension, at each place along the others: most batches have but one
 * that is not merged. (A call that takes the matrices' addresses from the device would save some,
 * but it may read addresses that are not multiples of 16 bytes wrongly, in tf32 and bf16.) */
static bool multiply_batch(const product &p, const ct_walk<3> &w, const size_t size[3]) {
    int along = 0;
    for (int d = 1; d < w.ndim; d++) along = w.dim[d] > w.dim[along] ? d : along;
    for (int64_t i = 0; i < w.count / w.dim[along]; i++) {
        char *data[3];
        for (int k = 0; k < 3; k++) {
            int64_t at = 0, rest = i;
            for (int d = w.ndim - 1; d >= 0; d--) {
                if (d == along) continue;
                at += rest % w.dim[d] * w.stride[k][d];
                rest /= w.dim[d];
            }
            data[k] = static_cast<char *>(w.data[k]) + at * (int64_t)size[k];
        }
        if (!multiply_along(p, w, along, data)) return false;
    }
    return true;
}

/* Where the matrices of c, a and b lie. */
static ct_walk<3> batch_of(const ct_tensor *c, const operand *a, const operand *b) {
    ct_tensor first_c = *c, first_a = a->x, first_b = b->x;
    first_c.shape.ndim = first_a.shape.ndim = first_b.shape.ndim = c->shape.ndim - 2;
    return ct_walk_of({&first_c, &first_a, &first_b});
}

static bool multiply(ct_tensor *c, double alpha, const operand *a, const operand *b, double beta) {
    int row = c->shape.ndim - 2;
    int64_t m = c->shape.dim[row], n = c->shape.dim[row + 1], k = a->x.shape.dim[row + 1];
    int64_t ldc = m == 1 ? n : c->stride[row];
    ct_walk<3> w = batch_of(c, a, b);
    const int64_t sizes[] = {m, n, k, a->leading, b->leading, ldc, w.count};
    for (int i = 0; i < 7; i++) {
        if (sizes[i] > INT_MAX) {
            return ct_host->fail_bool("matmul: a size or stride of %s x %s is beyond the BLAS's "
                                      "2^31",
                                      ct_host->tensor_text(&a->x), ct_host->tensor_text(&b->x));
        }
    }
    product p = {};
    p.m = (int)m, p.n = (int)n, p.k = (int)k;
    p.lda = (int)a->leading, p.ldb = (int)b->leading, p.ldc = (int)ldc;
    p.op_a = a->is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    p.op_b = b->is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    choose_arithmetic(&p, a->x.dtype, alpha, beta);
    if (w.count == 1) return multiply_one(p, w);
    const size_t size[] = {ct_cuda_size(c->dtype), ct_cuda_size(a->x.dtype),
                           ct_cuda_size(b->x.dtype)};
    return multiply_batch(p, w, size);
}

/* ---- the entry -------------------------------------------------------------------------- */

/* Batch dimensions of a whose rows, with c's, are one longer matrix against a b that is the same
 * for all become rows. */
static void fold(ct_tensor *a, ct_tensor *b, ct_tensor *c) {
    int batch = c->shape.ndim - 2;
    for (int i = 0; i < batch; i++) {
        if (b->stride[i] != 0 && b->shape.dim[i] != 1) return;
    }
    ct_tensor *const rows_of[] = {a, c}, *const all[] = {a, b, c};
    for (int t = 0; t < 2; t++) {
        int64_t step = rows_of[t]->stride[batch] * rows_of[t]->shape.dim[batch];
        for (int i = batch - 1; i >= 0; i--) {
            int64_t size = rows_of[t]->shape.dim[i];
            if (size != 1 && rows_of[t]->stride[i] != step) return;
            step *= size;
        }
    }
    int64_t rows = 1;
    for (int i = 0; i <= batch; i++) rows *= c->shape.dim[i];
    a->shape.dim[batch] = c->shape.dim[batch] = rows;
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 2; i++) {
            all[t]->shape.dim[i] = all[t]->shape.dim[batch + i];
            all[t]->stride[i] = all[t]->stride[batch + i];
        }
        all[t]->shape.ndim = 2;
    }
}

static size_t packed_bytes(const operand *o) {
    ct_tensor x = without_broadcast(o);
    return ((size_t)ct_cuda_count(&x) * ct_cuda_size(x.dtype) + 255) / 256 * 256;
}

/* Operands go as they are, if cuBLAS takes them so. */
static bool multiply_packed(ct_tensor *c, double alpha, operand *a, operand *b, double beta) {
    bool fits_a = resolve(a), fits_b = resolve(b);
    if (fits_a && fits_b) return multiply(c, alpha, a, b, beta);
    size_t bytes_a = fits_a ? 0 : packed_bytes(a);
    ct_scratch room(bytes_a + (fits_b ? 0 : packed_bytes(b)));
    char *data = static_cast<char *>(room.data);
    return data && (fits_a || pack(a, data)) && (fits_b || pack(b, data + bytes_a)) &&
           multiply(c, alpha, a, b, beta);
}

bool ct_cuda_matmul(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b,
                    double beta) {
    if (ct_cuda_count(c) == 0) return true;
    if (a->shape.dim[a->shape.ndim - 1] == 0) { /* beta = 0 also overwrites NaN */
        return beta == 0 ? ct_cuda_fill(c, 0) : ct_cuda_unary(CT_UNARY_mul_scalar, c, c, beta, 0);
    }
    operand of_a = {}, of_b = {};
    ct_tensor of_c = *c;
    of_a.x = *a;
    of_b.x = *b;
    if (c->shape.ndim > 2) fold(&of_a.x, &of_b.x, &of_c);
    return ct_cuda_open_cublas() && multiply_packed(&of_c, alpha, &of_a, &of_b, beta);
}
