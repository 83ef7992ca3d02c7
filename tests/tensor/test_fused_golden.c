/* SPDX-License-Identifier: Apache-2.0 */
/* Fused computations against values recorded from PyTorch (tests/golden/README.md), in f64 and f32
 * with the tolerances given there. */
#include "tensor/matching/matching.h"
#include "tests/tensor/fused_test.h"

typedef struct {
    ct_safetensors *file;
    ct_dtype dtype;
    const char *prefix; /* put before every name */
} recorded;

static recorded open_recorded(const char *name, ct_dtype dtype) {
    const char *root = getenv("CT_TEST_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", root ? root : ".", name);
    recorded r = {ct_safetensors_open(path), dtype, ""};
    assert_no_error();
    return r;
}

static ct_tensor *stored(const recorded *r, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", r->prefix, name);
    ct_tensor *x = ct_safetensors_get(r->file, full);
    assert_no_error();
    return x;
}

/* In the type and on the device that is computed in; integers as they are. */
static ct_tensor *get(const recorded *r, const char *name) {
    ct_tensor *x = stored(r, name);
    x = ct_tensor_cast(x, ct_dtype_is_float(x->dtype) ? r->dtype : x->dtype);
    return ct_tensor_to_device(x, test_device());
}

static void check(const recorded *r, const ct_tensor *x, const char *name) {
    bool exact = r->dtype == CT_F64;
    ct_tensor *expected = stored(r, name);
    ck_assert_msg(x != NULL, "%s%s: NULL", r->prefix, name);
    x = ct_tensor_reshape(x, expected->shape);
    assert_close(x, expected, exact ? 1e-9 : 1e-4, exact ? 1e-12 : 1e-5, name);
}

static const ct_dtype dtypes[] = {CT_F64, CT_F32};

START_TEST(gru_packed) {
    CT_SCOPE {
        recorded r = open_recorded("gru_packed", dtypes[_i]);
        ct_tensor *w_ih = get(&r, "param.weight_ih_l0"), *w_hh = get(&r, "param.weight_hh_l0");
        ct_tensor *b_ih = get(&r, "param.bias_ih_l0"), *b_hh = get(&r, "param.bias_hh_l0");
        for (int unsorted = 0; unsorted < 2; unsorted++) {
            r.prefix = unsorted ? "unsorted." : "sorted.";
            ct_tensor *x = get(&r, "in.x"), *lengths = get(&r, "in.lengths");
            ct_recurrent_inputs in = {
                .x = x, .w_ih = w_ih, .w_hh = w_hh, .b_ih = b_ih, .b_hh = b_hh, .lengths = lengths};
            ct_recurrent_result y = ct_tensor_gru(in);
            check(&r, y.y, "out.padded");
            check(&r, y.h_last, "out.last");
            ct_tensor *g_last = ct_tensor_squeeze(get(&r, "in.cotangent.h_n"), 0);
            ct_tensor *g_y = get(&r, "in.cotangent.padded");
            ct_recurrent_output_grad from = {.y = g_y, .h_last = g_last};
            ct_recurrent_grad g = ct_tensor_gru_grad(in, &y, from, true);
            check(&r, g.x, "grad.in.x");
            check(&r, g.w_ih, "grad.param.weight_ih_l0");
            check(&r, g.w_hh, "grad.param.weight_hh_l0");
            check(&r, g.b_ih, "grad.param.bias_ih_l0");
            check(&r, g.b_hh, "grad.param.bias_hh_l0");
        }
        ct_safetensors_close(r.file);
    }
}
END_TEST

/* One layer, one direction of gru_bidirectional_2layer. */
typedef struct {
    ct_recurrent_inputs in;
    char suffix[16];
    ct_recurrent_result result;
} direction;

static ct_tensor *param(const recorded *r, const char *name, const char *suffix) {
    recorded whole = *r;
    char full[64];
    whole.prefix = "";
    snprintf(full, sizeof full, "param.%s_%s", name, suffix);
    return get(&whole, full);
}

static ct_tensor *layer_forward(const recorded *r, direction *d, int layer, ct_tensor *x,
                                ct_tensor *h0, ct_tensor *lengths) {
    ct_tensor *y[2];
    for (int k = 0; k < 2; k++, d++) {
        snprintf(d->suffix, sizeof d->suffix, "l%d%s", layer, k ? "_reverse" : "");
        int state = 2 * layer + k;
        d->in = (ct_recurrent_inputs){
            .x = x,
            .h0 = ct_tensor_squeeze(ct_tensor_slice(h0, 0, state, state + 1, 1), 0),
            .w_ih = param(r, "weight_ih", d->suffix),
            .w_hh = param(r, "weight_hh", d->suffix),
            .b_ih = param(r, "bias_ih", d->suffix),
            .b_hh = param(r, "bias_hh", d->suffix),
            .lengths = lengths,
            .reverse = k == 1,
        };
        d->result = ct_tensor_gru(d->in);
        y[k] = d->result.y;
    }
    return ct_tensor_concat(y, 2, 2);
}

static ct_tensor *layer_backward(const recorded *r, const direction *d, int layer, ct_tensor *g,
                                 ct_tensor *g_last) {
    int64_t width = d->in.w_hh->shape.dim[1];
    ct_tensor *gx = NULL;
    for (int k = 0; k < 2; k++, d++) {
        ct_tensor *g_half = ct_tensor_slice(g, 2, k * width, (k + 1) * width, 1);
        int state = 2 * layer + k;
        ct_tensor *last = ct_tensor_squeeze(ct_tensor_slice(g_last, 0, state, state + 1, 1), 0);
        ct_recurrent_output_grad from = {.y = g_half, .h_last = last};
        ct_recurrent_grad grad = ct_tensor_gru_grad(d->in, &d->result, from, true);
        char name[64];
        snprintf(name, sizeof name, "grad.param.weight_ih_%s", d->suffix);
        check(r, grad.w_ih, name);
        snprintf(name, sizeof name, "grad.param.weight_hh_%s", d->suffix);
        check(r, grad.w_hh, name);
        snprintf(name, sizeof name, "grad.param.bias_hh_%s", d->suffix);
        check(r, grad.b_hh, name);
        ct_tensor *h0 = ct_tensor_slice(stored(r, "grad.in.h0"), 0, state, state + 1, 1);
        assert_close(grad.h0, ct_tensor_squeeze(h0, 0), r->dtype == CT_F64 ? 1e-9 : 1e-4,
                     r->dtype == CT_F64 ? 1e-12 : 1e-5, "h0");
        gx = gx ? ct_tensor_add(gx, grad.x) : grad.x;
    }
    return gx;
}

START_TEST(gru_bidirectional) {
    for (int packed = 0; packed < 2; packed++) {
        CT_SCOPE {
            recorded r = open_recorded("gru_bidirectional_2layer", dtypes[_i]);
            r.prefix = packed ? "packed." : "full.";
            ct_tensor *lengths = packed ? get(&r, "in.lengths") : NULL, *h0 = get(&r, "in.h0");
            direction d[4];
            ct_tensor *y = layer_forward(&r, d, 0, get(&r, "in.x"), h0, lengths);
            y = layer_forward(&r, d + 2, 1, y, h0, lengths);
            check(&r, y, packed ? "out.padded" : "out.y");
            ct_tensor *g_last = get(&r, "in.cotangent.h_n");
            ct_tensor *g = get(&r, packed ? "in.cotangent.padded" : "in.cotangent.y");
            g = layer_backward(&r, d + 2, 1, g, g_last);
            g = layer_backward(&r, d, 0, g, g_last);
            check(&r, g, "grad.in.x");
            ct_safetensors_close(r.file);
        }
    }
}
END_TEST

START_TEST(batch_norm) {
    CT_SCOPE {
        recorded r = open_recorded("batchnorm1d", dtypes[_i]);
        for (int wide = 0; wide < 2; wide++) {
            recorded in = {r.file, r.dtype, wide ? "bcl." : "bc."};
            recorded train = {r.file, r.dtype, wide ? "bcl.m0.1." : "bc.m0.1."};
            recorded eval = {r.file, r.dtype, wide ? "bcl.eval." : "bc.eval."};
            ct_tensor *x = get(&in, "in.x"), *g = get(&in, "in.cotangent");
            ct_tensor *w = get(&in, "param.weight"), *b = get(&in, "param.bias");
            ct_norm_result y = ct_tensor_batch_norm(x, 1, w, b, 1e-5);
            check(&train, y.y, "out.y");
            ct_norm_grad grad = ct_tensor_batch_norm_grad(g, x, 1, y.mean, y.rstd, w, true);
            check(&train, grad.x, "grad.in.x");
            check(&train, grad.weight, "grad.param.weight");
            check(&train, grad.bias, "grad.param.bias");
            ct_tensor *mean = get(&in, "buffer.running_mean"),
                      *rstd =
                          ct_tensor_unary(CT_UNARY_rsqrt,
                                          ct_tensor_unary(CT_UNARY_add_scalar,
                                                          get(&in, "buffer.running_var"), 1e-5, 0),
                                          0, 0);
            check(&eval, ct_tensor_batch_norm_apply(x, 1, mean, rstd, w, b), "out.y");
            grad = ct_tensor_batch_norm_grad(g, x, 1, mean, rstd, w, false);
            check(&eval, grad.x, "grad.in.x");
            check(&eval, grad.weight, "grad.param.weight");
        }
        ct_safetensors_close(r.file);
    }
}
END_TEST

/* log prob is log_discrete; y_hard's gradient is that of y, which the head reaches through mu:
 * with in.cotangent.y_hard = a/A for all rows the continuous gradient would be it. Here only y
 * itself, the draw and the gradient of log prob can be compared. */
START_TEST(gumbel_softmax) {
    CT_SCOPE {
        recorded r = open_recorded("gumbel_softmax", dtypes[_i]);
        ct_shape rows = CT_SHAPE(8, 1);
        ct_tensor *logits = ct_tensor_reshape(get(&r, "in.logits"), CT_SHAPE(8, 1, 7));
        ct_tensor *zero = ct_zeros(r.dtype, test_device(), rows);
        ct_policy_noise noise = {.uniform =
                                     ct_tensor_reshape(get(&r, "noise.gumbel_u"), logits->shape),
                                 .choice = ct_tensor_reshape(get(&r, "noise.index_v"), rows),
                                 .normal = zero};
        ct_policy_options options = {.temperature = 0.8, .scale = 20, .perturbed = true};
        ct_policy_result y = ct_tensor_policy_head(logits, zero, noise, options);
        check(&r, y.y, "out.y");
        check(&r, ct_tensor_unary(CT_UNARY_exp, y.log_discrete, 0, 0), "out.prob");
        assert_close(y.index, ct_tensor_reshape(stored(&r, "out.ind"), rows), 0, 0, "index");
        noise.index = ct_tensor_reshape(get(&r, "noise.index"), rows);
        noise.choice = NULL;
        y = ct_tensor_policy_head(logits, zero, noise, options);
        ct_tensor *g = ct_tensor_reshape(get(&r, "in.cotangent.log_prob"), rows), *gl, *gr;
        ct_tensor_policy_head_grad(g, NULL, zero, &y, options, &gl, &gr);
        /* the rest of the recorded gradient: that of sum(y * cotangent), a softmax */
        ct_tensor *gy = ct_tensor_reshape(get(&r, "in.cotangent.y_hard"), logits->shape);
        ct_tensor *rest = ct_tensor_scale(ct_tensor_softmax_grad(gy, y.y, -1, false), 1 / 0.8);
        check(&r, ct_tensor_add(gl, rest), "grad.in.logits");
        ct_safetensors_close(r.file);
    }
}
END_TEST

/* Gradient of the loss with respect to both embeddings, through the similarity's. */
static void similarity_grad(const ct_tensor *a, const ct_tensor *b, const ct_tensor *s,
                            const ct_tensor *gs, bool order, ct_tensor *ga, ct_tensor *gb) {
    ct_tensor *to_a, *to_b;
    if (order) {
        ct_tensor_order_similarity_grad(gs, a, b, s, &to_a, &to_b);
    } else {
        to_a = ct_tensor_matmul(gs, b);
        to_b = ct_tensor_matmul(ct_tensor_transpose(gs, 0, 1), a);
    }
    ck_assert(ct_tensor_add_to(ga, 1, to_a) && ct_tensor_add_to(gb, 1, to_b));
}

/* Adds one hinge term of sim(a, b) to the loss and its gradients. */
static double add_term(const ct_tensor *a, const ct_tensor *b, bool order, ct_hinge_options options,
                       ct_tensor *ga, ct_tensor *gb) {
    ct_tensor *s = order ? ct_tensor_order_similarity(a, b)
                         : ct_tensor_matmul(a, ct_tensor_transpose(b, 0, 1));
    ct_tensor *one = ct_full(s->dtype, s->device, CT_SCALAR_SHAPE, 1);
    similarity_grad(a, b, s, ct_tensor_hinge_grad(one, s, options), order, ga, gb);
    return ct_item(ct_tensor_hinge(s, options));
}

START_TEST(contrastive_loss) {
    CT_SCOPE {
        recorded r = open_recorded("contrastive_loss", dtypes[_i % 2]);
        int k = _i / 2;
        bool raw = k & 1, vsrn = k & 2, order = k & 4, sum = k & 8;
        char prefix[64], gradient[32];
        recorded in = {r.file, r.dtype, raw ? "raw." : "unit."};
        snprintf(prefix, sizeof prefix, "%s.%s.%s.%s.", raw ? "raw" : "unit",
                 vsrn ? "vsrn" : "dcpg", order ? "order" : "cosine", sum ? "sum" : "max");
        recorded out = {r.file, r.dtype, prefix};
        ct_tensor *im = get(&in, "in.im"), *s = get(&in, "in.s");
        ct_tensor *g_im = ct_zeros(r.dtype, test_device(), im->shape);
        ct_tensor *g_s = ct_zeros(r.dtype, test_device(), s->shape);
        ct_hinge_options row = {.margin = 0.2, .hardest = !sum}, column = row, within = row;
        column.anchor = column.over = CT_HINGE_COLUMN;
        within.over = CT_HINGE_COLUMN; /* as the published code has it */
        double loss = add_term(im, s, order, row, g_im, g_s);
        loss += add_term(im, s, order, column, g_im, g_s);
        if (!vsrn) loss += add_term(im, im, order, within, g_im, g_im);
        if (!vsrn) loss += add_term(s, s, order, within, g_s, g_s);
        check(&out, ct_scalar(CT_F64, CT_CPU, loss), "out.loss");
        const char *kind = order && !vsrn ? "grad_safe" : "grad";
        snprintf(gradient, sizeof gradient, "%s.im", kind);
        check(&out, g_im, gradient);
        snprintf(gradient, sizeof gradient, "%s.s", kind);
        check(&out, g_s, gradient);
        ct_safetensors_close(r.file);
    }
}
END_TEST

enum { PARAMS = 3 };

typedef struct {
    const char *name;
    bool is_adam;
    ct_tensor_adam_options adam;
    ct_tensor_sgd_options sgd;
    double lr, clip;
} optimizer_case;

static const optimizer_case optimizers[] = {
    {.name = "adam_clip",
     .is_adam = true,
     .lr = 2e-4,
     .clip = 2,
     .adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}},
    {.name = "adam_wd",
     .is_adam = true,
     .lr = 2e-4,
     .adam = {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.01}},
    {.name = "adamw",
     .is_adam = true,
     .lr = 2e-4,
     .adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.05, .decoupled = true}},
    {.name = "sgd_momentum", .lr = 0.03, .sgd = {.momentum = 0.9}},
    {.name = "sgd_nesterov_wd",
     .lr = 0.03,
     .sgd = {.momentum = 0.8, .weight_decay = 0.02, .nesterov = true}},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof *optimizers };

static void optimizer_step(const optimizer_case *c, ct_tensor **p, ct_tensor **g, ct_tensor **m,
                           ct_tensor **v, int64_t step) {
    double lr = c->lr * (step >= 3 ? 0.5 : 1); /* it is halved before step 3 */
    ct_tensor_adam_options adam = c->adam;
    ct_tensor_sgd_options sgd = c->sgd;
    adam.clip = sgd.clip = (ct_clip){ct_tensor_global_norm(g, PARAMS), c->clip, 1};
    double numbers[CT_ADAM_RATES];
    if (c->is_adam) ct_adam_rates(numbers, lr, step, &adam);
    else ct_sgd_rates(numbers, lr, step == 1, &sgd);
    int64_t count = c->is_adam ? CT_ADAM_RATES : CT_SGD_RATES;
    ct_tensor *same = ct_from_doubles(CT_F64, test_device(), CT_SHAPE(count), numbers);
    ct_tensor *rates[PARAMS] = {same, same, same};
    ck_assert(c->is_adam ? ct_tensor_adam(p, g, m, v, rates, PARAMS, adam)
                         : ct_tensor_sgd(p, g, m, rates, PARAMS, sgd));
}

START_TEST(optimizer) {
    CT_SCOPE {
        recorded r = open_recorded("adam_clip", CT_F64);
        const optimizer_case *c = &optimizers[_i];
        ct_tensor *p[PARAMS], *g[PARAMS], *m[PARAMS], *v[PARAMS];
        char name[64];
        for (int i = 0; i < PARAMS; i++) {
            snprintf(name, sizeof name, "param.p%d", i);
            p[i] = get(&r, name);
            m[i] = ct_zeros(CT_F64, p[i]->device, p[i]->shape);
            v[i] = ct_zeros(CT_F64, p[i]->device, p[i]->shape);
        }
        for (int step = 1; step <= 5; step++) {
            for (int i = 0; i < PARAMS; i++) {
                snprintf(name, sizeof name, "step%d.in.grad.p%d", step, i);
                g[i] = get(&r, name);
            }
            optimizer_step(c, p, g, m, v, step);
            for (int i = 0; i < PARAMS; i++) {
                snprintf(name, sizeof name, "%s.step%d.param_after.p%d", c->name, step, i);
                check(&r, p[i], name);
            }
        }
        for (int i = 0; i < PARAMS; i++) {
            snprintf(name, sizeof name, "%s.state.%s.p%d", c->name,
                     c->is_adam ? "exp_avg" : "momentum_buffer", i);
            check(&r, m[i], name);
        }
        ct_safetensors_close(r.file);
    }
}
END_TEST

LOOPED_TEST_MAIN("fused golden", {gru_packed, 2}, {gru_bidirectional, 2}, {batch_norm, 2},
                 {gumbel_softmax, 2}, {contrastive_loss, 32}, {optimizer, OPTIMIZERS})
