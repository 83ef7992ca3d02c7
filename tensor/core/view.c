/* SPDX-License-Identifier: Apache-2.0 */
/* Views: other shapes and strides on the same storage. */
#include "tensor/core/view.h"

#include <string.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"
#include "tensor/core/shape.h"
#include "tensor/core/storage.h"

ct_tensor *ct_tensor_permute(const ct_tensor *x, const int *axes) {
    if (!ct_check_input("permute", x) || !ct_check_list("permute", "axes", axes, x->shape.ndim)) {
        return NULL;
    }
    ct_shape shape = {.ndim = x->shape.ndim};
    int64_t stride[CT_MAX_DIMS];
    unsigned seen = 0;
    for (int i = 0; i < shape.ndim; i++) {
        int axis = ct_axis("permute", axes[i], shape.ndim);
        if (axis < 0) return NULL;
        if (seen & 1u << axis) return ct_fail("permute: axis %d is named twice", axis);
        seen |= 1u << axis;
        shape.dim[i] = x->shape.dim[axis];
        stride[i] = x->stride[axis];
    }
    return ct_view(x, shape, stride, x->offset);
}

ct_tensor *ct_tensor_transpose(const ct_tensor *x, int axis_a, int axis_b) {
    if (!ct_check_input("transpose", x)) return NULL;
    int a = ct_axis("transpose", axis_a, x->shape.ndim);
    int b = a < 0 ? -1 : ct_axis("transpose", axis_b, x->shape.ndim);
    if (b < 0) return NULL;
    int axes[CT_MAX_DIMS];
    for (int i = 0; i < x->shape.ndim; i++) axes[i] = i == a ? b : i == b ? a : i;
    return ct_tensor_permute(x, axes);
}

static int64_t clamp_index(int64_t index, int64_t size) {
    if (index < 0) index += size;
    return index < 0 ? 0 : index > size ? size : index;
}

ct_tensor *ct_tensor_slice(const ct_tensor *x, int axis, int64_t start, int64_t stop,
                           int64_t step) {
    if (!ct_check_input("slice", x)) return NULL;
    axis = ct_axis("slice", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    if (step < 1) return ct_fail("slice: step %lld, expected at least 1", (long long)step);
    int64_t size = x->shape.dim[axis];
    if (step > size) step = size > 0 ? size : 1; /* one element at most, either way */
    start = clamp_index(start, size);
    stop = clamp_index(stop, size);
    ct_shape shape = x->shape;
    shape.dim[axis] = stop > start ? (stop - start - 1) / step + 1 : 0;
    int64_t stride[CT_MAX_DIMS];
    memcpy(stride, x->stride, sizeof stride);
    stride[axis] *= step;
    int64_t first = shape.dim[axis] ? start * x->stride[axis] : 0;
    return ct_view(x, shape, stride, x->offset + first);
}

ct_tensor *ct_tensor_expand(const ct_tensor *x, ct_shape shape) {
    if (!ct_check_input("expand", x) || !ct_check_ndims("expand", shape.ndim)) return NULL;
    int added = shape.ndim - x->shape.ndim;
    int64_t stride[CT_MAX_DIMS] = {0};
    bool fits = added >= 0;
    for (int i = 0; fits && i < x->shape.ndim; i++) {
        int64_t size = x->shape.dim[i], *wanted = &shape.dim[added + i];
        if (*wanted == -1) *wanted = size;
        fits = size == *wanted || size == 1;
        stride[added + i] = size == *wanted ? x->stride[i] : 0;
    }
    if (!fits) {
        return ct_fail("expand: %s does not broadcast to %s", ct_tensor_text(x),
                       ct_shape_text(shape));
    }
    if (!ct_check_sizes("expand", shape, x->dtype)) return NULL;
    return ct_view(x, shape, stride, x->offset);
}

ct_tensor *ct_tensor_squeeze(const ct_tensor *x, int axis) {
    if (!ct_check_input("squeeze", x)) return NULL;
    axis = ct_axis("squeeze", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    if (x->shape.dim[axis] != 1) {
        return ct_fail("squeeze: dimension %d of %s is not of size 1", axis, ct_tensor_text(x));
    }
    ct_shape shape = {.ndim = x->shape.ndim - 1};
    int64_t stride[CT_MAX_DIMS];
    for (int i = 0; i < shape.ndim; i++) {
        int from = i < axis ? i : i + 1;
        shape.dim[i] = x->shape.dim[from];
        stride[i] = x->stride[from];
    }
    return ct_view(x, shape, stride, x->offset);
}

ct_tensor *ct_tensor_unsqueeze(const ct_tensor *x, int axis) {
    if (!ct_check_input("unsqueeze", x)) return NULL;
    ct_shape shape = {.ndim = x->shape.ndim + 1};
    if (shape.ndim > CT_MAX_DIMS) {
        return ct_fail("unsqueeze: %s already has %d dimensions", ct_tensor_text(x), CT_MAX_DIMS);
    }
    axis = ct_axis("unsqueeze", axis, shape.ndim);
    if (axis < 0) return NULL;
    int64_t stride[CT_MAX_DIMS];
    for (int i = 0; i < shape.ndim; i++) {
        int from = i < axis ? i : i - 1;
        shape.dim[i] = i == axis ? 1 : x->shape.dim[from];
        stride[i] = i == axis ? 1 : x->stride[from];
    }
    return ct_view(x, shape, stride, x->offset);
}
