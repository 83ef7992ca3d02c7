/* SPDX-License-Identifier: Apache-2.0 */
/* 2-d convolution. Where the device has no kernel for the whole of one: for each picture and group
 * one product of the weights with unfolded patches. The pictures are taken in parts so that what is
 * unfolded stays small. */
#include "tensor/core/shape.h"
#include "tensor/fused/check.h"

/* Bytes of unfolded patches at a time: enough for a product at full speed. */
enum { UNFOLD_BYTES = 16 << 20 };

typedef struct {
    const ct_tensor *x; /* dense */
    ct_tensor_conv2d_options options;
    int64_t batch, in, out, kernel_h, kernel_w, rows, columns;
    int64_t part; /* pictures taken at once */
    bool plain;   /* x is its own unfolded patches */
} conv;

static int64_t inputs_of_group(const conv *c) {
    return c->in / c->options.groups * c->kernel_h * c->kernel_w;
}

static bool check_options(const char *op, ct_tensor_conv2d_options o) {
    if (o.before >= 0 && o.after >= 0 && o.stride >= 1 && o.dilation >= 1 && o.groups >= 1) {
        return true;
    }
    return ct_fail_bool("%s: before %lld, after %lld, stride %lld, dilation %lld, groups %lld: "
                        "expected no negative padding, the others at least 1",
                        op, (long long)o.before, (long long)o.after, (long long)o.stride,
                        (long long)o.dilation, (long long)o.groups);
}

static bool check_groups(const char *op, const conv *c) {
    if (c->in % c->options.groups == 0 && c->out % c->options.groups == 0) return true;
    return ct_fail_bool("%s: %lld groups do not divide %lld input and %lld output channels", op,
                        (long long)c->options.groups, (long long)c->in, (long long)c->out);
}

/* Output sizes. */
static bool place_kernel(const char *op, conv *c, const ct_tensor *weight) {
    const ct_tensor_conv2d_options *o = &c->options;
    int64_t around = ct_size_sum(o->before, o->after);
    int64_t height = ct_size_sum(c->x->shape.dim[2], around);
    int64_t width = ct_size_sum(c->x->shape.dim[3], around);
    if (!ct_check_sizes(op, CT_SHAPE(c->batch, c->in, height, width), c->x->dtype)) return false;
    c->rows = ct_conv_positions(height, c->kernel_h, o->stride, o->dilation);
    c->columns = ct_conv_positions(width, c->kernel_w, o->stride, o->dilation);
    if (c->rows > 0 && c->columns > 0) {
        return ct_check_sizes(op, CT_SHAPE(1, c->in, c->kernel_h, c->kernel_w, c->rows, c->columns),
                              c->x->dtype);
    }
    return ct_fail_bool("%s: %s, padded by %lld and %lld, is smaller than the kernel of %s", op,
                        ct_tensor_text(c->x), (long long)o->before, (long long)o->after,
                        ct_tensor_text(weight));
}

static bool check_inputs(const char *op, conv *c, const ct_tensor *x, const ct_tensor *weight,
                         ct_tensor_conv2d_options options) {
    if (!ct_check_ndim(op, "x", x, 4) || !ct_check_ndim(op, "weight", weight, 4) ||
        !check_options(op, options)) {
        return false;
    }
    bool ok = true;
    *c = (conv){.x = ct_dense(x, &ok), .options = options};
    c->batch = x->shape.dim[0];
    c->in = x->shape.dim[1];
    c->out = weight->shape.dim[0];
    c->kernel_h = weight->shape.dim[2];
    c->kernel_w = weight->shape.dim[3];
    ct_shape expected = CT_SHAPE(c->out, c->in / options.groups, c->kernel_h, c->kernel_w);
    if (!ok || !check_groups(op, c) || !ct_check_shape(op, "weight", x, weight, expected) ||
        !place_kernel(op, c, weight)) {
        return false;
    }
    c->plain = c->kernel_h == 1 && c->kernel_w == 1 && options.stride == 1 && options.before == 0 &&
               options.after == 0;
    int64_t picture = inputs_of_group(c) * options.groups * c->rows * c->columns;
    c->part = UNFOLD_BYTES / (int64_t)ct_dtype_size(x->dtype) / (picture > 0 ? picture : 1);
    if (c->part > c->batch) c->part = c->batch;
    if (c->part < 1) c->part = 1;
    return true;
}

/* (groups, Cout/groups, inputs of a group), as products take it. */
static const ct_tensor *weight_matrices(const conv *c, const ct_tensor *weight) {
    ct_tensor *dense = ct_tensor_contiguous(weight);
    if (!dense) return NULL;
    int64_t groups = c->options.groups;
    return ct_matmul_operand(
        ct_tensor_reshape(dense, CT_SHAPE(groups, c->out / groups, inputs_of_group(c))));
}

/* Room for the unfolded patches of a part; NULL, no error, if none are made. */
static ct_tensor *patches_for_part(const conv *c) {
    if (c->plain) return NULL;
    return ct_empty_like(c->x,
                         CT_SHAPE(c->part, c->in, c->kernel_h, c->kernel_w, c->rows, c->columns));
}

/* The pictures from `first` on: of anything (B,...) or of the patches' room. */
static ct_tensor *part_of(const conv *c, const ct_tensor *x, int64_t first) {
    return ct_tensor_slice(x, 0, first, first + c->part, 1);
}

/* x (n, channels, ...) as (n, groups, channels of a group.., H'W'). */
static ct_tensor *by_group(const conv *c, const ct_tensor *x) {
    if (!x) return NULL;
    int64_t groups = c->options.groups, places = c->rows * c->columns;
    int64_t all = x->shape.ndim == 6 ? c->in * c->kernel_h * c->kernel_w : x->shape.dim[1];
    return ct_tensor_reshape(x, CT_SHAPE(x->shape.dim[0], groups, all / groups, places));
}

/* The patches of the pictures from `first` on, by group. */
static ct_tensor *unfold_part(const conv *c, ct_tensor *patches, int64_t first) {
    ct_tensor *from = part_of(c, c->x, first);
    if (!from || c->plain) return by_group(c, from);
    ct_tensor *to = ct_tensor_slice(patches, 0, 0, from->shape.dim[0], 1);
    if (!to || !ct_backend_of(to->device)->unfold2d(to, from, c->options)) return NULL;
    return by_group(c, to);
}

/* y = conv2d, part by part. */
static bool compose(const conv *c, ct_tensor *y, const ct_tensor *weight) {
    const ct_tensor *matrices = weight_matrices(c, weight);
    ct_tensor *patches = matrices ? patches_for_part(c) : NULL;
    for (int64_t first = 0; first < c->batch; first += c->part) {
        ct_tensor *unfolded = unfold_part(c, patches, first);
        ct_tensor *to = by_group(c, part_of(c, y, first));
        if (!ct_tensor_matmul_to(to, 1, matrices, unfolded, 0)) return false;
    }
    return true;
}

/* y = activation(y + bias + added), in place. */
static bool activate(ct_tensor *y, const ct_tensor *bias, const ct_tensor *added,
                     ct_activation activation) {
    if (!bias && !added && activation == CT_NO_ACTIVATION) return true;
    const int64_t *size = y->shape.dim;
    ct_tensor *to = ct_tensor_reshape(y, CT_SHAPE(size[0], size[1], size[2] * size[3]));
    return to && ct_backend_of(y->device)->activate(to, bias, added, activation);
}

static ct_tensor *forward(const conv *c, const ct_tensor *weight, const ct_tensor *bias,
                          const ct_tensor *added, ct_activation activation) {
    ct_tensor *y = ct_empty_like(c->x, CT_SHAPE(c->batch, c->out, c->rows, c->columns));
    bool done = false, ok = y != NULL;
    weight = ct_dense(weight, &ok);
    bias = ct_dense(bias, &ok);
    added = ct_dense(added, &ok);
    if (!ok) return NULL;
    if (ct_count(y) == 0) return y;
    if (!ct_backend_of(y->device)->conv2d(y, c->x, weight, bias, added, activation, c->options,
                                          &done)) {
        return NULL;
    }
    return done || (compose(c, y, weight) && activate(y, bias, added, activation)) ? y : NULL;
}

ct_tensor *ct_tensor_conv2d_activated(const ct_tensor *x, const ct_tensor *weight,
                                      const ct_tensor *bias, const ct_tensor *added,
                                      ct_activation activation, ct_tensor_conv2d_options options) {
    static const char op[] = "conv2d";
    if ((unsigned)activation > CT_RELU6) {
        return ct_fail("conv2d: activation %d: expected one of ct_activation", (int)activation);
    }
    CT_SCOPE {
        conv c;
        if (!check_inputs(op, &c, x, weight, options) ||
            !ct_check_optional(op, "bias", x, bias, CT_SHAPE(c.out)) ||
            !ct_check_optional(op, "added", x, added,
                               CT_SHAPE(c.batch, c.out, c.rows, c.columns))) {
            return NULL;
        }
        return ct_escape(forward(&c, weight, bias, added, activation));
    }
    return NULL;
}

ct_tensor *ct_tensor_conv2d(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias,
                            ct_tensor_conv2d_options options) {
    return ct_tensor_conv2d_activated(x, weight, bias, NULL, CT_NO_ACTIVATION, options);
}

/* ---- gradient --------------------------------------------------------------------------- */

/* The patches' gradients folded back. g here and below as products take it. */
static ct_tensor *fold_gradient(const conv *c, ct_tensor *gx, const ct_tensor *g,
                                const ct_tensor *weight) {
    const ct_tensor *matrices = weight_matrices(c, weight);
    g = ct_matmul_operand(g);
    if (!matrices || !g) return NULL;
    ct_tensor *back = ct_tensor_transpose(matrices, 1, 2), *patches = patches_for_part(c);
    for (int64_t first = 0; first < c->batch; first += c->part) {
        ct_tensor *to = part_of(c, gx, first), *from = to;
        if (to && !c->plain) from = ct_tensor_slice(patches, 0, 0, to->shape.dim[0], 1);
        if (!ct_tensor_matmul_to(by_group(c, from), 1, back, by_group(c, part_of(c, g, first)),
                                 0) ||
            (!c->plain && !ct_backend_of(gx->device)->fold2d(to, from, c->options))) {
            return NULL;
        }
    }
    return gx;
}

static ct_tensor *input_gradient(const conv *c, const ct_tensor *g, const ct_tensor *weight) {
    ct_tensor *gx = ct_empty_like(c->x, c->x->shape);
    bool ok = gx != NULL, done = false;
    weight = ct_dense(weight, &ok);
    if (!ok || ct_count(gx) == 0) return ok ? gx : NULL;
    if (ct_count(g) == 0) return ct_tensor_fill(gx, 0) ? gx : NULL;
    if (!ct_backend_of(gx->device)->conv2d_grad_x(gx, g, weight, c->options, &done)) return NULL;
    return done ? gx : fold_gradient(c, gx, g, weight);
}

/* Pictures are added one after the other: no product is kept but the sum. */
static bool add_part(ct_tensor *sum, const ct_tensor *g, const ct_tensor *unfolded) {
    for (int64_t i = 0; g && unfolded && i < g->shape.dim[0]; i++) {
        ct_tensor *of_picture = ct_tensor_slice(g, 0, i, i + 1, 1);
        ct_tensor *patches = ct_tensor_slice(unfolded, 0, i, i + 1, 1);
        if (!ct_tensor_matmul_to(sum, 1, of_picture, ct_tensor_transpose(patches, 2, 3), 1)) {
            return false;
        }
    }
    return g && unfolded;
}

static ct_tensor *add_gradients(const conv *c, const ct_tensor *g, ct_shape shape) {
    int64_t groups = c->options.groups;
    ct_tensor *sum =
        ct_zeros(c->x->dtype, g->device, CT_SHAPE(1, groups, c->out / groups, inputs_of_group(c)));
    g = ct_matmul_operand(g);
    if (!sum || !g) return NULL;
    if (ct_count(c->x) > 0 && ct_count(g) > 0) {
        ct_tensor *patches = patches_for_part(c);
        for (int64_t first = 0; first < c->batch; first += c->part) {
            ct_tensor *unfolded = unfold_part(c, patches, first);
            if (!add_part(sum, by_group(c, part_of(c, g, first)), unfolded)) return NULL;
        }
    }
    return ct_tensor_reshape(sum, shape);
}

static ct_tensor *weight_gradient(const conv *c, const ct_tensor *g, ct_shape shape) {
    bool done = false;
    if (ct_count(c->x) > 0 && ct_count(g) > 0) {
        ct_tensor *sum = ct_empty_like(c->x, shape);
        if (!sum ||
            !ct_backend_of(sum->device)->conv2d_grad_weight(sum, g, c->x, c->options, &done)) {
            return NULL;
        }
        if (done) return sum;
    }
    return add_gradients(c, g, shape);
}

/* Over the batch and both sides of a picture. */
static ct_tensor *bias_gradient(const ct_tensor *g) {
    return ct_tensor_reduce(CT_SUM, g, 1u << 0 | 1u << 2 | 1u << 3, false);
}

void ct_tensor_conv2d_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *weight,
                           ct_tensor_conv2d_options options, ct_tensor **gx, ct_tensor **gweight,
                           ct_tensor **gbias) {
    static const char op[] = "conv2d gradient";
    ct_tensor *grad_x = NULL, *grad_weight = NULL, *grad_bias = NULL;
    CT_SCOPE {
        conv c;
        if (!check_inputs(op, &c, x, weight, options) ||
            !ct_check_shape(op, "g", x, g, CT_SHAPE(c.batch, c.out, c.rows, c.columns))) {
            break;
        }
        bool ok = true;
        g = ct_dense(g, &ok);
        if (!ok) break;
        ct_tensor *to_x = gx ? input_gradient(&c, g, weight) : NULL;
        ct_tensor *to_weight = gweight ? weight_gradient(&c, g, weight->shape) : NULL;
        ct_tensor *to_bias = gbias ? bias_gradient(g) : NULL;
        if ((gx && !to_x) || (gweight && !to_weight) || (gbias && !to_bias)) break;
        grad_x = ct_escape(to_x);
        grad_weight = ct_escape(to_weight);
        grad_bias = ct_escape(to_bias);
    }
    if (gx) *gx = grad_x;
    if (gweight) *gweight = grad_weight;
    if (gbias) *gbias = grad_bias;
}
