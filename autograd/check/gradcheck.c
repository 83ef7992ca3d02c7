/* SPDX-License-Identifier: Apache-2.0 */
#include "autograd/gradcheck.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"

typedef enum { CONTIGUOUS, TRANSPOSED, STRIDED, LAYOUT_COUNT } layout;

static const char *const layout_name[] = {"contiguous", "transposed", "strided"};

enum { ALL_INPUTS = -1 };

typedef struct {
    const char *what;
    const ct_sample *sample;
    ct_gradcheck_options options;
    /* f64 on the CPU, contiguous: */
    ct_tensor *value[CT_SAMPLE_INPUTS]; /* what the inputs hold */
    /* gradients by differences, or the CPU's; NULL for constants */
    ct_tensor *numeric[CT_SAMPLE_INPUTS];
    ct_tensor *output[CT_SAMPLE_OUTPUTS];
    ct_tensor *cotangent[CT_SAMPLE_OUTPUTS]; /* NULL for outputs that are no floats */
    int outputs;
} check;

/* "gradcheck: mul, case broadcast": the start of every message. */
static const char *case_name(const check *c) { return c->sample->name ? c->sample->name : "-"; }

/* ---- inputs ----------------------------------------------------------------------------- */

static bool is_differentiated(const ct_sample_input *input) {
    return input->kind == CT_SAMPLE_REAL || input->kind == CT_SAMPLE_DISTINCT;
}

static ct_dtype real_dtype(const check *c) { return c->options.f32 ? CT_F32 : CT_F64; }

static ct_dtype input_dtype(const check *c, const ct_sample_input *input) {
    return input->kind == CT_SAMPLE_INDEX  ? CT_I64
           : input->kind == CT_SAMPLE_MASK ? CT_U8
                                           : real_dtype(c);
}

static bool fill_distinct(double *value, int64_t count, const ct_sample_input *input, ct_rng *rng) {
    int64_t *order = malloc(((size_t)count + 1) * sizeof *order);
    if (!order) return ct_fail_bool("gradcheck: out of memory");
    ct_random_permutation(rng, count, order);
    double gap = (input->hi - input->lo) / (double)(count ? count : 1);
    for (int64_t i = 0; i < count; i++) value[i] = input->lo + ((double)order[i] + 0.5) * gap;
    free(order);
    return true;
}

/* Contiguous f64 on the CPU, of values that an f32 holds if that is asked for. */
static ct_tensor *rounded(const check *c, ct_tensor *x) {
    return c->options.f32 && x ? ct_tensor_cast(ct_tensor_cast(x, CT_F32), CT_F64) : x;
}

static ct_tensor *make_values(const ct_sample_input *input, ct_rng *rng) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, input->shape);
    if (!x) return NULL;
    double *value = ct_data(x);
    int64_t count = ct_count(x);
    if (input->kind == CT_SAMPLE_DISTINCT) {
        return fill_distinct(value, count, input, rng) ? x : NULL;
    }
    for (int64_t i = 0; i < count; i++) {
        double u = ct_random_double(rng);
        value[i] = input->kind == CT_SAMPLE_MASK    ? u < 0.5
                   : input->kind == CT_SAMPLE_INDEX ? floor(input->lo + (input->hi - input->lo) * u)
                                                    : input->lo + (input->hi - input->lo) * u;
    }
    return x;
}

/* What lies between the elements of a strided input, to be noticed when read. */
static double junk(ct_dtype dtype) { return dtype == CT_I64 ? 1e12 : dtype == CT_U8 ? 255 : NAN; }

/* The same values in another layout, dtype and device. */
static ct_tensor *lay_out(ct_device device, ct_tensor *values, ct_dtype dtype, layout how) {
    ct_shape shape = values->shape, buffer = shape;
    int ndim = shape.ndim, axes[CT_MAX_DIMS];
    if (how == STRIDED && ndim < CT_MAX_DIMS) {
        buffer.dim[buffer.ndim++] = 2;
        ct_tensor *wide = ct_full(dtype, device, buffer, junk(dtype));
        ct_tensor *part = ct_tensor_slice(wide, ndim, 0, 1, 1);
        ct_tensor *view = ct_tensor_squeeze(part, ndim);
        return view && ct_tensor_copy_to(view, values) ? view : NULL;
    }
    for (int i = 0; i < ndim; i++) {
        axes[i] = how == TRANSPOSED ? ndim - 1 - i : i;
        buffer.dim[i] = shape.dim[axes[i]];
    }
    ct_tensor *view = ct_tensor_permute(ct_empty(dtype, device, buffer), axes);
    return view && ct_tensor_copy_to(view, values) ? view : NULL;
}

static bool lay_out_inputs(const check *c, ct_device device, layout how, ct_tensor **x) {
    for (int i = 0; i < c->sample->inputs; i++) {
        x[i] = lay_out(device, c->value[i], input_dtype(c, &c->sample->input[i]), how);
        if (!x[i]) return false;
    }
    return true;
}

/* ---- outputs and differences ------------------------------------------------------------ */

static int call(const check *c, ct_tensor *const *x, ct_tensor **y) {
    for (int i = 0; i < CT_SAMPLE_OUTPUTS; i++) y[i] = NULL;
    int outputs = c->sample->function(x, c->sample->options, y);
    if (outputs < 1) ct_fail("gradcheck: %s, case %s: no output", c->what, case_name(c));
    return ct_ok() && outputs <= CT_SAMPLE_OUTPUTS ? outputs : 0;
}

static ct_tensor *on_host(const ct_tensor *x) {
    return ct_tensor_to_device(ct_tensor_cast(x, CT_F64), CT_CPU);
}

/* The outputs, without recording, as f64 on the host. */
static bool evaluate(const check *c, ct_tensor *const *x, ct_tensor **y) {
    int outputs = 0;
    CT_NO_GRAD
    outputs = call(c, x, y);
    for (int i = 0; i < outputs; i++) {
        if (y[i]) y[i] = on_host(y[i]);
    }
    return outputs > 0 && ct_ok();
}

/* How the cotangents' product with the outputs changes when one element of an input does. */
static double difference(const check *c, ct_tensor *const *x, int input, int64_t element) {
    double step = c->options.step, value = ((double *)ct_data(c->value[input]))[element], sum = 0;
    double above = value + step, below = value - step;
    CT_SCOPE {
        ct_tensor *up[CT_SAMPLE_OUTPUTS], *down[CT_SAMPLE_OUTPUTS];
        ct_set(x[input], element, above);
        bool ok = evaluate(c, x, up);
        ct_set(x[input], element, below);
        ok = ok && evaluate(c, x, down);
        ct_set(x[input], element, value);
        for (int i = 0; ok && i < c->outputs; i++) {
            if (!c->cotangent[i]) continue;
            const double *g = ct_data(c->cotangent[i]), *p = ct_data(up[i]), *m = ct_data(down[i]);
            for (int64_t k = 0; k < ct_count(up[i]); k++) sum += g[k] * (p[k] - m[k]);
        }
    }
    return sum / (above - below);
}

static bool numeric_gradients(check *c, ct_tensor *const *x) {
    for (int i = 0; i < c->sample->inputs; i++) {
        if (!is_differentiated(&c->sample->input[i])) continue;
        c->numeric[i] = ct_empty(CT_F64, CT_CPU, c->value[i]->shape);
        if (!c->numeric[i]) return false;
        double *gradient = ct_data(c->numeric[i]);
        int64_t count = ct_count(c->numeric[i]);
        for (int64_t k = 0; k < count && ct_ok(); k++) gradient[k] = difference(c, x, i, k);
    }
    return ct_ok();
}

static bool require_gradients(const check *c, int only, ct_tensor *const *x) {
    for (int i = 0; i < c->sample->inputs; i++) {
        bool wanted = is_differentiated(&c->sample->input[i]) && (only == ALL_INPUTS || only == i);
        if (wanted && !ct_require_grad(x[i])) return false;
    }
    return true;
}

/* Backward from all outputs that require a gradient. */
static bool differentiate(const check *c, layout how, int outputs, ct_tensor *const *y) {
    ct_tensor *from[CT_SAMPLE_OUTPUTS], *g[CT_SAMPLE_OUTPUTS];
    int count = 0;
    for (int i = 0; i < outputs; i++) {
        if (!ct_requires_grad(y[i])) continue;
        from[count] = y[i];
        g[count] = lay_out(y[i]->device, c->cotangent[i], y[i]->dtype, how);
        if (!g[count++]) return false;
    }
    return count == 0 || ct_backward_from(from, g, count, false);
}

/* What backward gives on the CPU; zero where an input gets none. */
static bool cpu_gradients(check *c, ct_tensor *const *x) {
    ct_tensor *y[CT_SAMPLE_OUTPUTS];
    if (!require_gradients(c, ALL_INPUTS, x)) return false;
    int outputs = call(c, x, y);
    if (!outputs || !differentiate(c, CONTIGUOUS, outputs, y)) return false;
    for (int i = 0; i < c->sample->inputs; i++) {
        if (!is_differentiated(&c->sample->input[i])) continue;
        ct_tensor *grad = ct_grad(x[i]);
        c->numeric[i] = grad ? on_host(grad) : ct_zeros(CT_F64, CT_CPU, c->value[i]->shape);
        if (!c->numeric[i]) return false;
    }
    return true;
}

/* Values, outputs, cotangents, gradients that are right: what every layout is compared with. */
static bool make_reference(check *c) {
    for (int i = 0; i < c->sample->inputs; i++) {
        ct_rng rng = ct_rng_create(c->options.seed, (uint64_t)i);
        c->value[i] = rounded(c, make_values(&c->sample->input[i], &rng));
        if (!c->value[i]) return false;
    }
    ct_tensor *x[CT_SAMPLE_INPUTS], *y[CT_SAMPLE_OUTPUTS];
    ct_device device = c->options.against_cpu ? CT_CPU : c->options.device;
    if (!lay_out_inputs(c, device, CONTIGUOUS, x)) return false;
    CT_NO_GRAD
    c->outputs = call(c, x, y);
    for (int i = 0; i < c->outputs; i++) {
        if (!y[i]) continue;
        c->output[i] = on_host(y[i]);
        if (!c->output[i]) return false;
        if (!ct_dtype_is_float(y[i]->dtype)) continue;
        ct_rng rng = ct_rng_create(c->options.seed, 100 + (uint64_t)i);
        ct_sample_input around_zero = {CT_SAMPLE_REAL, y[i]->shape, -1, 1};
        c->cotangent[i] = rounded(c, make_values(&around_zero, &rng));
        if (!c->cotangent[i]) return false;
    }
    if (c->outputs == 0) return false;
    return c->options.against_cpu ? cpu_gradients(c, x) : numeric_gradients(c, x);
}

/* ---- comparing one layout --------------------------------------------------------------- */

static double largest(const ct_tensor *x) {
    const double *value = ct_data(x);
    double most = 0;
    for (int64_t i = 0; i < ct_count(x); i++) most = fmax(most, fabs(value[i]));
    return most;
}

static bool compare_gradient(const check *c, layout how, int input, const ct_tensor *x) {
    const ct_tensor *numeric = c->numeric[input], *grad = ct_grad(x);
    const double *expected = ct_data(numeric), *got = NULL;
    if (grad) {
        if (!ct_shape_equal(grad->shape, numeric->shape)) {
            return ct_fail_bool("gradcheck: %s, case %s, %s: the gradient of input %d is %s",
                                c->what, case_name(c), layout_name[how], input,
                                ct_tensor_text(grad));
        }
        const ct_tensor *host = on_host(grad);
        if (!host) return false;
        got = ct_data(host);
    }
    double scale = fmax(1, largest(numeric));
    for (int64_t i = 0; i < ct_count(numeric); i++) {
        double analytic = got ? got[i] : 0, error = fabs(analytic - expected[i]) / scale;
        if (!(error <= c->options.relative)) {
            return ct_fail_bool("gradcheck: %s, case %s, %s: gradient of input %d, element %lld: "
                                "analytic %.12g, %s %.12g",
                                c->what, case_name(c), layout_name[how], input, (long long)i,
                                analytic, c->options.against_cpu ? "on the cpu" : "by differences",
                                expected[i]);
        }
        double *most = c->options.largest_error;
        if (most && error > *most) *most = error;
    }
    return true;
}

/* Within what another order of summation may change. */
static bool compare_outputs(const check *c, layout how, int outputs, ct_tensor *const *y) {
    if (outputs != c->outputs) {
        return ct_fail_bool("gradcheck: %s, case %s, %s: %d outputs, %d before", c->what,
                            case_name(c), layout_name[how], outputs, c->outputs);
    }
    for (int i = 0; i < outputs; i++) {
        if (!c->output[i] || !y[i]) continue;
        const ct_tensor *host = on_host(y[i]);
        if (!host) return false;
        const double *expected = ct_data(c->output[i]), *got = ct_data(host);
        double relative = c->options.f32 ? c->options.relative : 1e-12;
        double tolerance = relative * fmax(1, largest(c->output[i]));
        for (int64_t k = 0; k < ct_count(host); k++) {
            if (fabs(got[k] - expected[k]) <= tolerance) continue;
            return ct_fail_bool("gradcheck: %s, case %s, %s: output %d, element %lld is %.12g, on "
                                "%s %.12g",
                                c->what, case_name(c), layout_name[how], i, (long long)k, got[k],
                                c->options.against_cpu ? "the cpu" : "contiguous inputs",
                                expected[k]);
        }
    }
    return true;
}

static bool compare_inputs(const check *c, layout how, ct_tensor *const *x) {
    for (int i = 0; i < c->sample->inputs; i++) {
        const ct_tensor *host = on_host(x[i]);
        if (!host) return false;
        size_t bytes = (size_t)ct_count(host) * sizeof(double);
        if (bytes && memcmp(ct_data(host), ct_data(c->value[i]), bytes) != 0) {
            return ct_fail_bool("gradcheck: %s, case %s, %s: input %d was changed", c->what,
                                case_name(c), layout_name[how], i);
        }
    }
    return true;
}

static bool check_layout(const check *c, layout how, int only) {
    ct_tensor *x[CT_SAMPLE_INPUTS], *y[CT_SAMPLE_OUTPUTS];
    if (!lay_out_inputs(c, c->options.device, how, x)) return false;
    if (!require_gradients(c, only, x)) return false;
    int outputs = call(c, x, y);
    if (!outputs || !compare_outputs(c, how, outputs, y)) return false;
    if (!differentiate(c, how, outputs, y) || !compare_inputs(c, how, x)) return false;
    for (int i = 0; i < c->sample->inputs; i++) {
        if (ct_requires_grad(x[i]) && !compare_gradient(c, how, i, x[i])) return false;
    }
    return true;
}

static bool check_layout_in_scope(const check *c, layout how, int only) {
    bool agrees = false;
    CT_SCOPE { agrees = check_layout(c, how, only); }
    return agrees;
}

static bool check_sound(const ct_sample *sample, ct_gradcheck_options options) {
    if (!ct_check_pointer("gradcheck", "the sample", sample)) return false;
    if (!sample->function || sample->inputs < 0 || sample->inputs > CT_SAMPLE_INPUTS) {
        return ct_fail_bool("gradcheck: case %s has no function, or %d inputs, expected 0 to %d",
                            sample->name ? sample->name : "-", sample->inputs, CT_SAMPLE_INPUTS);
    }
    if (!(options.step > 0 && options.step <= DBL_MAX && options.relative >= 0)) {
        return ct_fail_bool("gradcheck: step %g and relative %g, expected above 0 and 0 or more",
                            options.step, options.relative);
    }
    for (int i = 0; i < sample->inputs; i++) {
        if (!ct_check_choice("gradcheck", "an input's kind", (int)sample->input[i].kind,
                             CT_SAMPLE_DISTINCT + 1)) {
            return false;
        }
    }
    return true;
}

bool ct_gradcheck(const char *what, const ct_sample *sample, ct_gradcheck_options options) {
    if (options.step == 0) options.step = 1e-6;
    if (options.relative == 0) options.relative = 1e-6;
    if (!check_sound(sample, options)) return false;
    if (!what) what = "-";
    check c = {.what = what, .sample = sample, .options = options};
    bool agrees = false;
    CT_SCOPE {
        agrees = make_reference(&c);
        for (int how = 0; how < LAYOUT_COUNT && agrees; how++) {
            agrees = check_layout_in_scope(&c, (layout)how, ALL_INPUTS);
        }
        for (int i = 0; i < sample->inputs && agrees; i++) {
            if (c.numeric[i]) agrees = check_layout_in_scope(&c, CONTIGUOUS, i);
        }
    }
    return agrees;
}

/* ---- an operation's samples ------------------------------------------------------------- */

struct ct_sampler {
    void (*visit)(void *context, const ct_sample *sample);
    void *context;
    int count;
};

void ct_add_sample(ct_sampler *sampler, const ct_sample *sample) {
    if (!ct_check_pointer("add_sample", "the sampler", sampler) ||
        !ct_check_pointer("add_sample", "the sample", sample)) {
        return;
    }
    sampler->count++;
    sampler->visit(sampler->context, sample);
}

int ct_each_sample(const ct_op *op, void (*visit)(void *context, const ct_sample *sample),
                   void *context) {
    ct_sampler sampler = {visit, context, 0};
    if (!ct_check_pointer("each_sample", "the operation", op)) return 0;
    if (!visit) return ct_fail_bool("each_sample: the function is NULL");
    if (op->samples) op->samples(&sampler);
    return sampler.count;
}

typedef struct {
    const ct_op *op;
    ct_gradcheck_options options;
    bool agrees;
} op_check;

static void check_sample(void *context, const ct_sample *sample) {
    op_check *c = context;
    c->agrees = c->agrees && ct_gradcheck(c->op->name, sample, c->options);
}

bool ct_gradcheck_op(const ct_op *op, ct_gradcheck_options options, int *cases) {
    op_check c = {op, options, true};
    if (!ct_check_pointer("gradcheck", "the operation", op)) return false;
    int count = ct_each_sample(op, check_sample, &c);
    if (cases) *cases = count * LAYOUT_COUNT;
    if (count == 0) return ct_fail_bool("gradcheck: operation '%s' has no samples", op->name);
    return c.agrees;
}
