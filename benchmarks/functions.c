/* SPDX-License-Identifier: Apache-2.0 */
/* Elementary functions of f32: how far from the true value, and how fast.
 *
 *     build/benchmarks/functions [EVERY]
 *
 * The greatest error in units in the last place over each EVERY-th of all 2^32 numbers (the
 * default, 1, is all of them: some minutes a function), against the C library in f64; and
 * nanoseconds an element on one thread, ours and the C library's in f32, medians in turn.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "benchmarks/measure.h"
#include "tensor/core/bits.h"
#include "tensor/device/device.h"
#include "train/run/restart.h"

static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static float sigmoid_f32(float x) { return 1 / (1 + expf(-x)); }
static float softplus_f32(float x) { return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)); }

static const struct {
    ct_unary_kind kind;
    double (*exact)(double x);
    float (*library)(float x);
    float low, high; /* where it is timed */
} functions[] = {
    {CT_UNARY_exp, exp, expf, -10, 10},
    {CT_UNARY_expm1, expm1, expm1f, -2, 2},
    {CT_UNARY_log, log, logf, 1e-3F, 10},
    {CT_UNARY_log1p, log1p, log1pf, -0.9F, 10},
    {CT_UNARY_tanh, tanh, tanhf, -3, 3},
    {CT_UNARY_sigmoid, sigmoid, sigmoid_f32, -5, 5},
    {CT_UNARY_softplus, softplus, softplus_f32, -5, 5},
    {CT_UNARY_erf, erf, erff, -3, 3},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions, ELEMENTS = 1 << 20 };

/* In units of the last place of the f32 next to the true value; beyond f32's range, of what is its
 * largest. A NaN is right where the true value is one, an infinity where that rounds to it. */
static double error_of(float got, double exact) {
    float rounded = (float)exact;
    if (isnan(exact)) return isnan(got) ? 0 : INFINITY;
    if (isinf(rounded)) return got == rounded || fabsf(got) > 3.4028232e38F ? 0 : INFINITY;
    double unit = fabs((double)nextafterf(fabsf(rounded), INFINITY) - fabs((double)rounded));
    return isinf(got) ? (fabs(exact) > 3.4028233e38 ? 0 : INFINITY) : fabs(got - exact) / unit;
}

/* Of the numbers whose bits are first, first + every, ...; the worst one in *at. */
static double worst_of(int function, uint64_t first, uint64_t every, int64_t count, float *at) {
    double worst = 0;
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(count));
        float *in = x ? ct_data(x) : NULL;
        for (int64_t i = 0; in && i < count; i++) {
            in[i] = ct_float_of((uint32_t)(first + (uint64_t)i * every));
        }
        const ct_tensor *y = ct_tensor_unary(functions[function].kind, x, 0, 0);
        const float *out = y ? ct_data(y) : NULL;
        if (!out) worst = INFINITY;
        for (int64_t i = 0; out && i < count; i++) {
            double error = error_of(out[i], functions[function].exact(in[i]));
            if (!(error > worst)) continue;
            worst = error;
            *at = in[i];
        }
    }
    return worst;
}

static double greatest_error(int function, uint64_t every, float *at) {
    int64_t numbers = (int64_t)((((uint64_t)1 << 32) + every - 1) / every);
    int64_t pieces = (numbers + ELEMENTS - 1) / ELEMENTS;
    double worst = 0;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < pieces; i++) {
        int64_t begin = i * ELEMENTS;
        int64_t count = numbers - begin < ELEMENTS ? numbers - begin : ELEMENTS;
        float here = 0;
        double error = worst_of(function, (uint64_t)begin * every, every, count, &here);
#pragma omp critical
        if (error > worst) {
            worst = error;
            *at = here;
        }
    }
    return worst;
}

/* Nanoseconds an element; of a tensor that a cache holds. */
static void time_function(int function, double *ours, double *library) {
    enum { SAMPLES = 41, COUNT = 1 << 14 };
    double seconds[2][SAMPLES];
    float sum = 0; /* asked for, so that the calls are made */
    int threads = ct_threads();
    ct_set_threads(1);
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(COUNT));
        float *in = x ? ct_data(x) : NULL;
        float step = (functions[function].high - functions[function].low) / COUNT;
        for (int i = 0; in && i < COUNT; i++) in[i] = functions[function].low + step * (float)i;
        for (int s = 0; in && s < SAMPLES; s++) CT_SCOPE {
                double start = ct_seconds();
                ct_tensor_unary(functions[function].kind, x, 0, 0);
                double middle = ct_seconds();
                for (int i = 0; i < COUNT; i++) sum += functions[function].library(in[i]);
                seconds[0][s] = middle - start;
                seconds[1][s] = ct_seconds() - middle;
            }
    }
    ct_set_threads(threads);
    if (isnan(sum)) ct_fail("%s: not a number", ct_unary_name(functions[function].kind));
    *ours = ct_ok() ? 1e9 * ct_median(seconds[0], SAMPLES) / COUNT : 0;
    *library = ct_ok() ? 1e9 * ct_median(seconds[1], SAMPLES) / COUNT : 0;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    long every = argc > 1 ? atol(argv[1]) : 1;
    if (argc > 2 || every < 1 || every > 1 << 20) {
        fprintf(stderr, "usage: functions [EVERY], 1 to %d\n", 1 << 20);
        return 2;
    }
    printf("%s\n%-10s %8s %14s %10s %10s\n", ct_machine_text(), "f32", "ulp", "at", "ns",
           "libm ns");
    for (int i = 0; i < FUNCTIONS && ct_ok(); i++) {
        float at = 0;
        double ours, library, worst = greatest_error(i, (uint64_t)every, &at);
        time_function(i, &ours, &library);
        printf("%-10s %8.2f %14.8g %10.2f %10.2f\n", ct_unary_name(functions[i].kind), worst, at,
               ours, library);
        fflush(stdout);
    }
    if (ct_error()) fprintf(stderr, "functions: %s\n", ct_error());
    return ct_error() ? 2 : 0;
}
