/* SPDX-License-Identifier: Apache-2.0 */
/* Checks analytic gradients against central finite differences in f64.
 *
 * An operation's `samples` describes calls; the check runs each call on several layouts of its
 * inputs and of the outputs' gradients (contiguous, transposed strides, strided slice with NaN in
 * between), with a random cotangent, and compares every element of every input's gradient; then
 * once more for each input alone, as operations save less when not all inputs need a gradient. It
 * also checks that outputs do not depend on the layout and that inputs are left alone. Functions
 * with parameters that are drawn must draw the same at every evaluation (create the ct_rng inside
 * the function).
 */
#ifndef CT_GRADCHECK_H
#define CT_GRADCHECK_H

#include "autograd/autograd.h"

CT_BEGIN_DECLS

enum { CT_SAMPLE_INPUTS = 8, CT_SAMPLE_OUTPUTS = 4 };

/* How an input is filled. */
typedef enum {
    CT_SAMPLE_REAL,  /* uniform in [lo, hi], differentiated */
    CT_SAMPLE_CONST, /* uniform in [lo, hi], a constant */
    CT_SAMPLE_INDEX, /* i64 uniform in [lo, hi) */
    CT_SAMPLE_MASK,  /* u8 0 or 1 */
    /* a permutation of values spaced by (hi-lo)/count: no ties, differentiated */
    CT_SAMPLE_DISTINCT
} ct_sample_kind;

typedef struct {
    ct_sample_kind kind;
    ct_shape shape;
    double lo, hi;
} ct_sample_input;

/* Calls the operation: writes at most CT_SAMPLE_OUTPUTS outputs, returns how many; 0 on error. */
typedef int (*ct_sample_function)(ct_tensor *const *inputs, const void *options,
                                  ct_tensor **outputs);

typedef struct {
    const char *name; /* of the case: "broadcast", "empty" */
    ct_sample_function function;
    const void *options;
    int inputs;
    ct_sample_input input[CT_SAMPLE_INPUTS];
} ct_sample;

/* For ct_op.samples: hands one case to whoever walks. */
void ct_add_sample(ct_sampler *sampler, const ct_sample *sample);

/* Walks an operation's samples; each is valid only during its visit. Returns how many there are. */
int ct_each_sample(const ct_op *op, void (*visit)(void *context, const ct_sample *sample),
                   void *context);

typedef struct {
    double step;     /* finite difference; 0: 1e-6 */
    double relative; /* |analytic - numeric| <= relative * max(1, |numeric|max); 0: 1e-6 */
    uint64_t seed;
    ct_device device; /* where the operation runs */
    /* Compare with the gradients and outputs that the CPU computes, not with differences: what a
     * device's kernels are checked by. In f32 if asked for; outputs too are then within
     * `relative`, and so is every layout. */
    bool against_cpu, f32;
    double *largest_error; /* NULL, or raised to the largest |analytic - numeric| /
                              max(1, |numeric|max) met */
} ct_gradcheck_options;

/* True if all gradients of one call agree; otherwise an error naming case, layout, input, element
 * and both values. */
bool ct_gradcheck(const char *what, const ct_sample *sample, ct_gradcheck_options options);
/* Runs an operation's samples; false and an error if one disagrees or there is none.
 * *cases (may be NULL) is how many cases times layouts were run. */
bool ct_gradcheck_op(const ct_op *op, ct_gradcheck_options options, int *cases);

CT_END_DECLS

#endif
