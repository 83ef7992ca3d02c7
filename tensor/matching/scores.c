/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of many rows in f16: shapes and allocation. */
#include "tensor/core/check.h"
#include "tensor/fused/check.h"

static bool check_rows(const char *op, const ct_tensor *a, const ct_tensor *b) {
    if (!a || !b) return ct_ok() ? ct_fail_bool("%s: %s is NULL", op, a ? "b" : "a") : false;
    bool matrices = a->shape.ndim == 2 && b->shape.ndim == 2;
    if (!matrices || a->dtype != CT_F32 || b->dtype != CT_F16 ||
        a->shape.dim[1] != b->shape.dim[1]) {
        return ct_fail_bool("%s: a is %s and b is %s, expected f32 (Q,D) and f16 (N,D)", op,
                            ct_tensor_text(a), ct_tensor_text(b));
    }
    return a->device == b->device ||
           ct_fail_bool("%s: a is on %s, b on %s", op, ct_device_name(a->device),
                        ct_device_name(b->device));
}

ct_tensor *ct_tensor_row_scores(const ct_tensor *a, const ct_tensor *b, ct_score_kind kind) {
    static const char op[] = "row scores";
    ct_tensor *scores = NULL;
    CT_SCOPE {
        bool ok = check_rows(op, a, b);
        if (!ok || !ct_check_choice(op, "kind", (int)kind, CT_SCORE_ORDER_TURNED + 1)) break;
        a = ct_dense(a, &ok);
        b = ok ? ct_dense(b, &ok) : NULL;
        if (!ok) break;
        ct_tensor *s = ct_empty(CT_F32, b->device, CT_SHAPE(a->shape.dim[0], b->shape.dim[0]));
        bool none = s && ct_count(s) == 0;
        if (s && (none || ct_backend_of(b->device)->row_scores(s, a, b, kind))) {
            scores = ct_escape(s);
        }
    }
    return scores;
}
