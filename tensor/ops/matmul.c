/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products: sizes are checked, batches broadcast and operands rounded here; the backend
 * calls a BLAS. */
#include <string.h>

#include "tensor/ops/operand.h"
#include "tensor/ops/overlap.h"
#include "tensor/device/backend.h"

/* ---- arithmetic ------------------------------------------------------------------------- */

enum { PRECISIONS = CT_PRECISION_BF16 + 1 };
static const char *const precision_names[PRECISIONS] = {"fp32", "tf32", "bf16"};
/* Of the process: any thread may set one while others multiply, which then begin to use it. */
static _Atomic ct_precision precisions[CT_DEVICE_COUNT];

const char *ct_precision_name(ct_precision precision) {
    return (unsigned)precision < PRECISIONS ? precision_names[precision] : "unknown precision";
}

bool ct_precision_from_name(const char *name, ct_precision *precision) {
    if (!name || !precision) return false;
    for (int i = 0; i < PRECISIONS; i++) {
        if (strcmp(name, precision_names[i]) != 0) continue;
        *precision = (ct_precision)i;
        return true;
    }
    return false;
}

bool ct_set_precision(ct_device device, ct_precision precision) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend || !ct_check_choice("precision", "it", (int)precision, PRECISIONS)) return false;
    if (!backend->set_precision(precision)) return false;
    precisions[device] = precision;
    return true;
}

ct_precision ct_precision_of(ct_device device) {
    bool known = ct_check_choice("precision", "the device", (int)device, CT_DEVICE_COUNT);
    return known ? precisions[device] : CT_PRECISION_FP32;
}

ct_dtype ct_matmul_dtype(const ct_tensor *x) {
    if (!ct_check_input("matmul", x)) return CT_F32;
    bool rounds = x->dtype == CT_F32 && precisions[x->device] == CT_PRECISION_BF16;
    return rounds ? CT_BF16 : x->dtype;
}

/* See ct_matmul_operand. */
static ct_tensor *round_operand(const ct_tensor *x) {
    CT_SCOPE {
        int column = x->shape.ndim - 1, row = column - 1;
        bool turned = row >= 0 && x->stride[row] != 0 && x->stride[row] < x->stride[column];
        const ct_tensor *from = turned ? ct_tensor_transpose(x, row, column) : x;
        ct_shape shape = from ? from->shape : x->shape;
        for (int i = 0; i < row && from; i++) {
            if (x->stride[i] == 0) from = ct_tensor_slice(from, i, 0, 1, 1);
        }
        ct_tensor *rounded = from ? ct_tensor_cast(from, CT_BF16) : NULL;
        if (rounded) rounded = ct_tensor_expand(rounded, shape);
        if (rounded && turned) rounded = ct_tensor_transpose(rounded, row, column);
        return ct_escape(rounded);
    }
    return NULL;
}

const ct_tensor *ct_matmul_operand(const ct_tensor *x) {
    return x && ct_matmul_dtype(x) != x->dtype ? round_operand(x) : x;
}

/* ---- products --------------------------------------------------------------------------- */

/* Both f32, both f64, or both bf16 once they are rounded. */
static bool check_operands(const ct_tensor *a, const ct_tensor *b) {
    if (!ct_check_input("matmul", a) || !ct_check_input("matmul", b)) return false;
    bool rounded = ct_matmul_dtype(a) == CT_BF16 && ct_matmul_dtype(b) == CT_BF16;
    if (rounded && a->device == b->device) return true;
    return ct_check_float("matmul", a) && ct_check_same("matmul", a, b);
}

static ct_dtype result_dtype(const ct_tensor *a) { return a->dtype == CT_BF16 ? CT_F32 : a->dtype; }

/* The product's shape; false and an error if sizes do not fit. */
static bool product_shape(const ct_tensor *a, const ct_tensor *b, ct_shape *shape) {
    if (!check_operands(a, b)) return false;
    ct_shape in_a = a->shape, in_b = b->shape;
    if (in_a.ndim < 2 || in_b.ndim < 2) {
        return ct_fail_bool("matmul: expected at least 2 dimensions each: %s x %s",
                            ct_shape_text(in_a), ct_shape_text(in_b));
    }
    if (in_a.dim[in_a.ndim - 1] != in_b.dim[in_b.ndim - 2]) {
        return ct_fail_bool("matmul: inner sizes differ: %s x %s", ct_shape_text(in_a),
                            ct_shape_text(in_b));
    }
    int64_t m = in_a.dim[in_a.ndim - 2], n = in_b.dim[in_b.ndim - 1];
    in_a.ndim -= 2;
    in_b.ndim -= 2;
    for (int i = 1; i <= in_a.ndim && i <= in_b.ndim; i++) {
        int64_t size_a = in_a.dim[in_a.ndim - i], size_b = in_b.dim[in_b.ndim - i];
        if (size_a != size_b && size_a != 1 && size_b != 1) {
            return ct_fail_bool("matmul: batch sizes do not broadcast: %s x %s",
                                ct_shape_text(a->shape), ct_shape_text(b->shape));
        }
    }
    if (!ct_broadcast_shape("matmul", in_a, in_b, shape)) return false;
    shape->dim[shape->ndim++] = m;
    shape->dim[shape->ndim++] = n;
    return true;
}

/* x with its batch dimensions expanded to those of `shape`. */
static const ct_tensor *expand_batch(const ct_tensor *x, ct_shape shape) {
    int last = x->shape.ndim - 1;
    shape.dim[shape.ndim - 2] = x->shape.dim[last - 1];
    shape.dim[shape.ndim - 1] = x->shape.dim[last];
    return ct_shape_equal(x->shape, shape) ? x : ct_tensor_expand(x, shape);
}

static bool multiply_to(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b,
                        double beta) {
    bool done = false;
    CT_SCOPE {
        a = ct_matmul_operand(a);
        b = ct_matmul_operand(b);
        if (!a || !b) break;
        a = ct_read_apart(a, c);
        b = ct_read_apart(b, c);
        const ct_tensor *wide_a = a ? expand_batch(a, c->shape) : NULL;
        const ct_tensor *wide_b = b ? expand_batch(b, c->shape) : NULL;
        done = wide_a && wide_b && ct_backend_of(c->device)->matmul(c, alpha, wide_a, wide_b, beta);
    }
    return done;
}

ct_tensor *ct_tensor_matmul(const ct_tensor *a, const ct_tensor *b) {
    ct_shape shape;
    if (!product_shape(a, b, &shape)) return NULL;
    ct_tensor *c = ct_empty(result_dtype(a), a->device, shape);
    return c && multiply_to(c, 1, a, b, 0) ? c : NULL;
}

/* Rows without gaps inside, and no element shared. */
static bool check_rows(const ct_tensor *c) {
    int last = c->shape.ndim - 1;
    if (!ct_check_writable("matmul_to", c)) return false;
    bool fits = c->shape.dim[last] == 1 || c->stride[last] == 1;
    fits = fits && (c->shape.dim[last - 1] == 1 || c->stride[last - 1] >= c->shape.dim[last]);
    return fits || ct_count(c) == 0 ||
           ct_fail_bool("matmul_to: the rows of the result %s are not contiguous",
                        ct_tensor_text(c));
}

bool ct_tensor_matmul_to(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b,
                         double beta) {
    ct_shape shape;
    if (!ct_check_input("matmul_to", c) || !product_shape(a, b, &shape)) return false;
    if (c->dtype != result_dtype(a) || c->device != a->device) {
        return ct_fail_bool("matmul_to: the result is %s on %s, expected %s on %s",
                            ct_dtype_name(c->dtype), ct_device_name(c->device),
                            ct_dtype_name(result_dtype(a)), ct_device_name(a->device));
    }
    if (!ct_shape_equal(c->shape, shape)) {
        return ct_fail_bool("matmul_to: the result is %s, expected %s for %s x %s",
                            ct_shape_text(c->shape), ct_shape_text(shape), ct_shape_text(a->shape),
                            ct_shape_text(b->shape));
    }
    if (!check_rows(c)) return false;
    ct_mark_written(c);
    return multiply_to(c, alpha, a, b, beta);
}
