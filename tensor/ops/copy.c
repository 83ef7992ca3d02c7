/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, and the views that are copies where strides cannot express them. */
#include "tensor/core/shape.h"
#include "tensor/core/trace.h"
#include "tensor/ops/operand.h"
#include "tensor/ops/overlap.h"

/* ---- copies ----------------------------------------------------------------------------- */

bool ct_tensor_fill(ct_tensor *y, double value) {
    if (!ct_check_writable("fill", y)) return false;
    ct_mark_written(y);
    return ct_backend_of(y->device)->fill(y, value);
}

/* Contiguous, one of the two on the CPU and of the same dtype. */
static bool transfer(ct_tensor *y, const ct_tensor *x) {
    size_t size = ct_dtype_size(x->dtype), bytes = (size_t)ct_count(x) * size;
    char *to = (char *)y->storage->data + (size_t)y->offset * size;
    const char *from = (const char *)x->storage->data + (size_t)x->offset * size;
    if (!bytes) return true;
    ct_trace_to(y, ct_trace_from(x, "to_device"));
    return x->device == CT_CPU ? ct_backend_of(y->device)->from_host(to, from, bytes)
                               : ct_backend_of(x->device)->to_host(to, from, bytes);
}

/* Casts where x is, sends contiguous elements over, spreads them where y is. */
static bool copy_across(ct_tensor *y, const ct_tensor *x) {
    const ct_tensor *sent =
        x->dtype == y->dtype ? ct_tensor_contiguous(x) : ct_tensor_cast(x, y->dtype);
    if (!sent) return false;
    if (ct_is_contiguous(y) && ct_shape_equal(x->shape, y->shape)) return transfer(y, sent);
    ct_tensor *received = ct_empty(y->dtype, y->device, x->shape);
    const ct_tensor *wide =
        received && transfer(received, sent) ? ct_expanded(received, y->shape) : NULL;
    return wide && ct_backend_of(y->device)->copy(y, wide);
}

bool ct_tensor_copy_to(ct_tensor *y, const ct_tensor *x) {
    if (!ct_check_writable("copy_to", y) || !ct_check_fits("copy_to", y, x)) return false;
    if (ct_is_same_view(x, y)) return true;
    ct_mark_written(y);
    bool done = false;
    CT_SCOPE {
        if (x->device != y->device) {
            done = copy_across(y, x);
            break;
        }
        const ct_tensor *from = ct_read_apart(x, y);
        const ct_tensor *wide = from ? ct_expanded(from, y->shape) : NULL;
        done = wide && ct_backend_of(y->device)->copy(y, wide);
    }
    return done;
}

static ct_tensor *copy_as(const char *op, const ct_tensor *x, ct_dtype dtype, ct_device device) {
    if (!ct_check_input(op, x)) return NULL;
    ct_tensor *y = ct_empty(dtype, device, x->shape);
    return y && ct_tensor_copy_to(y, x) ? y : NULL;
}

ct_tensor *ct_tensor_cast(const ct_tensor *x, ct_dtype dtype) {
    return copy_as("cast", x, dtype, x ? x->device : CT_CPU);
}

ct_tensor *ct_tensor_to_device(const ct_tensor *x, ct_device device) {
    return copy_as("to_device", x, x ? x->dtype : CT_F32, device);
}

ct_tensor *ct_tensor_copy(const ct_tensor *x) {
    return copy_as("copy", x, x ? x->dtype : CT_F32, x ? x->device : CT_CPU);
}

const ct_tensor *ct_read_apart(const ct_tensor *x, const ct_tensor *y) {
    return ct_overlaps(x, y) ? ct_tensor_copy(x) : x;
}

const ct_tensor *ct_read_pointwise(const ct_tensor *x, const ct_tensor *y) {
    return ct_is_same_view(x, y) ? x : ct_read_apart(x, y);
}

/* ---- views that may copy ---------------------------------------------------------------- */

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

ct_tensor *ct_tensor_contiguous(const ct_tensor *x) {
    if (!ct_check_input("contiguous", x)) return NULL;
    if (ct_is_contiguous(x)) return ct_view(x, x->shape, x->stride, x->offset);
    return ct_tensor_copy(x);
}
