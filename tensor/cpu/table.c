/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of one instruction set's compilation, as a backend. */
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/onednn.h"

/* Who calls checks the dtypes; one that is neither is never read as if it were. */
#define CT_REAL_KERNEL(name, of, parameters, arguments)               \
    bool CT_CPU(name) parameters {                                    \
        if (of->dtype == CT_F32) return CT_CPU(name##_f32) arguments; \
        if (of->dtype == CT_F64) return CT_CPU(name##_f64) arguments; \
        return ct_check_float(#name, of);                             \
    }
#include "tensor/device/kernels.def"

#define NAME_(isa) "cpu (" #isa ")"
#define NAME(isa) NAME_(isa)

const ct_backend CT_CPU(backend) = {
    .name = NAME(CT_ISA),
    .allocate = ct_cpu_allocate,
    .free = ct_cpu_free,
    .from_host = ct_cpu_copy_bytes,
    .to_host = ct_cpu_copy_bytes,
    .set_precision = ct_cpu_set_precision,
#define CT_KERNEL(name, parameters, arguments) .name = CT_CPU(name),
#define CT_REAL_KERNEL(name, of, parameters, arguments) .name = CT_CPU(name),
#include "tensor/device/kernels.def"
};
