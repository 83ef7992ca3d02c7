/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/fused.h"

enum { EXP_COST = 8 }; /* of an element, relative to an addition */

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_loss_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_loss_kernels.h"

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

bool CT_CPU(cross_entropy)(ct_tensor *loss, ct_tensor *log_sum_exp, const ct_tensor *logits,
                           const ct_tensor *labels, int64_t ignore_index, double smoothing) {
    const int64_t *label = ct_cpu_data(labels);
    if (!check_labels(label, logits, ignore_index)) return false;
    if (logits->dtype == CT_F32) {
        cross_entropy_f32(loss, log_sum_exp, logits, label, ignore_index, smoothing);
    } else {
        cross_entropy_f64(loss, log_sum_exp, logits, label, ignore_index, smoothing);
    }
    return true;
}

bool CT_CPU(cross_entropy_grad)(ct_tensor *g_logits, const ct_tensor *g, const ct_tensor *logits,
                                const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                int64_t ignore_index, double smoothing) {
    const int64_t *label = ct_cpu_data(labels);
    if (!check_labels(label, logits, ignore_index)) return false;
    if (logits->dtype == CT_F32) {
        cross_entropy_grad_f32(g_logits, g, logits, label, log_sum_exp, ignore_index, smoothing);
    } else {
        cross_entropy_grad_f64(g_logits, g, logits, label, log_sum_exp, ignore_index, smoothing);
    }
    return true;
}
