/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded values: loads a case of tests/golden/ and compares with the tolerances of its README.
 *
 *     golden g = golden_open("gru_cell", CT_F32);
 *     CT_SCOPE {
 *         golden_load(&g, cell, "");                           // param.*, buffer.*
 *         ct_tensor *x = golden_leaf(&g, "in.x");
 *         ...
 *         golden_check(&g, h, "out.h");
 *         golden_check_grads(&g, cell, "");                    // grad.param.*
 *     }
 *     golden_close(&g);
 */
#ifndef CT_TEST_GOLDEN_H
#define CT_TEST_GOLDEN_H

#include <stdarg.h>

#include "nn/nn.h"
#include "tests/test.h"

typedef struct {
    ct_safetensors *file;
    const char *name;
    ct_dtype dtype; /* what the implementation computes in */
} golden;

static inline golden golden_open(const char *name, ct_dtype dtype) {
    const char *source = getenv("CT_TEST_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", source ? source : ".", name);
    golden g = {ct_safetensors_open(path), name, dtype};
    assert_no_error();
    return g;
}

static inline void golden_close(golden *g) {
    ct_safetensors_close(g->file);
    g->file = NULL;
}

static inline bool golden_has(const golden *g, const char *name) {
    return ct_safetensors_has(g->file, name);
}

/* A __metadata__ number. */
static inline double golden_number(const golden *g, const char *key) {
    const char *text = ct_safetensors_metadata(g->file, key);
    ck_assert_msg(text != NULL, "%s: no metadata '%s'", g->name, key);
    return atof(text);
}

/* The recorded tensor as stored: f64 or i64. */
static inline ct_tensor *golden_stored(const golden *g, const char *name) {
    ct_tensor *x = ct_safetensors_get(g->file, name);
    assert_no_error();
    return x;
}

/* A copy in the case's dtype, integers as they are, on the device that is tested. */
static inline ct_tensor *golden_get(const golden *g, const char *name) {
    ct_tensor *x = golden_stored(g, name);
    x = ct_tensor_cast(x, ct_dtype_is_float(x->dtype) ? g->dtype : x->dtype);
    x = ct_tensor_to_device(x, test_device());
    assert_no_error();
    return x;
}

/* The same, collecting a gradient. */
static inline ct_tensor *golden_leaf(const golden *g, const char *name) {
    ct_tensor *x = ct_require_grad(golden_get(g, name));
    assert_no_error();
    return x;
}

/* The recorded tensor in x's shape where they differ by trailing dimensions of size 1 (1x1
 * convolutions). */
static inline ct_tensor *golden_fitted(const golden *g, const char *name, const ct_tensor *x) {
    ct_tensor *stored = golden_stored(g, name);
    ct_shape shape = stored->shape;
    while (shape.ndim > x->shape.ndim && shape.dim[shape.ndim - 1] == 1) shape.ndim--;
    return ct_tensor_reshape(stored, shape);
}

static inline void golden_check_within(const golden *g, const ct_tensor *x, const char *name,
                                       double relative, double absolute) {
    char what[256];
    snprintf(what, sizeof what, "%s: %s in %s", g->name, name, ct_dtype_name(g->dtype));
    assert_no_error();
    ck_assert_msg(x != NULL, "%s is NULL", what);
    CT_SCOPE { assert_close(x, golden_fitted(g, name, x), relative, absolute, what); }
}

static inline void golden_check(const golden *g, const ct_tensor *x, const char *name) {
    bool f64 = g->dtype == CT_F64;
    bool exact = x && !ct_dtype_is_float(x->dtype);
    golden_check_within(g, x, name, exact ? 0 : f64 ? 1e-9 : 1e-4, exact ? 0 : f64 ? 1e-12 : 1e-5);
}

typedef struct {
    const golden *g;
    const char *prefix;
    int tensors;
} golden_walk;

static inline bool golden_load_one(void *context, const char *name, ct_tensor *x, bool buffer) {
    const golden_walk *walk = context;
    char full[256];
    snprintf(full, sizeof full, "%s%s.%s", walk->prefix, buffer ? "buffer" : "param", name);
    CT_SCOPE {
        ct_tensor *value = golden_fitted(walk->g, full, x);
        ck_assert_msg(value && ct_shape_equal(value->shape, x->shape), "%s: %s is %s, not %s",
                      walk->g->name, full, ct_tensor_text(value), ct_tensor_text(x));
        ct_tensor_copy_to(x, value);
    }
    assert_no_error();
    return true;
}

/* Converts the module to the case's dtype, on the device that is tested, and gives it PREFIXparam.*
 * and PREFIXbuffer.*. */
static inline void golden_load(const golden *g, ct_module *module, const char *prefix) {
    ct_module_to_dtype(module, g->dtype);
    ct_module_to_device(module, test_device());
    golden_walk walk = {g, prefix, 0};
    ck_assert(ct_module_visit(module, golden_load_one, &walk));
    ct_module_zero_grad(module);
}

static inline bool golden_check_one_grad(void *context, const char *name, ct_tensor *x,
                                         bool buffer) {
    golden_walk *walk = context;
    if (buffer) return true;
    char full[256];
    snprintf(full, sizeof full, "%sgrad.param.%s", walk->prefix, name);
    ct_tensor *grad = ct_grad(x);
    if (!golden_has(walk->g, full)) {
        ck_assert_msg(!grad, "%s: %s should have no gradient", walk->g->name, name);
        return true;
    }
    ck_assert_msg(grad != NULL, "%s: %s has no gradient", walk->g->name, name);
    /* A bias before batch norm has gradient 0: README, tolerances. */
    size_t length = strlen(name);
    if (length >= 8 && strcmp(name + length - 8, "W.0.bias") == 0) {
        bool f64 = walk->g->dtype == CT_F64;
        if (strstr(walk->prefix, "eval")) golden_check(walk->g, grad, full);
        else golden_check_within(walk->g, grad, full, 0, f64 ? 1e-12 : 1e-4);
    } else {
        golden_check(walk->g, grad, full);
    }
    walk->tensors++;
    return true;
}

/* Every parameter's gradient is PREFIXgrad.param.NAME; none where that is not recorded. */
static inline void golden_check_grads(const golden *g, ct_module *module, const char *prefix) {
    golden_walk walk = {g, prefix, 0};
    ck_assert(ct_module_visit(module, golden_check_one_grad, &walk));
    ck_assert_msg(walk.tensors > 0, "%s: no gradients under '%s'", g->name, prefix);
}

static inline bool golden_check_one_buffer(void *context, const char *name, ct_tensor *x,
                                           bool buffer) {
    golden_walk *walk = context;
    char full[256];
    snprintf(full, sizeof full, "%sbuffer_after.%s", walk->prefix, name);
    if (buffer) {
        golden_check(walk->g, x, full);
        walk->tensors++;
    }
    return true;
}

/* Every buffer is PREFIXbuffer_after.NAME. */
static inline void golden_check_buffers(const golden *g, ct_module *module, const char *prefix) {
    golden_walk walk = {g, prefix, 0};
    ck_assert(ct_module_visit(module, golden_check_one_buffer, &walk));
    ck_assert_msg(walk.tensors > 0, "%s: no buffers under '%s'", g->name, prefix);
}

/* sum(y * weights): the scalar that is differentiated. */
static inline ct_tensor *golden_loss(const golden *g, ct_tensor *y, const char *weights) {
    return ct_sum_all(ct_mul(y, golden_get(g, weights)));
}

/* Runs a case in f64 and in f32. */
static inline void golden_in_both(const char *name, void (*check)(const golden *g)) {
    const ct_dtype dtypes[] = {CT_F64, CT_F32};
    for (int i = 0; i < 2; i++) {
        golden g = golden_open(name, dtypes[i]);
        CT_SCOPE { check(&g); }
        assert_no_error();
        golden_close(&g);
    }
}

/* prefix and name in `text`, of 256 characters. */
static inline const char *golden_join(char *text, const char *prefix, const char *name) {
    snprintf(text, 256, "%s%s", prefix, name);
    return text;
}

#endif
