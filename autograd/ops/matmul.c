/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products. Each operand is made what products take (ct_matmul_operand) once: so it is
 * multiplied, and so it is saved for both products of backward. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

/* Swaps the last two dimensions; a view. */
static ct_tensor *transposed(const ct_tensor *x) { return ct_tensor_transpose(x, -1, -2); }

/* x with its last dimension replaced. */
static ct_shape with_last(ct_shape shape, int64_t size) {
    shape.dim[shape.ndim - 1] = size;
    return shape;
}

/* a b; where b is one matrix for a whole batch of contiguous rows, as one product of all rows. */
static ct_tensor *product(const ct_tensor *a, const ct_tensor *b) {
    if (!a || !b || b->shape.ndim != 2 || a->shape.ndim < 3 || !ct_is_contiguous(a)) {
        return ct_tensor_matmul(a, b);
    }
    if (a->shape.dim[a->shape.ndim - 1] != b->shape.dim[0]) return ct_tensor_matmul(a, b);
    ct_tensor *rows = ct_tensor_matmul(ct_as_rows(a), b);
    return rows ? ct_tensor_reshape(rows, with_last(a->shape, b->shape.dim[1])) : NULL;
}

/* ---- matmul ----------------------------------------------------------------------------- */

/* a^T g, summed over the batches that b has not: for one matrix b, one product of all rows. */
static ct_tensor *second_factor_grad(const ct_tensor *a, const ct_tensor *g, ct_shape shape) {
    bool all_rows = shape.ndim == 2 && a->shape.ndim == g->shape.ndim;
    for (int i = 0; all_rows && i < g->shape.ndim - 1; i++) {
        all_rows = a->shape.dim[i] == g->shape.dim[i];
    }
    if (all_rows) return ct_tensor_matmul(transposed(ct_as_rows(a)), ct_as_rows(g));
    return ct_unbroadcast(ct_tensor_matmul(transposed(a), g), shape);
}

static bool matmul_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor *factor = ct_matmul_operand(g[0]);
    if (!factor) return false;
    if (ct_needs_grad(node, 0)) {
        gx[0] =
            ct_unbroadcast(product(factor, transposed(ct_saved(node, 1))), ct_input_shape(node, 0));
        if (!gx[0]) return false;
    }
    if (ct_needs_grad(node, 1)) {
        gx[1] = second_factor_grad(ct_saved(node, 0), factor, ct_input_shape(node, 1));
        if (!gx[1]) return false;
    }
    return true;
}

static int call_matmul(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_matmul(x[0], x[1]));
}

static void matmul_samples(ct_sampler *sampler) {
    const struct {
        const char *name;
        ct_shape a, b;
    } cases[] = {
        {"matrices", CT_SHAPE(3, 4), CT_SHAPE(4, 2)},
        {"batches", CT_SHAPE(2, 3, 2), CT_SHAPE(2, 2, 4)},
        {"batch by matrix", CT_SHAPE(2, 3, 2), CT_SHAPE(2, 4)},
        {"matrix by batch", CT_SHAPE(3, 2), CT_SHAPE(2, 2, 4)},
        {"broadcast batches", CT_SHAPE(2, 1, 3, 2), CT_SHAPE(3, 2, 2)},
        {"batch of one", CT_SHAPE(1, 3, 2), CT_SHAPE(4, 2, 2)},
        {"one element", CT_SHAPE(1, 1), CT_SHAPE(1, 1)},
        {"no rows", CT_SHAPE(0, 3), CT_SHAPE(3, 2)},
        {"empty inside", CT_SHAPE(2, 0), CT_SHAPE(0, 3)},
        {"no batches", CT_SHAPE(0, 2, 3), CT_SHAPE(3, 2)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct_sample_2(sampler, cases[i].name, call_matmul, NULL, ct_sample_real(cases[i].a),
                    ct_sample_real(cases[i].b));
    }
}

static const ct_op matmul_op = {"matmul", matmul_backward, matmul_samples};

ct_tensor *ct_matmul(ct_tensor *a, ct_tensor *b) {
    CT_SCOPE {
        const ct_tensor *first = ct_matmul_operand(a), *second = ct_matmul_operand(b);
        ct_tensor *y = ct_escape(product(first, second));
        ct_node *node = ct_record(&matmul_op, 2, (ct_tensor *[]){a, b}, 1, &y);
        ct_save(node, ct_needs_grad(node, 1) ? first : NULL);
        ct_save(node, ct_needs_grad(node, 0) ? second : NULL);
        return y;
    }
    return NULL;
}

/* ---- linear ----------------------------------------------------------------------------- */
/* Of one layer, or of several that read the same x: their weights are one matrix below the other
 * while they are multiplied, so that x is read once. Inputs: x, all weights, all biases. Saved: x
 * as rows, then all weights. */

typedef struct {
    int layers;
    bool biased;
} linear_options;

/* The parameters of all layers as one. */
static ct_tensor *joined(ct_tensor *const *parts, int layers) {
    return layers == 1 ? parts[0] : ct_tensor_concat(parts, layers, 0);
}

static ct_tensor *saved_weight(const ct_node *node, int layers) {
    ct_tensor *weight[CT_MOST_JOINED];
    for (int i = 0; i < layers; i++) weight[i] = ct_saved(node, 1 + i);
    return joined(weight, layers);
}

static bool needs_any(const ct_node *node, int first, int count) {
    for (int i = first; i < first + count; i++) {
        if (ct_needs_grad(node, i)) return true;
    }
    return false;
}

/* Hands each of the layers from input `first` on its rows of g. */
static bool hand_rows(const ct_node *node, ct_tensor *g, int first, int layers, ct_tensor **gx) {
    if (!g) return false;
    int64_t row = 0;
    for (int i = first; i < first + layers; i++) {
        int64_t rows = ct_input_shape(node, i).dim[0];
        gx[i] = layers == 1 ? g : ct_tensor_slice(g, 0, row, row + rows, 1);
        if (!gx[i]) return false;
        row += rows;
    }
    return true;
}

static bool linear_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const linear_options *o = ct_node_options(node);
    ct_tensor *x = ct_saved(node, 0);
    const ct_tensor *rows = ct_as_rows(g[0]);
    const ct_tensor *factor = ct_matmul_operand(rows);
    if (!factor) return false;
    if (ct_needs_grad(node, 0)) {
        ct_tensor *to_rows = ct_tensor_matmul(factor, saved_weight(node, o->layers));
        gx[0] = to_rows ? ct_tensor_reshape(to_rows, ct_input_shape(node, 0)) : NULL;
        if (!gx[0]) return false;
    }
    if (needs_any(node, 1, o->layers) &&
        !hand_rows(node, ct_tensor_matmul(transposed(factor), x), 1, o->layers, gx)) {
        return false;
    }
    int bias = 1 + o->layers;
    return !needs_any(node, bias, o->layers) ||
           hand_rows(node, ct_tensor_reduce(CT_SUM, rows, 1u, false), bias, o->layers, gx);
}

/* Inputs: x, all weights, all biases. */
static int call_linear(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const linear_options *o = options;
    ct_tensor *const *bias = o->biased ? x + 1 + o->layers : NULL;
    return ct_sample_result(y, o->layers == 1 ? ct_linear_with(x[0], x[1], bias ? bias[0] : NULL)
                                              : ct_linear_joined(x[0], x + 1, bias, o->layers));
}

static void linear_samples(ct_sampler *sampler) {
    const linear_options biased = {1, true}, plain = {1, false}, two = {2, true},
                         two_plain = {2, false};
    ct_sample_input weight = ct_sample_real(CT_SHAPE(3, 4)), bias = ct_sample_real(CT_SHAPE(3));
    ct_sample_3(sampler, "rows", call_linear, &biased, ct_sample_real(CT_SHAPE(5, 4)), weight,
                bias);
    ct_sample_3(sampler, "batch of rows", call_linear, &biased, ct_sample_real(CT_SHAPE(2, 3, 4)),
                weight, bias);
    ct_sample_3(sampler, "one vector", call_linear, &biased, ct_sample_real(CT_SHAPE(4)), weight,
                bias);
    ct_sample_2(sampler, "without bias", call_linear, &plain, ct_sample_real(CT_SHAPE(2, 4)),
                weight);
    ct_sample_3(sampler, "one element", call_linear, &biased, ct_sample_real(CT_SHAPE(1, 1)),
                ct_sample_real(CT_SHAPE(1, 1)), ct_sample_real(CT_SHAPE(1)));
    ct_sample_3(sampler, "no rows", call_linear, &biased, ct_sample_real(CT_SHAPE(0, 4)), weight,
                bias);
    ct_sample_3(sampler, "no columns", call_linear, &biased, ct_sample_real(CT_SHAPE(2, 0)),
                ct_sample_real(CT_SHAPE(3, 0)), bias);
    ct_sample_3(sampler, "two layers without bias", call_linear, &two_plain,
                ct_sample_real(CT_SHAPE(2, 3, 4)), weight, ct_sample_real(CT_SHAPE(2, 4)));
    ct_add_sample(sampler, &(ct_sample){.name = "two layers",
                                        .function = call_linear,
                                        .options = &two,
                                        .inputs = 5,
                                        .input = {ct_sample_real(CT_SHAPE(5, 4)), weight,
                                                  ct_sample_real(CT_SHAPE(1, 4)), bias,
                                                  ct_sample_real(CT_SHAPE(1))}});
}

static const ct_op linear_op = {"linear", linear_backward, linear_samples};

static bool linear_fits(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias) {
    if (!ct_given("linear", x) || !ct_given("linear", weight)) return false;
    bool fits = x->shape.ndim >= 1 && weight->shape.ndim == 2 &&
                x->shape.dim[x->shape.ndim - 1] == weight->shape.dim[1] &&
                weight->dtype == x->dtype && weight->device == x->device;
    if (bias) {
        fits = fits && bias->shape.ndim == 1 && bias->shape.dim[0] == weight->shape.dim[0] &&
               bias->dtype == x->dtype && bias->device == x->device;
    }
    if (fits) return true;
    return ct_fail_bool("linear: x %s, weight %s, bias %s: expected (..,in), (out,in) and (out), "
                        "of one dtype",
                        ct_tensor_text(x), ct_tensor_text(weight), ct_tensor_text(bias));
}

/* The product of operands, x's rows and the weight, is added to rows that start as the bias. */
static ct_tensor *linear(const ct_tensor *x, const ct_tensor *rows, const ct_tensor *weight,
                         const ct_tensor *bias) {
    if (!rows || !weight) return NULL;
    int64_t out = weight->shape.dim[0];
    ct_tensor *y = ct_empty(x->dtype, x->device, CT_SHAPE(rows->shape.dim[0], out));
    if (!y || (bias && !ct_tensor_copy_to(y, bias))) return NULL;
    if (!ct_tensor_matmul_to(y, 1, rows, transposed(weight), bias ? 1 : 0)) return NULL;
    return x->shape.ndim == 2 ? y : ct_tensor_reshape(y, with_last(x->shape, out));
}

ct_tensor *ct_linear_joined(ct_tensor *x, ct_tensor *const *weights, ct_tensor *const *biases,
                            int count) {
    if (!ct_check_list("linear", "weights", weights, count)) return NULL;
    if (count < 1 || count > CT_MOST_JOINED) {
        return ct_fail("linear: %d layers, expected 1 to %d", count, CT_MOST_JOINED);
    }
    ct_tensor *input[1 + 2 * CT_MOST_JOINED] = {x}, *factor[CT_MOST_JOINED];
    for (int i = 0; i < count; i++) {
        input[1 + i] = weights[i];
        input[1 + count + i] = biases ? biases[i] : NULL;
        if (biases && !ct_given("linear", biases[i])) return NULL;
        if (!linear_fits(x, weights[i], input[1 + count + i])) return NULL;
    }
    CT_SCOPE {
        const ct_tensor *rows = ct_as_rows(ct_matmul_operand(x));
        for (int i = 0; i < count; i++) factor[i] = (ct_tensor *)ct_matmul_operand(weights[i]);
        ct_tensor *bias = biases ? joined(biases, count) : NULL;
        if (biases && !bias) return NULL;
        ct_tensor *y = ct_escape(linear(x, rows, joined(factor, count), bias));
        ct_node *node = ct_record(&linear_op, 1 + 2 * count, input, 1, &y);
        ct_save(node, needs_any(node, 1, count) ? rows : NULL);
        for (int i = 0; i < count; i++) ct_save(node, ct_needs_grad(node, 0) ? factor[i] : NULL);
        ct_save_options(node, &(linear_options){count, biases != NULL}, sizeof(linear_options));
        return y;
    }
    return NULL;
}

ct_tensor *ct_linear_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias) {
    return ct_linear_joined(x, &weight, bias ? &bias : NULL, 1);
}

const ct_op *ct_matmul_op(int i) {
    static const ct_op *const ops[] = {&matmul_op, &linear_op, NULL};
    return ops[i];
}
