/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 matrices by oneDNN, and whether there are any. As with convolutions, primitives
 * are asked for anew each time: some 4 us, where the smallest product that comes here takes 2. */
#include <math.h>

#include "tensor/cpu/cpu.h"
#include "tensor/cpu/onednn.h"

bool ct_cpu_set_precision(ct_precision wanted) {
    if (wanted == CT_PRECISION_TF32) {
        return ct_fail_bool("precision tf32: device cpu multiplies in fp32 or bf16");
    }
    if (wanted == CT_PRECISION_FP32 || isfinite(ct_onednn_least_bf16_product())) return true;
    return ct_fail_bool("precision bf16: device cpu multiplies in bf16 by oneDNN, which %s",
                        ct_onednn_version()
                            ? "finds neither avx512_bf16 nor amx_bf16 in this processor"
                            : "is not there");
}

#ifdef CT_HAS_ONEDNN
#include "tensor/cpu/onednn_library.h"

double ct_onednn_least_bf16_product(void) {
    bool made_for_it = (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
                       dnnl_cpu_isa_avx512_core_bf16;
    return made_for_it && ct_onednn_engine() ? 1 << 18 : INFINITY;
}

/* Row-major, or the transpose of a matrix that is. */
static dnnl_status_t lay_out(dnnl_memory_desc_t *layout, dnnl_data_type_t type, int64_t rows,
                             int64_t columns, bool transposed, int64_t leading) {
    const dnnl_dims_t sizes = {rows, columns};
    const dnnl_dims_t strides = {transposed ? 1 : leading, transposed ? leading : 1};
    return dnnl_memory_desc_init_by_strides(layout, 2, sizes, type, strides);
}

/* What a call makes, and lets go. */
typedef struct {
    dnnl_post_ops_t added;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_memory_t memory[3]; /* a, b, c */
} work;

static void finish(work *w) {
    for (int i = 0; i < 3; i++) {
        if (w->memory[i]) dnnl_memory_destroy(w->memory[i]);
    }
    if (w->stream) dnnl_stream_destroy(w->stream);
    if (w->primitive) dnnl_primitive_destroy(w->primitive);
    if (w->description) dnnl_primitive_desc_destroy(w->description);
    if (w->attributes) dnnl_primitive_attr_destroy(w->attributes);
    if (w->added) dnnl_post_ops_destroy(w->added);
}

/* Each of these: the first status that is not success. */
static dnnl_status_t describe(work *w, const dnnl_memory_desc_t layout[3], float alpha,
                              float beta) {
    dnnl_matmul_desc_t matmul;
    dnnl_status_t s = dnnl_primitive_attr_create(&w->attributes);
    if (!s && alpha != 1) {
        s = dnnl_primitive_attr_set_output_scales(w->attributes, 1, 0, &alpha);
    }
    if (!s && beta != 0) {
        s = dnnl_post_ops_create(&w->added);
        if (!s) s = dnnl_post_ops_append_sum(w->added, beta);
        if (!s) s = dnnl_primitive_attr_set_post_ops(w->attributes, w->added);
    }
    if (!s) s = dnnl_matmul_desc_init(&matmul, &layout[0], &layout[1], NULL, &layout[2]);
    if (s) return s;
    return dnnl_primitive_desc_create(&w->description, &matmul, w->attributes, ct_onednn_engine(),
                                      NULL);
}

static dnnl_status_t execute(work *w, const dnnl_memory_desc_t layout[3], void *const data[3]) {
    static const int argument[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_exec_arg_t arguments[3];
    dnnl_status_t s = dnnl_primitive_create(&w->primitive, w->description);
    for (int i = 0; i < 3 && !s; i++) {
        s = dnnl_memory_create(&w->memory[i], &layout[i], ct_onednn_engine(), data[i]);
        arguments[i] = (dnnl_exec_arg_t){argument[i], w->memory[i]};
    }
    if (!s) s = dnnl_stream_create(&w->stream, ct_onednn_engine(), dnnl_stream_default_flags);
    if (!s) s = dnnl_primitive_execute(w->primitive, w->stream, 3, arguments);
    return s ? s : dnnl_stream_wait(w->stream);
}

static dnnl_status_t multiply(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k,
                              float alpha, const void *a, int64_t a_leading, const void *b,
                              int64_t b_leading, float beta, float *c, int64_t c_leading) {
    work w = {0};
    dnnl_memory_desc_t layout[3];
    void *const data[] = {(void *)a, (void *)b, c};
    dnnl_status_t s = lay_out(&layout[0], dnnl_bf16, m, k, a_transposed, a_leading);
    if (!s) s = lay_out(&layout[1], dnnl_bf16, k, n, b_transposed, b_leading);
    if (!s) s = lay_out(&layout[2], dnnl_f32, m, n, false, c_leading);
    if (!s) s = describe(&w, layout, alpha, beta);
    if (!s) s = execute(&w, layout, data);
    finish(&w);
    return s;
}

/* Rows in two pieces, of a multiple of PIECE and of fewer: how many words a batch has changes from
 * step to step, and oneDNN compiles code for each number of rows that it has not seen. */
ct_onednn_end ct_onednn_gemm_bf16(bool a_transposed, bool b_transposed, int64_t m, int64_t n,
                                  int64_t k, float alpha, const void *a, int64_t a_leading,
                                  const void *b, int64_t b_leading, float beta, float *c,
                                  int64_t c_leading) {
    enum { PIECE = 16, WORTH_PIECES = 16 * PIECE };
    int64_t rest = m < WORTH_PIECES || a_transposed ? 0 : m % PIECE, first = m - rest;
    dnnl_status_t s = multiply(a_transposed, b_transposed, first, n, k, alpha, a, a_leading, b,
                               b_leading, beta, c, c_leading);
    if (!s && rest) {
        const uint16_t *rows = (const uint16_t *)a + first * a_leading;
        s = multiply(false, b_transposed, rest, n, k, alpha, rows, a_leading, b, b_leading, beta,
                     c + first * c_leading, c_leading);
    }
    if (s == dnnl_out_of_memory) return CT_ONEDNN_NO_MEMORY;
    return s == dnnl_success ? CT_ONEDNN_DONE : CT_ONEDNN_REFUSED;
}

#else

double ct_onednn_least_bf16_product(void) { return INFINITY; }

ct_onednn_end ct_onednn_gemm_bf16(bool a_transposed, bool b_transposed, int64_t m, int64_t n,
                                  int64_t k, float alpha, const void *a, int64_t a_leading,
                                  const void *b, int64_t b_leading, float beta, float *c,
                                  int64_t c_leading) {
    (void)a_transposed, (void)b_transposed, (void)m, (void)n, (void)k, (void)alpha, (void)a;
    (void)a_leading, (void)b, (void)b_leading, (void)beta, (void)c, (void)c_leading;
    return CT_ONEDNN_REFUSED;
}

#endif
