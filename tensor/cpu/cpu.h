/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU kernels, one family a file. Internal to tensor/cpu/.
 *
 * Every file of this folder that is listed as `cpu_kernels` in tensor/meson.build is compiled once
 * per instruction set with -DCT_ISA=baseline, avx2, avx512. CT_CPU(name) is the name of this
 * compilation's own version; anything else in those files is static. cpu/table.c, compiled the same
 * way, puts one version's functions into a ct_backend, and tensor/device/backend.c chooses a table.
 *
 * What a kernel may assume of its arguments is written in tensor/device/kernels.def.
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

/* A thread's part of a kernel's tasks: from `begin` up to, not with, `end`. */
typedef struct {
    int64_t begin, end;
} ct_part;

/* The calling thread's part of tasks 0 to count - 1: a run of them, one more at most than another
 * thread's. */
ct_part ct_cpu_part(int64_t count);

/* Does `call`, of a function that a CT_PART defines and that is given `part`, for tasks 0 to
 * count - 1 on `threads` threads. On one no team of threads is entered, which takes longer than a
 * small tensor does. The function is compiled once, so that either way gives the same bits. */
#define CT_PART static __attribute__((noinline)) void
#define CT_IN_PARTS(threads, count, call)                   \
    do {                                                    \
        const int threads_ = (threads);                     \
        const int64_t count_ = (count);                     \
        if (threads_ > 1) {                                 \
            _Pragma("omp parallel num_threads(threads_)") { \
                const ct_part part = ct_cpu_part(count_);   \
                call;                                       \
            }                                               \
        } else {                                            \
            const ct_part part = {0, count_};               \
            call;                                           \
        }                                                   \
    } while (0)

/* cpu/memory.c, one version for all */
void *ct_cpu_allocate(size_t bytes);
void *ct_cpu_try_allocate(size_t bytes); /* NULL, no error, if there is no memory */
void ct_cpu_free(void *data, size_t bytes);
bool ct_cpu_copy_bytes(void *to, const void *from, size_t bytes);

/* The kernels of tensor/device/kernels.def. Of a CT_REAL_KERNEL there are three functions: those of
 * f32 and f64, which its file defines as REAL_KERNEL(name), in a template that is included after
 * real_f32.h and again after real_f64.h, and the choice between them (cpu/table.c). */
#define CT_KERNEL(name, parameters, arguments) bool CT_CPU(name) parameters;
#define CT_REAL_KERNEL(name, of, parameters, arguments) \
    bool CT_CPU(name##_f32) parameters;                 \
    bool CT_CPU(name##_f64) parameters;                 \
    bool CT_CPU(name) parameters;
#include "tensor/device/kernels.def"

/* cpu/table.c */
extern const ct_backend CT_CPU(backend);

/* First element of a tensor. */
static inline void *ct_cpu_data(const ct_tensor *x) {
    return (char *)x->storage->data + (size_t)x->offset * ct_dtype_size(x->dtype);
}

/* The same of a tensor that may be NULL. */
static inline void *ct_cpu_data_or_null(const ct_tensor *x) { return x ? ct_cpu_data(x) : NULL; }

#endif
