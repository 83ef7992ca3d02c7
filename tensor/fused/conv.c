/* SPDX-License-Identifier: Apache-2.0 */
/* 1-d convolution, channels last: one product for each tap of the kernel, of the steps that the tap
 * reads. Rows are laid step after step, so that the steps of all sequences that a tap reads are one
 * matrix, and so are those it is added to: nothing is unfolded, and no padding is multiplied. */
#include "tensor/core/shape.h"
#include "tensor/fused/sequence.h"

typedef struct {
    const ct_tensor *x, *weight;
    ct_tensor_conv1d_options options;
    int64_t batch, steps, in, out, kernel, steps_out;
    bool packed;
    ct_sequence plan; /* where packed */
} conv;

static bool check_options(const char *op, ct_tensor_conv1d_options o) {
    if (o.before >= 0 && o.after >= 0 && o.stride >= 1 && o.dilation >= 1) return true;
    return ct_fail_bool("%s: before %lld, after %lld, stride %lld, dilation %lld: expected no "
                        "negative padding, stride and dilation at least 1",
                        op, (long long)o.before, (long long)o.after, (long long)o.stride,
                        (long long)o.dilation);
}

static bool check_padded(const char *op, conv *c) {
    const ct_tensor *x = c->x;
    int64_t before = c->options.before, after = c->options.after;
    c->batch = x->shape.dim[0];
    c->steps = x->shape.dim[1];
    int64_t padded = ct_size_sum(c->steps, ct_size_sum(before, after));
    if (!ct_check_sizes(op, CT_SHAPE(c->batch, padded, c->in), x->dtype)) return false;
    c->steps_out = ct_conv_positions(padded, c->kernel, c->options.stride, c->options.dilation);
    if (c->steps_out > 0) return true;
    return ct_fail_bool("%s: %s, padded by %lld and %lld, is shorter than the kernel of %s", op,
                        ct_tensor_text(x), (long long)before, (long long)after,
                        ct_tensor_text(c->weight));
}

static bool check_packed(const char *op, conv *c, const ct_tensor *lengths) {
    ct_tensor_conv1d_options o = c->options;
    int64_t around = ct_size_sum(o.before, o.after);
    if (o.stride != 1 || around / o.dilation != c->kernel - 1 || around % o.dilation != 0) {
        return ct_fail_bool(
            "%s: before %lld, after %lld, stride %lld, dilation %lld and a kernel of "
            "%lld do not keep a sequence's length",
            op, (long long)o.before, (long long)o.after, (long long)o.stride, (long long)o.dilation,
            (long long)c->kernel);
    }
    return ct_sequence_plan_rows(op, &c->plan, c->x, lengths);
}

/* x (B,T,Cin), or, where packed, (R,Cin) with lengths. */
static bool check_inputs(const char *op, conv *c, bool packed, const ct_tensor *x,
                         const ct_tensor *lengths, const ct_tensor *weight,
                         ct_tensor_conv1d_options options) {
    if (!ct_check_ndim(op, "x", x, packed ? 2 : 3) || !ct_check_ndim(op, "weight", weight, 3) ||
        !check_options(op, options)) {
        return false;
    }
    *c = (conv){.x = x, .weight = weight, .options = options, .packed = packed};
    c->in = x->shape.dim[x->shape.ndim - 1];
    c->out = weight->shape.dim[0];
    c->kernel = weight->shape.dim[2];
    return ct_check_shape(op, "weight", x, weight, CT_SHAPE(c->out, c->in, c->kernel)) &&
           (packed ? check_packed(op, c, lengths) : check_padded(op, c));
}

/* ---- layouts ---------------------------------------------------------------------------- */

/* (B,T,C) as rows step after step, (T,B,C), and back: its own inverse. Packed rows are so laid. */
static ct_tensor *turned(const conv *c, const ct_tensor *x) {
    return ct_tensor_contiguous(c->packed ? x : ct_tensor_transpose(x, 0, 1));
}

/* Zeros for `steps` steps of rows so laid. */
static ct_tensor *rows_for(const conv *c, int64_t steps, int64_t width) {
    ct_shape shape = c->packed ? CT_SHAPE(c->plan.rows, width) : CT_SHAPE(steps, c->batch, width);
    return ct_zeros(c->x->dtype, c->x->device, shape);
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

/* ---- what a tap joins ------------------------------------------------------------------- */

/* Step t of the result reads step t*stride + shift of x. */
static int64_t shift_of(const conv *c, int64_t k) {
    return k * c->options.dilation - c->options.before;
}

typedef enum { READ, WRITTEN } side; /* rows of x, rows of the result */

/* Rows of one side that a tap joins to those of the other, in the same order: a view of `rows`, or,
 * by `index`, some of them. Neither if the tap sees nothing but padding. */
typedef struct {
    ct_tensor *rows, *index;
} joined;

/* Steps of the result, from `first` up to `end`, for which a tap reads a step of x and no padding.
 */
static joined join_padded(const conv *c, const ct_tensor *x, int64_t k, side of) {
    int64_t stride = c->options.stride, shift = shift_of(c, k);
    int64_t first = shift < 0 ? (-shift - 1) / stride + 1 : 0;
    int64_t end = c->steps > shift ? (c->steps - shift - 1) / stride + 1 : 0;
    if (end > c->steps_out) end = c->steps_out;
    if (first >= end) return (joined){0};
    if (of == WRITTEN) return (joined){ct_tensor_slice(x, 0, first, end, 1), NULL};
    int64_t begin = first * stride + shift, last = (end - 1) * stride + shift;
    return (joined){ct_tensor_slice(x, 0, begin, last + 1, stride), NULL};
}

/* The rows that stand `distance` steps before those of steps distance, distance+1, ... */
static ct_tensor *earlier(const ct_sequence *plan, int64_t distance, ct_device device) {
    int64_t rows = plan->rows - plan->first[distance], at = 0;
    ct_tensor *host = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(rows));
    int64_t *index = host ? ct_data(host) : NULL;
    for (int64_t s = distance; index && s < plan->steps; s++)
        for (int64_t i = 0; i < plan->count[s]; i++) index[at++] = plan->first[s - distance] + i;
    return host && device != CT_CPU ? ct_tensor_to_device(host, device) : host;
}

/* Of a sequence's steps all but the first few are joined to all but its last few. The later ones,
 * of all sequences, are the last rows. */
static joined join_packed(const conv *c, const ct_tensor *x, int64_t k, side of) {
    const ct_sequence *plan = &c->plan;
    int64_t shift = shift_of(c, k), distance = shift < 0 ? -shift : shift;
    if (distance >= plan->steps) return (joined){0};
    bool later = distance == 0 || (of == WRITTEN) == (shift < 0);
    if (!later)
        return (joined){ct_tensor_slice(x, 0, 0, plan->rows, 1),
                        earlier(plan, distance, x->device)};
    return (joined){ct_tensor_slice(x, 0, plan->first[distance], plan->rows, 1), NULL};
}

static joined join(const conv *c, const ct_tensor *x, int64_t k, side of) {
    return c->packed ? join_packed(c, x, k, of) : join_padded(c, x, k, of);
}

static ct_tensor *values(joined from) {
    return from.index ? ct_tensor_index_select(from.rows, 0, from.index) : from.rows;
}

/* to += from * tap */
static bool add_product(joined to, joined from, const ct_tensor *tap) {
    if (!to.rows && ct_ok()) return true;
    if (!to.index) return ct_tensor_matmul_to(to.rows, 1, values(from), tap, 1);
    ct_tensor *product = ct_tensor_matmul(values(from), tap);
    return product && ct_tensor_index_add_to(to.rows, 0, to.index, product);
}

/* ---- forward ---------------------------------------------------------------------------- */

static ct_tensor *forward(const conv *c, const ct_tensor *bias) {
    const ct_tensor *taps = ct_matmul_operand(by_tap(c->weight));
    const ct_tensor *x = ct_matmul_operand(turned(c, c->x));
    ct_tensor *y = rows_for(c, c->steps_out, c->out);
    if (!taps || !x || !y || (bias && !ct_tensor_copy_to(y, bias))) return NULL;
    for (int64_t k = 0; k < c->kernel; k++) {
        ct_tensor *tap = ct_tensor_transpose(tap_of(c, taps, k), 0, 1);
        if (!add_product(join(c, y, k, WRITTEN), join(c, x, k, READ), tap)) return NULL;
    }
    return turned(c, y);
}

static ct_tensor *convolve(const char *op, bool packed, const ct_tensor *x,
                           const ct_tensor *lengths, const ct_tensor *weight, const ct_tensor *bias,
                           ct_tensor_conv1d_options options) {
    CT_SCOPE {
        conv c;
        if (!check_inputs(op, &c, packed, x, lengths, weight, options) ||
            !ct_check_optional(op, "bias", x, bias, CT_SHAPE(c.out))) {
            break;
        }
        return ct_escape(forward(&c, bias));
    }
    return NULL;
}

ct_tensor *ct_tensor_conv1d(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias,
                            ct_tensor_conv1d_options options) {
    return convolve("conv1d", false, x, NULL, weight, bias, options);
}

ct_tensor *ct_tensor_conv1d_packed(const ct_tensor *x, const ct_tensor *lengths,
                                   const ct_tensor *weight, const ct_tensor *bias,
                                   ct_tensor_conv1d_options options) {
    return convolve("conv1d_packed", true, x, lengths, weight, bias, options);
}

/* ---- gradient --------------------------------------------------------------------------- */

/* g here and below is laid as `turned` does, as products take it. */
static ct_tensor *input_gradient(const conv *c, const ct_tensor *g) {
    const ct_tensor *taps = ct_matmul_operand(by_tap(c->weight));
    ct_tensor *gx = rows_for(c, c->steps, c->in);
    if (!taps || !gx) return NULL;
    for (int64_t k = 0; k < c->kernel; k++) {
        if (!add_product(join(c, gx, k, READ), join(c, g, k, WRITTEN), tap_of(c, taps, k)))
            return NULL;
    }
    return turned(c, gx);
}

static ct_tensor *as_matrix(ct_tensor *x, int64_t columns) {
    return x ? ct_tensor_reshape(x, CT_SHAPE(-1, columns)) : NULL;
}

static ct_tensor *weight_gradient(const conv *c, const ct_tensor *g) {
    const ct_tensor *x = ct_matmul_operand(turned(c, c->x));
    ct_tensor *sum = ct_zeros(c->x->dtype, c->x->device, CT_SHAPE(c->kernel, c->out, c->in));
    if (!x || !sum) return NULL;
    for (int64_t k = 0; k < c->kernel && ct_count(x) > 0 && ct_count(g) > 0; k++) {
        joined read = join(c, x, k, READ), written = join(c, g, k, WRITTEN);
        if (!read.rows && ct_ok()) continue;
        ct_tensor *written_t = ct_tensor_transpose(as_matrix(values(written), c->out), 0, 1);
        ct_tensor *values_read = as_matrix(values(read), c->in);
        if (!ct_tensor_matmul_to(tap_of(c, sum, k), 1, written_t, values_read, 0)) return NULL;
    }
    return by_channel(sum);
}

/* The inputs' gradients, of g as it was given; each NULL if not wanted. */
typedef struct {
    ct_tensor **x, **weight, **bias;
} gradients;

static bool differentiate(const conv *c, const ct_tensor *g, gradients to) {
    ct_tensor *laid = turned(c, g);
    const ct_tensor *factor = ct_matmul_operand(laid);
    if (!factor) return false;
    if (to.x) *to.x = input_gradient(c, factor);
    *to.weight = weight_gradient(c, factor);
    if (to.bias) *to.bias = ct_tensor_reduce(CT_SUM, laid, c->packed ? 1u : 3u, false);
    return (!to.x || *to.x) && *to.weight && (!to.bias || *to.bias);
}

static void gradient(const char *op, bool packed, const ct_tensor *g, const ct_tensor *x,
                     const ct_tensor *lengths, const ct_tensor *weight,
                     ct_tensor_conv1d_options options, gradients to) {
    if (!ct_check_pointer(op, "gweight", to.weight)) return;
    ct_tensor **all[] = {to.x, to.weight, to.bias};
    for (int i = 0; i < 3; i++) {
        if (all[i]) *all[i] = NULL;
    }
    bool done = false;
    CT_SCOPE {
        conv c;
        if (!check_inputs(op, &c, packed, x, lengths, weight, options)) break;
        ct_shape shape = x->shape;
        shape.dim[shape.ndim - 1] = c.out;
        if (!packed) shape.dim[1] = c.steps_out;
        done = ct_check_shape(op, "g", x, g, shape) && differentiate(&c, g, to);
        for (int i = 0; i < 3; i++) {
            if (all[i]) *all[i] = done ? ct_escape(*all[i]) : NULL;
        }
    }
}

void ct_tensor_conv1d_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *weight,
                           ct_tensor_conv1d_options options, ct_tensor **gx, ct_tensor **gweight,
                           ct_tensor **gbias) {
    gradient("conv1d gradient", false, g, x, NULL, weight, options,
             (gradients){gx, gweight, gbias});
}

void ct_tensor_conv1d_packed_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *lengths,
                                  const ct_tensor *weight, ct_tensor_conv1d_options options,
                                  ct_tensor **gx, ct_tensor **gweight, ct_tensor **gbias) {
    gradient("conv1d_packed gradient", true, g, x, lengths, weight, options,
             (gradients){gx, gweight, gbias});
}
