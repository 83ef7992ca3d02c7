/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/ops/operand.h"

const ct_tensor *ct_expanded(const ct_tensor *x, ct_shape shape) {
    return ct_shape_equal(x->shape, shape) ? x : ct_tensor_expand(x, shape);
}

bool ct_check_fits(const char *op, const ct_tensor *y, const ct_tensor *x) {
    ct_shape shape;
    if (!ct_check_input(op, x)) return false;
    if (ct_broadcast_shape(op, y->shape, x->shape, &shape) && ct_shape_equal(shape, y->shape)) {
        return true;
    }
    return ct_fail_bool("%s: %s does not broadcast to %s", op, ct_shape_text(x->shape),
                        ct_shape_text(y->shape));
}
