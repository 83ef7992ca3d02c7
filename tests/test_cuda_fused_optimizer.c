/* Adam and SGD on CUDA tensors against the CPU. */
#include "cuda_test.h"

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
    int64_t steps[COUNT];
    bool first[COUNT];
} parameters;

static void make_parameters(parameters *p) {
    for (int i = 0; i < COUNT; i++) {
        for (int k = 0; k < STATES; k++) {
            ct_tensor *x = noise(reals[i / 3 % 2], CT_SHAPE(size_of(i)), 1, (uint64_t)(8 * i + k));
            if (k == SECOND) x = ct_tensor_unary(CT_UNARY_abs, x, 0, 0);
            p->cpu[k][i] = x;
            p->cuda[k][i] = i % 5 == 2 ? misaligned(x) : on_cuda(x);
        }
        if (i % 11 == 4) p->cpu[GRAD][i] = p->cuda[GRAD][i] = NULL;
        p->steps[i] = 1 + i % 4;
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
        ct_adam_options o = {1e-2, 0.9, 0.99, 1e-8, 0.1, _i & 1, _i & 2 ? 1 : 0.3};
        for (int step = 0; step < 2; step++) {
            ck_assert(ct_tensor_adam(p.cpu[PARAM], p.cpu[GRAD], p.cpu[FIRST], p.cpu[SECOND],
                                     p.steps, COUNT, o));
            ck_assert(ct_tensor_adam(p.cuda[PARAM], p.cuda[GRAD], p.cuda[FIRST], p.cuda[SECOND],
                                     p.steps, COUNT, o));
        }
        assert_parameters(&p, true, "adam");
    }
}
END_TEST

START_TEST(sgd_as_on_the_cpu) {
    CT_SCOPE {
        static parameters p;
        make_parameters(&p);
        ct_sgd_options o = {1e-2, _i & 1 ? 0.9 : 0, 0.1, 0.3, _i & 2};
        if (_i & 4) { /* without momentum there need be no buffers */
            o.momentum = 0;
            for (int i = 0; i < COUNT; i++) p.cpu[FIRST][i] = p.cuda[FIRST][i] = NULL;
        }
        for (int step = 0; step < 2; step++) {
            ck_assert(ct_tensor_sgd(p.cpu[PARAM], p.cpu[GRAD], p.cpu[FIRST], p.first, COUNT, o));
            ck_assert(ct_tensor_sgd(p.cuda[PARAM], p.cuda[GRAD], p.cuda[FIRST], p.first, COUNT, o));
            for (int i = 0; i < COUNT; i++) p.first[i] = false;
        }
        assert_parameters(&p, o.momentum != 0, "sgd");
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda optimizer", {adam_as_on_the_cpu, 4}, {sgd_as_on_the_cpu, 8})
