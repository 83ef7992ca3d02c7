/* SPDX-License-Identifier: Apache-2.0 */
/* Modules, losses and distributions against values recorded from the published code. */
#include "tests/golden.h"

/* ---- GRU -------------------------------------------------------------------------------- */

static void check_gru_cell(const golden *g) {
    ct_module *cell = ct_gru_cell_create(7, 6);
    golden_load(g, cell, "");
    ct_tensor *x = golden_leaf(g, "in.x"), *h = golden_leaf(g, "in.h");
    ct_tensor *y = ct_gru_cell(cell, x, h);
    golden_check(g, y, "out.h");
    ct_backward(golden_loss(g, y, "in.cotangent"));
    golden_check(g, ct_grad(x), "grad.in.x");
    golden_check(g, ct_grad(h), "grad.in.h");
    golden_check_grads(g, cell, "");

    ct_module_zero_grad(cell);
    y = ct_gru_cell(cell, x, NULL);
    golden_check(g, y, "zero_h.out.h");
    ct_backward(golden_loss(g, y, "in.cotangent"));
    golden_check_grads(g, cell, "zero_h.");
    ct_module_destroy(cell);
}

START_TEST(gru_cell) { golden_in_both("gru_cell", check_gru_cell); }
END_TEST

/* y (B,T,C) at each row's last valid step. */
static ct_tensor *last_valid(const ct_tensor *y, const ct_tensor *lengths) {
    int64_t rows = y->shape.dim[0], width = y->shape.dim[2];
    ct_tensor *last = ct_zeros(y->dtype, CT_CPU, CT_SHAPE(rows, width));
    for (int64_t b = 0; b < rows; b++) {
        int64_t step = (int64_t)ct_get(lengths, b) - 1;
        for (int64_t c = 0; c < width; c++) {
            ct_set(last, b * width + c, ct_get(y, (b * y->shape.dim[1] + step) * width + c));
        }
    }
    return last;
}

static void check_packed(const golden *g, ct_module *gru, const char *prefix) {
    char name[256];
    golden_load(g, gru, "");
    ct_tensor *x = golden_leaf(g, golden_join(name, prefix, "in.x"));
    ct_tensor *h0 = NULL;
    if (golden_has(g, golden_join(name, prefix, "in.h0"))) h0 = golden_leaf(g, name);
    bool packed = golden_has(g, golden_join(name, prefix, "in.lengths"));
    ct_tensor *lengths = packed ? golden_get(g, name) : NULL;
    ct_tensor *h_n;
    ct_tensor *y = ct_gru(gru, x, h0, lengths, &h_n);
    assert_no_error();
    ct_tensor *reference =
        golden_stored(g, golden_join(name, prefix, packed ? "out.padded" : "out.y"));
    ct_tensor *shown = ct_slice(y, 1, 0, reference->shape.dim[1], 1);
    golden_check(g, shown, name);
    golden_check(g, h_n, golden_join(name, prefix, "out.h_n"));
    if (golden_has(g, golden_join(name, prefix, "out.last"))) {
        golden_check(g, last_valid(shown, lengths), name);
    }
    const char *weights = packed ? "in.cotangent.padded" : "in.cotangent.y";
    ct_tensor *loss = golden_loss(g, shown, golden_join(name, prefix, weights));
    loss = ct_add(loss, golden_loss(g, h_n, golden_join(name, prefix, "in.cotangent.h_n")));
    ct_backward(loss);
    golden_check(g, ct_grad(x), golden_join(name, prefix, "grad.in.x"));
    if (h0) golden_check(g, ct_grad(h0), golden_join(name, prefix, "grad.in.h0"));
    golden_check_grads(g, gru, prefix);
}

static void check_gru_packed(const golden *g) {
    ct_module *gru = ct_gru_create(4, 6, NULL);
    check_packed(g, gru, "sorted.");
    check_packed(g, gru, "unsorted.");
    ct_module_destroy(gru);
}

START_TEST(gru_packed) { golden_in_both("gru_packed", check_gru_packed); }
END_TEST

static void check_gru_bidirectional(const golden *g) {
    ct_module *gru =
        ct_gru_create(5, 3, &(ct_rnn_options){.layers = 2, .bidirectional = true, .bias = true});
    check_packed(g, gru, "full.");
    check_packed(g, gru, "packed.");
    ct_module_destroy(gru);
}

START_TEST(gru_bidirectional_2layer) {
    golden_in_both("gru_bidirectional_2layer", check_gru_bidirectional);
}
END_TEST

/* ---- batch norm ------------------------------------------------------------------------- */

static void check_batch_norm_mode(const golden *g, const char *shape, const char *mode,
                                  double momentum) {
    char prefix[64], full[128], name[256];
    snprintf(prefix, sizeof prefix, "%s.", shape);
    snprintf(full, sizeof full, "%s.%s.", shape, mode);
    ct_batch_norm_options options = ct_batch_norm_defaults();
    options.momentum = momentum;
    ct_module *norm = ct_batch_norm_create(5, &options);
    golden_load(g, norm, prefix);
    bool training = strcmp(mode, "eval") != 0;
    ct_module_train(norm, training);
    ct_tensor *x = golden_leaf(g, golden_join(name, prefix, "in.x"));
    ct_tensor *y = ct_batch_norm(norm, x);
    golden_check(g, y, golden_join(name, full, "out.y"));
    ct_backward(golden_loss(g, y, golden_join(name, prefix, "in.cotangent")));
    golden_check(g, ct_grad(x), golden_join(name, full, "grad.in.x"));
    golden_check_grads(g, norm, full);
    if (training) golden_check_buffers(g, norm, full);
    ct_module_destroy(norm);
}

static void check_batch_norm(const golden *g) {
    const char *const shapes[] = {"bc", "bcl"};
    for (int i = 0; i < 2; i++) {
        check_batch_norm_mode(g, shapes[i], "m0.1", 0.1);
        check_batch_norm_mode(g, shapes[i], "m0.01", 0.01);
        check_batch_norm_mode(g, shapes[i], "eval", 0.1);
    }
}

START_TEST(batchnorm1d) { golden_in_both("batchnorm1d", check_batch_norm); }
END_TEST

static void check_batch_norm_pictures(const golden *g) {
    check_batch_norm_mode(g, "bchw", "m0.1", 0.1);
    check_batch_norm_mode(g, "bchw", "m0.01", 0.01);
    check_batch_norm_mode(g, "bchw", "eval", 0.1);
}

START_TEST(batchnorm2d) { golden_in_both("batchnorm2d", check_batch_norm_pictures); }
END_TEST

/* ---- pooling ---------------------------------------------------------------------------- */

/* Output and input gradient under a prefix, as record_layers.py records them. */
static void check_recorded(const golden *g, const char *prefix, ct_tensor *x, ct_tensor *y) {
    char name[256];
    golden_check(g, y, golden_join(name, prefix, "out.y"));
    ct_zero_grad(x);
    ct_backward(golden_loss(g, y, golden_join(name, prefix, "in.cotangent")));
    golden_check(g, ct_grad(x), golden_join(name, prefix, "grad.in.x"));
}

/* The modules, which do what the operations do. */
static void check_pool(const golden *g, const char *prefix, ct_module *pool) {
    ct_tensor *x = golden_leaf(g, "in.x");
    check_recorded(g, prefix, x, ct_forward(pool, x));
    ct_module_destroy(pool);
}

static void check_pools(const golden *g) {
    const struct {
        int64_t kernel, stride;
        ct_max_pool2d_options options; /* padding, dilation, ceil_mode */
    } cases[] = {
        {2, 2, {0, 1, false}}, {3, 2, {1, 1, false}}, {3, 2, {1, 1, true}}, {2, 3, {1, 2, true}}};
    for (int i = 0; i < 4; i++) {
        char name[64], prefix[80];
        ct_max_pool2d_options o = cases[i].options;
        snprintf(name, sizeof name, "%d%d%d%d%d", (int)cases[i].kernel, (int)cases[i].stride,
                 (int)o.padding, (int)o.dilation, o.ceil_mode);
        snprintf(prefix, sizeof prefix, "max%s.", name);
        check_pool(g, prefix, ct_max_pool2d_create(cases[i].kernel, cases[i].stride, &o));
        for (int counted = 0; o.dilation == 1 && counted < 2; counted++) {
            ct_avg_pool2d_options mean = {o.padding, o.ceil_mode, counted};
            snprintf(prefix, sizeof prefix, "avg%s%d.", name, counted);
            check_pool(g, prefix, ct_avg_pool2d_create(cases[i].kernel, cases[i].stride, &mean));
        }
    }
    check_pool(g, "adaptive11.", ct_adaptive_avg_pool2d_create(1, 1));
    check_pool(g, "adaptive43.", ct_adaptive_avg_pool2d_create(4, 3));
    check_pool(g, "adaptive79.", ct_adaptive_avg_pool2d_create(7, 9));
}

START_TEST(pooling) { golden_in_both("pooling", check_pools); }
END_TEST

/* ---- transformer ------------------------------------------------------------------------ */

static void check_transformer_layer(const golden *g, const char *prefix, bool norm_first,
                                    const char *activation, bool causal) {
    ct_transformer_layer_options options = ct_transformer_layer_defaults();
    options.norm_first = norm_first;
    options.activation = activation;
    options.causal = causal;
    ct_module *layer = ct_transformer_layer_create(8, 2, 12, &options);
    golden_load(g, layer, "");
    ct_tensor *mask = NULL, *x = golden_leaf(g, "in.x");
    if (!causal) {
        mask = ct_tensor_cast(golden_get(g, "in.padding"), CT_U8);
        mask = ct_tensor_reshape(mask, CT_SHAPE(2, 1, 1, 5));
    }
    check_recorded(g, prefix, x, ct_transformer_layer(layer, x, mask));
    golden_check_grads(g, layer, prefix);
    ct_module_destroy(layer);
}

static void check_transformer(const golden *g) {
    check_transformer_layer(g, "post.", false, "relu", false);
    check_transformer_layer(g, "pre.", true, "gelu", false);
    check_transformer_layer(g, "causal.", true, "gelu", true);
    ct_module *patches = ct_patch_embedding_create(3, 5, 2);
    golden_load(g, patches, "patches.");
    ct_tensor *x = golden_leaf(g, "patches.in.x");
    check_recorded(g, "patches.", x, ct_patch_embedding(patches, x));
    golden_check_grads(g, patches, "patches.");
    ct_module_destroy(patches);
}

START_TEST(transformer) { golden_in_both("transformer", check_transformer); }
END_TEST

/* ---- distributions ---------------------------------------------------------------------- */

/* Hands out the recorded noise of that name, whatever its shape. */
static bool replay(void *context, const char *name, ct_tensor *out) {
    const golden *g = context;
    bool ok = false;
    CT_SCOPE {
        ct_tensor *noise = ct_tensor_reshape(golden_stored(g, name), out->shape);
        ok = noise && ct_tensor_copy_to(out, noise);
    }
    return ok;
}

static ct_tensor *one_hot(ct_tensor *index, ct_tensor *like) {
    ct_tensor *y = ct_zeros(like->dtype, like->device, like->shape);
    ct_tensor_scatter_add_to(y, -1, index, ct_full(like->dtype, like->device, index->shape, 1));
    return y;
}

/* y, then the action drawn from it, straight through, and its log-probability. */
static void check_gumbel_mode(const golden *g, ct_rng *rng, const char *prefix) {
    char name[256];
    bool training = rng != NULL;
    double temperature = golden_number(g, "temperature");
    ct_tensor *logits = golden_leaf(g, "in.logits");
    ct_tensor *y = training ? ct_gumbel_softmax(logits, temperature, false, rng, "noise.gumbel_u")
                            : ct_softmax(ct_scale(logits, 1 / temperature), -1);
    golden_check(g, y, golden_join(name, prefix, "out.y"));
    ct_tensor *log_y = ct_log(y);
    ct_tensor *index =
        training ? ct_categorical_sample(log_y, rng, "noise.index_v") : ct_tensor_argmax(y, -1);
    golden_check(g, ct_unsqueeze(index, -1), golden_join(name, prefix, "out.ind"));
    ct_tensor *log_prob = ct_unsqueeze(ct_categorical_log_prob(log_y, index), -1);
    golden_check(g, ct_exp(log_prob), golden_join(name, prefix, "out.prob"));
    ct_tensor *y_hard = ct_add(one_hot(ct_tensor_unsqueeze(index, -1), y), ct_sub(y, ct_detach(y)));
    golden_check(g, y_hard, golden_join(name, prefix, "out.y_hard"));
    ct_backward(ct_add(golden_loss(g, y_hard, "in.cotangent.y_hard"),
                       golden_loss(g, log_prob, "in.cotangent.log_prob")));
    golden_check(g, ct_grad(logits), golden_join(name, prefix, "grad.in.logits"));
}

static void check_gumbel(const golden *g) {
    ct_rng rng = ct_rng_create(0, 0);
    rng.replay = replay;
    rng.replay_context = (void *)g;
    check_gumbel_mode(g, &rng, "");
    check_gumbel_mode(g, NULL, "eval.");
}

START_TEST(gumbel_softmax) { golden_in_both("gumbel_softmax", check_gumbel); }
END_TEST

static void check_normal(const golden *g) {
    ct_tensor *x = golden_leaf(g, "in.x"), *mu = golden_leaf(g, "in.mu");
    ct_tensor *std = golden_leaf(g, "in.std");
    ct_tensor *log_prob = ct_normal_log_prob(x, mu, std);
    golden_check(g, log_prob, "out.log_prob");
    ct_backward(golden_loss(g, log_prob, "in.cotangent"));
    golden_check(g, ct_grad(x), "grad.in.x");
    golden_check(g, ct_grad(mu), "grad.in.mu");
    golden_check(g, ct_grad(std), "grad.in.std");
}

START_TEST(normal_logprob) { golden_in_both("normal_logprob", check_normal); }
END_TEST

/* ---- optimisers ------------------------------------------------------------------------- */

typedef struct {
    const golden *g;
    const char *optimizer;
} state_walk;

static bool check_state(void *context, const char *name, ct_tensor *x, bool buffer) {
    const state_walk *walk = context;
    char full[256];
    snprintf(full, sizeof full, "%s.state.%s", walk->optimizer, name);
    ck_assert(buffer);
    if (strncmp(name, "step.", 5) == 0) {
        ck_assert_int_eq((int)ct_item(x), 5);
    } else {
        golden_check(walk->g, x, full);
    }
    return true;
}

/* Five steps on the recorded gradients; the learning rate is halved before the third. */
static void check_optimizer(const golden *g, const char *name, ct_module *module,
                            ct_optimizer *optimizer) {
    for (int step = 1; step <= 5; step++) {
        char text[256];
        if (step == 3) ct_optimizer_set_lr(optimizer, ct_optimizer_lr(optimizer) / 2);
        for (int i = 0; i < 3; i++) {
            const char *const parameters[] = {"p0", "p1", "p2"};
            snprintf(text, sizeof text, "step%d.in.grad.%s", step, parameters[i]);
            ct_set_grad(ct_module_tensor(module, parameters[i]), golden_get(g, text));
        }
        ck_assert_msg(ct_optimizer_step(optimizer), "%s: %s", name, ct_error());
        snprintf(text, sizeof text, "%s.step%d.out.total_norm", name, step);
        if (golden_has(g, text)) {
            golden_check(g, ct_scalar(CT_F64, CT_CPU, ct_optimizer_grad_norm(optimizer)), text);
        }
        for (int i = 0; i < 3; i++) {
            const char *const parameters[] = {"p0", "p1", "p2"};
            snprintf(text, sizeof text, "%s.step%d.param_after.%s", name, step, parameters[i]);
            bool f64 = g->dtype == CT_F64;
            golden_check_within(g, ct_module_tensor(module, parameters[i]), text, f64 ? 1e-9 : 0,
                                f64 ? 1e-12 : 1e-6);
        }
    }
    state_walk walk = {g, name};
    ck_assert(ct_optimizer_visit(optimizer, check_state, &walk));
    ct_optimizer_destroy(optimizer);
}

static ct_module *three_parameters(const golden *g) {
    ct_module *module = ct_module_create("three");
    ct_module_parameter(module, "p0", golden_get(g, "param.p0"));
    ct_module_parameter(module, "p1", golden_get(g, "param.p1"));
    ct_module_parameter(module, "p2", golden_get(g, "param.p2"));
    assert_no_error();
    return module;
}

static void check_optimizers(const golden *g) {
    double lr = golden_number(g, "lr");
    for (int kind = 0; kind < 5; kind++) {
        static const char *const names[] = {"adam_clip", "adam_wd", "adamw", "sgd_momentum",
                                            "sgd_nesterov_wd"};
        ct_module *module = three_parameters(g);
        ct_adam_options clip = {.lr = lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
        ct_adam_options decay = {
            .lr = lr, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.01};
        ct_adamw_options decoupled = clip;
        decoupled.weight_decay = 0.05;
        ct_sgd_options momentum = {.lr = 0.03, .momentum = 0.9};
        ct_sgd_options nesterov = {
            .lr = 0.03, .momentum = 0.8, .weight_decay = 0.02, .nesterov = true};
        ct_optimizer *optimizer = kind == 0   ? ct_adam_create(module, &clip)
                                  : kind == 1 ? ct_adam_create(module, &decay)
                                  : kind == 2 ? ct_adamw_create(module, &decoupled)
                                  : kind == 3 ? ct_sgd_create(module, &momentum)
                                              : ct_sgd_create(module, &nesterov);
        if (kind == 0) ct_optimizer_clip_norm(optimizer, golden_number(g, "clip"));
        check_optimizer(g, names[kind], module, optimizer);
        ct_module_destroy(module);
    }
}

START_TEST(adam_clip) { golden_in_both("adam_clip", check_optimizers); }
END_TEST

TEST_MAIN("nn golden", gru_cell, gru_packed, gru_bidirectional_2layer, batchnorm1d, batchnorm2d,
          pooling, transformer, gumbel_softmax, normal_logprob, adam_clip)
