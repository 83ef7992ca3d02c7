/* SPDX-License-Identifier: Apache-2.0 */
/* Captured steps: run they are, bit for bit, what the step is when it is done at once. What cannot
 * be captured is in test_cuda_capture_refused.c. */
#include "tests/cuda/cuda_test.h"
#include "nn/nn.h"

enum { ROWS = 33, IN = 17, OUT = 9, RUNS = 5 };

static ct_tensor *kept(ct_tensor *x) {
    assert_no_error();
    return ct_keep(x);
}

/* The same bits in two tensors of the device. */
static void assert_same(const ct_tensor *a, const ct_tensor *b, const char *what) {
    CT_SCOPE { assert_same_bits(on_cpu(a), on_cpu(b), what); }
}

/* ---- a step, and its tensors ------------------------------------------------------------ */

typedef struct {
    ct_tensor *x, *w, *loss, *noise[3], *order;
} state;

enum { STATE_TENSORS = sizeof(state) / sizeof(ct_tensor *) };

static ct_tensor **tensor_of(state *s, int i) { return &((ct_tensor **)s)[i]; }

static state make_state(void) {
    state s;
    CT_SCOPE {
        s.x = kept(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(ROWS, IN)));
        s.w = kept(on_cuda(noise(CT_F32, CT_SHAPE(IN, OUT), 1, 5)));
        s.loss = kept(ct_zeros(CT_F32, CT_CUDA, CT_SCALAR_SHAPE));
        s.noise[0] = kept(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(ROWS, OUT)));
        s.noise[1] = kept(ct_zeros(CT_F64, CT_CUDA, CT_SHAPE(31)));
        s.noise[2] = kept(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(ROWS)));
        s.order = kept(ct_zeros(CT_I64, CT_CUDA, CT_SHAPE(ROWS)));
    }
    return s;
}

static void release_state(state *s) {
    for (int i = 0; i < STATE_TENSORS; i++) ct_release(*tensor_of(s, i));
}

/* What a step reads, changed in place. */
static void set_input(state *s, int run) {
    CT_SCOPE { ct_tensor_copy_to(s->x, noise(CT_F32, CT_SHAPE(ROWS, IN), 1, 100 + (uint64_t)run)); }
}

/* Products (of views, too), draws, sorting, indexing, reductions, fills, copies, scratch memory. */
static void step(state *s, ct_rng *rng) {
    CT_SCOPE {
        ct_shape shape = s->noise[0]->shape;
        ct_tensor *u = ct_random_uniform(rng, "u", CT_F32, CT_CUDA, shape);
        ct_tensor *z = ct_random_normal(rng, "z", CT_F64, CT_CUDA, s->noise[1]->shape);
        ct_tensor *b = ct_random_bernoulli(rng, "b", 0.4, CT_F32, CT_CUDA, s->noise[2]->shape);
        ct_tensor *y = ct_tensor_add(ct_tensor_matmul(s->x, s->w), u);
        ct_tensor *first = ct_tensor_squeeze(ct_tensor_slice(y, 1, 0, 1, 1), 1);
        ct_tensor *order = ct_tensor_argsort(ct_tensor_contiguous(first), true);
        ct_tensor *rows = ct_tensor_index_select(s->x, 0, order);
        ct_tensor *p = ct_tensor_softmax(ct_tensor_index_select(y, 0, order), -1, false);
        p = ct_tensor_mul(p, ct_tensor_unsqueeze(b, 1));
        ct_tensor *g = ct_tensor_matmul(ct_tensor_transpose(rows, 0, 1), p);
        ct_tensor *count = ct_tensor_cast(ct_arange(CT_I64, CT_CUDA, OUT), CT_F32);
        ct_tensor_add_to(s->w, -0.05, ct_tensor_mul(g, count));
        ct_tensor_copy_to(s->loss, ct_tensor_reduce(CT_MEAN, p, CT_ALL_AXES, false));
        ct_tensor_copy_to(s->noise[0], u);
        ct_tensor_copy_to(s->noise[1], z);
        ct_tensor_copy_to(s->noise[2], b);
        ct_tensor_copy_to(s->order, order);
    }
}

static ct_capture *capture_step(state *s, ct_rng *rng) {
    ck_assert(ct_capture_begin(CT_CUDA, rng));
    step(s, rng);
    assert_no_error();
    ct_capture *capture = ct_capture_end();
    assert_no_error();
    ck_assert_ptr_nonnull(capture);
    return capture;
}

static void assert_same_states(state *a, state *b, const char *what) {
    for (int i = 0; i < STATE_TENSORS; i++) assert_same(*tensor_of(a, i), *tensor_of(b, i), what);
}

/* ---- what works ------------------------------------------------------------------------- */

START_TEST(recording_does_nothing) {
    state s = make_state(), untouched = make_state();
    ct_rng rng = {.seed = 3, .stream = 1, .offset = 12};
    ct_capture *capture = capture_step(&s, &rng);
    ck_assert_uint_eq(rng.offset, 12);
    assert_same_states(&s, &untouched, "after recording");
    ct_capture_destroy(capture);
    release_state(&s);
    release_state(&untouched);
}
END_TEST

START_TEST(runs_are_the_step) {
    int64_t before = ct_memory_in_use(CT_CUDA);
    state eager = make_state(), replayed = make_state();
    ct_rng rng = {.seed = 3, .stream = 1, .offset = 0xfffffff0u}, other = rng;
    int64_t held = ct_memory_in_use(CT_CUDA);
    ct_capture *capture = capture_step(&replayed, &other);
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), held);
    for (int run = 0; run < RUNS; run++) {
        set_input(&eager, run);
        set_input(&replayed, run);
        step(&eager, &rng);
        ck_assert(ct_capture_run(capture, &other));
        assert_same_states(&eager, &replayed, "run");
        ck_assert_uint_eq(other.offset, rng.offset);
    }
    for (int run = 0; run < RUNS; run++) { /* without looking in between */
        step(&eager, &rng);
        ck_assert(ct_capture_run(capture, &other));
    }
    assert_same_states(&eager, &replayed, "runs in a row");
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), held);
    ct_capture_destroy(capture);
    release_state(&eager);
    release_state(&replayed);
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before);
}
END_TEST

/* Draws are those of where the generator stands, and others go on between the runs. */
START_TEST(draws_from_any_offset) {
    state eager = make_state(), replayed = make_state();
    ct_rng rng = {.seed = 8, .stream = 2, .offset = 77}, other = rng;
    ct_capture *capture = capture_step(&replayed, &other);
    static const uint64_t offsets[] = {0, 5, UINT64_MAX - 3, 77};
    for (int i = 0; i < 4; i++) {
        CT_SCOPE {
            rng.offset = other.offset = offsets[i];
            step(&eager, &rng);
            ck_assert(ct_capture_run(capture, &other));
            assert_same_states(&eager, &replayed, "offset");
            assert_same(ct_random_uniform(&other, "u", CT_F32, CT_CUDA, CT_SHAPE(7)),
                        ct_random_uniform(&rng, "u", CT_F32, CT_CUDA, CT_SHAPE(7)), "eager draw");
        }
    }
    ct_capture_destroy(capture);
    release_state(&eager);
    release_state(&replayed);
}
END_TEST

/* Two captures on the same tensors, of different steps; _i: which is destroyed first. */
START_TEST(captures_take_turns) {
    state eager = make_state(), replayed = make_state();
    ct_rng rng = {.seed = 4}, other = rng;
    ct_capture *whole = capture_step(&replayed, &other);
    ck_assert(ct_capture_begin(CT_CUDA, NULL));
    ck_assert(ct_tensor_scale_in_place(replayed.w, 0.5));
    ct_capture *half = ct_capture_end();
    for (int run = 0; run < RUNS; run++) {
        step(&eager, &rng);
        ct_tensor_scale_in_place(eager.w, 0.5);
        ck_assert(ct_capture_run(whole, &other) && ct_capture_run(half, NULL));
        assert_same_states(&eager, &replayed, "in turn");
    }
    ct_capture_destroy(_i ? whole : half);
    step(&eager, &rng);
    if (_i) {
        step(&replayed, &other);
        ck_assert(ct_capture_run(half, NULL));
        ct_tensor_scale_in_place(eager.w, 0.5);
    } else {
        ck_assert(ct_capture_run(whole, &other));
    }
    assert_same_states(&eager, &replayed, "the one that is left");
    ct_capture_destroy(_i ? half : whole);
    release_state(&eager);
    release_state(&replayed);
}
END_TEST

START_TEST(an_empty_capture) {
    ck_assert(ct_capture_begin(CT_CUDA, NULL));
    ct_capture *capture = ct_capture_end();
    ck_assert(ct_capture_run(capture, NULL) && ct_capture_run(capture, NULL));
    assert_no_error();
    ct_capture_destroy(capture);
    ct_capture_destroy(NULL);
}
END_TEST

/* A tensor from before that goes within is given back once, at the end: all of it is there. */
START_TEST(tensors_from_before_may_go_within) {
    setenv("CT_SHIM_MEMORY", "40", 1); /* MiB, 32 of which are cuBLAS's */
    int64_t before = ct_memory_in_use(CT_CUDA), most = 5 << 20;
    CT_SCOPE {
        ct_tensor *y = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(50)), *gone = NULL;
        CT_SCOPE { gone = ct_keep(ct_zeros(CT_U8, CT_CUDA, CT_SHAPE(most))); }
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE {
            ct_release(gone);
            ct_tensor_add_to(y, 1, ct_full(CT_F32, CT_CUDA, CT_SHAPE(50), 2));
        }
        ct_capture *capture = ct_capture_end();
        assert_no_error();
        for (int run = 0; run < 3; run++) {
            CT_SCOPE {
                ck_assert_ptr_nonnull(ct_zeros(CT_U8, CT_CUDA, CT_SHAPE(most)));
                ck_assert(ct_capture_run(capture, NULL));
            }
        }
        ck_assert_double_eq(ct_get(y, 7), 6);
        ct_capture_destroy(capture);
    }
    assert_no_error();
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before);
}
END_TEST

/* What a kernel reports in a run is the error of the next reading. */
START_TEST(kernels_report_from_runs) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(4));
        ct_tensor *y = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(2));
        ct_tensor *index = ct_zeros(CT_I64, CT_CUDA, CT_SHAPE(2));
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE { ct_tensor_copy_to(y, ct_tensor_index_select(x, 0, index)); }
        ct_capture *capture = ct_capture_end();
        ck_assert(ct_capture_run(capture, NULL));
        ck_assert_double_eq(ct_get(y, 1), 0);
        ct_set(index, 1, 9);
        ck_assert(ct_capture_run(capture, NULL));
        ck_assert(isnan(ct_get(y, 0)));
        assert_error("index_select: index 9 at position 1 is outside 0..3");
        ct_set(index, 1, 3);
        ck_assert(ct_capture_run(capture, NULL));
        ck_assert_double_eq(ct_get(y, 1), 0);
        ct_capture_destroy(capture);
    }
    assert_no_error();
}
END_TEST

/* Graphs keep their memory between runs; whoever finds none lets it go. On the shim alone: a GPU's
 * memory is not filled. */
START_TEST(memory_goes_to_who_needs_it) {
    setenv("CT_SHIM_MEMORY", "40", 1); /* MiB, 32 of which are cuBLAS's */
    CT_SCOPE {
        ct_shape large = CT_SHAPE(5 << 18); /* 5 MiB of f32 */
        ct_tensor *y = ct_zeros(CT_F32, CT_CUDA, CT_SCALAR_SHAPE);
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE {
            ct_tensor *x = ct_full(CT_F32, CT_CUDA, large, 1);
            ct_tensor_add_to(y, 1, ct_tensor_reduce(CT_SUM, x, CT_ALL_AXES, false));
        }
        ct_capture *capture = ct_capture_end();
        for (int run = 0; run < 3; run++) {
            ck_assert(ct_capture_run(capture, NULL));
            CT_SCOPE { ck_assert_double_eq(ct_get(ct_full(CT_F32, CT_CUDA, large, 3), 9), 3); }
        }
        ck_assert_double_eq(ct_item(y), 3.0 * (5 << 18));
        CT_SCOPE {
            ct_tensor *held = ct_full(CT_F32, CT_CUDA, large, 3);
            ck_assert(held && !ct_capture_run(capture, NULL));
            assert_error("cudaGraphLaunch: no memory on the device for 5.0 MiB (tensors hold 5.0 "
                         "MiB, 3.0 of 40.0 MiB are free)");
        }
        ck_assert(ct_capture_run(capture, NULL));
        ck_assert_double_eq(ct_item(y), 4.0 * (5 << 18));
        ct_capture_destroy(capture);
    }
    assert_no_error();
}
END_TEST

/* ---- training --------------------------------------------------------------------------- */

enum { BATCH = 19, CLASSES = 5 };

typedef struct {
    ct_module *net;
    ct_tensor *x, *labels, *loss;
} training;

static training make_training(void) {
    training t = {.net = ct_sequential_create()};
    ct_seed(11);
    ct_module_add(t.net, "0", ct_linear_create(IN, 24, true));
    ct_module_add(t.net, "1", ct_batch_norm_create(24, NULL));
    ct_module_add(t.net, "2", ct_dropout_create(0.3));
    ct_module_add(t.net, "3", ct_layer_norm_create(24, NULL));
    ct_module_add(t.net, "4", ct_linear_create(24, CLASSES, true));
    ck_assert(ct_module_to_device(t.net, CT_CUDA));
    CT_SCOPE {
        t.x = kept(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(BATCH, IN)));
        t.labels = kept(ct_zeros(CT_I64, CT_CUDA, CT_SHAPE(BATCH)));
        t.loss = kept(ct_zeros(CT_F32, CT_CUDA, CT_SCALAR_SHAPE));
    }
    return t;
}

static void set_batch(training *t, int run) {
    CT_SCOPE {
        ct_tensor_copy_to(t->x, noise(CT_F32, CT_SHAPE(BATCH, IN), 2, 40 + (uint64_t)run));
        ct_tensor *labels = ct_empty(CT_I64, CT_CPU, CT_SHAPE(BATCH));
        int64_t *label = ct_data(labels);
        for (int i = 0; i < BATCH; i++) label[i] = (i * i + run) % CLASSES;
        ct_tensor_copy_to(t->labels, labels);
    }
}

static bool descend(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context, (void)name;
    if (buffer || !ct_requires_grad(tensor)) return true;
    bool added = ct_tensor_add_to(tensor, -0.1, ct_grad(tensor));
    ct_zero_grad(tensor);
    return added;
}

static void train(training *t) {
    CT_SCOPE {
        ct_tensor *logits = ct_forward(t->net, t->x);
        ct_tensor *loss = ct_cross_entropy(logits, t->labels, NULL);
        ct_tensor_copy_to(t->loss, loss);
        ct_backward(loss);
        ct_module_visit(t->net, descend, NULL);
    }
    assert_no_error();
}

static bool compare(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)buffer;
    assert_same(tensor, ct_module_tensor(context, name), name);
    return true;
}

/* _i: precision of the products. */
START_TEST(trains_to_the_same_bits) {
    ck_assert(ct_set_precision(CT_CUDA, (ct_precision)_i));
    training eager = make_training(), replayed = make_training();
    ct_rng *rng = ct_default_rng(), eager_rng = *rng;
    ck_assert(ct_capture_begin(CT_CUDA, rng));
    train(&replayed);
    ct_capture *capture = ct_capture_end();
    assert_no_error();
    double first = NAN;
    for (int run = 0; run < 6; run++) {
        set_batch(&eager, run);
        set_batch(&replayed, run);
        ck_assert(ct_capture_run(capture, rng));
        ct_rng after_run = *rng;
        *rng = eager_rng;
        train(&eager);
        ck_assert_uint_eq(rng->offset, after_run.offset);
        eager_rng = *rng;
        ct_module_visit(eager.net, compare, replayed.net);
        assert_same(eager.loss, replayed.loss, "loss");
        if (run == 0) first = ct_item(eager.loss);
    }
    ck_assert(ct_item(eager.loss) != first);
    ck_assert_double_eq(ct_item(ct_module_tensor(replayed.net, "1.num_batches_tracked")), 6);
    ct_capture_destroy(capture);
    training *both[] = {&eager, &replayed};
    for (int i = 0; i < 2; i++) {
        ct_release(both[i]->x), ct_release(both[i]->labels), ct_release(both[i]->loss);
        ct_module_destroy(both[i]->net);
    }
}
END_TEST

/* ---- draws that are made again ----------------------------------------------------------- */

static ct_tensor *drop_out(void *rng, ct_tensor *const *x, int count) {
    (void)count;
    return ct_dropout_with(x[0], 0.4, rng, "drop");
}

/* A checkpoint draws the same numbers again in backward. */
static void descend_through_checkpoint(ct_tensor *w, ct_rng *rng) {
    CT_SCOPE {
        ct_tensor *y = ct_checkpoint(drop_out, rng, &w, 1);
        ct_tensor *u = ct_random_uniform(rng, "u", CT_F32, CT_CUDA, w->shape);
        ct_backward(ct_sum_all(ct_square(ct_mul(y, u))));
        ct_tensor_add_to(w, -0.1, ct_grad(w));
        ct_zero_grad(w);
    }
    assert_no_error();
}

START_TEST(checkpoints_draw_again) {
    ct_rng rng = ct_rng_create(9, 4), other = rng;
    CT_SCOPE {
        ct_tensor *start = noise(CT_F32, CT_SHAPE(31, 3), 1, 2);
        ct_tensor *w = ct_require_grad(on_cuda(start)), *v = ct_require_grad(on_cuda(start));
        ck_assert(ct_capture_begin(CT_CUDA, &other));
        descend_through_checkpoint(v, &other);
        ct_capture *capture = ct_capture_end();
        assert_no_error();
        for (int run = 0; run < RUNS; run++) {
            descend_through_checkpoint(w, &rng);
            ck_assert(ct_capture_run(capture, &other));
            ck_assert_uint_eq(rng.offset, other.offset);
            assert_same(w, v, "checkpoint");
        }
        ct_capture_destroy(capture);
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda capture", {recording_does_nothing, 1}, {runs_are_the_step, 1},
                 {draws_from_any_offset, 1}, {captures_take_turns, 2}, {an_empty_capture, 1},
                 {tensors_from_before_may_go_within, 1}, {kernels_report_from_runs, 1},
                 {memory_goes_to_who_needs_it, on_gpu() ? 0 : 1}, {trains_to_the_same_bits, 3},
                 {checkpoints_draw_again, 1})
