/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm, layer norm, l2 norm and weight norm. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"
#include "tensor/fused/moments.h"

enum {
    ROW_CHUNK = 64,    /* rows that are summed by one thread, in one go */
    COLUMN_BLOCK = 64, /* columns whose sums stay in registers or the first-level cache */
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_norm_kernels.h"
#include "tensor/cpu/fused_l2_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_norm_kernels.h"
#include "tensor/cpu/fused_l2_kernels.h"
