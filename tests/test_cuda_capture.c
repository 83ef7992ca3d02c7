/* Captured steps: replayed they are, bit for bit, what the step is when it is done at once; what
 * cannot be repeated is refused, and everything goes on afterwards. */
#include <pthread.h>

#include "cuda_test.h"
#include "nn/nn.h"

enum { ROWS = 33, IN = 17, OUT = 9, RUNS = 5 };

static ct_tensor *kept(ct_tensor *x) {
    assert_no_error();
    return ct_keep(x);
}

/* The same bits in two tensors of the device. */
static void assert_same(const ct_tensor *a, const ct_tensor *b, const char *what) {
    CT_SCOPE {
        assert_same_bits(on_cpu(a), on_cpu(b), what);
    }
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
    CT_SCOPE {
        ct_tensor_copy_to(s->x, noise(CT_F32, CT_SHAPE(ROWS, IN), 1, 100 + (uint64_t)run));
    }
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

/* A tensor from before that goes within is given back once, at the end: all of it is there again. */
START_TEST(tensors_from_before_may_go_within) {
    setenv("CT_SHIM_MEMORY", "40", 1); /* MiB, 32 of which are cuBLAS's */
    int64_t before = ct_memory_in_use(CT_CUDA), most = 5 << 20;
    CT_SCOPE {
        ct_tensor *y = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(50)), *gone = NULL;
        CT_SCOPE {
            gone = ct_keep(ct_zeros(CT_U8, CT_CUDA, CT_SHAPE(most)));
        }
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
        CT_SCOPE {
            ct_tensor_copy_to(y, ct_tensor_index_select(x, 0, index));
        }
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
            CT_SCOPE {
                ck_assert_double_eq(ct_get(ct_full(CT_F32, CT_CUDA, large, 3), 9), 3);
            }
        }
        ck_assert_double_eq(ct_item(y), 3.0 * (5 << 18));
        CT_SCOPE {
            ct_tensor *held = ct_full(CT_F32, CT_CUDA, large, 3);
            ck_assert(held && !ct_capture_run(capture, NULL));
            assert_error("cuda: cudaGraphLaunch: out of memory");
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
    ct_module_add(t.net, "1", ct_batch_norm_create(24, (ct_batch_norm_options){.axis = 1}));
    ct_module_add(t.net, "2", ct_dropout_create(0.3));
    ct_module_add(t.net, "3", ct_layer_norm_create(24, 0));
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
        ct_tensor *loss = ct_cross_entropy(logits, t->labels, (ct_cross_entropy_options){0});
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

START_TEST(trains_to_the_same_bits) {
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

/* ---- what is refused -------------------------------------------------------------------- */

typedef struct {
    void (*within)(ct_tensor *x, ct_rng *rng);
    const char *error;
} refusal;

static void reads(ct_tensor *x, ct_rng *rng) { (void)rng, ct_item(x); }
static void looks_for_nan(ct_tensor *x, ct_rng *rng) { (void)rng, ct_tensor_has_nonfinite(x); }
static void takes_from_host(ct_tensor *x, ct_rng *rng) {
    (void)rng;
    ct_tensor_copy_to(x, ct_scalar(CT_F32, CT_CPU, 3));
}
static void draws_from_another(ct_tensor *x, ct_rng *rng) {
    ct_rng other = ct_rng_create(rng->seed, rng->stream + 1);
    ct_random_uniform(&other, "u", CT_F32, x->device, CT_SHAPE(3));
}
static void draws_on_the_host(ct_tensor *x, ct_rng *rng) { (void)x, ct_random_below(rng, 5); }
static void draws_on_both(ct_tensor *x, ct_rng *rng) {
    ct_random_double(rng);
    ct_random_uniform(rng, "u", CT_F32, x->device, CT_SHAPE(3));
}
static void begins_again(ct_tensor *x, ct_rng *rng) { (void)x, ct_capture_begin(CT_CUDA, rng); }
static void fails(ct_tensor *x, ct_rng *rng) {
    (void)rng;
    ct_tensor_add(x, ct_zeros(CT_F64, x->device, CT_SHAPE(2)));
}

static const refusal refusals[] = {
    {reads, "to_host: not while a capture is recorded"},
    {looks_for_nan, "has_nonfinite: not while a capture is recorded"},
    {takes_from_host, "from_host: not while a capture is recorded"},
    {draws_from_another, "random: numbers of seed 6, stream 1 were asked for while a capture is "
                         "recorded that draws from another generator"},
    {draws_on_the_host, "capture_end: the generator also drew numbers on the host"},
    {draws_on_both, "random: the generator of a capture that is recorded drew elsewhere, too"},
    {begins_again, "capture_begin: a capture is being recorded, which must end first"},
    {fails, "add: dtypes differ"},
};
enum { REFUSALS = sizeof refusals / sizeof *refusals };

/* _i: a refusal; its error is left, or (second half) forgotten within, which does not help. */
START_TEST(what_cannot_be_repeated_fails) {
    const refusal *r = &refusals[_i % REFUSALS];
    bool forget = _i >= REFUSALS;
    ct_rng rng = {.seed = 6, .offset = 4};
    int64_t before = ct_memory_in_use(CT_CUDA);
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CUDA, CT_SCALAR_SHAPE, 1);
        ck_assert(ct_capture_begin(CT_CUDA, &rng));
        CT_SCOPE {
            ct_tensor_add_to(x, 1, ct_full(CT_F32, CT_CUDA, CT_SCALAR_SHAPE, 1));
            r->within(x, &rng);
        }
        bool was_refused = !ct_ok();
        if (forget && was_refused) assert_error(r->error);
        ct_capture *capture = ct_capture_end();
        ck_assert_uint_eq(rng.offset, 4);
        bool refused_by_device = _i % REFUSALS < 6;
        if (forget && was_refused && !refused_by_device) { /* nothing of it was recorded */
            ck_assert(ct_capture_run(capture, &rng));
            ck_assert_double_eq(ct_item(x), 2);
            ct_capture_destroy(capture);
        } else {
            ck_assert_ptr_null(capture);
            assert_error(forget && was_refused ? "capture_end: something within was refused"
                                               : r->error);
            ck_assert_double_eq(ct_item(x), 1);
        }
        /* and it goes on */
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE {
            ct_tensor_add_to(x, 1, ct_full(CT_F32, CT_CUDA, CT_SCALAR_SHAPE, 1));
        }
        capture = ct_capture_end();
        double was = ct_item(x);
        ck_assert(ct_capture_run(capture, NULL) && ct_item(x) == was + 1);
        ct_capture_destroy(capture);
    }
    assert_no_error();
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before);
}
END_TEST

START_TEST(no_generator_no_draws) {
    ct_rng rng = {.seed = 6};
    CT_SCOPE {
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        ct_random_normal(&rng, "z", CT_F64, CT_CUDA, CT_SHAPE(3));
        ck_assert_ptr_null(ct_capture_end());
        assert_error("random: numbers of seed 6, stream 0 were asked for while a capture is "
                     "recorded that draws from none");
    }
}
END_TEST

START_TEST(another_generator_for_a_run) {
    state s = make_state();
    ct_rng rng = {.seed = 6}, other = {.seed = 7};
    ct_capture *capture = capture_step(&s, &rng);
    ck_assert(!ct_capture_run(capture, &other));
    assert_error("capture_run: expected the generator that was recorded, of seed 6 and stream 0");
    ck_assert(!ct_capture_run(capture, NULL));
    assert_error("capture_run: expected the generator");
    ck_assert(ct_capture_run(capture, &rng));
    ct_capture_destroy(capture);
    release_state(&s);
}
END_TEST

/* Tensors made within and held: the capture fails, and they can be released at any time after. */
START_TEST(held_tensors_fail) {
    int64_t before = ct_memory_in_use(CT_CUDA);
    ct_tensor *held[2] = {0};
    CT_SCOPE {
        ct_tensor *y = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(1 << 14));
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE {
            for (int i = 0; i < 2; i++) {
                held[i] = ct_keep(ct_full(CT_F32, CT_CUDA, CT_SHAPE(1 << 14), 2));
                ct_tensor_add_to(y, 1, held[i]);
            }
        }
        ck_assert_ptr_null(ct_capture_end());
        assert_error("capture_end: tensors made within are still held (2, of 0.1 MiB): they must be "
                     "released before the end");
        ct_release(held[0]);
        /* another capture, while the second is held: no memory is at the same address */
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE {
            for (int i = 0; i < 4; i++) {
                ct_tensor_add_to(y, 1, ct_full(CT_F32, CT_CUDA, CT_SHAPE(1 << 14), 0.25));
            }
        }
        ct_capture *capture = ct_capture_end();
        assert_no_error();
        ct_release(held[1]);
        ck_assert(ct_capture_run(capture, NULL) && ct_capture_run(capture, NULL));
        ck_assert_double_eq(ct_get(y, 5), 2);
        ct_capture_destroy(capture);
    }
    assert_no_error();
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before);
}
END_TEST

static void *ends_elsewhere(void *context) {
    (void)context;
    ck_assert_ptr_null(ct_capture_end());
    assert_error("capture_end: this thread records nothing");
    ck_assert(!ct_capture_begin(CT_CUDA, NULL));
    assert_error("capture_begin: a capture is being recorded");
    return NULL;
}

START_TEST(begin_and_end_belong_together) {
    ck_assert_ptr_null(ct_capture_end());
    assert_error("capture_end: this thread records nothing");
    ck_assert(ct_capture_begin(CT_CUDA, NULL));
    pthread_t thread;
    pthread_create(&thread, NULL, ends_elsewhere, NULL);
    pthread_join(thread, NULL);
    ct_capture *capture = ct_capture_end();
    ck_assert(ct_capture_begin(CT_CUDA, NULL));
    ck_assert(!ct_capture_run(capture, NULL));
    assert_error("capture_run: a capture is being recorded, which must end first");
    ct_capture_destroy(ct_capture_end());
    ck_assert(!ct_capture_run(NULL, NULL));
    assert_error("capture_run: the capture is NULL");
    ct_capture_destroy(capture);
    assert_no_error();
}
END_TEST

START_TEST(the_cpu_cannot) {
    ck_assert(ct_can_capture(CT_CUDA) && !ct_can_capture(CT_CPU));
    assert_no_error();
    ck_assert(!ct_capture_begin(CT_CPU, NULL));
    assert_error("capture_begin: the cpu cannot record what it is told");
}
END_TEST

START_TEST(no_device_no_error) {
    setenv("CT_CUDA_LIBRARY", "/nowhere/cuda.so", 1);
    ck_assert(!ct_can_capture(CT_CUDA));
    assert_no_error();
    ck_assert(!ct_capture_begin(CT_CUDA, NULL));
    assert_error("/nowhere/cuda.so");
}
END_TEST

LOOPED_TEST_MAIN("cuda capture", {recording_does_nothing, 1}, {runs_are_the_step, 1},
                 {draws_from_any_offset, 1}, {captures_take_turns, 2}, {an_empty_capture, 1},
                 {tensors_from_before_may_go_within, 1}, {kernels_report_from_runs, 1},
                 {memory_goes_to_who_needs_it, on_gpu() ? 0 : 1}, {trains_to_the_same_bits, 1},
                 {what_cannot_be_repeated_fails, 2 * REFUSALS}, {no_generator_no_draws, 1},
                 {another_generator_for_a_run, 1}, {held_tensors_fail, 1},
                 {begin_and_end_belong_together, 1}, {the_cpu_cannot, 1}, {no_device_no_error, 1})
