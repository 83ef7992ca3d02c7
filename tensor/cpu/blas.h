/* SPDX-License-Identifier: Apache-2.0 */
/* The libraries that products go to: OpenBLAS, and oneDNN. Internal to tensor/cpu/. */
#ifndef CT_CPU_BLAS_H
#define CT_CPU_BLAS_H

#include <cblas.h>

#include "tensor/cpu/onednn.h"

/* A BLAS with threads of its own is told to use one. One of OpenMP's runs on one inside a parallel
 * region, or as omp_set_num_threads says. */
static inline void ct_blas_on_one_thread(void) {
    if (openblas_get_parallel() == OPENBLAS_THREAD && openblas_get_num_threads() != 1) {
        openblas_set_num_threads(1);
    }
}

/* c = alpha a b + beta c of row-major f32 matrices, a (m,k) and b (k,n) or, by CblasTrans, their
 * transposes, on the threads that OpenMP grants here. `onednn`: by it, and by OpenBLAS what it
 * refuses. False, and no error set, where there is no memory. */
static inline bool ct_blas_sgemm(bool onednn, CBLAS_TRANSPOSE a_order, CBLAS_TRANSPOSE b_order,
                                 int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                                 int64_t a_leading, const float *b, int64_t b_leading, float beta,
                                 float *c, int64_t c_leading) {
    ct_onednn_end end = CT_ONEDNN_REFUSED;
    if (onednn) {
        end = ct_onednn_gemm(a_order == CblasTrans, b_order == CblasTrans, m, n, k, alpha, a,
                             a_leading, b, b_leading, beta, c, c_leading);
    }
    if (end != CT_ONEDNN_REFUSED) return end == CT_ONEDNN_DONE;
    cblas_sgemm(CblasRowMajor, a_order, b_order, (int)m, (int)n, (int)k, alpha, a, (int)a_leading,
                b, (int)b_leading, beta, c, (int)c_leading);
    return true;
}

#endif
