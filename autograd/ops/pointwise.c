/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise operations: one record for every line of tensor/ops/pointwise.def. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

typedef struct {
    ct_unary_kind kind;
    double p, q;
} unary_options;

static bool unary_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx);
static bool binary_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx);
static void unary_samples(ct_sampler *sampler, ct_unary_kind kind, double lo, double hi);
static void binary_samples(ct_sampler *sampler, ct_binary_kind kind, double lo, double hi);

/* The table's parameters that are not used here hold expressions of R(..), never expanded. */
#define CT_UNARY(name, nparams, value, derivative, lo, hi) \
    static void samples_of_##name(ct_sampler *sampler) {   \
        unary_samples(sampler, CT_UNARY_##name, lo, hi);   \
    }
#define CT_BINARY(name, value, da, db, lo, hi)             \
    static void samples_of_##name(ct_sampler *sampler) {   \
        binary_samples(sampler, CT_BINARY_##name, lo, hi); \
    }
#include "tensor/ops/pointwise.def"

static const ct_op unary_ops[CT_UNARY_COUNT] = {
#define CT_UNARY(text, nparams, value, derivative, lo, hi) \
    {.name = #text, .backward = unary_backward, .samples = samples_of_##text},
#include "tensor/ops/pointwise.def"
};

static const ct_op binary_ops[CT_BINARY_COUNT] = {
#define CT_BINARY(text, value, da, db, lo, hi) \
    {.name = #text, .backward = binary_backward, .samples = samples_of_##text},
#include "tensor/ops/pointwise.def"
};

const ct_op *ct_pointwise_op(int i) {
    if (i < CT_UNARY_COUNT) return &unary_ops[i];
    i -= CT_UNARY_COUNT;
    return i < CT_BINARY_COUNT ? &binary_ops[i] : NULL;
}

/* ---- what a derivative needs ------------------------------------------------------------ */
/* Read off the formulas, so that only what a derivative mentions is saved. */

typedef struct {
    bool first, second; /* X and Y of a unary operation, A and B of a binary one */
    bool one;           /* the derivative is 1: the gradient passes as it is */
} mentions;

static const char *const unary_derivative[CT_UNARY_COUNT] = {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) #derivative,
#include "tensor/ops/pointwise.def"
};

static const char *const binary_derivative[CT_BINARY_COUNT][2] = {
#define CT_BINARY(name, value, da, db, lo, hi) {#da, #db},
#include "tensor/ops/pointwise.def"
};

static mentions unary_mentions[CT_UNARY_COUNT];
static mentions binary_mentions[CT_BINARY_COUNT][2];

static bool is_letter(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* True if the one-letter variable stands in the formula. */
static bool has_variable(const char *formula, char variable) {
    for (const char *at = strchr(formula, variable); at; at = strchr(at + 1, variable)) {
        if ((at == formula || !is_letter(at[-1])) && !is_letter(at[1])) return true;
    }
    return false;
}

static void read_formulas(void) {
    for (int i = 0; i < CT_UNARY_COUNT; i++) {
        const char *formula = unary_derivative[i];
        unary_mentions[i] = (mentions){has_variable(formula, 'X'), has_variable(formula, 'Y'),
                                       strcmp(formula, "R(1)") == 0};
    }
    for (int i = 0; i < 2 * CT_BINARY_COUNT; i++) {
        const char *formula = binary_derivative[i / 2][i % 2];
        bool y = has_variable(formula, 'Y'); /* computed again from both */
        binary_mentions[i / 2][i % 2] =
            (mentions){y || has_variable(formula, 'A'), y || has_variable(formula, 'B'),
                       strcmp(formula, "R(1)") == 0};
    }
}

static void know_formulas(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_formulas);
}

/* ---- one input -------------------------------------------------------------------------- */

ct_tensor *ct_unary(ct_unary_kind kind, ct_tensor *x, double p, double q) {
    if ((unsigned)kind >= CT_UNARY_COUNT) return ct_fail("unary: unknown kind %d", (int)kind);
    ct_tensor *y = ct_tensor_unary(kind, x, p, q);
    ct_node *node = ct_record(&unary_ops[kind], 1, &x, 1, &y);
    if (!node) return y;
    know_formulas();
    ct_save(node, unary_mentions[kind].first ? x : NULL);
    ct_save(node, unary_mentions[kind].second ? y : NULL);
    unary_options options = {kind, p, q};
    ct_save_options(node, &options, sizeof options);
    return y;
}

static bool unary_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const unary_options *o = ct_node_options(node);
    ct_tensor *x = ct_saved(node, 0), *y = ct_saved(node, 1);
    if (unary_mentions[o->kind].one) {
        gx[0] = g[0];
        return true;
    }
    /* what the formula does not mention may be any tensor of that shape */
    gx[0] = ct_tensor_unary_grad(o->kind, g[0], x ? x : g[0], y ? y : g[0], o->p, o->q);
    return gx[0] != NULL;
}

static int call_unary(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const unary_options *o = options;
    return ct_sample_result(y, ct_unary(o->kind, x[0], o->p, o->q));
}

/* Whole exponents have a derivative at 0 and below it, too. */
static void whole_power_samples(ct_sampler *sampler) {
    for (int exponent = 0; exponent <= 3; exponent++) {
        unary_options o = {CT_UNARY_pow_scalar, exponent, 0};
        ct_sample_1(sampler, "whole exponent", call_unary, &o, ct_sample_real(CT_SHAPE(3, 4)));
        ct_sample_1(sampler, "whole exponent at 0", call_unary, &o,
                    ct_sample_between(CT_SHAPE(2), 0, 0));
    }
}

static void unary_samples(ct_sampler *sampler, ct_unary_kind kind, double lo, double hi) {
    unary_options o = {kind, 0.7, 0};
    if (ct_unary_params(kind) == 2) o = (unary_options){kind, 0.6 * lo + 0.4 * hi, 0.9 * hi};
    ct_sample_1(sampler, "matrix", call_unary, &o, ct_sample_between(CT_SHAPE(3, 4), lo, hi));
    ct_sample_1(sampler, "cube", call_unary, &o, ct_sample_between(CT_SHAPE(2, 3, 2), lo, hi));
    ct_sample_1(sampler, "long row", call_unary, &o, ct_sample_between(CT_SHAPE(37), lo, hi));
    ct_sample_1(sampler, "scalar", call_unary, &o, ct_sample_between(CT_SCALAR_SHAPE, lo, hi));
    ct_sample_1(sampler, "one element", call_unary, &o, ct_sample_between(CT_SHAPE(1, 1), lo, hi));
    ct_sample_1(sampler, "empty", call_unary, &o, ct_sample_between(CT_SHAPE(0, 3), lo, hi));
    if (kind == CT_UNARY_pow_scalar) whole_power_samples(sampler);
}

/* ---- two inputs ------------------------------------------------------------------------- */

ct_tensor *ct_binary(ct_binary_kind kind, ct_tensor *a, ct_tensor *b) {
    if ((unsigned)kind >= CT_BINARY_COUNT) return ct_fail("binary: unknown kind %d", (int)kind);
    ct_tensor *y = ct_tensor_binary(kind, a, b);
    ct_node *node = ct_record(&binary_ops[kind], 2, (ct_tensor *[]){a, b}, 1, &y);
    if (!node) return y;
    know_formulas();
    const mentions *of = binary_mentions[kind];
    bool to_a = ct_needs_grad(node, 0), to_b = ct_needs_grad(node, 1);
    ct_save(node, (to_a && of[0].first) || (to_b && of[1].first) ? a : NULL);
    ct_save(node, (to_a && of[0].second) || (to_b && of[1].second) ? b : NULL);
    ct_save_options(node, &kind, sizeof kind);
    return y;
}

static bool binary_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_binary_kind kind = *(const ct_binary_kind *)ct_node_options(node);
    ct_tensor *a = ct_saved(node, 0), *b = ct_saved(node, 1);
    for (int i = 0; i < 2; i++) {
        if (!ct_needs_grad(node, i)) continue;
        ct_tensor *wide = binary_mentions[kind][i].one
                              ? g[0]
                              : ct_tensor_binary_grad(kind, i, g[0], a ? a : g[0], b ? b : g[0]);
        gx[i] = ct_unbroadcast(wide, ct_input_shape(node, i));
        if (!gx[i]) return false;
    }
    return true;
}

static int call_binary(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_binary(*(const ct_binary_kind *)options, x[0], x[1]));
}

/* The same tensor on both sides. */
static int call_binary_with_itself(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_binary(*(const ct_binary_kind *)options, x[0], x[0]));
}

/* 0^b is 0 for every positive b. */
static void zero_base_sample(ct_sampler *sampler) {
    const ct_binary_kind kind = CT_BINARY_pow;
    ct_sample_2(sampler, "zero base", call_binary, &kind,
                (ct_sample_input){CT_SAMPLE_CONST, CT_SHAPE(4), 0, 0},
                ct_sample_between(CT_SHAPE(4), 0.5, 3));
}

static void binary_samples(ct_sampler *sampler, ct_binary_kind kind, double lo, double hi) {
    const struct {
        const char *name;
        ct_shape a, b;
    } cases[] = {
        {"matrix", CT_SHAPE(3, 4), CT_SHAPE(3, 4)},
        {"broadcast row", CT_SHAPE(3, 4), CT_SHAPE(4)},
        {"broadcast column", CT_SHAPE(3, 1), CT_SHAPE(3, 4)},
        {"broadcast both", CT_SHAPE(2, 1, 3), CT_SHAPE(4, 1)},
        {"broadcast scalar", CT_SCALAR_SHAPE, CT_SHAPE(2, 3)},
        {"long row", CT_SHAPE(37), CT_SHAPE(37)},
        {"scalars", CT_SCALAR_SHAPE, CT_SCALAR_SHAPE},
        {"one element", CT_SHAPE(1, 1), CT_SHAPE(1)},
        {"empty", CT_SHAPE(0, 3), CT_SHAPE(0, 3)},
        {"broadcast to empty", CT_SHAPE(3), CT_SHAPE(0, 3)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct_sample_2(sampler, cases[i].name, call_binary, &kind,
                    ct_sample_between(cases[i].a, lo, hi), ct_sample_between(cases[i].b, lo, hi));
    }
    /* at a tie of maximum and minimum both sides move together, and half and half is right */
    ct_sample_1(sampler, "with itself", call_binary_with_itself, &kind,
                ct_sample_between(CT_SHAPE(2, 3), lo, hi));
    if (kind == CT_BINARY_pow) zero_base_sample(sampler);
}

/* ---- by name ---------------------------------------------------------------------------- */

ct_tensor *ct_neg(ct_tensor *x) { return ct_unary(CT_UNARY_neg, x, 0, 0); }
ct_tensor *ct_abs(ct_tensor *x) { return ct_unary(CT_UNARY_abs, x, 0, 0); }
ct_tensor *ct_exp(ct_tensor *x) { return ct_unary(CT_UNARY_exp, x, 0, 0); }
ct_tensor *ct_log(ct_tensor *x) { return ct_unary(CT_UNARY_log, x, 0, 0); }
ct_tensor *ct_log1p(ct_tensor *x) { return ct_unary(CT_UNARY_log1p, x, 0, 0); }
ct_tensor *ct_sqrt(ct_tensor *x) { return ct_unary(CT_UNARY_sqrt, x, 0, 0); }
ct_tensor *ct_square(ct_tensor *x) { return ct_unary(CT_UNARY_square, x, 0, 0); }
ct_tensor *ct_reciprocal(ct_tensor *x) { return ct_unary(CT_UNARY_reciprocal, x, 0, 0); }
ct_tensor *ct_sin(ct_tensor *x) { return ct_unary(CT_UNARY_sin, x, 0, 0); }
ct_tensor *ct_cos(ct_tensor *x) { return ct_unary(CT_UNARY_cos, x, 0, 0); }
ct_tensor *ct_tanh(ct_tensor *x) { return ct_unary(CT_UNARY_tanh, x, 0, 0); }
ct_tensor *ct_sigmoid(ct_tensor *x) { return ct_unary(CT_UNARY_sigmoid, x, 0, 0); }
ct_tensor *ct_softplus(ct_tensor *x) { return ct_unary(CT_UNARY_softplus, x, 0, 0); }
ct_tensor *ct_relu(ct_tensor *x) { return ct_unary(CT_UNARY_relu, x, 0, 0); }
ct_tensor *ct_relu6(ct_tensor *x) { return ct_unary(CT_UNARY_relu6, x, 0, 0); }
ct_tensor *ct_hardsigmoid(ct_tensor *x) { return ct_unary(CT_UNARY_hardsigmoid, x, 0, 0); }
ct_tensor *ct_hardswish(ct_tensor *x) { return ct_unary(CT_UNARY_hardswish, x, 0, 0); }
ct_tensor *ct_leaky_relu(ct_tensor *x, double slope) {
    return ct_unary(CT_UNARY_leaky_relu, x, slope, 0);
}
ct_tensor *ct_elu(ct_tensor *x, double alpha) { return ct_unary(CT_UNARY_elu, x, alpha, 0); }
ct_tensor *ct_silu(ct_tensor *x) { return ct_unary(CT_UNARY_silu, x, 0, 0); }
ct_tensor *ct_gelu(ct_tensor *x) { return ct_unary(CT_UNARY_gelu, x, 0, 0); }
ct_tensor *ct_add_scalar(ct_tensor *x, double value) {
    return ct_unary(CT_UNARY_add_scalar, x, value, 0);
}
ct_tensor *ct_scale(ct_tensor *x, double factor) {
    return ct_unary(CT_UNARY_mul_scalar, x, factor, 0);
}
ct_tensor *ct_pow_scalar(ct_tensor *x, double exponent) {
    return ct_unary(CT_UNARY_pow_scalar, x, exponent, 0);
}
ct_tensor *ct_clamp(ct_tensor *x, double low, double high) {
    return ct_unary(CT_UNARY_clamp, x, low, high);
}
ct_tensor *ct_add(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_add, a, b); }
ct_tensor *ct_sub(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_sub, a, b); }
ct_tensor *ct_mul(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_mul, a, b); }
ct_tensor *ct_div(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_div, a, b); }
ct_tensor *ct_pow(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_pow, a, b); }
ct_tensor *ct_maximum(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_maximum, a, b); }
ct_tensor *ct_minimum(ct_tensor *a, ct_tensor *b) { return ct_binary(CT_BINARY_minimum, a, b); }
