/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes: their check, their arithmetic, their text. */
#include "tensor/core/shape.h"

#include <stdio.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"

/* ---- checks ----------------------------------------------------------------------------- */

static bool ndim_fits(int ndim) { return ndim >= 0 && ndim <= CT_MAX_DIMS; }

bool ct_check_ndims(const char *op, int ndim) {
    return ndim_fits(ndim) ||
           ct_fail_bool("%s: %d dimensions, expected 0 to %d", op, ndim, CT_MAX_DIMS);
}

bool ct_check_sizes(const char *op, ct_shape shape, ct_dtype dtype) {
    if ((unsigned)dtype >= CT_DTYPE_COUNT) return ct_fail_bool("%s: unknown dtype", op);
    if (!ct_check_ndims(op, shape.ndim)) return false;
    int64_t bytes = (int64_t)ct_dtype_size(dtype);
    for (int i = 0; i < shape.ndim; i++) {
        if (shape.dim[i] < 0) {
            return ct_fail_bool("%s: negative size in shape %s", op, ct_shape_text(shape));
        }
        int64_t size = shape.dim[i] > 1 ? shape.dim[i] : 1;
        if (__builtin_mul_overflow(bytes, size, &bytes)) {
            return ct_fail_bool("%s: shape %s is too large", op, ct_shape_text(shape));
        }
    }
    return true;
}

int64_t ct_size_sum(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t ct_size_product(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

int ct_axis(const char *what, int axis, int ndim) {
    if (!ct_check_ndims(what, ndim)) return -1;
    int resolved = axis < 0 ? axis + ndim : axis;
    if (resolved >= 0 && resolved < ndim) return resolved;
    ct_fail("%s: axis %d is outside a tensor of %d dimensions", what, axis, ndim);
    return -1;
}

/* ---- arithmetic ------------------------------------------------------------------------- */

int64_t ct_shape_count(ct_shape shape) {
    int64_t count = 1;
    if (!ct_check_ndims("shape", shape.ndim)) return 0;
    for (int i = 0; i < shape.ndim; i++) {
        if (shape.dim[i] < 0 || __builtin_mul_overflow(count, shape.dim[i], &count)) {
            ct_check_sizes("shape", shape, CT_U8);
            return 0;
        }
    }
    return count;
}

bool ct_shape_equal(ct_shape a, ct_shape b) {
    if (a.ndim != b.ndim || !ndim_fits(a.ndim)) return false;
    for (int i = 0; i < a.ndim; i++) {
        if (a.dim[i] != b.dim[i]) return false;
    }
    return true;
}

bool ct_broadcast_shape(const char *what, ct_shape a, ct_shape b, ct_shape *out) {
    if (!ct_check_ndims(what, a.ndim) || !ct_check_ndims(what, b.ndim) ||
        !ct_check_pointer(what, "the result", out)) {
        return false;
    }
    ct_shape shape = {.ndim = a.ndim > b.ndim ? a.ndim : b.ndim};
    for (int i = 1; i <= shape.ndim; i++) {
        int64_t in_a = i <= a.ndim ? a.dim[a.ndim - i] : 1;
        int64_t in_b = i <= b.ndim ? b.dim[b.ndim - i] : 1;
        if (in_a != in_b && in_a != 1 && in_b != 1) {
            return ct_fail_bool("%s: shapes %s and %s do not broadcast", what, ct_shape_text(a),
                                ct_shape_text(b));
        }
        shape.dim[shape.ndim - i] = in_a == 1 ? in_b : in_a;
    }
    if (!ct_check_sizes(what, shape, CT_U8)) return false;
    *out = shape;
    return true;
}

/* ---- text ------------------------------------------------------------------------------- */

/* Enough for 8 dimensions of 20 digits. */
enum { TEXT_BUFFERS = 8, TEXT_LENGTH = 192 };

static char *text_buffer(void) {
    static _Thread_local char buffers[TEXT_BUFFERS][TEXT_LENGTH];
    static _Thread_local int next;
    return buffers[next++ % TEXT_BUFFERS];
}

static void write_shape(char *text, size_t size, ct_shape shape) {
    if (!ndim_fits(shape.ndim)) {
        snprintf(text, size, "(%d dimensions)", shape.ndim);
        return;
    }
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < shape.ndim && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? "," : "",
                                 (long long)shape.dim[i]);
    }
    if (used < size) snprintf(text + used, size - used, ")");
}

const char *ct_shape_text(ct_shape shape) {
    char *text = text_buffer();
    write_shape(text, TEXT_LENGTH, shape);
    return text;
}

const char *ct_tensor_text(const ct_tensor *x) {
    if (!x) return "NULL";
    char *text = text_buffer();
    int used = snprintf(text, TEXT_LENGTH, "%s ", ct_dtype_name(x->dtype));
    write_shape(text + used, (size_t)(TEXT_LENGTH - used), x->shape);
    return text;
}
