/* SPDX-License-Identifier: Apache-2.0 */
/* A convolution with the batch norm behind it: folded into one, or one after the other. */
#include "nn/nn.h"
#include "tests/test.h"

/* in, out, kernel, options of the convolution. */
static const struct {
    int64_t in, out, kernel;
    ct_conv2d_options options; /* stride, dilation, padding, groups, bias */
} cases[] = {
    {3, 5, 3, {1, 1, 1, 1, false}}, {4, 4, 3, {2, 1, 1, 4, false}}, {4, 6, 1, {1, 1, 0, 1, true}},
    {4, 6, 2, {2, 2, 3, 2, true}},  {2, 1, 1, {1, 1, 0, 1, false}},
};
enum { CASES = sizeof cases / sizeof *cases };

static ct_tensor *real(ct_shape shape, uint64_t stream, double low, double high) {
    ct_rng rng = ct_rng_create(21, stream);
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, shape);
    ct_init_uniform(x, low, high, &rng);
    return x;
}

typedef struct {
    ct_module *conv, *norm;
    ct_tensor *x, *added;
} layers;

static void set(ct_module *module, const char *name, uint64_t stream, double low, double high) {
    ct_tensor *x = ct_module_tensor(module, name);
    CT_NO_GRAD ck_assert(ct_tensor_copy_to(x, real(x->shape, stream, low, high)));
}

/* In evaluation, with statistics that are those of no batch. */
static layers make_layers(int i) {
    ct_seed(3);
    layers l = {ct_conv2d_create(cases[i].in, cases[i].out, cases[i].kernel, &cases[i].options),
                ct_batch_norm_create(cases[i].out, NULL), NULL, NULL};
    ct_module_to_dtype(l.conv, CT_F64);
    ct_module_to_dtype(l.norm, CT_F64);
    set(l.norm, "weight", 1, -2, 2);
    set(l.norm, "bias", 2, -2, 2);
    set(l.norm, "running_mean", 3, -1, 1);
    set(l.norm, "running_var", 4, 0.1, 2);
    ct_module_train(l.conv, false);
    ct_module_train(l.norm, false);
    l.x = real(CT_SHAPE(2, cases[i].in, 7, 6), 5, -3, 3);
    CT_NO_GRAD l.added = real(ct_conv2d(l.conv, l.x)->shape, 6, -1, 1);
    assert_no_error();
    return l;
}

static void destroy(layers l) {
    ct_module_destroy(l.conv);
    ct_module_destroy(l.norm);
}

static ct_tensor *composed(layers l, ct_tensor *added, int activation) {
    ct_tensor *y = ct_batch_norm(l.norm, ct_conv2d(l.conv, l.x));
    if (added) y = ct_add(y, added);
    return activation == CT_NO_ACTIVATION ? y
           : activation == CT_RELU        ? ct_relu(y)
                                          : ct_clamp(y, 0, 6);
}

START_TEST(folded_is_one_after_the_other) {
    for (int with = 0; with < 2; with++) {
        for (int a = 0; a <= CT_RELU6; a++) {
            CT_SCOPE {
                layers l = make_layers(_i);
                ct_tensor *added = with ? l.added : NULL;
                ct_tensor *recorded = ct_conv2d_norm(l.conv, l.norm, l.x, added, (ct_activation)a);
                ct_tensor *expected = composed(l, added, a), *folded = NULL;
                assert_no_error();
                ck_assert(ct_requires_grad(recorded));
                assert_close(recorded, expected, 0, 0, "recorded");
                CT_NO_GRAD folded = ct_conv2d_norm(l.conv, l.norm, l.x, added, (ct_activation)a);
                assert_no_error();
                assert_close(folded, expected, 1e-12, 1e-12, "folded");
                destroy(l);
            }
        }
    }
}
END_TEST

static void forget(ct_module *module, const char *name) {
    ct_tensor *x = ct_module_tensor(module, name);
    if (x) ct_forget_grad(x);
}

/* One input that needs a gradient is enough for all to be recorded. */
START_TEST(gradients_flow) {
    CT_SCOPE {
        layers l = make_layers(2);
        const char *const names[] = {"weight", "bias"};
        for (int i = 0; i < 2; i++) {
            forget(l.conv, names[i]);
            forget(l.norm, names[i]);
        }
        ct_tensor *one[] = {l.x,
                            l.added,
                            ct_module_tensor(l.conv, "weight"),
                            ct_module_tensor(l.conv, "bias"),
                            ct_module_tensor(l.norm, "weight"),
                            ct_module_tensor(l.norm, "bias")};
        ck_assert(!ct_requires_grad(ct_conv2d_norm(l.conv, l.norm, l.x, l.added, CT_RELU)));
        for (int i = 0; i < 6; i++) {
            ct_require_grad(one[i]);
            ct_backward(ct_sum_all(ct_conv2d_norm(l.conv, l.norm, l.x, l.added, CT_RELU)));
            assert_no_error();
            ck_assert(ct_grad(one[i]) != NULL);
            ct_tensor *grad = ct_tensor_copy(ct_grad(one[i]));
            ct_zero_grad(one[i]);
            ct_backward(ct_sum_all(composed(l, l.added, CT_RELU)));
            assert_close(grad, ct_grad(one[i]), 0, 0, "gradient");
            ct_forget_grad(one[i]);
        }
        destroy(l);
    }
}
END_TEST

/* Batch statistics, in training or by the norm's options, are never folded. */
START_TEST(training_takes_batch_statistics) {
    CT_SCOPE {
        layers l = make_layers(0);
        ct_module_train(l.norm, true);
        ct_tensor *y = NULL;
        CT_NO_GRAD y = ct_conv2d_norm(l.conv, l.norm, l.x, NULL, CT_RELU);
        double count = ct_get(ct_module_tensor(l.norm, "num_batches_tracked"), 0);
        ck_assert_double_eq(count, 1);
        assert_close(y, composed(l, NULL, CT_RELU), 0, 0, "y");
        destroy(l);
    }
}
END_TEST

START_TEST(refusals) {
    CT_SCOPE {
        layers l = make_layers(0);
        ct_module *other = ct_batch_norm_create(1, NULL);
        ct_module_to_dtype(other, CT_F64);
        ct_module_train(other, false);
        CT_NO_GRAD {
            ck_assert(!ct_conv2d_norm(l.norm, l.norm, l.x, NULL, CT_RELU));
            assert_error("conv2d_norm: the module is a batch_norm");
            ck_assert(!ct_conv2d_norm(l.conv, l.conv, l.x, NULL, CT_RELU));
            assert_error("conv2d_norm: the module is a conv2d");
            ck_assert(!ct_conv2d_norm(l.conv, other, l.x, NULL, CT_RELU));
            assert_error("expected 1 channels");
            ck_assert(!ct_conv2d_norm(l.conv, l.norm, l.x, l.x, CT_RELU));
            assert_error("added is f64 (2,3,7,6), expected (2,5,7,6)");
            ck_assert(!ct_conv2d_norm(l.conv, l.norm, l.x, NULL, (ct_activation)7));
            assert_error("conv2d_norm: activation is 7, expected one of ct_activation");
            ck_assert(!ct_conv2d_norm(l.conv, l.norm, NULL, NULL, CT_RELU));
            assert_error("conv2d");
        }
        ck_assert(!ct_conv2d_norm(l.conv, l.norm, l.x, l.x, CT_RELU));
        assert_error("added is f64 (2,3,7,6)");
        ct_module_destroy(other);
        destroy(l);
    }
}
END_TEST

LOOPED_TEST_MAIN("nn conv2d", {folded_is_one_after_the_other, CASES}, {gradients_flow, 1},
                 {training_takes_batch_statistics, 1}, {refusals, 1})
