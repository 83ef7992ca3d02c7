/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels that benchmarks/kernels measures, each at sizes of a model. */
#ifndef CT_KERNELS_H
#define CT_KERNELS_H

#include "tensor/tensor.h"

enum { CT_KERNEL_TENSORS = 8, CT_KERNEL_SETS = 64 };

typedef struct {
    int64_t batch, regions, width; /* B; N; D */
    int64_t heads, actions;        /* H; A */
    int64_t words, vocabulary;     /* words that a batch's captions have to predict; V */
    int64_t classes;
    int64_t parameters, parameter; /* how many tensors of parameters, so large each */
} ct_kernel_sizes;

extern const ct_kernel_sizes ct_kernel_sizes_published, ct_kernel_sizes_tiny;

typedef struct {
    const char *name;
    /* Fills x with operands in the innermost scope; what is not used stays NULL. */
    bool (*make)(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x);
    bool (*call)(const ct_kernel_sizes *s, ct_tensor **x);
    /* What must be moved: each operand read once and each result written once. */
    double (*bytes)(const ct_kernel_sizes *s);
} ct_kernel;

extern const ct_kernel ct_kernels[];
extern const int ct_kernel_count;

#endif
