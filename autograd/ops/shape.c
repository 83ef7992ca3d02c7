/* SPDX-License-Identifier: Apache-2.0 */
/* Other shapes of the same elements, parts of them, padding. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

/* ---- views whose gradient is the gradient in the input's shape --------------------------- */

static bool reshape_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_reshape(g[0], ct_input_shape(node, 0));
    return gx[0] != NULL;
}

static int call_reshape(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_reshape(x[0], *(const ct_shape *)options));
}

static void reshape_samples(ct_sampler *sampler) {
    const ct_shape flat = CT_SHAPE(-1), matrix = CT_SHAPE(2, -1), empty = CT_SHAPE(3, 0);
    ct_sample_1(sampler, "flatten", call_reshape, &flat, ct_sample_real(CT_SHAPE(2, 3, 2)));
    ct_sample_1(sampler, "matrix", call_reshape, &matrix, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "one element", call_reshape, &flat, ct_sample_real(CT_SCALAR_SHAPE));
    ct_sample_1(sampler, "empty", call_reshape, &empty, ct_sample_real(CT_SHAPE(0, 2)));
}

static int call_squeeze(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_squeeze(x[0], *(const int *)options));
}

static void squeeze_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_1(sampler, "first axis", call_squeeze, &first, ct_sample_real(CT_SHAPE(1, 3)));
    ct_sample_1(sampler, "last axis", call_squeeze, &last, ct_sample_real(CT_SHAPE(2, 3, 1)));
    ct_sample_1(sampler, "one element", call_squeeze, &first, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_squeeze, &last, ct_sample_real(CT_SHAPE(0, 1)));
}

static int call_unsqueeze(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_unsqueeze(x[0], *(const int *)options));
}

static void unsqueeze_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_1(sampler, "first axis", call_unsqueeze, &first, ct_sample_real(CT_SHAPE(2, 3)));
    ct_sample_1(sampler, "last axis", call_unsqueeze, &last, ct_sample_real(CT_SHAPE(2, 3)));
    ct_sample_1(sampler, "scalar", call_unsqueeze, &first, ct_sample_real(CT_SCALAR_SHAPE));
    ct_sample_1(sampler, "empty", call_unsqueeze, &last, ct_sample_real(CT_SHAPE(0, 3)));
}

static int call_contiguous(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_contiguous(x[0]));
}

static void contiguous_samples(ct_sampler *sampler) {
    ct_sample_1(sampler, "matrix", call_contiguous, NULL, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "one element", call_contiguous, NULL, ct_sample_real(CT_SHAPE(1, 1)));
    ct_sample_1(sampler, "empty", call_contiguous, NULL, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op reshape_op = {"reshape", reshape_backward, reshape_samples};
static const ct_op squeeze_op = {"squeeze", reshape_backward, squeeze_samples};
static const ct_op unsqueeze_op = {"unsqueeze", reshape_backward, unsqueeze_samples};
static const ct_op contiguous_op = {"contiguous", reshape_backward, contiguous_samples};

ct_tensor *ct_reshape(ct_tensor *x, ct_shape shape) {
    ct_tensor *y = ct_tensor_reshape(x, shape);
    ct_record(&reshape_op, 1, &x, 1, &y);
    return y;
}

ct_tensor *ct_squeeze(ct_tensor *x, int axis) {
    ct_tensor *y = ct_tensor_squeeze(x, axis);
    ct_record(&squeeze_op, 1, &x, 1, &y);
    return y;
}

ct_tensor *ct_unsqueeze(ct_tensor *x, int axis) {
    ct_tensor *y = ct_tensor_unsqueeze(x, axis);
    ct_record(&unsqueeze_op, 1, &x, 1, &y);
    return y;
}

ct_tensor *ct_contiguous(ct_tensor *x) {
    ct_tensor *y = ct_tensor_contiguous(x);
    ct_record(&contiguous_op, 1, &x, 1, &y);
    return y;
}

/* ---- expand ----------------------------------------------------------------------------- */

static bool expand_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_unbroadcast(g[0], ct_input_shape(node, 0));
    return gx[0] != NULL;
}

static int call_expand(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_expand(x[0], *(const ct_shape *)options));
}

static void expand_samples(ct_sampler *sampler) {
    const ct_shape matrix = CT_SHAPE(3, 4), cube = CT_SHAPE(2, 3, 4), empty = CT_SHAPE(0, 3);
    ct_sample_1(sampler, "empty", call_expand, &empty, ct_sample_real(CT_SHAPE(0, 1)));
    ct_sample_1(sampler, "row", call_expand, &cube, ct_sample_real(CT_SHAPE(4)));
    ct_sample_1(sampler, "column", call_expand, &matrix, ct_sample_real(CT_SHAPE(3, 1)));
    ct_sample_1(sampler, "scalar", call_expand, &matrix, ct_sample_real(CT_SCALAR_SHAPE));
    ct_sample_1(sampler, "same shape", call_expand, &matrix, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "to empty", call_expand, &empty, ct_sample_real(CT_SHAPE(1, 3)));
}

static const ct_op expand_op = {"expand", expand_backward, expand_samples};

ct_tensor *ct_expand(ct_tensor *x, ct_shape shape) {
    ct_tensor *y = ct_tensor_expand(x, shape);
    ct_record(&expand_op, 1, &x, 1, &y);
    return y;
}

/* ---- order of dimensions ---------------------------------------------------------------- */

static bool permute_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_permute(g[0], ct_node_options(node)); /* the inverse order */
    return gx[0] != NULL;
}

static int call_permute(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_permute(x[0], options));
}

static void permute_samples(ct_sampler *sampler) {
    const int rotate[] = {2, 0, 1}, turn[] = {-1, 0}, none[] = {0};
    ct_sample_1(sampler, "rotate", call_permute, rotate, ct_sample_real(CT_SHAPE(2, 3, 4)));
    ct_sample_1(sampler, "matrix", call_permute, turn, ct_sample_real(CT_SHAPE(2, 3)));
    ct_sample_1(sampler, "scalar", call_permute, none, ct_sample_real(CT_SCALAR_SHAPE));
    ct_sample_1(sampler, "one element", call_permute, none, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_permute, turn, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op permute_op = {"permute", permute_backward, permute_samples};

ct_tensor *ct_permute(ct_tensor *x, const int *axes) {
    ct_tensor *y = ct_tensor_permute(x, axes);
    ct_node *node = ct_record(&permute_op, 1, &x, 1, &y);
    if (!node) return y;
    int inverse[CT_MAX_DIMS] = {0}, ndim = x->shape.ndim;
    for (int i = 0; i < ndim; i++) inverse[axes[i] < 0 ? axes[i] + ndim : axes[i]] = i;
    ct_save_options(node, inverse, sizeof inverse);
    return y;
}

static bool transpose_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const int *axes = ct_node_options(node);
    gx[0] = ct_tensor_transpose(g[0], axes[0], axes[1]);
    return gx[0] != NULL;
}

static int call_transpose(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const int *axes = options;
    return ct_sample_result(y, ct_transpose(x[0], axes[0], axes[1]));
}

static void transpose_samples(ct_sampler *sampler) {
    const int matrix[] = {0, 1}, outer[] = {0, -1}, same[] = {0, 0};
    ct_sample_1(sampler, "matrix", call_transpose, matrix, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "outer axes", call_transpose, outer, ct_sample_real(CT_SHAPE(2, 3, 4)));
    ct_sample_1(sampler, "one element", call_transpose, same, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_transpose, matrix, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op transpose_op = {"transpose", transpose_backward, transpose_samples};

ct_tensor *ct_transpose(ct_tensor *x, int axis_a, int axis_b) {
    ct_tensor *y = ct_tensor_transpose(x, axis_a, axis_b);
    ct_node *node = ct_record(&transpose_op, 1, &x, 1, &y);
    ct_save_options(node, (int[]){axis_a, axis_b}, 2 * sizeof(int));
    return y;
}

/* ---- parts ------------------------------------------------------------------------------ */

typedef struct {
    int axis;
    int64_t start, stop, step;
} slice_options;

/* Zeros of the input's shape with g in the part that was taken. */
static ct_tensor *part_grad(const ct_node *node, const slice_options *o, ct_tensor *g) {
    if (!g) return NULL;
    ct_tensor *gx = ct_zeros(g->dtype, g->device, ct_input_shape(node, 0));
    ct_tensor *part = gx ? ct_tensor_slice(gx, o->axis, o->start, o->stop, o->step) : NULL;
    return part && ct_tensor_copy_to(part, g) ? gx : NULL;
}

static bool slice_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = part_grad(node, ct_node_options(node), g[0]);
    return gx[0] != NULL;
}

static int call_slice(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const slice_options *o = options;
    return ct_sample_result(y, ct_slice(x[0], o->axis, o->start, o->stop, o->step));
}

static void slice_samples(ct_sampler *sampler) {
    const slice_options middle = {0, 1, 3, 1}, stepped = {-1, 1, 100, 2}, negative = {1, -3, -1, 1},
                        nothing = {0, 2, 2, 1}, last = {0, -1, 9, 1};
    ct_sample_1(sampler, "middle rows", call_slice, &middle, ct_sample_real(CT_SHAPE(4, 3)));
    ct_sample_1(sampler, "step", call_slice, &stepped, ct_sample_real(CT_SHAPE(2, 6)));
    ct_sample_1(sampler, "from the end", call_slice, &negative, ct_sample_real(CT_SHAPE(2, 5)));
    ct_sample_1(sampler, "to one element", call_slice, &middle, ct_sample_real(CT_SHAPE(2)));
    ct_sample_1(sampler, "one element", call_slice, &last, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "nothing", call_slice, &nothing, ct_sample_real(CT_SHAPE(3, 2)));
    ct_sample_1(sampler, "empty", call_slice, &middle, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op slice_op = {"slice", slice_backward, slice_samples};

ct_tensor *ct_slice(ct_tensor *x, int axis, int64_t start, int64_t stop, int64_t step) {
    ct_tensor *y = ct_tensor_slice(x, axis, start, stop, step);
    ct_node *node = ct_record(&slice_op, 1, &x, 1, &y);
    slice_options o = {axis, start, stop, step};
    ct_save_options(node, &o, sizeof o);
    return y;
}

static bool select_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const slice_options *o = ct_node_options(node);
    gx[0] = part_grad(node, o, ct_tensor_unsqueeze(g[0], o->axis));
    return gx[0] != NULL;
}

static int call_select(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const int *at = options;
    return ct_sample_result(y, ct_select(x[0], at[0], at[1]));
}

static void select_samples(ct_sampler *sampler) {
    const int row[] = {0, 1}, last_column[] = {-1, -1}, only[] = {0, 0}, column[] = {1, 2};
    ct_sample_1(sampler, "row", call_select, row, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "last column", call_select, last_column,
                ct_sample_real(CT_SHAPE(2, 3, 4)));
    ct_sample_1(sampler, "one element", call_select, only, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_select, column, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op select_op = {"select", select_backward, select_samples};

ct_tensor *ct_select(ct_tensor *x, int axis, int64_t position) {
    if (!ct_given("select", x)) return NULL;
    axis = ct_axis("select", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    int64_t size = x->shape.dim[axis], at = position < 0 ? position + size : position;
    if (at < 0 || at >= size) {
        return ct_fail("select: position %lld is outside dimension %d of %s", (long long)position,
                       axis, ct_tensor_text(x));
    }
    ct_tensor *part = ct_tensor_slice(x, axis, at, at + 1, 1);
    ct_tensor *y = part ? ct_tensor_squeeze(part, axis) : NULL;
    ct_node *node = ct_record(&select_op, 1, &x, 1, &y);
    slice_options o = {axis, at, at + 1, 1};
    ct_save_options(node, &o, sizeof o);
    return y;
}

/* ---- padding ---------------------------------------------------------------------------- */

static bool pad_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const slice_options *o = ct_node_options(node);
    gx[0] = ct_tensor_slice(g[0], o->axis, o->start, o->stop, 1);
    return gx[0] != NULL;
}

static int call_pad(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const int *o = options;
    return ct_sample_result(y, ct_pad(x[0], o[0], o[1], o[2], 1.5));
}

static void pad_samples(ct_sampler *sampler) {
    const int rows[] = {0, 1, 2}, last[] = {-1, 2, 0};
    ct_sample_1(sampler, "rows", call_pad, rows, ct_sample_real(CT_SHAPE(3, 2)));
    ct_sample_1(sampler, "last axis", call_pad, last, ct_sample_real(CT_SHAPE(2, 2, 3)));
    ct_sample_1(sampler, "one element", call_pad, rows, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_pad, rows, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op pad_op = {"pad", pad_backward, pad_samples};

ct_tensor *ct_pad(ct_tensor *x, int axis, int64_t before, int64_t after, double value) {
    ct_tensor *y = ct_tensor_pad(x, axis, before, after, value);
    ct_node *node = ct_record(&pad_op, 1, &x, 1, &y);
    if (!node) return y;
    axis = axis < 0 ? axis + x->shape.ndim : axis;
    slice_options o = {axis, before, before + x->shape.dim[axis], 1};
    ct_save_options(node, &o, sizeof o);
    return y;
}

const ct_op *ct_shape_op(int i) {
    static const ct_op *const ops[] = {&reshape_op, &squeeze_op, &unsqueeze_op, &contiguous_op,
                                       &expand_op,  &permute_op, &transpose_op, &slice_op,
                                       &select_op,  &pad_op,     NULL};
    return ops[i];
}
