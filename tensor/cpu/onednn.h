/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions and f32 products by oneDNN, where the build has it (option `onednn`). Internal to
 * tensor/. */
#ifndef CT_CPU_ONEDNN_H
#define CT_CPU_ONEDNN_H

#include "tensor/device/backend.h"

/* "2.6.3", or NULL where there is none or CT_ONEDNN=off in the environment forbids it. */
const char *ct_onednn_version(void);
/* For tests and comparisons: whether it is asked at all, from now on. */
void ct_onednn_allow(bool allowed);

/* (An error may be set there, and below, where there is no memory to open the library.)
 *
 * Which f32 products are oneDNN's: those of so many multiplications and more, by what was measured
 * on the instruction set that it uses (docs/performance.md, "Products"). INFINITY: none. */
double ct_onednn_least_product(void);
/* c = alpha a b + beta c as cblas_sgemm does it on row-major matrices, on the threads that OpenMP
 * grants here: one inside a parallel region. Nothing is done where it refuses, and no error set
 * where there is no memory. The same bits for the same sizes, strides and number of threads. */
typedef enum { CT_ONEDNN_DONE, CT_ONEDNN_REFUSED, CT_ONEDNN_NO_MEMORY } ct_onednn_end;
ct_onednn_end ct_onednn_gemm(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k,
                             float alpha, const float *a, int64_t a_leading, const float *b,
                             int64_t b_leading, float beta, float *c, int64_t c_leading);

/* What the CPU multiplies f32 tensors in: fp32, or bf16 where there are such products of oneDNN's;
 * false with an error for what it cannot. A backend's set_precision. */
bool ct_cpu_set_precision(ct_precision wanted);
/* The same as ct_onednn_least_product for products of bf16 matrices, which are oneDNN's where it
 * has instructions for them: avx512_bf16 or amx_bf16. */
double ct_onednn_least_bf16_product(void);
/* As ct_onednn_gemm, of bf16 matrices a and b, with sums and c in f32. On one thread: whoever calls
 * it from a parallel region has said omp_set_num_threads(1) there. */
ct_onednn_end ct_onednn_gemm_bf16(bool a_transposed, bool b_transposed, int64_t m, int64_t n,
                                  int64_t k, float alpha, const void *a, int64_t a_leading,
                                  const void *b, int64_t b_leading, float beta, float *c,
                                  int64_t c_leading);

/* y = conv2d(x, weight) + bias, f32 on the CPU, contiguous, with elements; bias may be NULL. Sets
 * *done; where it cannot nothing is an error and *done is false. False with an error where there is
 * no memory. The same bits for the same shape and number of threads. */
bool ct_onednn_conv2d(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                      const ct_tensor *bias, ct_tensor_conv2d_options options, bool *done);
/* Its gradients in x and in weight, g that of y; as above. */
bool ct_onednn_conv2d_grad_x(ct_tensor *gx, const ct_tensor *g, const ct_tensor *weight,
                             ct_tensor_conv2d_options options, bool *done);
bool ct_onednn_conv2d_grad_weight(ct_tensor *gweight, const ct_tensor *g, const ct_tensor *x,
                                  ct_tensor_conv2d_options options, bool *done);

#endif
