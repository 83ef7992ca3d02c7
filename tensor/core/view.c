/* SPDX-License-Identifier: Apache-2.0 */
/* Views: other shapes and strides on the same storage. */
#include <string.h>

#include "tensor/core/shape.h"
#include "tensor/device/backend.h"

/* Replaces a -1 in `shape` by what remains of `count`; false and an error if it does not fit. */
static bool resolve_shape(const ct_tensor *x, ct_shape *shape) {
    if (!ct_check_ndims("reshape", shape->ndim)) return false;
    ct_shape given = *shape; /* with 1 for the -1 */
    int free_axis = -1;
    for (int i = 0; i < shape->ndim; i++) {
        if (shape->dim[i] == -1 && free_axis < 0) {
            free_axis = i;
            given.dim[i] = 1;
        } else if (shape->dim[i] < 0) {
            return ct_fail_bool("reshape: %s asks for a negative size or for two of -1",
                                ct_shape_text(*shape));
        }
    }
    if (!ct_check_sizes("reshape", given, x->dtype)) return false;
    int64_t count = ct_count(x), known = ct_shape_count(given);
    if (free_axis >= 0 && known > 0 && count % known == 0) {
        shape->dim[free_axis] = count / known;
        known *= count / known;
    }
    if (known != count || (free_axis >= 0 && shape->dim[free_axis] < 0)) {
        return ct_fail_bool("reshape: %s has %lld elements and cannot become %s", ct_tensor_text(x),
                            (long long)count, ct_shape_text(*shape));
    }
    return true;
}

/* Strides that show x's elements, in row-major order, in another shape; false if none do. Walks
 * groups of dimensions of both shapes that hold the same number of elements: a group of x
 * must be one run (each stride the next one's size times stride). */
static bool reshape_strides(const ct_tensor *x, ct_shape shape, int64_t *stride) {
    int from = x->shape.ndim - 1, to = shape.ndim - 1;
    while (from >= 0 && to >= 0) {
        int64_t step = x->stride[from], have = x->shape.dim[from], want = shape.dim[to];
        int last = to;
        while (have != want) {
            if (have < want) {
                if (--from < 0) return false;
                if (x->shape.dim[from] != 1 && x->stride[from] != step * have) {
                    if (have != 1) return false;
                    step = x->stride[from];
                }
                have *= x->shape.dim[from];
            } else {
                if (--to < 0) return false;
                want *= shape.dim[to];
            }
        }
        for (int i = last; i >= to; i--) {
            stride[i] = step;
            step *= shape.dim[i];
        }
        from--;
        to--;
    }
    for (; to >= 0; to--) stride[to] = 1; /* leading dimensions of size 1 */
    return true;
}

ct_tensor *ct_tensor_reshape(const ct_tensor *x, ct_shape shape) {
    if (!ct_check_input("reshape", x) || !resolve_shape(x, &shape)) return NULL;
    if (ct_is_contiguous(x)) return ct_view(x, shape, NULL, x->offset);
    int64_t stride[CT_MAX_DIMS];
    if (reshape_strides(x, shape, stride)) return ct_view(x, shape, stride, x->offset);
    ct_tensor *copy = ct_tensor_copy(x);
    return copy ? ct_view(copy, shape, NULL, 0) : NULL;
}

ct_tensor *ct_tensor_permute(const ct_tensor *x, const int *axes) {
    if (!ct_check_input("permute", x)) return NULL;
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

ct_tensor *ct_tensor_contiguous(const ct_tensor *x) {
    if (!ct_check_input("contiguous", x)) return NULL;
    if (ct_is_contiguous(x)) return ct_view(x, x->shape, x->stride, x->offset);
    return ct_tensor_copy(x);
}
