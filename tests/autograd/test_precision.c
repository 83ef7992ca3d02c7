/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients in tf32 and bf16 on CT_TEST_DEVICE, in bf16 on the CPU: every operand of every product
 * is rounded to so many bits, nothing else is. The same is computed on the CPU in f64, with an
 * operation of its own for rounded products; and operands are rounded once, not at every step of a
 * sequence. */
#include "autograd/autograd.h"
#include "autograd/op.h"
#include "tests/cuda/cuda_test.h"
#include "tests/files_test.h"
#include "tensor/core/bits.h"

static ct_tensor *on_device(const ct_tensor *x) {
    return test_device() == CT_CUDA ? on_cuda(x) : ct_tensor_copy(x);
}

/* ---- the same in f64 --------------------------------------------------------------------- */

static int dropped; /* bits of an f32 that rounding takes; 0: products are exact */

static int bits_dropped(ct_precision precision) {
    return precision == CT_PRECISION_BF16 ? 16 : precision == CT_PRECISION_TF32 ? 13 : 0;
}

/* f64 to the nearest f32 of fewer bits, ties to even, as f64. */
static ct_tensor *rounded(const ct_tensor *x) {
    if (!dropped) return ct_tensor_copy(x);
    ct_tensor *y = ct_tensor_cast(x, CT_F32);
    float *value = ct_data(y);
    for (int64_t i = 0; i < ct_count(y); i++) {
        uint32_t bits = ct_bits_of(value[i]), half = (1u << (dropped - 1)) - 1;
        value[i] = ct_float_of((bits + half + (bits >> dropped & 1)) >> dropped << dropped);
    }
    return ct_tensor_cast(y, CT_F64);
}

static ct_tensor *turned(const ct_tensor *x) { return ct_tensor_transpose(x, -1, -2); }

static bool product_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_tensor *a = ct_saved(node, 0), *b = ct_saved(node, 1), *factor = rounded(g[0]);
    gx[0] = ct_tensor_sum_to(ct_tensor_matmul(factor, turned(b)), ct_input_shape(node, 0));
    gx[1] = ct_tensor_sum_to(ct_tensor_matmul(turned(a), factor), ct_input_shape(node, 1));
    return gx[0] && gx[1];
}

static const ct_op product_op = {"rounded_product", product_backward, NULL};

static ct_tensor *product(ct_tensor *a, ct_tensor *b) {
    ct_tensor *first = rounded(a), *second = rounded(b), *y = ct_tensor_matmul(first, second);
    ct_node *node = ct_record(&product_op, 2, (ct_tensor *[]){a, b}, 1, &y);
    ct_save(node, first);
    ct_save(node, second);
    return y;
}

/* x w^T + bias */
static ct_tensor *affine(ct_tensor *x, ct_tensor *w, ct_tensor *bias) {
    return ct_add(product(x, ct_transpose(w, 0, 1)), bias);
}

/* ---- two computations and their gradients ----------------------------------------------- */

enum { MOST = 8 };

typedef struct {
    int inputs, outputs;
    ct_tensor *in[MOST], *out[MOST];
} computation;

/* f32 leaves on the device, or their values in f64 on the CPU. */
static computation inputs(const ct_shape *shape, int count, ct_dtype dtype) {
    computation c = {.inputs = count};
    for (int i = 0; i < count; i++) {
        ct_tensor *value = noise(CT_F32, shape[i], 1, (uint64_t)i + 1);
        c.in[i] =
            ct_require_grad(dtype == CT_F32 ? on_device(value) : ct_tensor_cast(value, dtype));
    }
    return c;
}

static void backward(computation *c) {
    ct_tensor *g[MOST];
    for (int i = 0; i < c->outputs; i++) {
        require(c->out[i], "%s", ct_error());
        g[i] = noise(CT_F32, c->out[i]->shape, 1, 100 + (uint64_t)i);
        g[i] = c->out[i]->dtype == CT_F32 ? on_device(g[i]) : ct_tensor_cast(g[i], CT_F64);
    }
    require(ct_backward_from(c->out, g, c->outputs, false), "%s", ct_error());
}

/* Largest difference of a result or gradient between two: the root of its squares, relative. */
static double difference(const computation *a, const computation *b) {
    double worst = 0;
    for (int i = 0; i < a->outputs + a->inputs; i++) {
        const ct_tensor *x = i < a->outputs ? a->out[i] : ct_grad(a->in[i - a->outputs]);
        const ct_tensor *y = i < a->outputs ? b->out[i] : ct_grad(b->in[i - a->outputs]);
        require(x && y, "%s", ct_error());
        const double *p = ct_data(ct_tensor_cast(on_cpu(x), CT_F64));
        const double *q = ct_data(ct_tensor_cast(on_cpu(y), CT_F64));
        double squares = 0, error = 0;
        for (int64_t k = 0; k < ct_count(x); k++) {
            squares += q[k] * q[k];
            error += (p[k] - q[k]) * (p[k] - q[k]);
        }
        worst = isnan(error) ? INFINITY : fmax(worst, sqrt(error / squares));
    }
    return worst;
}

typedef void compute(computation *c, int how);

/* On the device in a precision: within `close` of f64 with the same rounding, and off from f64
 * without it by more than `close` (it did round) and less than the operands' roundings add to. A
 * GPU's matrix units cut off the sums of up to 257 products to their last place; and how tf32 is
 * rounded, or cut off, and for which sizes, is for cuBLAS to say: there it may be off by twice as
 * much, or by less. */
static void check(compute *f, const ct_shape *shape, int count, int how, ct_precision precision,
                  double close, double far) {
    require(ct_set_precision(test_device(), precision), "%s", ct_error());
    computation all[3];
    for (int i = 0; i < 3; i++) {
        dropped = i == 2 ? 0 : bits_dropped(precision);
        all[i] = inputs(shape, count, i == 0 ? CT_F32 : CT_F64);
        f(&all[i], how);
        backward(&all[i]);
    }
    double same = difference(&all[0], &all[1]), exact = difference(&all[0], &all[2]);
    const char *name = ct_precision_name(precision);
    bool ours = !on_gpu() || precision == CT_PRECISION_BF16; /* the rounding is */
    if (on_gpu()) close += 257 * 0x1p-24;
    require(!ours || same <= close, "%s: off by %g from f64 with operands rounded", name, same);
    require((!ours || exact > close) && exact <= (ours ? far : 2 * far), "%s: off by %g from f64",
            name, exact);
}

static const ct_precision roundings[] = {CT_PRECISION_BF16, CT_PRECISION_TF32};
static int rounding_count(void) { return test_device() == CT_CUDA ? 2 : 1; }

/* Of one operand, relative. */
static double rounding(ct_precision precision) { return ldexp(1, bits_dropped(precision) - 24); }

/* ---- products --------------------------------------------------------------------------- */

static bool is_on_device(const computation *c) { return c->in[0]->dtype == CT_F32; }

/* Bit 0 of `how`: a comes as a transposed view; bit 1: b does. */
static void matmul(computation *c, int how) {
    ct_tensor *a = how & 1 ? ct_transpose(c->in[0], -1, -2) : c->in[0];
    ct_tensor *b = how & 2 ? ct_transpose(c->in[1], -1, -2) : c->in[1];
    c->out[c->outputs++] = is_on_device(c) ? ct_matmul(a, b) : product(a, b);
}

static ct_shape swapped(ct_shape shape) {
    int64_t columns = shape.dim[shape.ndim - 1];
    shape.dim[shape.ndim - 1] = shape.dim[shape.ndim - 2];
    shape.dim[shape.ndim - 2] = columns;
    return shape;
}

START_TEST(products) {
    const ct_shape shapes[][2] = {
        {CT_SHAPE(1, 33), CT_SHAPE(33, 1)},         {CT_SHAPE(31, 33), CT_SHAPE(33, 257)},
        {CT_SHAPE(2, 3, 31), CT_SHAPE(2, 31, 4)},   {CT_SHAPE(2, 3, 33), CT_SHAPE(33, 4)},
        {CT_SHAPE(3, 33), CT_SHAPE(2, 33, 4)},      {CT_SHAPE(2, 1, 3, 31), CT_SHAPE(3, 31, 5)},
        {CT_SHAPE(1, 3, 33), CT_SHAPE(4, 33, 257)}, {CT_SHAPE(70, 130), CT_SHAPE(130, 66)},
        {CT_SHAPE(611, 37), CT_SHAPE(37, 51)}, /* rows of which some are left over */
    };
    enum { SHAPES = sizeof shapes / sizeof *shapes };
    for (int i = 0; i < SHAPES * 4 * rounding_count(); i++) {
        CT_SCOPE {
            int how = i % 4;
            ct_precision precision = roundings[i / (4 * SHAPES)];
            const ct_shape *of = shapes[i / 4 % SHAPES];
            const ct_shape shape[] = {how & 1 ? swapped(of[0]) : of[0],
                                      how & 2 ? swapped(of[1]) : of[1]};
            check(matmul, shape, 2, how, precision, 2e-6, 2 * rounding(precision));
        }
    }
}
END_TEST

/* Bit 0 of `how`: rows of a batch. */
static void linear(computation *c, int how) {
    ct_tensor *x = c->in[0];
    if (is_on_device(c)) {
        c->out[c->outputs++] = ct_linear_with(x, c->in[1], c->in[2]);
        return;
    }
    ct_tensor *rows = how & 1 ? ct_reshape(x, CT_SHAPE(14, 33)) : x;
    ct_tensor *y = affine(rows, c->in[1], c->in[2]);
    c->out[c->outputs++] = how & 1 ? ct_reshape(y, CT_SHAPE(2, 7, 31)) : y;
}

START_TEST(linear_layers) {
    for (int i = 0; i < 2 * rounding_count(); i++) {
        CT_SCOPE {
            ct_precision precision = roundings[i / 2];
            const ct_shape shape[] = {i % 2 ? CT_SHAPE(2, 7, 33) : CT_SHAPE(5, 33),
                                      CT_SHAPE(31, 33), CT_SHAPE(31)};
            check(linear, shape, 3, i % 2, precision, 2e-6, 2 * rounding(precision));
        }
    }
}
END_TEST

/* ---- recurrent layers ------------------------------------------------------------------- */

enum { BATCH = 3, STEPS = 5, IN = 31, HIDDEN = 33 };

static ct_tensor *step_of(ct_tensor *x, int64_t step) {
    return ct_reshape(ct_slice(x, 1, step, step + 1, 1), CT_SHAPE(BATCH, IN));
}

static ct_tensor *gate(ct_tensor *x, int64_t i) {
    return ct_slice(x, 1, i * HIDDEN, (i + 1) * HIDDEN, 1);
}

/* As in tensor/fused/fused.h; c is NULL for a GRU. */
static void cell(ct_tensor *in, ct_tensor *recurrent, ct_tensor **h, ct_tensor **c) {
    if (!c) {
        ct_tensor *r = ct_sigmoid(ct_add(gate(in, 0), gate(recurrent, 0)));
        ct_tensor *z = ct_sigmoid(ct_add(gate(in, 1), gate(recurrent, 1)));
        ct_tensor *n = ct_tanh(ct_add(gate(in, 2), ct_mul(r, gate(recurrent, 2))));
        *h = ct_add(n, ct_mul(z, ct_sub(*h, n)));
        return;
    }
    ct_tensor *all = ct_add(in, recurrent);
    ct_tensor *kept = ct_mul(ct_sigmoid(gate(all, 1)), *c);
    *c = ct_add(kept, ct_mul(ct_sigmoid(gate(all, 0)), ct_tanh(gate(all, 2))));
    *h = ct_mul(ct_sigmoid(gate(all, 3)), ct_tanh(*c));
}

/* Inputs: x, w_ih, w_hh, b_ih, b_hh, h0 and, for an LSTM, c0. how: reversed. */
static void recurrent(computation *c, int how) {
    bool is_lstm = c->inputs == 7;
    ct_tensor **in = c->in, *h = in[5], *state = in[6], *y[STEPS];
    c->outputs = 2;
    if (is_on_device(c)) {
        c->out[0] = is_lstm
                        ? ct_lstm_with(in[0], h, state, in[1], in[2], in[3], in[4], NULL, how,
                                       &c->out[1], NULL)
                        : ct_gru_with(in[0], h, in[1], in[2], in[3], in[4], NULL, how, &c->out[1]);
        return;
    }
    for (int64_t i = 0; i < STEPS; i++) {
        int64_t s = how ? STEPS - 1 - i : i;
        cell(affine(step_of(in[0], s), in[1], in[3]), affine(h, in[2], in[4]), &h,
             is_lstm ? &state : NULL);
        y[s] = ct_unsqueeze(h, 1);
    }
    c->out[0] = ct_concat(y, STEPS, 1);
    c->out[1] = h;
}

/* Of a layer's inputs: x, weights, biases, states. */
static void recurrent_shapes(ct_shape shape[7], int gates, int64_t steps) {
    shape[0] = CT_SHAPE(BATCH, steps, IN);
    shape[1] = CT_SHAPE(gates * HIDDEN, IN);
    shape[2] = CT_SHAPE(gates * HIDDEN, HIDDEN);
    shape[3] = shape[4] = CT_SHAPE(gates * HIDDEN);
    shape[5] = shape[6] = CT_SHAPE(BATCH, HIDDEN);
}

/* What is computed in f32 and lies next to halfway between two values of fewer bits may become the
 * other one: of tf32, about one in a thousand, and it tells in the steps before. */
START_TEST(recurrent_layers) {
    for (int i = 0; i < 4 * rounding_count(); i++) {
        CT_SCOPE {
            int gates = i / 2 % 2 ? 4 : 3;
            ct_precision precision = roundings[i / 4];
            ct_shape shape[7];
            recurrent_shapes(shape, gates, STEPS);
            check(recurrent, shape, gates + 3, i % 2, precision, 0x1p-11,
                  2 * STEPS * rounding(precision));
        }
    }
}
END_TEST

/* ---- how often operands are rounded ----------------------------------------------------- */

/* Kernels launched that convert, by the shim's log. */
static int conversions(const char *log) {
    char *text = ct_file_read(log, NULL);
    int count = 0;
    for (const char *at = text; at && (at = strstr(at, "convert<")); at++) count++;
    free(text);
    return count;
}

static int conversions_of(bool is_lstm, int64_t steps, const char *log) {
    int gates = is_lstm ? 4 : 3;
    int count = 0;
    CT_SCOPE {
        ct_shape shape[7];
        recurrent_shapes(shape, gates, steps);
        computation c = inputs(shape, gates + 3, CT_F32);
        put_file(log, "", 0);
        recurrent(&c, 0);
        backward(&c);
        count = conversions(log);
    }
    return count;
}

START_TEST(operands_are_rounded_once) {
    if (!strstr(ct_backend_of(test_device())->name, "shim")) return; /* it has no log */
    const char *log = in_test_folder("log");
    ck_assert_int_eq(setenv("CT_SHIM_LOG", log, 1), 0);
    require(ct_set_precision(CT_CUDA, CT_PRECISION_BF16), "%s", ct_error());
    for (int lstm = 0; lstm < 2; lstm++) {
        int few = conversions_of(lstm, 2, log), many = conversions_of(lstm, 20, log);
        ck_assert_int_gt(few, 0);
        ck_assert_int_eq(few, many);
    }
}
END_TEST

/* Where the CPU has no bf16: exit status 77, a skipped test. */
int main(void) {
    if (gpu_missing()) return 77;
    if (test_device() == CT_CPU && !ct_set_precision(CT_CPU, CT_PRECISION_BF16)) {
        fprintf(stderr, "skipped: %s\n", ct_error());
        return 77;
    }
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, products);
    tcase_add_test(tcase, linear_layers);
    tcase_add_test(tcase, recurrent_layers);
    tcase_add_test(tcase, operands_are_rounded_once);
    return ct_run_case("precision", tcase);
}
