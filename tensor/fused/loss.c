/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy of logits: shapes and allocation. */
#include "tensor/fused/check.h"
#include "tensor/ops/overlap.h"

static bool check_logits(const char *op, const ct_tensor *logits, const ct_tensor *labels,
                         double smoothing) {
    if (!(smoothing >= 0 && smoothing <= 1)) {
        return ct_fail_bool("%s: smoothing is %g, expected 0 to 1", op, smoothing);
    }
    if (!ct_check_ndim(op, "logits", logits, 2)) return false;
    if (logits->shape.dim[1] < 1) {
        return ct_fail_bool("%s: logits are %s, expected at least one class", op,
                            ct_tensor_text(logits));
    }
    return ct_check_index(op, "labels", labels, logits->shape.dim[0], logits->device);
}

ct_tensor *ct_tensor_cross_entropy(const ct_tensor *logits, const ct_tensor *labels,
                                   int64_t ignore_index, double smoothing,
                                   ct_tensor **log_sum_exp) {
    ct_tensor *loss = NULL;
    if (!ct_check_pointer("cross entropy", "log_sum_exp", log_sum_exp)) return NULL;
    *log_sum_exp = NULL;
    CT_SCOPE {
        if (!check_logits("cross entropy", logits, labels, smoothing)) break;
        ct_shape rows = CT_SHAPE(logits->shape.dim[0]);
        bool ok = true;
        const ct_tensor *x = ct_dense(logits, &ok), *label = ct_dense(labels, &ok);
        ct_tensor *row_loss = ct_empty_like(logits, rows), *lse = ct_empty_like(logits, rows);
        if (!ok || !row_loss || !lse) break;
        if (!ct_backend_of(x->device)->cross_entropy(row_loss, lse, x, label, ignore_index,
                                                     smoothing))
            break;
        loss = ct_escape(row_loss);
        *log_sum_exp = ct_escape(lse);
    }
    return loss;
}

static const char gradient[] = "cross entropy gradient";

/* To gx, contiguous, which may be the logits: kernels have read all that they need of a row before
 * they write to it, but for the element that they write. */
static bool gradient_to(ct_tensor *gx, const ct_tensor *g, const ct_tensor *logits,
                        const ct_tensor *labels, const ct_tensor *log_sum_exp, int64_t ignore_index,
                        double smoothing) {
    bool ok = true;
    const ct_tensor *x = ct_dense(logits, &ok), *label = ct_dense(labels, &ok);
    const ct_tensor *lse = ct_dense(log_sum_exp, &ok), *row_g = ct_dense(g, &ok);
    return ok && gx &&
           ct_backend_of(x->device)->cross_entropy_grad(gx, row_g, x, label, lse, ignore_index,
                                                        smoothing);
}

static bool check_gradient(const ct_tensor *g, const ct_tensor *logits, const ct_tensor *labels,
                           const ct_tensor *log_sum_exp, double smoothing) {
    if (!check_logits(gradient, logits, labels, smoothing)) return false;
    ct_shape rows = CT_SHAPE(logits->shape.dim[0]);
    return ct_check_shape(gradient, "g", logits, g, rows) &&
           ct_check_shape(gradient, "log_sum_exp", logits, log_sum_exp, rows);
}

ct_tensor *ct_tensor_cross_entropy_grad(const ct_tensor *g, const ct_tensor *logits,
                                        const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                        int64_t ignore_index, double smoothing) {
    CT_SCOPE {
        if (!check_gradient(g, logits, labels, log_sum_exp, smoothing)) break;
        ct_tensor *gx = ct_empty_like(logits, logits->shape);
        if (!gradient_to(gx, g, logits, labels, log_sum_exp, ignore_index, smoothing)) break;
        return ct_escape(gx);
    }
    return NULL;
}

bool ct_tensor_cross_entropy_grad_in_place(const ct_tensor *g, ct_tensor *logits,
                                           const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                           int64_t ignore_index, double smoothing) {
    bool done = false;
    CT_SCOPE {
        if (!check_gradient(g, logits, labels, log_sum_exp, smoothing)) break;
        if (!ct_is_contiguous(logits) || ct_overlaps(logits, g) ||
            ct_overlaps(logits, log_sum_exp)) {
            ct_fail("%s: logits that are written over are to be contiguous and apart from the "
                    "other inputs",
                    gradient);
            break;
        }
        ct_mark_written(logits);
        done = gradient_to(logits, g, logits, labels, log_sum_exp, ignore_index, smoothing);
    }
    return done;
}
