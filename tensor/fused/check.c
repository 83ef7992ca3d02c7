/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/fused/check.h"

#include "tensor/core/shape.h"

static bool wrong(const char *op, const char *name, const ct_tensor *x, const char *expected) {
    return ct_fail_bool("%s: %s is %s, expected %s", op, name, ct_tensor_text(x), expected);
}

bool ct_check_ndim(const char *op, const char *name, const ct_tensor *x, int ndim) {
    if (!ct_check_float(op, x)) return false;
    if (x->shape.ndim == ndim) return true;
    return ct_fail_bool("%s: %s is %s, expected %d dimensions", op, name, ct_tensor_text(x), ndim);
}

bool ct_check_shape(const char *op, const char *name, const ct_tensor *first, const ct_tensor *x,
                    ct_shape expected) {
    if (!ct_check_same(op, first, x)) return false;
    return ct_shape_equal(x->shape, expected) || wrong(op, name, x, ct_shape_text(expected));
}

bool ct_check_optional(const char *op, const char *name, const ct_tensor *first, const ct_tensor *x,
                       ct_shape expected) {
    return !x || ct_check_shape(op, name, first, x, expected);
}

bool ct_check_index(const char *op, const char *name, const ct_tensor *x, int64_t count,
                    ct_device device) {
    if (!ct_check_input(op, x)) return false;
    if (x->dtype != CT_I64 || !ct_shape_equal(x->shape, CT_SHAPE(count))) {
        return ct_fail_bool("%s: %s is %s, expected i64 (%lld)", op, name, ct_tensor_text(x),
                            (long long)count);
    }
    if (x->device == device) return true;
    return ct_fail_bool("%s: %s is on %s, expected on %s", op, name, ct_device_name(x->device),
                        ct_device_name(device));
}

const ct_tensor *ct_dense(const ct_tensor *x, bool *ok) {
    if (!x) return NULL;
    const ct_tensor *dense = ct_is_contiguous(x) ? x : ct_tensor_contiguous(x);
    if (!dense) *ok = false;
    return dense;
}

ct_tensor *ct_empty_like(const ct_tensor *x, ct_shape shape) {
    return ct_empty(x->dtype, x->device, shape);
}

ct_shape ct_around_axis(ct_shape shape, int axis) {
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis; i++) outer *= shape.dim[i];
    for (int i = axis + 1; i < shape.ndim; i++) inner *= shape.dim[i];
    return CT_SHAPE(outer, shape.dim[axis], inner);
}

void ct_escape_all(ct_tensor **const *tensors, int count) {
    for (int i = 0; i < count; i++) *tensors[i] = ct_escape(*tensors[i]);
}

int64_t ct_conv_positions(int64_t padded, int64_t kernel, int64_t stride, int64_t dilation) {
    if (kernel < 1) return 0;
    int64_t span = ct_size_sum(ct_size_product(dilation, kernel - 1), 1);
    return padded < span ? 0 : (padded - span) / stride + 1;
}
