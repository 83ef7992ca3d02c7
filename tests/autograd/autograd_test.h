/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of autograd/ share. */
#ifndef CT_AUTOGRAD_TEST_H
#define CT_AUTOGRAD_TEST_H

#include "autograd/autograd.h"
#include "tests/test.h"

static inline ct_tensor *vector(double a, double b, double c) {
    return ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3), (double[]){a, b, c});
}

static inline ct_tensor *leaf(double a, double b, double c) {
    return ct_require_grad(vector(a, b, c));
}

static inline void assert_vector(const ct_tensor *x, double a, double b, double c,
                                 const char *what) {
    CT_SCOPE { assert_close(x, vector(a, b, c), 1e-14, 0, what); }
}

typedef struct {
    int calls, handle;
    ct_tensor *leaf;
    double first; /* of the gradient, at the last call */
} hook_log;

static inline void log_hook(void *context, ct_tensor *x, ct_tensor *grad) {
    hook_log *log = context;
    log->calls++;
    log->leaf = x;
    log->first = ct_get(grad, 0);
    ck_assert(!ct_grad_enabled());
}

#endif
