/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products of a training step by OpenBLAS and by oneDNN.
 *
 *     build/benchmarks/products [SAMPLES]
 *
 * Both in turn, on one thread, as tensor/cpu/matmul.c calls them on each of its threads; f32,
 * medians in GFLOP/s. What the rule of ct_onednn_least_product rests on. OPENBLAS_CORETYPE=Haswell
 * DNNL_MAX_CPU_ISA=AVX2 holds both libraries to AVX2.
 */
#include <stdio.h>
#include <stdlib.h>

#include "benchmarks/measure.h"
#include "tensor/cpu/blas.h"
#include "tensor/cpu/onednn.h"
#include "train/run/restart.h"

/* (m,k) by (k,n), `count` of them. Transposed: that is how it lies in memory. */
typedef struct {
    int m, n, k, count;
    bool a_transposed, b_transposed;
    const char *what;
} product;

static const product products[] = {
    {32, 32, 32, 1, false, false, "small"},
    {64, 64, 64, 1, false, false, "small"},
    {128, 128, 128, 1, false, false, "small"},
    {36, 36, 128, 128, false, true, "relations of regions, D=128"},
    {36, 128, 36, 128, false, false, "relations times values"},
    {36, 36, 1024, 128, false, true, "relations of regions, D=1024"},
    {36, 1024, 36, 128, false, false, "relations times values"},
    {128, 384, 128, 1, false, true, "step of a GRU, D=128"},
    {128, 128, 384, 1, false, false, "its gradient to the state"},
    {128, 768, 256, 1, false, true, "step of a GRU, D=256"},
    {128, 256, 768, 1, false, false, "its gradient to the state"},
    {128, 3072, 1024, 1, false, true, "step of a GRU, D=1024"},
    {128, 1024, 3072, 1, false, false, "its gradient to the state"},
    {4608, 128, 128, 1, false, false, "linear layer, D=128"},
    {4608, 128, 128, 1, false, true, "transposed weight"},
    {128, 128, 4608, 1, true, false, "its gradient to the weight"},
    {4608, 256, 256, 1, false, false, "linear layer, D=256"},
    {4608, 256, 256, 1, false, true, "transposed weight"},
    {256, 256, 4608, 1, true, false, "its gradient to the weight"},
    {4608, 1024, 1024, 1, false, false, "linear layer, D=1024"},
    {4608, 1024, 1024, 1, false, true, "transposed weight"},
    {1024, 1024, 4608, 1, true, false, "its gradient to the weight"},
    {1600, 5120, 1024, 1, false, false, "convolution of a text decoder"},
    {1847, 256, 8481, 1, false, false, "words of a vocabulary"},
    {1, 3072, 1024, 1, false, true, "one row"},
};
enum { PRODUCTS = sizeof products / sizeof *products };

/* Seconds of one product, over as many as take a tenth of a millisecond. */
static double seconds_of(const product *p, bool onednn, const float *a, const float *b, float *c) {
    enum { LEAST = 10000000 };
    int64_t one = (int64_t)p->m * p->n * p->k, calls = p->count;
    while (calls * one < LEAST) calls *= 2;
    int lda = p->a_transposed ? p->m : p->k, ldb = p->b_transposed ? p->k : p->n;
    double start = ct_seconds();
    for (int64_t i = 0; i < calls; i++) {
        int64_t at = i % p->count;
        const float *x = a + at * p->m * p->k, *y = b + at * p->k * p->n;
        float *z = c + at * p->m * p->n;
        if (onednn) {
            ct_onednn_gemm(p->a_transposed, p->b_transposed, p->m, p->n, p->k, 1, x, lda, y, ldb, 0,
                           z, p->n);
        } else {
            cblas_sgemm(CblasRowMajor, p->a_transposed ? CblasTrans : CblasNoTrans,
                        p->b_transposed ? CblasTrans : CblasNoTrans, p->m, p->n, p->k, 1, x, lda, y,
                        ldb, 0, z, p->n);
        }
    }
    return (ct_seconds() - start) / (double)calls;
}

static bool measure(const product *p, int samples) {
    double seconds[2][CT_MOST_SAMPLES];
    CT_SCOPE {
        ct_rng rng = ct_rng_create(1, 0);
        const ct_tensor *a =
            ct_random_uniform(&rng, "a", CT_F32, CT_CPU, CT_SHAPE(p->count, p->m, p->k));
        const ct_tensor *b =
            ct_random_uniform(&rng, "b", CT_F32, CT_CPU, CT_SHAPE(p->count, p->k, p->n));
        ct_tensor *c = ct_empty(CT_F32, CT_CPU, CT_SHAPE(p->count, p->m, p->n));
        if (!ct_ok()) return false;
        for (int i = -1; i < samples; i++) {
            for (int library = 0; library < 2; library++) {
                double s = seconds_of(p, library, ct_data(a), ct_data(b), ct_data(c));
                if (i >= 0) seconds[library][i] = s;
            }
        }
    }
    double flop = 2e-9 * p->m * p->n * p->k;
    double openblas = ct_median(seconds[0], samples), onednn = ct_median(seconds[1], samples);
    printf("%4d x %5d x %5d %c%c %4d %9.1f %9.1f %7.2f  %s\n", p->m, p->n, p->k,
           p->a_transposed ? 'T' : 'N', p->b_transposed ? 'T' : 'N', p->count, flop / openblas,
           flop / onednn, openblas / onednn, p->what);
    return true;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    int samples = argc > 1 ? atoi(argv[1]) : 21;
    if (argc > 2 || samples < 1 || samples > CT_MOST_SAMPLES) {
        fprintf(stderr, "usage: products [SAMPLES]\n");
        return 2;
    }
    if (!ct_onednn_version()) {
        fprintf(stderr, "products: this build has no oneDNN, or CT_ONEDNN=off forbids it\n");
        return 2;
    }
    ct_set_threads(1);
    ct_blas_on_one_thread();
    printf("%s\n   m       n       k     each  OpenBLAS    oneDNN   ratio\n", ct_machine_text());
    for (int i = 0; i < PRODUCTS; i++) {
        if (!measure(&products[i], samples)) break;
    }
    if (ct_error()) fprintf(stderr, "products: %s\n", ct_error());
    return ct_error() ? 2 : 0;
}
