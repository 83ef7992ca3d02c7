/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLAS's products on CBLAS. Like cuBLAS it refuses sizes that it cannot read a matrix by. */
#include <cblas.h>
#include <vector>

#include "cublas_v2.h"
#include "graph.h"
#include "tensor/core/convert.h"

const char *cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_INVALID_VALUE: break;
    }
    return "the function was called with an invalid value";
}

/* It allocates, which a capture does not allow. */
cublasStatus_t cublasCreate(cublasHandle_t *handle) {
    *handle = nullptr;
    return ct_shim_cannot_record() == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                  : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *workspace, size_t) {
    ct_shim_reserve(workspace);
    return CUBLAS_STATUS_SUCCESS;
}

/* A column-major matrix of any of the types, as stored. */
struct matrix {
    const void *data;
    cudaDataType_t type;
    cublasOperation_t op;
    int leading;
};

static size_t size_of(cudaDataType_t type) {
    return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}

static const void *shifted(const void *data, cudaDataType_t type, long long elements) {
    return (const char *)data + elements * (long long)size_of(type);
}

/* To 10 bits after the point, ties to even. */
static float tf32_of(float x) {
    uint32_t bits = __float_as_uint(x);
    return x - x != 0 ? x : __uint_as_float((bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu);
}

static float value_at(const matrix &x, size_t at) {
    switch (x.type) {
    case CUDA_R_16BF: return ct_f32_of_bf16(((const ct_bf16 *)x.data)[at]);
    case CUDA_R_16F: return ct_f32_of_f16(((const ct_f16 *)x.data)[at]);
    default: return tf32_of(((const float *)x.data)[at]);
    }
}

/* f32 values of `columns` stored columns: where they lie, or converted to `room`. */
static const float *as_f32(const matrix &x, int rows, int columns, bool tf32,
                           std::vector<float> *room) {
    if (x.type == CUDA_R_32F && !tf32) return (const float *)x.data;
    room->resize((size_t)x.leading * (size_t)columns);
    for (int j = 0; j < columns; j++) {
        for (int i = 0; i < rows; i++) {
            size_t at = (size_t)j * (size_t)x.leading + (size_t)i;
            (*room)[at] = value_at(x, at);
        }
    }
    return room->data();
}

static CBLAS_TRANSPOSE cblas_op(cublasOperation_t op) {
    return op == CUBLAS_OP_T ? CblasTrans : CblasNoTrans;
}

static void multiply_f64(int m, int n, int k, double alpha, const matrix &a, const matrix &b,
                         double beta, double *c, int ldc) {
    cblas_dgemm(CblasColMajor, cblas_op(a.op), cblas_op(b.op), m, n, k, alpha,
                (const double *)a.data, a.leading, (const double *)b.data, b.leading, beta, c, ldc);
}

static void multiply_f32(int m, int n, int k, float alpha, const matrix &a, const matrix &b,
                         float beta, void *c, cudaDataType_t type_c, int ldc, bool tf32) {
    std::vector<float> room_a, room_b, room_c;
    bool a_n = a.op == CUBLAS_OP_N, b_n = b.op == CUBLAS_OP_N;
    const float *values_a = as_f32(a, a_n ? m : k, a_n ? k : m, tf32, &room_a);
    const float *values_b = as_f32(b, b_n ? k : n, b_n ? n : k, tf32, &room_b);
    const float *values_c = as_f32({c, type_c, CUBLAS_OP_N, ldc}, m, n, false, &room_c);
    cblas_sgemm(CblasColMajor, cblas_op(a.op), cblas_op(b.op), m, n, k, alpha, values_a, a.leading,
                values_b, b.leading, beta, (float *)values_c, ldc);
    if (type_c == CUDA_R_32F) return;
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            size_t at = (size_t)j * (size_t)ldc + (size_t)i;
            ((ct_bf16 *)c)[at] = ct_bf16_of_f32(values_c[at]);
        }
    }
}

static bool fits(const matrix &x, int rows, int columns) {
    int stored = x.op == CUBLAS_OP_N ? rows : columns;
    return x.leading >= (stored > 1 ? stored : 1);
}

struct batch {
    int m, n, k, count;
    double alpha, beta; /* copied, as cuBLAS does with numbers of the host */
    matrix a, b, c;
    long long stride_a, stride_b, stride_c;
    bool f64, tf32;
};

static void multiply(const batch &p) {
    for (int i = 0; i < p.count && p.m && p.n; i++) {
        matrix x = p.a, y = p.b;
        x.data = shifted(p.a.data, p.a.type, p.stride_a * i);
        y.data = shifted(p.b.data, p.b.type, p.stride_b * i);
        void *to = (void *)shifted(p.c.data, p.c.type, p.stride_c * i);
        if (p.f64) {
            multiply_f64(p.m, p.n, p.k, p.alpha, x, y, p.beta, (double *)to, p.c.leading);
        } else {
            multiply_f32(p.m, p.n, p.k, (float)p.alpha, x, y, (float)p.beta, to, p.c.type,
                         p.c.leading, p.tf32);
        }
    }
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t op_a,
                                          cublasOperation_t op_b, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType_t type_a,
                                          int lda, long long stride_a, const void *b,
                                          cudaDataType_t type_b, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType_t type_c, int ldc,
                                          long long stride_c, int count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t) {
    matrix x = {a, type_a, op_a, lda}, y = {b, type_b, op_b, ldb};
    matrix z = {c, type_c, CUBLAS_OP_N, ldc};
    bool f64 = compute == CUBLAS_COMPUTE_64F;
    if (m < 0 || n < 0 || k < 0 || count < 0 || !fits(x, m, k) || !fits(y, k, n) || ldc < m ||
        f64 != (type_a == CUDA_R_64F) || type_a != type_b || type_c == CUDA_R_16F ||
        f64 != (type_c == CUDA_R_64F)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    batch p = {m,
               n,
               k,
               count,
               f64 ? *(const double *)alpha : *(const float *)alpha,
               f64 ? *(const double *)beta : *(const float *)beta,
               x,
               y,
               z,
               stride_a,
               stride_b,
               stride_c,
               f64,
               compute == CUBLAS_COMPUTE_32F_FAST_TF32};
    cudaError_t status = ct_shim_do([p] {
        ct_shim_device_begin();
        multiply(p);
        ct_shim_device_end();
        return cudaSuccess;
    });
    return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                            int m, int n, int k, const void *alpha, const void *a,
                            cudaDataType_t type_a, int lda, const void *b, cudaDataType_t type_b,
                            int ldb, const void *beta, void *c, cudaDataType_t type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
    return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, 0, b,
                                      type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute,
                                      algorithm);
}
