/* SPDX-License-Identifier: Apache-2.0 */
/* What was saved for backward and then changed in place is an error, by whatever way it changed;
 * everything else stays allowed. */
#include "autograd/op.h"
#include "tests/autograd/autograd_test.h"

/* ---- every way to write ----------------------------------------------------------------- */

static ct_tensor *position(int64_t at) {
    return ct_tensor_cast(ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(1), (double[]){(double)at}),
                          CT_I64);
}

static ct_tensor *ones(ct_shape shape) { return ct_full(CT_F64, CT_CPU, shape, 1); }

static bool by_fill(ct_tensor *x) { return ct_tensor_fill(x, 2); }
static bool by_set(ct_tensor *x) { return ct_set(x, 1, 2); }
static bool by_write(ct_tensor *x) { return ct_write(x, (double[]){7, 8, 9}); }
static bool by_copy(ct_tensor *x) { return ct_tensor_copy_to(x, vector(7, 8, 9)); }
static bool by_casting_copy(ct_tensor *x) {
    return ct_tensor_copy_to(x, ct_scalar(CT_F32, CT_CPU, 1));
}
static bool by_add(ct_tensor *x) { return ct_tensor_add_to(x, 1, vector(1, 1, 1)); }
static bool by_scale(ct_tensor *x) { return ct_tensor_scale_in_place(x, 2); }

static bool by_product(ct_tensor *x) {
    ct_tensor *c = ct_tensor_reshape(x, CT_SHAPE(3, 1));
    return ct_tensor_matmul_to(c, 1, ones(CT_SHAPE(3, 2)), ones(CT_SHAPE(2, 1)), 0);
}

static bool by_index_add(ct_tensor *x) {
    return ct_tensor_index_add_to(x, 0, position(1), ones(CT_SHAPE(1)));
}

static bool by_scatter_add(ct_tensor *x) {
    return ct_tensor_scatter_add_to(x, 0, position(2), ones(CT_SHAPE(1)));
}

static ct_tensor *rates(int64_t count) { return ct_full(CT_F64, CT_CPU, CT_SHAPE(count), 1); }

static bool by_adam(ct_tensor *x) {
    ct_tensor *grad = vector(1, 1, 1), *mean = vector(0, 0, 0), *square = vector(0, 0, 0);
    ct_tensor *rate = rates(CT_ADAM_RATES);
    return ct_tensor_adam(&x, &grad, &mean, &square, &rate, 1,
                          (ct_tensor_adam_options){.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8});
}

static bool by_moments_of_adam(ct_tensor *x) {
    ct_tensor *param = vector(1, 1, 1), *grad = vector(1, 1, 1), *square = vector(0, 0, 0);
    ct_tensor *rate = rates(CT_ADAM_RATES);
    return ct_tensor_adam(&param, &grad, &x, &square, &rate, 1,
                          (ct_tensor_adam_options){.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8});
}

static bool by_sgd(ct_tensor *x) {
    ct_tensor *grad = vector(1, 1, 1), *buffer = NULL, *rate = rates(CT_SGD_RATES);
    return ct_tensor_sgd(&x, &grad, &buffer, &rate, 1, (ct_tensor_sgd_options){0});
}

static bool by_buffers_of_sgd(ct_tensor *x) {
    ct_tensor *param = vector(1, 1, 1), *grad = vector(1, 1, 1), *rate = rates(CT_SGD_RATES);
    return ct_tensor_sgd(&param, &grad, &x, &rate, 1, (ct_tensor_sgd_options){.momentum = 0.9});
}

static bool by_upload(ct_tensor *x) {
    ct_upload *upload = ct_upload_create(CT_CPU);
    double next[3] = {7, 8, 9};
    bool sent = ct_upload_send(upload, &(ct_upload_item){x, next}, 1);
    ct_upload_destroy(upload);
    return sent;
}

static bool by_pointer(ct_tensor *x) {
    ((double *)ct_data(x))[0] = 7;
    ct_mark_written(x);
    return true;
}

static const struct {
    const char *name;
    bool (*write)(ct_tensor *x);
} writers[] = {
    {"fill", by_fill},
    {"set", by_set},
    {"write", by_write},
    {"copy", by_copy},
    {"casting copy", by_casting_copy},
    {"add", by_add},
    {"scale", by_scale},
    {"product", by_product},
    {"index add", by_index_add},
    {"scatter add", by_scatter_add},
    {"adam", by_adam},
    {"moments of adam", by_moments_of_adam},
    {"sgd", by_sgd},
    {"buffers of sgd", by_buffers_of_sgd},
    {"upload", by_upload},
    {"pointer", by_pointer},
};
enum { WRITERS = sizeof writers / sizeof *writers };

START_TEST(every_way_to_write_is_noticed) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *factor = vector(4, 5, 6);
        ct_tensor *y = ct_sum_all(ct_mul(x, factor));
        uint64_t before = ct_write_count(factor);
        ck_assert_msg(writers[_i].write(factor), "%s: %s", writers[_i].name, ct_error());
        ck_assert_uint_gt(ct_write_count(factor), before);
        ck_assert(!ct_backward(y));
        assert_error("backward of 'mul': input 1, f64 (3), was changed in place after 'mul' had "
                     "saved it");
        ck_assert_ptr_null(ct_grad(x));
        ck_assert(ct_backward(ct_sum_all(ct_mul(x, factor)))); /* as it is now */
        assert_close(ct_grad(x), factor, 0, 0, writers[_i].name);
    }
    assert_no_error();
}
END_TEST

/* A strided view is written by another way: through a copy, at times. */
START_TEST(writes_through_views_are_noticed) {
    CT_SCOPE {
        ct_tensor *pairs = ones(CT_SHAPE(3, 2)), *column = ct_tensor_slice(pairs, 1, 1, 2, 1);
        ct_tensor *x = ct_require_grad(ones(CT_SHAPE(3, 2)));
        ct_tensor *y = ct_sum_all(ct_mul(x, pairs));
        column = ct_tensor_squeeze(column, 1);
        ct_tensor *z = ct_sum_all(ct_mul(ct_select(x, 1, 0), column));
        ck_assert(ct_tensor_index_add_to(column, 0, position(1), ones(CT_SHAPE(1))));
        ck_assert(!ct_backward(y));
        assert_error("input 1, f64 (3,2), was changed in place");
        ck_assert(!ct_backward(z));
        assert_error("input 1, f64 (3), was changed in place");

        ct_tensor *late = ct_sum_all(ct_mul(ct_select(x, 1, 0), column));
        ck_assert(ct_tensor_fill(pairs, 3));
        ck_assert(!ct_backward(late));
        assert_error("'mul': input 1, f64 (3), was changed in place");
    }
    assert_no_error();
}
END_TEST

/* ---- what is named ---------------------------------------------------------------------- */

START_TEST(results_and_inputs_are_named) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = ct_exp(x);
        ck_assert(ct_tensor_scale_in_place(y, 2));
        ck_assert(!ct_backward(ct_sum_all(y)));
        assert_error("backward of 'exp': output 0, f64 (3), was changed in place after "
                     "'exp' had saved it");

        ct_tensor *inside = ct_sum_all(ct_square(ct_exp(x)));
        ck_assert(ct_set(x, 0, 5));
        ck_assert(ct_backward(inside)); /* exp saved its result, which is as it was */
        ct_tensor *squared = ct_sum_all(ct_square(x));
        ck_assert(ct_set(x, 0, 6));
        ck_assert(!ct_backward(squared));
        assert_error("backward of 'square': input 0, f64 (3), was changed");
    }
    assert_no_error();
}
END_TEST

static ct_tensor *squared_difference(void *context, ct_tensor *const *inputs, int count) {
    (void)count;
    return ct_square(ct_sub(inputs[0], context));
}

START_TEST(checkpoints_name_their_input) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *target = leaf(1, 1, 1), *input = ct_scale(x, 2);
        ct_tensor *y = ct_sum_all(ct_checkpoint(squared_difference, target, &input, 1));
        ck_assert(ct_tensor_fill(input, 0));
        ck_assert(!ct_backward(y));
        assert_error("backward of 'checkpoint': input 0, f64 (3), was changed in place");

        y = ct_sum_all(ct_checkpoint(squared_difference, target, &x, 1));
        ck_assert(ct_tensor_fill(target, 0));
        ck_assert(!ct_backward(y));
        assert_error("backward of 'checkpoint': input 1, f64 (3), was changed in place");

        y = ct_sum_all(ct_checkpoint(squared_difference, target, &x, 1));
        ck_assert(ct_backward(y));
    }
    assert_no_error();
}
END_TEST

static bool product_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_mul(g[0], ct_saved(node, 7)); /* beyond the room that a node has */
    return gx[0] != NULL;
}

START_TEST(operations_of_ones_own_are_named) {
    static const ct_op op = {.name = "own product", .backward = product_backward};
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *factor = vector(4, 5, 6), *other = vector(0, 0, 0);
        ct_tensor *y = ct_tensor_mul(x, factor);
        ct_node *node = ct_record(&op, 1, &x, 1, &y);
        for (int i = 0; i < 7; i++) ct_save(node, i % 2 ? NULL : other);
        ct_save(node, factor);
        ct_tensor *gradient = vector(1, 1, 1);
        ck_assert(ct_backward_from(&y, &gradient, 1, true));
        assert_vector(ct_grad(x), 4, 5, 6, "nothing was changed");
        ck_assert(ct_tensor_fill(factor, 1));
        ck_assert(!ct_backward_from(&y, &gradient, 1, true));
        assert_error("backward of 'own product': a tensor, f64 (3), was changed");
    }
    assert_no_error();
}
END_TEST

/* ---- what stays allowed ----------------------------------------------------------------- */

START_TEST(what_no_gradient_needs_may_change) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *shift = vector(4, 5, 6), *factor = vector(1, 2, 1);
        ck_assert(ct_tensor_fill(factor, 2)); /* before it is saved */
        ct_tensor *y = ct_sum_all(ct_mul(ct_add(x, shift), factor));
        ck_assert(ct_tensor_fill(shift, 0));
        ck_assert(ct_tensor_fill(x, 0));
        ck_assert(ct_tensor_copy_to(factor, factor)); /* changes nothing */
        ck_assert(ct_backward(y));
        assert_vector(ct_grad(x), 2, 2, 2, "the sum saved neither");
        ck_assert(ct_tensor_fill(factor, 0)); /* after it was used */
        ck_assert(ct_tensor_fill(ct_grad(x), 0));
    }
    assert_no_error();
}
END_TEST

/* A step between two backwards over one graph: the second would mix old values with new ones. */
START_TEST(an_update_belongs_behind_the_last_backward) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3);
        for (int step = 0; step < 3; step++) {
            ct_tensor *y = ct_sum_all(ct_square(x)), *gradient = ct_scalar(CT_F64, CT_CPU, 1);
            ck_assert(ct_backward_from(&y, &gradient, 1, true));
            ck_assert(ct_backward_from(&y, &gradient, 1, true));
            ck_assert(ct_tensor_add_to(x, -0.1, ct_grad(x)));
            ck_assert(!ct_backward(y));
            assert_error("backward of 'square': input 0, f64 (3), was changed");
            ct_zero_grad(x);
        }
    }
    assert_no_error();
}
END_TEST

START_TEST(counts_are_of_a_storage) {
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(2, 3)), *y = ct_tensor_transpose(x, 0, 1);
        ck_assert_uint_eq(ct_write_count(x), 0);
        ck_assert(ct_tensor_fill(y, 1));
        ck_assert_uint_eq(ct_write_count(x), ct_write_count(y));
        ck_assert_uint_eq(ct_write_count(x), 1);
        ck_assert_uint_eq(ct_write_count(ct_tensor_copy(x)), 1); /* a storage of its own */
        ck_assert_uint_eq(ct_write_count(x), 1);
        ck_assert_uint_eq(ct_write_count(NULL), 0);
        ct_mark_written(NULL);
    }
    assert_no_error();
}
END_TEST

int main(void) {
    const looped_test tests[] = {
        {every_way_to_write_is_noticed, WRITERS},
        {writes_through_views_are_noticed, 1},
        {results_and_inputs_are_named, 1},
        {checkpoints_name_their_input, 1},
        {operations_of_ones_own_are_named, 1},
        {what_no_gradient_needs_may_change, 1},
        {an_update_belongs_behind_the_last_backward, 1},
        {counts_are_of_a_storage, 1},
    };
    return run_looped_suite("changed", tests, sizeof tests / sizeof *tests);
}
