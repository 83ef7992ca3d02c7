/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax, indexing, joining and padding. */
#include <string.h>

#include "tensor/ops/operand.h"
#include "tensor/ops/overlap.h"
#include "tensor/core/shape.h"
#include "tensor/device/backend.h"

/* ---- softmax ---------------------------------------------------------------------------- */

/* x with `axis` last, row-major. */
static ct_tensor *axis_last(const ct_tensor *x, int axis) {
    ct_tensor *view = ct_tensor_transpose(x, axis, -1);
    return view ? ct_tensor_contiguous(view) : NULL;
}

/* Back from axis_last, row-major in the original order; given to the caller's scope by the
 * caller. */
static ct_tensor *axis_back(ct_tensor *y, int axis) {
    return axis == y->shape.ndim - 1 ? y : axis_last(y, axis);
}

ct_tensor *ct_tensor_softmax(const ct_tensor *x, int axis, bool logarithm) {
    const char *op = logarithm ? "log_softmax" : "softmax";
    if (!ct_check_float(op, x)) return NULL;
    axis = ct_axis(op, axis, x->shape.ndim);
    if (axis < 0) return NULL;
    CT_SCOPE {
        ct_tensor *from = axis_last(x, axis);
        ct_tensor *y = from ? ct_empty(x->dtype, x->device, from->shape) : NULL;
        if (!y || !ct_backend_of(x->device)->softmax(y, from, logarithm)) break;
        return ct_escape(axis_back(y, axis));
    }
    return NULL;
}

ct_tensor *ct_tensor_softmax_grad(const ct_tensor *g, const ct_tensor *y, int axis,
                                  bool logarithm) {
    const char *op = logarithm ? "log_softmax" : "softmax";
    if (!ct_check_float(op, g) || !ct_check_same(op, g, y)) return NULL;
    if (!ct_shape_equal(g->shape, y->shape)) {
        return ct_fail("%s: the gradient is %s, the result %s", op, ct_shape_text(g->shape),
                       ct_shape_text(y->shape));
    }
    axis = ct_axis(op, axis, y->shape.ndim);
    if (axis < 0) return NULL;
    CT_SCOPE {
        ct_tensor *rows_g = axis_last(g, axis), *rows_y = axis_last(y, axis);
        ct_tensor *gx = rows_g && rows_y ? ct_empty(y->dtype, y->device, rows_y->shape) : NULL;
        if (!gx || !ct_backend_of(y->device)->softmax_grad(gx, rows_g, rows_y, logarithm)) break;
        return ct_escape(axis_back(gx, axis));
    }
    return NULL;
}

/* ---- indices ---------------------------------------------------------------------------- */

/* Checks that an index is i64 or i32 and on x's device; i64 row-major in the innermost scope. */
static ct_tensor *as_index(const char *op, const ct_tensor *index, const ct_tensor *x) {
    if (!ct_check_input(op, index)) return NULL;
    if (index->dtype != CT_I64 && index->dtype != CT_I32) {
        return ct_fail("%s: the index is %s, expected i64 or i32", op, ct_tensor_text(index));
    }
    if (index->device != x->device) {
        return ct_fail("%s: the index is on %s, the tensor on %s", op,
                       ct_device_name(index->device), ct_device_name(x->device));
    }
    return index->dtype == CT_I64 ? ct_tensor_contiguous(index) : ct_tensor_cast(index, CT_I64);
}

static bool check_list(const char *op, const ct_tensor *index) {
    if (!ct_check_input(op, index) || index->shape.ndim == 1) return index != NULL;
    return ct_fail_bool("%s: the index is %s, expected 1 dimension", op, ct_tensor_text(index));
}

ct_tensor *ct_tensor_index_select(const ct_tensor *x, int axis, const ct_tensor *index) {
    if (!ct_check_input("index_select", x) || !check_list("index_select", index)) return NULL;
    axis = ct_axis("index_select", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    ct_shape shape = x->shape;
    shape.dim[axis] = index->shape.dim[0];
    ct_tensor *y = ct_empty(x->dtype, x->device, shape);
    bool done = false;
    CT_SCOPE {
        ct_tensor *list = as_index("index_select", index, x);
        ct_tensor *from = list ? ct_tensor_contiguous(x) : NULL;
        done = y && from && ct_backend_of(x->device)->index_select(y, from, axis, list);
    }
    return done ? y : NULL;
}

/* Runs an addition at indices on contiguous tensors; a strided y is copied, added to and written
 * back. */
static bool add_at(bool (*add)(ct_tensor *, int, const ct_tensor *, const ct_tensor *),
                   const char *op, ct_tensor *y, int axis, const ct_tensor *index,
                   const ct_tensor *x) {
    bool done = false;
    if (!ct_check_writable(op, y)) return false;
    CT_SCOPE {
        ct_tensor *list = as_index(op, index, y);
        ct_tensor *from = list ? ct_tensor_contiguous(x) : NULL;
        ct_tensor *to = from ? ct_tensor_contiguous(y) : NULL;
        if (!to) break;
        const ct_tensor *at = ct_read_apart(list, to), *terms = ct_read_apart(from, to);
        if (!at || !terms) break;
        ct_mark_written(y);
        done = add(to, axis, at, terms);
        if (done && !ct_is_contiguous(y)) done = ct_tensor_copy_to(y, to);
    }
    return done;
}

/* x has y's shape but along the axis, where it has `count`. */
static bool check_terms(const char *op, const ct_tensor *y, int axis, int64_t count,
                        const ct_tensor *x) {
    if (!ct_check_float(op, y) || !ct_check_same(op, y, x)) return false;
    ct_shape expected = y->shape;
    expected.dim[axis] = count;
    if (ct_shape_equal(x->shape, expected)) return true;
    return ct_fail_bool("%s: what is added is %s, expected %s", op, ct_shape_text(x->shape),
                        ct_shape_text(expected));
}

bool ct_tensor_index_add_to(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    if (!ct_check_input("index_add", y) || !check_list("index_add", index)) return false;
    axis = ct_axis("index_add", axis, y->shape.ndim);
    if (axis < 0 || !check_terms("index_add", y, axis, index->shape.dim[0], x)) return false;
    return add_at(ct_backend_of(y->device)->index_add, "index_add", y, axis, index, x);
}

/* Shapes of an index and of what it indexes agree but along the axis. */
static bool check_aligned(const char *op, const ct_tensor *x, int axis, const ct_tensor *index) {
    if (!ct_check_input(op, index)) return false;
    ct_shape expected = x->shape;
    if (index->shape.ndim == expected.ndim) expected.dim[axis] = index->shape.dim[axis];
    if (ct_shape_equal(index->shape, expected)) return true;
    return ct_fail_bool("%s: the index is %s, which differs from %s elsewhere than along axis %d",
                        op, ct_shape_text(index->shape), ct_shape_text(x->shape), axis);
}

ct_tensor *ct_tensor_gather(const ct_tensor *x, int axis, const ct_tensor *index) {
    if (!ct_check_input("gather", x)) return NULL;
    axis = ct_axis("gather", axis, x->shape.ndim);
    if (axis < 0 || !check_aligned("gather", x, axis, index)) return NULL;
    ct_tensor *y = ct_empty(x->dtype, x->device, index->shape);
    bool done = false;
    CT_SCOPE {
        ct_tensor *at = as_index("gather", index, x);
        ct_tensor *from = at ? ct_tensor_contiguous(x) : NULL;
        done = y && from && ct_backend_of(x->device)->gather(y, from, axis, at);
    }
    return done ? y : NULL;
}

bool ct_tensor_scatter_add_to(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    if (!ct_check_input("scatter_add", y)) return false;
    axis = ct_axis("scatter_add", axis, y->shape.ndim);
    if (axis < 0 || !check_aligned("scatter_add", y, axis, index) ||
        !check_terms("scatter_add", y, axis, index->shape.dim[axis], x)) {
        return false;
    }
    return add_at(ct_backend_of(y->device)->scatter_add, "scatter_add", y, axis, index, x);
}

/* ---- joining and padding ---------------------------------------------------------------- */

static bool check_joinable(ct_tensor *const *tensors, int count, int axis, ct_shape *shape) {
    *shape = tensors[0]->shape;
    for (int i = 1; i < count; i++) {
        if (!ct_check_same("concat", tensors[0], tensors[i])) return false;
        ct_shape expected = tensors[0]->shape;
        if (tensors[i]->shape.ndim == expected.ndim) {
            expected.dim[axis] = tensors[i]->shape.dim[axis];
        }
        if (!ct_shape_equal(expected, tensors[i]->shape)) {
            return ct_fail_bool("concat: %s and %s differ elsewhere than along axis %d",
                                ct_shape_text(tensors[0]->shape), ct_shape_text(tensors[i]->shape),
                                axis);
        }
        shape->dim[axis] = ct_size_sum(shape->dim[axis], tensors[i]->shape.dim[axis]);
    }
    return ct_check_sizes("concat", *shape, tensors[0]->dtype);
}

/* y[.., start : start + size of x, ..] = x */
static bool copy_into(ct_tensor *y, int axis, int64_t start, const ct_tensor *x) {
    bool done = false;
    CT_SCOPE {
        ct_tensor *part = ct_tensor_slice(y, axis, start, start + x->shape.dim[axis], 1);
        done = part && ct_tensor_copy_to(part, x);
    }
    return done;
}

ct_tensor *ct_tensor_concat(ct_tensor *const *tensors, int count, int axis) {
    ct_shape shape;
    if (count < 1) return ct_fail("concat: nothing to join");
    if (!ct_check_list("concat", "tensors", tensors, count) ||
        !ct_check_input("concat", tensors[0])) {
        return NULL;
    }
    axis = ct_axis("concat", axis, tensors[0]->shape.ndim);
    if (axis < 0 || !check_joinable(tensors, count, axis, &shape)) return NULL;
    ct_tensor *y = ct_empty(tensors[0]->dtype, tensors[0]->device, shape);
    if (!y) return NULL;
    int64_t start = 0;
    for (int i = 0; i < count; i++) {
        if (!copy_into(y, axis, start, tensors[i])) return NULL;
        start += tensors[i]->shape.dim[axis];
    }
    return y;
}

static bool fill_part(ct_tensor *y, int axis, int64_t start, int64_t stop, double value) {
    bool done = false;
    CT_SCOPE {
        ct_tensor *part = ct_tensor_slice(y, axis, start, stop, 1);
        done = part && ct_tensor_fill(part, value);
    }
    return done;
}

ct_tensor *ct_tensor_pad(const ct_tensor *x, int axis, int64_t before, int64_t after,
                         double value) {
    if (!ct_check_input("pad", x)) return NULL;
    axis = ct_axis("pad", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    if (before < 0 || after < 0) {
        return ct_fail("pad: %lld before and %lld after, expected 0 or more", (long long)before,
                       (long long)after);
    }
    ct_shape shape = x->shape;
    shape.dim[axis] = ct_size_sum(shape.dim[axis], ct_size_sum(before, after));
    if (!ct_check_sizes("pad", shape, x->dtype)) return NULL;
    ct_tensor *y = ct_empty(x->dtype, x->device, shape);
    if (!y || !copy_into(y, axis, before, x)) return NULL;
    int64_t end = before + x->shape.dim[axis];
    if (before && !fill_part(y, axis, 0, before, value)) return NULL;
    if (after && !fill_part(y, axis, end, end + after, value)) return NULL;
    return y;
}
