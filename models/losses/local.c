/* SPDX-License-Identifier: Apache-2.0 */
/* The ranking loss and the reward's ranks of a rank's own rows against all: b of B pairs. A rank
 * computes (b,B) similarities where the whole has (B,B); what it computes adds up, over ranks, to
 * the whole's (docs/scaling.md). The hinge is that of tensor/matching/matching.h, in plain
 * operations. */
#include "models/losses/loss.h"

enum { ROW_ENDS = 1 << 1 }; /* the axis that is reduced */

/* ---- rows -------------------------------------------------------------------------------- */

/* (b,B) u8: 1 where a row meets its own column. */
static ct_tensor *own_columns(const ct_tensor *own, const ct_tensor *all) {
    int64_t b = ct_dim(own, 0), first = ct_rank() * b;
    ct_tensor *column = ct_arange(CT_I64, own->device, ct_dim(all, 0));
    ct_tensor *row = column ? ct_tensor_slice(column, 0, first, first + b, 1) : NULL;
    return row ? ct_tensor_compare(CT_COMPARE_equal, ct_tensor_unsqueeze(row, 1), column) : NULL;
}

/* (b,1): of s (b,B) what stands in the rows' own columns. */
static ct_tensor *own_values(ct_tensor *s, const ct_tensor *own) {
    if (!s || !own) return NULL;
    int64_t b = ct_dim(s, 0), first = ct_rank() * b;
    ct_tensor *square = ct_slice(s, 1, first, first + b, 1);
    ct_tensor *diagonal = ct_tensor_cast(ct_tensor_slice(own, 1, first, first + b, 1), s->dtype);
    return ct_reduce(CT_SUM, ct_mul(square, diagonal), ROW_ENDS, true);
}

/* ---- hinge ------------------------------------------------------------------------------- */

/* A rank's embeddings and the whole batch's. */
typedef struct {
    ct_tensor *own, *all;
} side;

static ct_tensor *similarity(ct_tensor *a, ct_tensor *b, const ct_ranking_options *o) {
    return o->similarity ? o->similarity(a, b) : ct_similarity(a, b, o->measure);
}

static ct_tensor *without(ct_tensor *s, const ct_ranking_options *o) {
    return o->left_out ? ct_masked_fill(s, o->left_out, -1e30) : s;
}

/* (b,B): 1 at the first of the largest of each row. */
static ct_tensor *largest(const ct_tensor *cost) {
    ct_tensor *at = cost ? ct_tensor_argmax(cost, 1) : NULL;
    ct_tensor *column = at ? ct_arange(CT_I64, at->device, ct_dim(cost, 1)) : NULL;
    ct_tensor *is =
        column ? ct_tensor_compare(CT_COMPARE_equal, ct_tensor_unsqueeze(at, 1), column) : NULL;
    return is ? ct_tensor_cast(is, cost->dtype) : NULL;
}

/* The costs of s (b,B) against `anchor`, (b,1) or (1,B), the hardest of each row or all of them. */
static ct_tensor *hinge(ct_tensor *s, ct_tensor *anchor, ct_tensor *own,
                        const ct_ranking_options *o) {
    ct_tensor *cost = ct_relu(ct_sub(ct_add_scalar(s, o->margin), anchor));
    cost = ct_masked_fill(cost, own, 0);
    return ct_sum_all(o->hardest ? ct_mul(cost, largest(cost)) : cost);
}

/* Each row against its own value. */
static ct_tensor *rows(ct_tensor *s, ct_tensor *own, const ct_ranking_options *o) {
    s = without(s, o);
    return hinge(s, own_values(s, own), own, o);
}

/* The rank's columns of the whole's, each line of which has its own value's anchor. */
static ct_tensor *columns(side x, ct_tensor *own, const ct_ranking_options *o) {
    ct_tensor *s = without(ct_transpose(similarity(x.all, x.own, o), 0, 1), o);
    ct_tensor *anchor = own_values(s, own);
    anchor = anchor ? ct_all_gather(anchor) : NULL;
    return hinge(s, ct_transpose(anchor, 0, 1), own, o);
}

static ct_tensor *within(side x, ct_tensor *own, const ct_ranking_options *o) {
    bool by_column = o->hardest && o->within_over == CT_HINGE_COLUMN;
    return by_column ? columns(x, own, o) : rows(similarity(x.own, x.all, o), own, o);
}

ct_tensor *ct_local_ranking_loss(ct_tensor *images, ct_tensor *all_images, ct_tensor *captions,
                                 ct_tensor *all_captions, const ct_ranking_options *o) {
    side image = {images, all_images}, caption = {captions, all_captions};
    CT_SCOPE {
        ct_tensor *own = own_columns(images, all_images);
        ct_tensor *to_captions = similarity(images, all_captions, o);
        ct_tensor *to_images = ct_transpose(similarity(all_images, captions, o), 0, 1);
        ct_tensor *loss = ct_add(rows(to_captions, own, o), rows(to_images, own, o));
        if (o->intra_modal)
            loss = ct_add(loss, ct_add(within(image, own, o), within(caption, own, o)));
        return ct_escape(loss);
    }
    return NULL;
}

ct_tensor *ct_local_same_images(const ct_tensor *numbers) {
    ct_tensor *all = ct_tensor_all_gather(numbers);
    ct_tensor *row = all ? ct_tensor_unsqueeze(numbers, 1) : NULL;
    ct_tensor *same = row ? ct_tensor_compare(CT_COMPARE_equal, row, all) : NULL;
    ct_tensor *other =
        same ? ct_tensor_compare(CT_COMPARE_not_equal, same, own_columns(numbers, all)) : NULL;
    return other; /* a row meets its own column in `same`, too */
}

/* ---- ranks ------------------------------------------------------------------------------- */

/* (b), in s's dtype: how many of a row are above its own value. */
static ct_tensor *ranks_of(ct_tensor *s, const ct_tensor *own) {
    ct_tensor *value = own_values(s, own);
    ct_tensor *above = value ? ct_tensor_compare(CT_COMPARE_greater, s, value) : NULL;
    ct_tensor *counted = above ? ct_tensor_cast(above, s->dtype) : NULL;
    return counted ? ct_tensor_reduce(CT_SUM, counted, ROW_ENDS, false) : NULL;
}

bool ct_local_ranks(ct_tensor *images, ct_tensor *all_images, ct_tensor *captions,
                    ct_tensor *all_captions, ct_measure measure, ct_tensor **to_captions,
                    ct_tensor **to_images) {
    ct_tensor *own = own_columns(images, all_images);
    ct_tensor *a = ranks_of(ct_similarity(images, all_captions, measure), own);
    ct_tensor *b = ranks_of(ct_transpose(ct_similarity(all_images, captions, measure), 0, 1), own);
    *to_captions = a && b ? ct_tensor_all_gather(a) : NULL;
    *to_images = *to_captions ? ct_tensor_all_gather(b) : NULL;
    return *to_images != NULL;
}
