/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of fused computations: reproducible inputs, gradients by central differences,
 * and what must hold of results computed by different numbers of threads. */
#ifndef CT_FUSED_TEST_H
#define CT_FUSED_TEST_H

#include "tests/test.h"

/* Evenly spread numbers in [lo, hi), the same on every run (splitmix64). */
static inline double test_random(uint64_t *state, double lo, double hi) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return lo + (hi - lo) * ((double)((z ^ (z >> 31)) >> 11) * 0x1p-53);
}

static inline ct_tensor *test_tensor(uint64_t *state, ct_shape shape, double lo, double hi) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, shape);
    double *data = ct_data(x);
    for (int64_t i = 0; i < ct_count(x); i++) data[i] = test_random(state, lo, hi);
    return x;
}

/* A copy of x that is not contiguous: every element of it has a neighbour that must not be read. */
static inline ct_tensor *test_strided(const ct_tensor *x) {
    ct_shape wide = x->shape;
    wide.dim[wide.ndim++] = 2;
    ct_tensor *room = ct_full(x->dtype, x->device, wide, NAN);
    ct_tensor *view = ct_tensor_slice(room, -1, 0, 1, 1);
    view = ct_tensor_squeeze(view, -1);
    ck_assert(ct_tensor_copy_to(view, x));
    ck_assert(x->shape.ndim == 0 || ct_count(x) < 2 || !ct_is_contiguous(view));
    return view;
}

static inline ct_tensor *test_cast(const ct_tensor *x, ct_dtype dtype) {
    return x ? ct_tensor_cast(x, dtype) : NULL;
}

static inline ct_tensor *test_lengths(int64_t count, const int64_t *lengths) {
    return lengths ? ct_from_data(CT_I64, CT_CPU, CT_SHAPE(count), lengths) : NULL;
}

/* The rows of x (B,T,C) within lengths, in the order of packed sequences: (R,C). */
static inline ct_tensor *test_packed(const ct_tensor *x, const ct_tensor *lengths) {
    ct_tensor *rows = ct_tensor_reshape(x, CT_SHAPE(-1, x->shape.dim[2]));
    return ct_tensor_index_select(rows, 0, ct_packed_positions(lengths, x->shape.dim[1], CT_CPU));
}

/* What a GRU or an LSTM (which has a c_last) gives of rows that are packed beforehand, and its
 * gradients: the same bits as of the padded batch. Where all lengths are T, that one is not packed,
 * and sums of weights' gradients have another order. */
typedef struct {
    ct_recurrent_result result;
    ct_recurrent_grad grad;
} test_recurrent;
static inline void assert_same_packed(const ct_recurrent_inputs *in, test_recurrent padded,
                                      test_recurrent packed) {
    const ct_recurrent_result *y = &packed.result, *expected = &padded.result;
    const ct_recurrent_grad *g = &packed.grad, *expected_g = &padded.grad;
    assert_close(y->y, test_packed(expected->y, in->lengths), 0, 0, "y");
    assert_close(y->h_last, expected->h_last, 0, 0, "h_last");
    ck_assert(!y->c_last == !expected->c_last);
    if (y->c_last) assert_close(y->c_last, expected->c_last, 0, 0, "c_last");
    assert_close(g->x, test_packed(expected_g->x, in->lengths), 0, 0, "x");
    assert_close(g->w_ih, expected_g->w_ih, 1e-12, 1e-15, "w_ih");
    assert_close(g->w_hh, expected_g->w_hh, 1e-12, 1e-15, "w_hh");
    if (in->h0) assert_close(g->h0, expected_g->h0, 0, 0, "h0");
    if (in->c0) assert_close(g->c0, expected_g->c0, 0, 0, "c0");
    if (in->b_ih) assert_close(g->b_hh, expected_g->b_hh, 1e-12, 1e-15, "b_hh");
    assert_no_error();
}

/* f64, as with products divided in another way: each result and each gradient, b of the same inputs
 * as a. */
static inline void assert_same_recurrent(test_recurrent a, test_recurrent b) {
    assert_no_error();
    ct_tensor *const pairs[][2] = {
        {a.result.y, b.result.y},
        {a.result.h_last, b.result.h_last},
        {a.result.c_last, b.result.c_last},
        {a.grad.x, b.grad.x},
        {a.grad.h0, b.grad.h0},
        {a.grad.c0, b.grad.c0},
        {a.grad.w_ih, b.grad.w_ih},
        {a.grad.w_hh, b.grad.w_hh},
        {a.grad.b_ih, b.grad.b_ih},
        {a.grad.b_hh, b.grad.b_hh},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ck_assert_msg(!pairs[i][0] == !pairs[i][1], "pair %zu", i);
        if (pairs[i][0]) assert_close(pairs[i][0], pairs[i][1], 1e-12, 1e-13, "part");
    }
}

typedef ct_recurrent_result test_forward(ct_recurrent_inputs inputs);
typedef ct_recurrent_grad test_gradient(ct_recurrent_inputs inputs,
                                        const ct_recurrent_result *result,
                                        ct_recurrent_output_grad g, bool need_x);

/* The same on 1 thread and on up to 7. What one gives. */
static inline test_recurrent assert_same_on_threads(ct_recurrent_inputs in,
                                                    ct_recurrent_output_grad g,
                                                    test_forward *forward,
                                                    test_gradient *gradient) {
    enum { MOST_THREADS = 7 };
    int before = ct_threads();
    test_recurrent one = {0};
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        ct_set_threads(threads);
        test_recurrent some = {.result = forward(in)};
        some.grad = gradient(in, &some.result, g, true);
        if (threads == 1) one = some;
        assert_same_recurrent(one, some);
    }
    ct_set_threads(before);
    return one;
}

/* Lengths of n sequences from 1 to `most`, all of them met, long and short ones mixed. */
static inline const int64_t *test_mixed_lengths(int64_t *length, int64_t n, int64_t most) {
    for (int64_t i = 0; i < n; i++) length[i] = 1 + 5 * i % most;
    return length;
}

/* sum a*b of contiguous f64 tensors; 0 where one is NULL */
static inline double test_dot(const ct_tensor *a, const ct_tensor *b) {
    double sum = 0;
    if (!a || !b) return 0;
    const double *x = ct_data(a), *y = ct_data(b);
    for (int64_t i = 0; i < ct_count(a); i++) sum += x[i] * y[i];
    return sum;
}

/* The gradient of loss(context) with respect to x (contiguous f64, which loss reads) by central
 * differences. Their error is about 1e-10 for losses of order 1, so 1e-6 leaves room for steep ones
 * and finds any wrong term. */
static inline void assert_gradient(const ct_tensor *gradient, ct_tensor *x,
                                   double (*loss)(void *context), void *context, const char *what) {
    assert_no_error();
    ck_assert_msg(gradient != NULL, "%s: no gradient", what);
    ct_tensor *expected = ct_empty(CT_F64, CT_CPU, x->shape);
    double *value = ct_data(x), *difference = ct_data(expected);
    for (int64_t i = 0; i < ct_count(x); i++) {
        double kept = value[i], h = 1e-5;
        value[i] = kept + h;
        double above = loss(context);
        value[i] = kept - h;
        double below = loss(context);
        value[i] = kept;
        difference[i] = (above - below) / (2 * h);
    }
    assert_close(gradient, expected, 1e-6, 1e-8, what);
}

/* Same dtype, shape and bits. */
static inline void assert_same_bits(const ct_tensor *a, const ct_tensor *b, const char *what) {
    assert_no_error();
    ck_assert_msg(a && b, "%s: a tensor is NULL", what);
    ck_assert_msg(a->dtype == b->dtype && ct_shape_equal(a->shape, b->shape), "%s: %s and %s", what,
                  ct_tensor_text(a), ct_tensor_text(b));
    ck_assert_msg(ct_is_contiguous(a) && ct_is_contiguous(b), "%s: not contiguous", what);
    size_t bytes = (size_t)ct_count(a) * ct_dtype_size(a->dtype);
    ck_assert_msg(memcmp(ct_data(a), ct_data(b), bytes) == 0, "%s: bits differ", what);
}

#endif
