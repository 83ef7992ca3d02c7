/* SPDX-License-Identifier: Apache-2.0 */
/* Modules and losses: gradients of inputs and parameters against central differences, in f64.
 * Prints one line a subject. */
#ifndef CT_TEST_MODULE_GRADCHECK_H
#define CT_TEST_MODULE_GRADCHECK_H

#include "nn/nn.h"
#include "tests/test.h"

enum { INPUTS = 5, LEAVES = 48 };

typedef struct subject subject;
struct subject {
    ct_module *module; /* NULL for a loss */
    ct_tensor *input[INPUTS];
    ct_tensor *(*output)(const subject *s);
    double option;
};

typedef struct {
    ct_tensor *tensor[LEAVES];
    char name[LEAVES][64];
    int count;
} leaves;

static inline void add_leaf(leaves *all, const char *name, ct_tensor *x) {
    ck_assert_int_lt(all->count, LEAVES);
    snprintf(all->name[all->count], sizeof all->name[0], "%s", name);
    all->tensor[all->count++] = x;
}

static inline bool add_parameter(void *context, const char *name, ct_tensor *x, bool buffer) {
    if (!buffer) add_leaf(context, name, x);
    return true;
}

/* The output times fixed random numbers, summed. Same draws at every call. */
static inline ct_tensor *scalar_loss(const subject *s) {
    ct_seed(11);
    ct_tensor *y = s->output(s);
    if (!y) return NULL;
    ct_rng rng = ct_rng_create(12, 0);
    ct_tensor *weights = ct_random_normal(&rng, "weights", CT_F64, y->device, y->shape);
    return ct_sum_all(ct_mul(y, weights));
}

static inline double loss_with(const subject *s, ct_tensor *x, int64_t element, double value) {
    double loss = NAN;
    CT_SCOPE {
        CT_NO_GRAD {
            ct_set(x, element, value);
            loss = ct_item(scalar_loss(s));
        }
    }
    return loss;
}

/* Largest |analytic - numeric| / max(1, |numeric|) over one leaf. */
static inline double compare_leaf(const char *what, const subject *s, ct_tensor *x,
                                  const char *name) {
    const double step = 1e-6, tolerance = 1e-6;
    ct_tensor *grad = ct_grad(x);
    ck_assert_msg(grad != NULL, "%s: %s got no gradient", what, name);
    double worst = 0;
    for (int64_t i = 0; i < ct_count(x); i++) {
        double value = ct_get(x, i);
        double numeric =
            (loss_with(s, x, i, value + step) - loss_with(s, x, i, value - step)) / (2 * step);
        ct_set(x, i, value);
        double error = fabs(ct_get(grad, i) - numeric) / fmax(1, fabs(numeric));
        ck_assert_msg(error <= tolerance, "%s: %s[%lld]: gradient %.12g, by differences %.12g",
                      what, name, (long long)i, ct_get(grad, i), numeric);
        worst = fmax(worst, error);
    }
    assert_no_error();
    return worst;
}

static inline void check(const char *what, subject s) {
    assert_no_error();
    leaves all = {0};
    for (int i = 0; i < INPUTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "input %d", i);
        if (s.input[i] && ct_requires_grad(s.input[i])) add_leaf(&all, name, s.input[i]);
    }
    if (s.module) ct_module_visit(s.module, add_parameter, &all);
    CT_SCOPE { ck_assert_msg(ct_backward(scalar_loss(&s)), "%s: %s", what, ct_error()); }
    double worst = 0;
    int64_t elements = 0;
    for (int i = 0; i < all.count; i++) {
        worst = fmax(worst, compare_leaf(what, &s, all.tensor[i], all.name[i]));
        elements += ct_count(all.tensor[i]);
    }
    ck_assert_int_gt(elements, 0);
    printf("gradcheck %-32s %2d tensors %4lld elements, largest error %.1e\n", what, all.count,
           (long long)elements, worst);
    ct_module_destroy(s.module);
}

/* In f64, with every parameter at random: those that start at 0 or 1 would hide errors. */
static inline bool randomise(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)name;
    if (ct_dtype_is_float(x->dtype)) {
        ct_init_uniform(x, buffer ? 0.5 : -0.8, buffer ? 1.5 : 0.8, context);
    }
    return true;
}

static inline ct_module *prepared(ct_module *module) {
    ct_rng rng = ct_rng_create(3, 1);
    ct_module_to_dtype(module, CT_F64);
    ct_module_to_device(module, test_device());
    ct_module_visit(module, randomise, &rng);
    assert_no_error();
    return module;
}

static inline ct_tensor *real_between(ct_shape shape, double low, double high, uint64_t stream) {
    ct_rng rng = ct_rng_create(4, stream);
    ct_tensor *x = ct_empty(CT_F64, test_device(), shape);
    ct_init_uniform(x, low, high, &rng);
    return ct_require_grad(x);
}

static inline ct_tensor *real(ct_shape shape, uint64_t stream) {
    return real_between(shape, -1, 1, stream);
}

static inline ct_tensor *integers(ct_shape shape, const int64_t *values) {
    return ct_from_data(CT_I64, test_device(), shape, values);
}

static inline ct_tensor *forward(const subject *s) { return ct_forward(s->module, s->input[0]); }

static inline void check_forward(const char *what, ct_module *module, ct_shape shape) {
    CT_SCOPE {
        subject s = {.module = prepared(module), .input = {real(shape, 0)}, .output = forward};
        check(what, s);
    }
}

#endif
