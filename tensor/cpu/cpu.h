/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU kernels, one family a file. Internal to tensor/cpu/.
 *
 * Every file of this folder that is listed as `cpu_kernels` in tensor/meson.build is compiled once
 * per instruction set with -DCT_ISA=baseline, avx2, avx512. CT_CPU(name) is the name of this
 * compilation's own version; anything else in those files is static. cpu/table.c, compiled the same
 * way, puts one version's functions into a ct_backend, and tensor/device/backend.c chooses a table.
 *
 * What a kernel may assume of its arguments is written in tensor/device/backend.h.
 */
#ifndef CT_CPU_H
#define CT_CPU_H

#include "tensor/device/backend.h"

#ifndef CT_ISA
#define CT_ISA baseline
#endif
#define CT_CPU_JOIN_(name, isa) ct_cpu_##name##_##isa
#define CT_CPU_JOIN(name, isa) CT_CPU_JOIN_(name, isa)
#define CT_CPU(name) CT_CPU_JOIN(name, CT_ISA)

/* Work smaller than this many elements (of a pointwise kernel's cost) stays on one thread:
 * waking the others costs some microseconds. */
enum { CT_PARALLEL_MINIMUM = 32768 };

/* Threads for `work` elements: 1 below the minimum and inside a parallel region. */
int ct_cpu_threads(int64_t work);

/* cpu/memory.c, one version for all */
void *ct_cpu_allocate(size_t bytes);
void *ct_cpu_try_allocate(size_t bytes); /* NULL, no error, if there is no memory */
void ct_cpu_free(void *data, size_t bytes);
bool ct_cpu_copy_bytes(void *to, const void *from, size_t bytes);

/* cpu/copy.c */
bool CT_CPU(copy)(ct_tensor *y, const ct_tensor *x);
bool CT_CPU(fill)(ct_tensor *y, double value);
bool CT_CPU(arange)(ct_tensor *y);

/* cpu/pointwise.c */
bool CT_CPU(unary)(ct_unary_kind kind, ct_tensor *y, const ct_tensor *x, double p, double q);
bool CT_CPU(unary_grad)(ct_unary_kind kind, ct_tensor *gx, const ct_tensor *g, const ct_tensor *x,
                        const ct_tensor *y, double p, double q);
bool CT_CPU(binary)(ct_binary_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b);
bool CT_CPU(binary_grad)(ct_binary_kind kind, int which, ct_tensor *gx, const ct_tensor *g,
                         const ct_tensor *a, const ct_tensor *b);
bool CT_CPU(compare)(ct_compare_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b);
bool CT_CPU(where)(ct_tensor *y, const ct_tensor *condition, const ct_tensor *a,
                   const ct_tensor *b);
bool CT_CPU(add_to)(ct_tensor *y, double alpha, const ct_tensor *x);

/* cpu/reduce.c */
bool CT_CPU(reduce)(ct_reduce_kind kind, ct_tensor *y, const ct_tensor *x);
bool CT_CPU(global_norm)(ct_tensor *norm, ct_tensor *const *tensors, int count);
bool CT_CPU(has_nonfinite)(const ct_tensor *x, bool *found);

/* cpu/order.c */
bool CT_CPU(arg_reduce)(bool largest, ct_tensor *y, const ct_tensor *x, int axis);
bool CT_CPU(cumsum)(ct_tensor *y, const ct_tensor *x, int axis, bool reverse);
bool CT_CPU(argsort)(ct_tensor *y, const ct_tensor *x, bool descending);

/* cpu/matmul.c, one version for all: the BLAS has its own */
bool ct_cpu_matmul(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b, double beta);

/* cpu/softmax.c */
bool CT_CPU(softmax)(ct_tensor *y, const ct_tensor *x, bool logarithm);
bool CT_CPU(softmax_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y, bool logarithm);

/* cpu/index.c */
bool CT_CPU(index_select)(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index);
bool CT_CPU(index_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x);
bool CT_CPU(gather)(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index);
bool CT_CPU(scatter_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x);

/* cpu/random.c */
bool CT_CPU(uniform)(ct_tensor *y, uint64_t seed, uint64_t stream, uint64_t offset);
bool CT_CPU(normal)(ct_tensor *y, uint64_t seed, uint64_t stream, uint64_t offset);

/* cpu/table.c */
extern const ct_backend CT_CPU(backend);

/* First element of a tensor. */
static inline void *ct_cpu_data(const ct_tensor *x) {
    return (char *)x->storage->data + (size_t)x->offset * ct_dtype_size(x->dtype);
}

#endif
