/* SPDX-License-Identifier: Apache-2.0 */
/* 1-d convolution, channels last: one product for each tap of the kernel, of the steps that the tap
 * reads. Rows are laid step after step, so that the steps of all sequences that a tap reads are one
 * matrix, and so are those it is added to: nothing is unfolded, and no padding is multiplied. */
#include "tensor/core/shape.h"
#include "tensor/fused/check.h"

typedef struct {
    const ct_tensor *x, *weight;
    ct_tensor_conv1d_options options;
    int64_t batch, steps, in, out, kernel, steps_out;
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
    *c = (conv){.x = x, .weight = weight, .options = options};
    c->batch = x->shape.dim[0];
    c->steps = x->shape.dim[1];
    c->in = x->shape.dim[2];
    c->out = weight->shape.dim[0];
    c->kernel = weight->shape.dim[2];
    if (!ct_check_shape(op, "weight", x, weight, CT_SHAPE(c->out, c->in, c->kernel))) return false;
    int64_t padded = ct_size_sum(c->steps, ct_size_sum(options.before, options.after));
    if (!ct_check_sizes(op, CT_SHAPE(c->batch, padded, c->in), x->dtype)) return false;
    c->steps_out = ct_conv_positions(padded, c->kernel, options.stride, options.dilation);
    if (c->steps_out == 0) {
        return ct_fail_bool("%s: %s, padded by %lld and %lld, is shorter than the kernel of %s", op,
                            ct_tensor_text(x), (long long)options.before, (long long)options.after,
                            ct_tensor_text(weight));
    }
    return true;
}

/* ---- layouts ---------------------------------------------------------------------------- */

/* (B,T,C) as rows step after step, (T,B,C), and back: its own inverse. */
static ct_tensor *turned(const ct_tensor *x) {
    return ct_tensor_contiguous(ct_tensor_transpose(x, 0, 1));
}

/* The weight as one matrix (Cout,Cin) a tap, (K,Cout,Cin), and back. */
static ct_tensor *by_tap(const ct_tensor *weight) {
    return ct_tensor_contiguous(ct_tensor_permute(weight, (const int[]){2, 0, 1}));
}
static ct_tensor *by_channel(const ct_tensor *taps) {
    return ct_tensor_contiguous(ct_tensor_permute(taps, (const int[]){1, 2, 0}));
}
static ct_tensor *tap_of(const conv *c, const ct_tensor *taps, int64_t k) {
    return ct_tensor_reshape(ct_tensor_slice(taps, 0, k, k + 1, 1), CT_SHAPE(c->out, c->in));
}

/* Steps of the result, from `first` up to `end`, for which a tap reads a step of x and no padding:
 * step t reads t*stride + shift. */
typedef struct {
    int64_t first, end, shift;
} reach;

static reach reach_of(const conv *c, int64_t k) {
    int64_t stride = c->options.stride, shift = k * c->options.dilation - c->options.before;
    int64_t first = shift < 0 ? (stride - 1 - shift) / stride : 0;
    int64_t end = c->steps > shift ? (c->steps - shift + stride - 1) / stride : 0;
    if (end > c->steps_out) end = c->steps_out;
    return (reach){first, end > first ? end : first, shift};
}

/* Those steps of y (T',B,Cout), and the steps of x (T,B,Cin) that they read: views. */
static ct_tensor *rows_written(const ct_tensor *y, reach r) {
    return ct_tensor_slice(y, 0, r.first, r.end, 1);
}
static ct_tensor *rows_read(const conv *c, const ct_tensor *x, reach r) {
    int64_t stride = c->options.stride, first = r.first * stride + r.shift;
    return ct_tensor_slice(x, 0, first, first + (r.end - r.first - 1) * stride + 1, stride);
}

/* ---- forward ---------------------------------------------------------------------------- */

static ct_tensor *forward(const conv *c, const ct_tensor *bias) {
    const ct_tensor *taps = ct_matmul_operand(by_tap(c->weight)),
                    *x = ct_matmul_operand(turned(c->x));
    ct_tensor *y = ct_zeros(c->x->dtype, c->x->device, CT_SHAPE(c->steps_out, c->batch, c->out));
    if (!taps || !x || !y || (bias && !ct_tensor_copy_to(y, bias))) return NULL;
    for (int64_t k = 0; k < c->kernel; k++) {
        reach r = reach_of(c, k);
        if (r.first == r.end) continue;
        ct_tensor *tap = ct_tensor_transpose(tap_of(c, taps, k), 0, 1);
        if (!ct_tensor_matmul_to(rows_written(y, r), 1, rows_read(c, x, r), tap, 1)) return NULL;
    }
    return turned(y);
}

ct_tensor *ct_tensor_conv1d(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias,
                            ct_tensor_conv1d_options options) {
    CT_SCOPE {
        conv c;
        if (!check_inputs("conv1d", &c, x, weight, options) ||
            !ct_check_optional("conv1d", "bias", x, bias, CT_SHAPE(c.out))) {
            break;
        }
        return ct_escape(forward(&c, bias));
    }
    return NULL;
}

/* ---- gradient --------------------------------------------------------------------------- */

/* g here and below is (T',B,Cout), as products take it. */
static ct_tensor *input_gradient(const conv *c, const ct_tensor *g) {
    const ct_tensor *taps = ct_matmul_operand(by_tap(c->weight));
    ct_tensor *gx = ct_zeros(c->x->dtype, c->x->device, CT_SHAPE(c->steps, c->batch, c->in));
    if (!taps || !gx) return NULL;
    for (int64_t k = 0; k < c->kernel; k++) {
        reach r = reach_of(c, k);
        if (r.first == r.end) continue;
        ct_tensor *tap = tap_of(c, taps, k);
        if (!ct_tensor_matmul_to(rows_read(c, gx, r), 1, rows_written(g, r), tap, 1)) return NULL;
    }
    return turned(gx);
}

static ct_tensor *as_matrix(ct_tensor *x, int64_t columns) {
    return x ? ct_tensor_reshape(x, CT_SHAPE(-1, columns)) : NULL;
}

static ct_tensor *weight_gradient(const conv *c, const ct_tensor *g) {
    const ct_tensor *x = ct_matmul_operand(turned(c->x));
    ct_tensor *sum = ct_zeros(c->x->dtype, c->x->device, CT_SHAPE(c->kernel, c->out, c->in));
    if (!x || !sum) return NULL;
    for (int64_t k = 0; k < c->kernel && ct_count(x) > 0 && ct_count(g) > 0; k++) {
        reach r = reach_of(c, k);
        if (r.first == r.end) continue;
        ct_tensor *written = as_matrix(rows_written(g, r), c->out);
        ct_tensor *read = as_matrix(rows_read(c, x, r), c->in);
        ct_tensor *written_t = ct_tensor_transpose(written, 0, 1);
        if (!ct_tensor_matmul_to(tap_of(c, sum, k), 1, written_t, read, 0)) return NULL;
    }
    return by_channel(sum);
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
        ct_tensor *by_step = turned(g);
        const ct_tensor *factor = ct_matmul_operand(by_step);
        if (!factor) break;
        ct_tensor *to_x = gx ? input_gradient(&c, factor) : NULL;
        ct_tensor *to_weight = weight_gradient(&c, factor);
        ct_tensor *to_bias = gbias ? ct_tensor_reduce(CT_SUM, by_step, 3u, false) : NULL;
        if ((gx && !to_x) || !to_weight || (gbias && !to_bias)) break;
        grad_x = ct_escape(to_x);
        grad_weight = ct_escape(to_weight);
        grad_bias = ct_escape(to_bias);
    }
    *gweight = grad_weight;
    if (gx) *gx = grad_x;
    if (gbias) *gbias = grad_bias;
}
