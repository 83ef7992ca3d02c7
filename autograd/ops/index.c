/* SPDX-License-Identifier: Apache-2.0 */
/* Indexing: rows by number, gather, scatter, embedding. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"
#include "tensor/core/excuse.h"
#include "tensor/core/shape.h"

static int option_axis(const ct_node *node) { return *(const int *)ct_node_options(node); }

static ct_tensor *zeros_for_input(const ct_node *node, const ct_tensor *g) {
    return ct_zeros(g->dtype, g->device, ct_input_shape(node, 0));
}

/* ---- rows by number --------------------------------------------------------------------- */

static bool index_select_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = zeros_for_input(node, g[0]);
    return gx[0] && ct_tensor_index_add_to(gx[0], option_axis(node), ct_saved(node, 0), g[0]);
}

static int call_index_select(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_index_select(x[0], *(const int *)options, x[1]));
}

static void index_select_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_2(sampler, "rows, some twice", call_index_select, &first,
                ct_sample_real(CT_SHAPE(4, 3)), ct_sample_index(CT_SHAPE(6), 4));
    ct_sample_2(sampler, "last axis", call_index_select, &last, ct_sample_real(CT_SHAPE(2, 2, 5)),
                ct_sample_index(CT_SHAPE(3), 5));
    ct_sample_2(sampler, "one element", call_index_select, &first, ct_sample_real(CT_SHAPE(1)),
                ct_sample_index(CT_SHAPE(1), 1));
    ct_sample_2(sampler, "no index", call_index_select, &first, ct_sample_real(CT_SHAPE(2, 3)),
                ct_sample_index(CT_SHAPE(0), 2));
    ct_sample_2(sampler, "empty rows", call_index_select, &first, ct_sample_real(CT_SHAPE(3, 0)),
                ct_sample_index(CT_SHAPE(2), 3));
}

static const ct_op index_select_op = {"index_select", index_select_backward, index_select_samples};

ct_tensor *ct_index_select(ct_tensor *x, int axis, ct_tensor *index) {
    ct_tensor *y = ct_tensor_index_select(x, axis, index);
    ct_node *node = ct_record(&index_select_op, 1, &x, 1, &y);
    ct_save(node, index);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

/* ---- gather, scatter -------------------------------------------------------------------- */

static bool gather_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = zeros_for_input(node, g[0]);
    return gx[0] && ct_tensor_scatter_add_to(gx[0], option_axis(node), ct_saved(node, 0), g[0]);
}

static int call_gather(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_gather(x[0], *(const int *)options, x[1]));
}

static void gather_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_2(sampler, "first axis", call_gather, &first, ct_sample_real(CT_SHAPE(3, 4)),
                ct_sample_index(CT_SHAPE(2, 4), 3));
    ct_sample_2(sampler, "last axis", call_gather, &last, ct_sample_real(CT_SHAPE(2, 2, 3)),
                ct_sample_index(CT_SHAPE(2, 2, 5), 3));
    ct_sample_2(sampler, "one element", call_gather, &first, ct_sample_real(CT_SHAPE(1)),
                ct_sample_index(CT_SHAPE(1), 1));
    ct_sample_2(sampler, "no index", call_gather, &last, ct_sample_real(CT_SHAPE(2, 3)),
                ct_sample_index(CT_SHAPE(2, 0), 3));
}

static const ct_op gather_op = {"gather", gather_backward, gather_samples};

ct_tensor *ct_gather(ct_tensor *x, int axis, ct_tensor *index) {
    ct_tensor *y = ct_tensor_gather(x, axis, index);
    ct_node *node = ct_record(&gather_op, 1, &x, 1, &y);
    ct_save(node, index);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

static bool scatter_add_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = g[0];
    if (!ct_needs_grad(node, 1)) return true;
    gx[1] = ct_tensor_gather(g[0], option_axis(node), ct_saved(node, 0));
    return gx[1] != NULL;
}

static int call_scatter_add(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_scatter_add(x[0], *(const int *)options, x[2], x[1]));
}

static void scatter_add_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_3(sampler, "first axis", call_scatter_add, &first, ct_sample_real(CT_SHAPE(3, 4)),
                ct_sample_real(CT_SHAPE(5, 4)), ct_sample_index(CT_SHAPE(5, 4), 3));
    ct_sample_3(sampler, "last axis", call_scatter_add, &last, ct_sample_real(CT_SHAPE(2, 2, 3)),
                ct_sample_real(CT_SHAPE(2, 2, 2)), ct_sample_index(CT_SHAPE(2, 2, 2), 3));
    ct_sample_3(sampler, "one element", call_scatter_add, &first, ct_sample_real(CT_SHAPE(1)),
                ct_sample_real(CT_SHAPE(1)), ct_sample_index(CT_SHAPE(1), 1));
    ct_sample_3(sampler, "nothing added", call_scatter_add, &last, ct_sample_real(CT_SHAPE(2, 3)),
                ct_sample_real(CT_SHAPE(2, 0)), ct_sample_index(CT_SHAPE(2, 0), 3));
}

static const ct_op scatter_add_op = {"scatter_add", scatter_add_backward, scatter_add_samples};

ct_tensor *ct_scatter_add(ct_tensor *base, int axis, ct_tensor *index, ct_tensor *x) {
    ct_tensor *y = ct_tensor_copy(base);
    if (!y || !ct_tensor_scatter_add_to(y, axis, index, x)) return NULL;
    ct_node *node = ct_record(&scatter_add_op, 2, (ct_tensor *[]){base, x}, 1, &y);
    ct_save(node, index);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

/* ---- by segments ------------------------------------------------------------------------ */

static bool segment_sum_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_index_select(g[0], 0, ct_saved(node, 0));
    return gx[0] != NULL;
}

static int call_segment_sum(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_segment_sum(x[0], x[1], *(const int64_t *)options));
}

static void segment_sum_samples(ct_sampler *sampler) {
    const int64_t three = 3, one = 1, none = 0;
    ct_sample_2(sampler, "rows", call_segment_sum, &three, ct_sample_real(CT_SHAPE(6, 4)),
                ct_sample_index(CT_SHAPE(6), 3));
    ct_sample_2(sampler, "numbers", call_segment_sum, &three, ct_sample_real(CT_SHAPE(4)),
                ct_sample_index(CT_SHAPE(4), 2));
    ct_sample_2(sampler, "one element", call_segment_sum, &one, ct_sample_real(CT_SHAPE(1, 1)),
                ct_sample_index(CT_SHAPE(1), 1));
    ct_sample_2(sampler, "no rows", call_segment_sum, &three, ct_sample_real(CT_SHAPE(0, 2)),
                ct_sample_index(CT_SHAPE(0), 3));
    ct_sample_2(sampler, "no segments", call_segment_sum, &none, ct_sample_real(CT_SHAPE(0, 2)),
                ct_sample_index(CT_SHAPE(0), 1));
}

static const ct_op segment_sum_op = {"segment_sum", segment_sum_backward, segment_sum_samples};

static bool segments_fit(const ct_tensor *x, const ct_tensor *segment, int64_t count) {
    if (!ct_given_float("segment_sum", x) || !ct_given("segment_sum", segment)) return false;
    if (segment->dtype != CT_I64)
        return ct_fail_bool("segment_sum: segment is %s, expected i64", ct_tensor_text(segment));
    return (x->shape.ndim >= 1 && count >= 0) ||
           ct_fail_bool("segment_sum: x is %s, %lld segments: expected (R,..) and 0 or more",
                        ct_tensor_text(x), (long long)count);
}

ct_tensor *ct_segment_sum(ct_tensor *x, ct_tensor *segment, int64_t count) {
    if (!segments_fit(x, segment, count)) return NULL;
    ct_shape shape = x->shape;
    shape.dim[0] = count;
    if (!ct_check_sizes("segment_sum", shape, x->dtype)) return NULL;
    ct_tensor *y = ct_zeros(x->dtype, x->device, shape);
    if (!y || !ct_tensor_index_add_to(y, 0, segment, x)) return NULL;
    ct_node *node = ct_record(&segment_sum_op, 1, &x, 1, &y);
    ct_save(node, segment);
    return y;
}

/* ---- embedding -------------------------------------------------------------------------- */

static bool embedding_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int64_t padding = *(const int64_t *)ct_node_options(node);
    gx[0] = zeros_for_input(node, g[0]);
    if (!gx[0] || !ct_tensor_index_add_to(gx[0], 0, ct_saved(node, 0), ct_as_rows(g[0]))) {
        return false;
    }
    if (padding < 0 || padding >= gx[0]->shape.dim[0]) return true;
    ct_tensor *row = ct_tensor_slice(gx[0], 0, padding, padding + 1, 1);
    return row && ct_tensor_fill(row, 0);
}

static int call_embedding(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_embedding_with(x[0], x[1], -1));
}

/* A padding row that no index names: its gradient is 0 by both ways. */
static int call_embed_padded(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_embedding_with(x[0], x[1], 4));
}

static void embedding_samples(ct_sampler *sampler) {
    ct_sample_2(sampler, "sentences", call_embedding, NULL, ct_sample_real(CT_SHAPE(5, 3)),
                ct_sample_index(CT_SHAPE(2, 4), 5));
    ct_sample_2(sampler, "padding row", call_embed_padded, NULL, ct_sample_real(CT_SHAPE(5, 3)),
                ct_sample_index(CT_SHAPE(2, 3), 4));
    ct_sample_2(sampler, "one word", call_embedding, NULL, ct_sample_real(CT_SHAPE(4, 2)),
                ct_sample_index(CT_SCALAR_SHAPE, 4));
    ct_sample_2(sampler, "one element", call_embedding, NULL, ct_sample_real(CT_SHAPE(1, 1)),
                ct_sample_index(CT_SHAPE(1), 1));
    ct_sample_2(sampler, "no words", call_embedding, NULL, ct_sample_real(CT_SHAPE(4, 2)),
                ct_sample_index(CT_SHAPE(0, 2), 4));
}

static const ct_op embedding_op = {"embedding", embedding_backward, embedding_samples};

ct_tensor *ct_embedding_with(ct_tensor *weight, ct_tensor *index, int64_t padding) {
    if (!ct_given("embedding", weight) || !ct_given("embedding", index)) return NULL;
    if (weight->shape.ndim != 2 || index->shape.ndim >= CT_MAX_DIMS) {
        return ct_fail("embedding: weight %s, index %s: expected (words, width) and fewer than %d "
                       "dimensions",
                       ct_tensor_text(weight), ct_tensor_text(index), CT_MAX_DIMS);
    }
    if (index->dtype != CT_I64 && index->dtype != CT_I32) {
        return ct_fail("embedding: the index is %s, expected i64 or i32", ct_tensor_text(index));
    }
    bool good = ct_ok();
    ct_tensor *flat = ct_tensor_reshape(index, CT_SHAPE(ct_count(index)));
    ct_tensor *rows = flat ? ct_tensor_index_select(weight, 0, flat) : NULL;
    if (!rows) {
        if (good) ct_error_prefix("embedding: ");
        return NULL;
    }
    ct_shape shape = index->shape;
    shape.dim[shape.ndim++] = weight->shape.dim[1];
    ct_tensor *y = ct_tensor_reshape(rows, shape);
    ct_node *node = ct_record(&embedding_op, 1, &weight, 1, &y);
    ct_save(node, flat);
    ct_save_options(node, &padding, sizeof padding);
    return y;
}

const ct_op *ct_index_op(int i) {
    static const ct_op *const ops[] = {&index_select_op, &gather_op,    &scatter_add_op,
                                       &segment_sum_op,  &embedding_op, NULL};
    return ops[i];
}
