/* SPDX-License-Identifier: Apache-2.0 */
/* 1-d convolution, channels last: each is one product on unfolded rows, taken in groups of
 * sequences so that the unfolded rows stay small. */
#include "tensor/core/shape.h"
#include "tensor/fused/check.h"

/* Bytes of unfolded rows at a time: enough rows for a product at full speed. */
enum { UNFOLD_BYTES = 32 << 20 };

typedef struct {
    const ct_tensor *x;
    ct_tensor_conv1d_options options;
    int64_t batch, steps, in, out, kernel, steps_out;
    int64_t group; /* sequences taken at once */
} conv;

static bool check_inputs(const char *op, conv *c, const ct_tensor *x, const ct_tensor *weight,
                         ct_tensor_conv1d_options options) {
    if (!ct_check_ndim(op, "x", x, 3) || !ct_check_ndim(op, "weight", weight, 3)) return false;
    if (options.before < 0 || options.after < 0 || options.stride < 1 || options.dilation < 1) {
        return ct_fail_bool("%s: before %lld, after %lld, stride %lld, dilation %lld: expected no "
                            "negative padding, stride and dilation at least 1",
                            op, (long long)options.before, (long long)options.after,
                            (long long)options.stride, (long long)options.dilation);
    }
    bool ok = true;
    *c = (conv){.x = ct_dense(x, &ok), .options = options};
    c->batch = x->shape.dim[0];
    c->steps = x->shape.dim[1];
    c->in = x->shape.dim[2];
    c->out = weight->shape.dim[0];
    c->kernel = weight->shape.dim[2];
    if (!ok || !ct_check_shape(op, "weight", x, weight, CT_SHAPE(c->out, c->in, c->kernel))) {
        return false;
    }
    int64_t padded = ct_size_sum(c->steps, ct_size_sum(options.before, options.after));
    if (!ct_check_sizes(op, CT_SHAPE(c->batch, padded, c->in), x->dtype)) return false;
    c->steps_out = ct_conv_positions(padded, c->kernel, options.stride, options.dilation);
    if (c->steps_out == 0) {
        return ct_fail_bool("%s: %s, padded by %lld and %lld, is shorter than the kernel of %s", op,
                            ct_tensor_text(x), (long long)options.before, (long long)options.after,
                            ct_tensor_text(weight));
    }
    int64_t width = c->kernel * c->in > 0 ? c->kernel * c->in : 1;
    c->group = UNFOLD_BYTES / (int64_t)ct_dtype_size(x->dtype) / width / c->steps_out;
    if (c->group > c->batch) c->group = c->batch;
    if (c->group < 1) c->group = 1;
    return true;
}

/* The weight as a matrix (out, kernel*in), in the order of unfolded rows; as products take it. */
static const ct_tensor *weight_matrix(const conv *c, const ct_tensor *weight) {
    ct_tensor *matrix = ct_tensor_contiguous(ct_tensor_transpose(weight, 1, 2));
    if (!matrix) return NULL;
    return ct_matmul_operand(ct_tensor_reshape(matrix, CT_SHAPE(c->out, c->kernel * c->in)));
}

/* Room for the unfolded rows of a group, as (group, T', K, Cin). */
static ct_tensor *rows_for_group(const conv *c) {
    return ct_empty_like(c->x, CT_SHAPE(c->group, c->steps_out, c->kernel, c->in));
}

/* The group of sequences that starts at `first`: of x, and of anything (B,T',..) as matrix. */
static ct_tensor *group_of(const conv *c, const ct_tensor *x, int64_t first) {
    return ct_tensor_slice(x, 0, first, first + c->group, 1);
}

static ct_tensor *as_matrix(const ct_tensor *x, int64_t columns) {
    return x ? ct_tensor_reshape(x, CT_SHAPE(x->shape.dim[0] * x->shape.dim[1], columns)) : NULL;
}

/* Unfolds one group into `rows`; returns it as a matrix (group*T', K*Cin). */
static ct_tensor *unfold_group(const conv *c, ct_tensor *rows, int64_t first) {
    ct_tensor *from = group_of(c, c->x, first);
    ct_tensor *to = from ? ct_tensor_slice(rows, 0, 0, from->shape.dim[0], 1) : NULL;
    if (!to || !ct_backend_of(to->device)->unfold(to, from, c->options)) return NULL;
    return as_matrix(to, c->kernel * c->in);
}

static ct_tensor *forward(const conv *c, const ct_tensor *weight, const ct_tensor *bias) {
    const ct_tensor *matrix = weight_matrix(c, weight);
    ct_tensor *rows = rows_for_group(c);
    ct_tensor *y = ct_empty_like(c->x, CT_SHAPE(c->batch, c->steps_out, c->out));
    if (!matrix || !rows || !y) return NULL;
    if (bias && !ct_tensor_copy_to(y, bias)) return NULL;
    if (ct_count(y) == 0) return y;
    ct_tensor *matrix_t = ct_tensor_transpose(matrix, 0, 1);
    for (int64_t first = 0; first < c->batch; first += c->group) {
        ct_tensor *unfolded = unfold_group(c, rows, first);
        ct_tensor *to = as_matrix(group_of(c, y, first), c->out);
        if (!ct_tensor_matmul_to(to, 1, unfolded, matrix_t, bias ? 1 : 0)) return NULL;
    }
    return y;
}

ct_tensor *ct_tensor_conv1d(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias,
                            ct_tensor_conv1d_options options) {
    CT_SCOPE {
        conv c;
        if (!check_inputs("conv1d", &c, x, weight, options) ||
            !ct_check_optional("conv1d", "bias", x, bias, CT_SHAPE(c.out))) {
            break;
        }
        return ct_escape(forward(&c, weight, bias));
    }
    return NULL;
}

/* ---- gradient --------------------------------------------------------------------------- */

/* gx: the rows' gradients folded back. g here and below as products take it. */
static ct_tensor *input_gradient(const conv *c, const ct_tensor *g, const ct_tensor *weight) {
    const ct_tensor *matrix = weight_matrix(c, weight);
    ct_tensor *rows = rows_for_group(c);
    ct_tensor *gx = ct_empty_like(c->x, c->x->shape);
    if (!matrix || !rows || !gx) return NULL;
    if (ct_count(gx) == 0) return gx;
    for (int64_t first = 0; first < c->batch; first += c->group) {
        ct_tensor *to = group_of(c, gx, first), *g_group = group_of(c, g, first);
        ct_tensor *from = to ? ct_tensor_slice(rows, 0, 0, to->shape.dim[0], 1) : NULL;
        if (!from || !g_group ||
            !ct_tensor_matmul_to(as_matrix(from, c->kernel * c->in), 1, as_matrix(g_group, c->out),
                                 matrix, 0) ||
            !ct_backend_of(gx->device)->fold(to, from, c->options)) {
            return NULL;
        }
    }
    return gx;
}

static ct_tensor *weight_gradient(const conv *c, const ct_tensor *g) {
    ct_tensor *rows = rows_for_group(c);
    ct_tensor *sum = ct_zeros(c->x->dtype, g->device, CT_SHAPE(c->out, c->kernel * c->in));
    if (!rows || !sum) return NULL;
    if (ct_count(c->x) > 0 && ct_count(g) > 0) {
        for (int64_t first = 0; first < c->batch; first += c->group) {
            ct_tensor *unfolded = unfold_group(c, rows, first);
            ct_tensor *g_group = as_matrix(group_of(c, g, first), c->out);
            if (!ct_tensor_matmul_to(sum, 1, ct_tensor_transpose(g_group, 0, 1), unfolded, 1)) {
                return NULL;
            }
        }
    }
    ct_tensor *cube = ct_tensor_reshape(sum, CT_SHAPE(c->out, c->kernel, c->in));
    return ct_tensor_contiguous(ct_tensor_transpose(cube, 1, 2));
}

void ct_tensor_conv1d_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *weight,
                           ct_tensor_conv1d_options options, ct_tensor **gx, ct_tensor **gweight,
                           ct_tensor **gbias) {
    static const char op[] = "conv1d gradient";
    ct_tensor *grad_x = NULL, *grad_weight = NULL, *grad_bias = NULL;
    if (!ct_check_pointer(op, "gweight", gweight)) return;
    CT_SCOPE {
        conv c;
        if (!check_inputs(op, &c, x, weight, options) ||
            !ct_check_shape(op, "g", x, g, CT_SHAPE(c.batch, c.steps_out, c.out))) {
            break;
        }
        bool ok = true;
        g = ct_dense(g, &ok);
        const ct_tensor *factor = ct_matmul_operand(g);
        if (!ok || !factor) break;
        ct_tensor *to_x = gx ? input_gradient(&c, factor, weight) : NULL;
        ct_tensor *to_weight = weight_gradient(&c, factor);
        ct_tensor *to_bias = gbias ? ct_tensor_reduce(CT_SUM, g, 3u, false) : NULL;
        if ((gx && !to_x) || !to_weight || (gbias && !to_bias)) break;
        grad_x = ct_escape(to_x);
        grad_weight = ct_escape(to_weight);
        grad_bias = ct_escape(to_bias);
    }
    *gweight = grad_weight;
    if (gx) *gx = grad_x;
    if (gbias) *gbias = grad_bias;
}
