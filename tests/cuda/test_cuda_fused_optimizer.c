/* SPDX-License-Identifier: Apache-2.0 */
/* Adam and SGD on CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

/* More parameters than one launch takes, of both types, some of several chunks, some empty, some
 * not on 16 bytes, some without a gradient. */
enum { COUNT = 131, STATES = 4 };
enum { PARAM, GRAD, FIRST, SECOND };

static int64_t size_of(int i) {
    const int64_t sizes[] = {1, 31, 33, 0, 257, 64, 3, 1000};
    return i == 5 ? 40000 : i == 6 ? 16384 : sizes[i % 8];
}

typedef struct {
    ct_tensor *cpu[STATES][COUNT], *cuda[STATES][COUNT];
    bool first[COUNT];
    ct_tensor *cpu_rates[COUNT], *cuda_rates[COUNT];
} parameters;

/* On both devices. */
static void set_rates(parameters *p, int i, int64_t count, const double *numbers) {
    p->cpu_rates[i] = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(count), numbers);
    p->cuda_rates[i] = on_cuda(p->cpu_rates[i]);
}

/* The norm that gradients are clipped by: none, small, larger than the limit. */
static ct_clip clip_of(int which, ct_device device, double norm) {
    if (which == 0) return (ct_clip){0};
    return (ct_clip){ct_scalar(CT_F64, device, norm), which == 1 ? 10 : 2, which};
}

static void make_parameters(parameters *p) {
    for (int i = 0; i < COUNT; i++) {
        for (int k = 0; k < STATES; k++) {
            ct_tensor *x = noise(reals[i / 3 % 2], CT_SHAPE(size_of(i)), 1, (uint64_t)(8 * i + k));
            if (k == SECOND) x = ct_tensor_unary(CT_UNARY_abs, x, 0, 0);
            p->cpu[k][i] = x;
            p->cuda[k][i] = i % 5 == 2 ? misaligned(x) : on_cuda(x);
        }
        if (i % 11 == 4) p->cpu[GRAD][i] = p->cuda[GRAD][i] = NULL;
        p->first[i] = i % 3 == 0;
        if (!p->first[i]) continue; /* whatever is in it does not count */
        ct_tensor_fill(p->cpu[FIRST][i], NAN);
        ct_tensor_fill(p->cuda[FIRST][i], NAN);
    }
}

static void assert_parameters(const parameters *p, bool buffers, const char *what) {
    for (int k = 0; k < STATES; k++) {
        for (int i = 0; i < COUNT; i++) {
            if (!p->cpu[k][i]) continue;
            double t = close_enough(p->cpu[k][i]->dtype);
            bool used = p->cpu[GRAD][i] && (k < FIRST || buffers);
            if (used) { /* of numbers of the order of 1, some differences are smaller */
                assert_close(p->cuda[k][i], p->cpu[k][i], t, t, what);
            } else { /* even NaN stays */
                assert_as_cpu(p->cuda[k][i], p->cpu[k][i], 0, what);
            }
        }
    }
}

START_TEST(adam_as_on_the_cpu) {
    CT_SCOPE {
        static parameters p;
        make_parameters(&p);
        for (int i = 0; i < COUNT; i++) {
            ct_tensor_copy_to(p.cpu[FIRST][i], p.cpu[SECOND][i]);
            ct_tensor_copy_to(p.cuda[FIRST][i], p.cuda[SECOND][i]);
        }
        ct_tensor_adam_options o = {0.9, 0.99, 1e-8, 0.1, _i & 1, {0}}, cuda = o;
        o.clip = clip_of(_i / 2, CT_CPU, 3);
        cuda.clip = clip_of(_i / 2, CT_CUDA, 3);
        for (int step = 0; step < 2; step++) {
            for (int i = 0; i < COUNT; i++) {
                double numbers[CT_ADAM_RATES];
                ct_adam_rates(numbers, 1e-2, 1 + i % 4 + step, &o);
                set_rates(&p, i, CT_ADAM_RATES, numbers);
            }
            ck_assert(ct_tensor_adam(p.cpu[PARAM], p.cpu[GRAD], p.cpu[FIRST], p.cpu[SECOND],
                                     p.cpu_rates, COUNT, o));
            ck_assert(ct_tensor_adam(p.cuda[PARAM], p.cuda[GRAD], p.cuda[FIRST], p.cuda[SECOND],
                                     p.cuda_rates, COUNT, cuda));
        }
        assert_parameters(&p, true, "adam");
    }
}
END_TEST

START_TEST(sgd_as_on_the_cpu) {
    CT_SCOPE {
        static parameters p;
        make_parameters(&p);
        ct_tensor_sgd_options o = {_i & 1 ? 0.9 : 0, 0.1, _i & 2, {0}};
        if (_i & 4) { /* without momentum there need be no buffers */
            o.momentum = 0;
            for (int i = 0; i < COUNT; i++) p.cpu[FIRST][i] = p.cuda[FIRST][i] = NULL;
        }
        ct_tensor_sgd_options cuda = o;
        o.clip = clip_of(_i % 3, CT_CPU, 3);
        cuda.clip = clip_of(_i % 3, CT_CUDA, 3);
        for (int step = 0; step < 2; step++) {
            for (int i = 0; i < COUNT; i++) {
                double numbers[CT_SGD_RATES];
                ct_sgd_rates(numbers, 1e-2, p.first[i] && step == 0, &o);
                set_rates(&p, i, CT_SGD_RATES, numbers);
            }
            ck_assert(
                ct_tensor_sgd(p.cpu[PARAM], p.cpu[GRAD], p.cpu[FIRST], p.cpu_rates, COUNT, o));
            ck_assert(ct_tensor_sgd(p.cuda[PARAM], p.cuda[GRAD], p.cuda[FIRST], p.cuda_rates, COUNT,
                                    cuda));
        }
        assert_parameters(&p, o.momentum != 0, "sgd");
    }
}
END_TEST

/* A step goes on; who reads from the device next is told. */
START_TEST(does_nothing_where_the_norm_is_not_finite) {
    CT_SCOPE {
        static parameters p;
        make_parameters(&p);
        for (int i = 0; i < COUNT; i++) {
            set_rates(&p, i, _i & 1 ? CT_ADAM_RATES : CT_SGD_RATES, (double[]){1, 0.5, 1});
        }
        ct_clip clip = clip_of(1, CT_CUDA, _i & 2 ? NAN : INFINITY);
        ct_tensor_adam_options adam = {0.9, 0.99, 1e-8, 0.1, false, clip};
        ct_tensor_sgd_options sgd = {0.9, 0.1, false, clip};
        require(_i & 1 ? ct_tensor_adam(p.cuda[PARAM], p.cuda[GRAD], p.cuda[FIRST], p.cuda[SECOND],
                                        p.cuda_rates, COUNT, adam)
                       : ct_tensor_sgd(p.cuda[PARAM], p.cuda[GRAD], p.cuda[FIRST], p.cuda_rates,
                                       COUNT, sgd),
                "%s", ct_error());
        double value;
        ck_assert(!ct_read(ct_scalar(CT_F64, CT_CUDA, 1), &value));
        assert_error(_i & 1 ? "adam: a gradient is not finite: nothing was updated"
                            : "sgd: a gradient is not finite: nothing was updated");
        for (int k = 0; k < STATES; k++) {
            for (int i = 0; i < COUNT; i++) {
                if (p.cpu[k][i]) assert_as_cpu(p.cuda[k][i], p.cpu[k][i], 0, "unchanged");
            }
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda optimizer", {adam_as_on_the_cpu, 6}, {sgd_as_on_the_cpu, 8},
                 {does_nothing_where_the_norm_is_not_finite, 4})
