/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions, running sums, sorting. */
#include <math.h>
#include <stdlib.h>

#include "tensor/core/shape.h"
#include "tensor/device/backend.h"

static const char *const reduce_names[] = {
    [CT_SUM] = "sum", [CT_MEAN] = "mean", [CT_MAX] = "max", [CT_MIN] = "min", [CT_PROD] = "prod"};

/* Bits of the dimensions of a tensor; false and an error if one is named that it has not. */
static bool check_axes(const char *op, const ct_tensor *x, uint32_t *axes) {
    uint32_t all = (1u << x->shape.ndim) - 1;
    if (*axes == CT_ALL_AXES) *axes = all;
    if (!(*axes & ~all)) return true;
    return ct_fail_bool("%s: axes 0x%x name a dimension that %s has not", op, (unsigned)*axes,
                        ct_tensor_text(x));
}

/* A view without the dimensions (of size 1) in `axes`. */
static ct_tensor *without_axes(const ct_tensor *y, uint32_t axes) {
    ct_shape shape = {.ndim = 0};
    for (int i = 0; i < y->shape.ndim; i++) {
        if (!(axes & 1u << i)) shape.dim[shape.ndim++] = y->shape.dim[i];
    }
    return ct_view(y, shape, NULL, y->offset);
}

ct_tensor *ct_tensor_reduce(ct_reduce_kind kind, const ct_tensor *x, uint32_t axes, bool keep) {
    if (!ct_check_choice("reduce", "the kind", (int)kind, CT_PROD + 1)) return NULL;
    const char *op = reduce_names[kind];
    if (!ct_check_float(op, x) || !check_axes(op, x, &axes)) return NULL;
    ct_shape shape = x->shape;
    for (int i = 0; i < shape.ndim; i++) {
        if (axes & 1u << i) shape.dim[i] = 1;
    }
    if ((kind == CT_MAX || kind == CT_MIN) && ct_count(x) == 0 && ct_shape_count(shape) > 0) {
        return ct_fail("%s: nothing to choose from in %s", op, ct_tensor_text(x));
    }
    ct_tensor *y = ct_empty(x->dtype, x->device, shape);
    if (!y || !ct_backend_of(x->device)->reduce(kind, y, x)) return NULL;
    return keep ? y : without_axes(y, axes);
}

ct_tensor *ct_tensor_sum_to(const ct_tensor *x, ct_shape shape) {
    if (!ct_check_float("sum_to", x) || !ct_check_sizes("sum_to", shape, x->dtype)) return NULL;
    int added = x->shape.ndim - shape.ndim;
    bool fits = added >= 0;
    uint32_t axes = 0;
    for (int i = 0; fits && i < x->shape.ndim; i++) {
        int64_t size = i < added ? 1 : shape.dim[i - added];
        if (i < added || (size == 1 && x->shape.dim[i] != 1)) axes |= 1u << i;
        fits = size == x->shape.dim[i] || size == 1;
    }
    if (!fits) {
        return ct_fail("sum_to: %s does not broadcast to %s", ct_shape_text(shape),
                       ct_shape_text(x->shape));
    }
    ct_tensor *y = axes ? ct_tensor_reduce(CT_SUM, x, axes, true) : ct_tensor_copy(x);
    return y ? ct_view(y, shape, NULL, y->offset) : NULL;
}

static ct_tensor *arg_reduce(const char *op, bool largest, const ct_tensor *x, int axis) {
    if (!ct_check_float(op, x)) return NULL;
    axis = ct_axis(op, axis, x->shape.ndim);
    if (axis < 0) return NULL;
    ct_shape shape = x->shape;
    shape.dim[axis] = 1;
    if (x->shape.dim[axis] == 0 && ct_shape_count(shape) > 0) {
        return ct_fail("%s: nothing to choose from in %s", op, ct_tensor_text(x));
    }
    ct_tensor *y = ct_empty(CT_I64, x->device, shape);
    if (!y || !ct_backend_of(x->device)->arg_reduce(largest, y, x, axis)) return NULL;
    return without_axes(y, 1u << axis);
}

ct_tensor *ct_tensor_argmax(const ct_tensor *x, int axis) {
    return arg_reduce("argmax", true, x, axis);
}

ct_tensor *ct_tensor_argmin(const ct_tensor *x, int axis) {
    return arg_reduce("argmin", false, x, axis);
}

ct_tensor *ct_tensor_cumsum(const ct_tensor *x, int axis, bool reverse) {
    if (!ct_check_float("cumsum", x)) return NULL;
    axis = ct_axis("cumsum", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    ct_tensor *y = ct_empty(x->dtype, x->device, x->shape);
    return y && ct_backend_of(x->device)->cumsum(y, x, axis, reverse) ? y : NULL;
}

ct_tensor *ct_tensor_argsort(const ct_tensor *x, bool descending) {
    if (!ct_check_float("argsort", x)) return NULL;
    if (x->shape.ndim == 0) return ct_fail("argsort: a scalar has no axis to sort");
    ct_tensor *y = ct_empty(CT_I64, x->device, x->shape);
    return y && ct_backend_of(x->device)->argsort(y, x, descending) ? y : NULL;
}

ct_tensor *ct_tensor_global_norm(ct_tensor *const *tensors, int count) {
    if (!ct_check_list("global_norm", "tensors", tensors, count)) return NULL;
    ct_device device = count > 0 && tensors[0] ? tensors[0]->device : CT_CPU;
    for (int i = 0; i < count; i++) {
        if (!ct_check_float("global_norm", tensors[i])) return NULL;
        if (tensors[i]->device != device) {
            return ct_fail("global_norm: tensors on %s and %s", ct_device_name(device),
                           ct_device_name(tensors[i]->device));
        }
    }
    ct_tensor **dense = malloc((size_t)(count + 1) * sizeof *dense);
    if (!dense) return ct_fail("global_norm: out of memory");
    ct_tensor *norm = NULL;
    bool ok = true;
    CT_SCOPE {
        for (int i = 0; ok && i < count; i++) {
            dense[i] = ct_tensor_contiguous(tensors[i]);
            ok = dense[i] != NULL;
        }
        norm = ok ? ct_empty(CT_F64, device, CT_SCALAR_SHAPE) : NULL;
        ok = norm && ct_backend_of(device)->global_norm(norm, dense, count);
        ct_escape(ok ? norm : NULL);
    }
    free(dense);
    return ok ? norm : NULL;
}

bool ct_tensor_has_nonfinite(const ct_tensor *x) {
    if (!ct_check_input("has_nonfinite", x) || !ct_dtype_is_float(x->dtype)) return false;
    bool found = false;
    CT_SCOPE {
        bool half = x->dtype == CT_BF16 || x->dtype == CT_F16;
        const ct_tensor *wide = half ? ct_tensor_cast(x, CT_F32) : x;
        if (wide) ct_backend_of(x->device)->has_nonfinite(wide, &found);
    }
    return found;
}
