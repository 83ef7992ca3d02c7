/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of one instruction set's compilation, as a backend. */
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/fused.h"

#define NAME_(isa) "cpu (" #isa ")"
#define NAME(isa) NAME_(isa)

const ct_backend CT_CPU(backend) = {
    .name = NAME(CT_ISA),
    .allocate = ct_cpu_allocate,
    .free = ct_cpu_free,
    .from_host = ct_cpu_copy_bytes,
    .to_host = ct_cpu_copy_bytes,
    .copy = CT_CPU(copy),
    .fill = CT_CPU(fill),
    .arange = CT_CPU(arange),
    .unary = CT_CPU(unary),
    .unary_grad = CT_CPU(unary_grad),
    .binary = CT_CPU(binary),
    .binary_grad = CT_CPU(binary_grad),
    .compare = CT_CPU(compare),
    .where = CT_CPU(where),
    .add_to = CT_CPU(add_to),
    .reduce = CT_CPU(reduce),
    .arg_reduce = CT_CPU(arg_reduce),
    .cumsum = CT_CPU(cumsum),
    .argsort = CT_CPU(argsort),
    .global_norm = CT_CPU(global_norm),
    .has_nonfinite = CT_CPU(has_nonfinite),
    .matmul = ct_cpu_matmul,
    .softmax = CT_CPU(softmax),
    .softmax_grad = CT_CPU(softmax_grad),
    .index_select = CT_CPU(index_select),
    .index_add = CT_CPU(index_add),
    .gather = CT_CPU(gather),
    .scatter_add = CT_CPU(scatter_add),
    .uniform = CT_CPU(uniform),
    .normal = CT_CPU(normal),
    .fused = CT_CPU_FUSED,
};
