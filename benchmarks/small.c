/* SPDX-License-Identifier: Apache-2.0 */
/* What an operation on a small tensor costs, where asking takes longer than computing.
 *
 *     build/benchmarks/small [THREADS]          default 1
 *
 * Of each operation: nanoseconds of a call that records nothing (forward), and of one that is
 * recorded, with backward to its inputs (both). Each is the median of SAMPLES samples of as many
 * calls as take LEAST seconds. benchmarks/pytorch/small.py prints the same lines of PyTorch.
 */
#include <stdio.h>
#include <stdlib.h>

#include "benchmarks/measure.h"
#include "nn/nn.h"
#include "train/run/restart.h"

enum { SAMPLES = 11, MOST_INPUTS = 3 };
static const double LEAST = 0.02;

/* A call: y of inputs (f32, all of which require a gradient when it is recorded). */
typedef struct {
    const char *name;
    ct_tensor *(*function)(ct_tensor *const *inputs);
    int inputs;
    ct_shape shape[MOST_INPUTS];
} operation;

static ct_tensor *add(ct_tensor *const *x) { return ct_add(x[0], x[1]); }
static ct_tensor *matmul(ct_tensor *const *x) { return ct_matmul(x[0], x[1]); }
static ct_tensor *linear(ct_tensor *const *x) { return ct_linear_with(x[0], x[1], x[2]); }
static ct_tensor *softmax(ct_tensor *const *x) { return ct_softmax(x[0], -1); }

typedef struct {
    const operation *operation;
    ct_tensor *input[MOST_INPUTS], *gradient;
} call;

static bool forward(void *context) {
    const call *c = context;
    bool done = false;
    CT_NO_GRAD { done = c->operation->function(c->input) != NULL; }
    return done;
}

static bool both(void *context) {
    const call *c = context;
    ct_tensor *y = c->operation->function(c->input);
    bool done = ct_backward_from(&y, &c->gradient, 1, false);
    for (int i = 0; i < c->operation->inputs; i++) ct_zero_grad(c->input[i]);
    return done;
}

/* Below 0 on error. */
static double nanoseconds(ct_timed_call *timed, call *c) {
    json_t *times = ct_time_calls(timed, c, CT_CPU, SAMPLES, LEAST);
    double median = times ? json_real_value(json_object_get(times, "median")) : -1;
    json_decref(times);
    return 1e9 * median;
}

static bool measure(const operation *o) {
    bool done = false;
    CT_SCOPE {
        call c = {.operation = o};
        for (int i = 0; i < o->inputs; i++) {
            ct_tensor *x = ct_random_normal(ct_default_rng(), o->name, CT_F32, CT_CPU, o->shape[i]);
            c.input[i] = ct_require_grad(x);
        }
        CT_NO_GRAD {
            ct_tensor *y = o->function(c.input);
            if (y) c.gradient = ct_full(CT_F32, CT_CPU, y->shape, 1);
        }
        double once = nanoseconds(forward, &c), with_backward = nanoseconds(both, &c);
        done = once >= 0 && with_backward >= 0;
        if (done) printf("%-20s %10.0f %10.0f\n", o->name, once, with_backward);
    }
    return done;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    ct_set_threads(argc > 1 ? atoi(argv[1]) : 1);
    const operation operations[] = {
        {"add 8", add, 2, {CT_SHAPE(8), CT_SHAPE(8)}},
        {"add 64", add, 2, {CT_SHAPE(64), CT_SHAPE(64)}},
        {"add 1k", add, 2, {CT_SHAPE(1024), CT_SHAPE(1024)}},
        {"add 64k", add, 2, {CT_SHAPE(65536), CT_SHAPE(65536)}},
        {"matmul 8x8", matmul, 2, {CT_SHAPE(8, 8), CT_SHAPE(8, 8)}},
        {"linear 8x64 to 64", linear, 3, {CT_SHAPE(8, 64), CT_SHAPE(64, 64), CT_SHAPE(64)}},
        {"softmax 8x64", softmax, 1, {CT_SHAPE(8, 64)}},
    };
    printf("%s\n%-20s %10s %10s\n", ct_machine_text(), "nanoseconds of", "forward", "both");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (!measure(&operations[i])) break;
    }
    if (ct_error()) fprintf(stderr, "%s\n", ct_error());
    return ct_ok() ? 0 : 2;
}
