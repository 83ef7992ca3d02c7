/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise operations: shapes are broadcast and checked here, the backend computes. */
#include "tensor/ops/operand.h"
#include "tensor/ops/overlap.h"

/* ---- names ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int params;
} unary_table[] = {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) {#name, nparams},
#include "tensor/ops/pointwise.def"
};

static const char *const binary_names[] = {
#define CT_BINARY(name, value, da, db, lo, hi) #name,
#include "tensor/ops/pointwise.def"
};

static const char *const compare_names[] = {
#define CT_COMPARE(name, value) #name,
#include "tensor/ops/pointwise.def"
};

const char *ct_unary_name(ct_unary_kind kind) {
    return (unsigned)kind < CT_UNARY_COUNT ? unary_table[kind].name : "unknown unary operation";
}

const char *ct_binary_name(ct_binary_kind kind) {
    return (unsigned)kind < CT_BINARY_COUNT ? binary_names[kind] : "unknown binary operation";
}

const char *ct_compare_name(ct_compare_kind kind) {
    return (unsigned)kind < CT_COMPARE_COUNT ? compare_names[kind] : "unknown comparison";
}

int ct_unary_params(ct_unary_kind kind) {
    return (unsigned)kind < CT_UNARY_COUNT ? unary_table[kind].params : 0;
}

/* ---- one input -------------------------------------------------------------------------- */

static bool check_unary(ct_unary_kind kind) {
    return ct_check_choice("unary", "the kind", (int)kind, CT_UNARY_COUNT);
}

static bool check_binary(ct_binary_kind kind) {
    return ct_check_choice("binary", "the kind", (int)kind, CT_BINARY_COUNT);
}

ct_tensor *ct_tensor_unary(ct_unary_kind kind, const ct_tensor *x, double p, double q) {
    if (!check_unary(kind) || !ct_check_float(ct_unary_name(kind), x)) return NULL;
    ct_tensor *y = ct_empty(x->dtype, x->device, x->shape);
    return y && ct_backend_of(x->device)->unary(kind, y, x, p, q) ? y : NULL;
}

static bool check_same_shape(const char *op, const ct_tensor *first, const ct_tensor *other) {
    if (!ct_check_same(op, first, other)) return false;
    if (ct_shape_equal(first->shape, other->shape)) return true;
    return ct_fail_bool("%s: shapes differ: %s and %s", op, ct_shape_text(first->shape),
                        ct_shape_text(other->shape));
}

ct_tensor *ct_tensor_unary_grad(ct_unary_kind kind, const ct_tensor *g, const ct_tensor *x,
                                const ct_tensor *y, double p, double q) {
    const char *op = ct_unary_name(kind);
    if (!check_unary(kind) || !ct_check_float(op, g) || !check_same_shape(op, g, x) ||
        !check_same_shape(op, g, y)) {
        return NULL;
    }
    ct_tensor *gx = ct_empty(g->dtype, g->device, g->shape);
    return gx && ct_backend_of(g->device)->unary_grad(kind, gx, g, x, y, p, q) ? gx : NULL;
}

/* ---- two inputs ------------------------------------------------------------------------- */

ct_tensor *ct_tensor_binary(ct_binary_kind kind, const ct_tensor *a, const ct_tensor *b) {
    const char *op = ct_binary_name(kind);
    ct_shape shape;
    if (!check_binary(kind) || !ct_check_float(op, a) || !ct_check_same(op, a, b)) return NULL;
    if (!ct_broadcast_shape(op, a->shape, b->shape, &shape)) return NULL;
    ct_tensor *y = ct_empty(a->dtype, a->device, shape);
    const ct_tensor *wide_a = ct_expanded(a, shape), *wide_b = ct_expanded(b, shape);
    if (!y || !wide_a || !wide_b) return NULL;
    return ct_backend_of(a->device)->binary(kind, y, wide_a, wide_b) ? y : NULL;
}

ct_tensor *ct_tensor_binary_grad(ct_binary_kind kind, int which, const ct_tensor *g,
                                 const ct_tensor *a, const ct_tensor *b) {
    const char *op = ct_binary_name(kind);
    if (!check_binary(kind) || !ct_check_float(op, g) || !ct_check_same(op, g, a) ||
        !ct_check_same(op, g, b)) {
        return NULL;
    }
    if (which != 0 && which != 1) return ct_fail("%s: input %d, expected 0 or 1", op, which);
    ct_tensor *gx = ct_empty(g->dtype, g->device, g->shape);
    const ct_tensor *wide_a = ct_expanded(a, g->shape), *wide_b = ct_expanded(b, g->shape);
    if (!gx || !wide_a || !wide_b) return NULL;
    return ct_backend_of(g->device)->binary_grad(kind, which, gx, g, wide_a, wide_b) ? gx : NULL;
}

/* bf16 and f16 as f32, which holds every value of theirs; others as they are */
static const ct_tensor *computable(const ct_tensor *x) {
    return x->dtype == CT_BF16 || x->dtype == CT_F16 ? ct_tensor_cast(x, CT_F32) : x;
}

ct_tensor *ct_tensor_compare(ct_compare_kind kind, const ct_tensor *a, const ct_tensor *b) {
    const char *op = ct_compare_name(kind);
    ct_shape shape;
    if (!ct_check_choice("compare", "the kind", (int)kind, CT_COMPARE_COUNT) ||
        !ct_check_same(op, a, b) || !ct_broadcast_shape(op, a->shape, b->shape, &shape)) {
        return NULL;
    }
    a = computable(a);
    b = computable(b);
    ct_tensor *y = a && b ? ct_empty(CT_U8, a->device, shape) : NULL;
    const ct_tensor *wide_a = y ? ct_expanded(a, shape) : NULL;
    const ct_tensor *wide_b = y ? ct_expanded(b, shape) : NULL;
    if (!wide_a || !wide_b) return NULL;
    return ct_backend_of(a->device)->compare(kind, y, wide_a, wide_b) ? y : NULL;
}

ct_tensor *ct_tensor_where(const ct_tensor *condition, const ct_tensor *a, const ct_tensor *b) {
    ct_shape shape;
    if (!ct_check_input("where", condition) || !ct_check_same("where", a, b)) return NULL;
    if (condition->dtype != CT_U8) {
        return ct_fail("where: the condition is %s, expected u8", ct_tensor_text(condition));
    }
    if (condition->device != a->device) {
        return ct_fail("where: the condition is on %s, the values on %s",
                       ct_device_name(condition->device), ct_device_name(a->device));
    }
    if (!ct_broadcast_shape("where", a->shape, b->shape, &shape) ||
        !ct_broadcast_shape("where", condition->shape, shape, &shape)) {
        return NULL;
    }
    ct_tensor *y = ct_empty(a->dtype, a->device, shape);
    const ct_tensor *wide_condition = ct_expanded(condition, shape);
    const ct_tensor *wide_a = ct_expanded(a, shape), *wide_b = ct_expanded(b, shape);
    if (!y || !wide_condition || !wide_a || !wide_b) return NULL;
    return ct_backend_of(a->device)->where(y, wide_condition, wide_a, wide_b) ? y : NULL;
}

/* ---- shorthands ------------------------------------------------------------------------- */

ct_tensor *ct_tensor_add(const ct_tensor *a, const ct_tensor *b) {
    return ct_tensor_binary(CT_BINARY_add, a, b);
}

ct_tensor *ct_tensor_sub(const ct_tensor *a, const ct_tensor *b) {
    return ct_tensor_binary(CT_BINARY_sub, a, b);
}

ct_tensor *ct_tensor_mul(const ct_tensor *a, const ct_tensor *b) {
    return ct_tensor_binary(CT_BINARY_mul, a, b);
}

ct_tensor *ct_tensor_div(const ct_tensor *a, const ct_tensor *b) {
    return ct_tensor_binary(CT_BINARY_div, a, b);
}

ct_tensor *ct_tensor_scale(const ct_tensor *x, double factor) {
    return ct_tensor_unary(CT_UNARY_mul_scalar, x, factor, 0);
}

/* ---- in place --------------------------------------------------------------------------- */

bool ct_tensor_add_to(ct_tensor *y, double alpha, const ct_tensor *x) {
    if (!ct_check_writable("add_to", y) || !ct_check_float("add_to", y) ||
        !ct_check_same("add_to", y, x) || !ct_check_fits("add_to", y, x)) {
        return false;
    }
    bool done = false;
    ct_mark_written(y);
    CT_SCOPE {
        const ct_tensor *from = ct_read_pointwise(x, y);
        const ct_tensor *wide = from ? ct_expanded(from, y->shape) : NULL;
        done = wide && ct_backend_of(y->device)->add_to(y, alpha, wide);
    }
    return done;
}

bool ct_tensor_scale_in_place(ct_tensor *y, double factor) {
    if (!ct_check_writable("scale", y) || !ct_check_float("scale", y)) return false;
    ct_mark_written(y);
    return ct_backend_of(y->device)->unary(CT_UNARY_mul_scalar, y, y, factor, 0);
}
