/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

enum { EXP_COST = 8 }; /* of an element, relative to an addition */

static bool check_labels(const int64_t *label, const ct_tensor *logits, int64_t ignore_index) {
    for (int64_t r = 0; r < logits->shape.dim[0]; r++) {
        if (label[r] == ignore_index || (label[r] >= 0 && label[r] < logits->shape.dim[1])) {
            continue;
        }
        return ct_fail_bool("cross entropy: label %lld of row %lld is out of range for logits %s",
                            (long long)label[r], (long long)r, ct_tensor_text(logits));
    }
    return true;
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_loss_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_loss_kernels.h"
