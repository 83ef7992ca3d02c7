/* SPDX-License-Identifier: Apache-2.0 */
/* A training is saved and taken up in two calls: it goes on to the same bits, a file that does not
 * fit changes nothing. */
#include "nn/nn.h"
#include "tests/test.h"

static char path[64];

static void remove_file(void) { remove(path); }

/* Small enough to be built twice; everything that a training has is in use. */
typedef struct {
    ct_module *net;
    ct_optimizer *optimizer;
    int64_t step;
    double best;
    ct_training_number numbers[2];
    ct_training training;
} run;

typedef enum { ADAM, SGD, PLAIN_SGD } kind;

static void begin(run *r, kind of, uint64_t seed) {
    snprintf(path, sizeof path, "/tmp/ct_training_%d.safetensors", (int)getpid());
    atexit(remove_file);
    ct_seed(seed);
    *r = (run){.net = ct_sequential_create(), .best = 0.1};
    ct_module_add(r->net, "in", ct_linear_create(3, 4, true));
    ct_module_add(r->net, "norm", ct_batch_norm_create(4, NULL));
    ct_module_add(r->net, "drop", ct_dropout_create(0.3));
    ct_module_add(r->net, "out", ct_linear_create(4, 2, false));
    ct_sgd_options sgd = ct_sgd_defaults();
    sgd.momentum = of == SGD ? 0.9 : 0;
    r->optimizer = of == ADAM ? ct_adam_create(r->net, NULL) : ct_sgd_create(r->net, &sgd);
    r->numbers[0] = (ct_training_number){"step", .integer = &r->step};
    r->numbers[1] = (ct_training_number){"best", .real = &r->best};
    r->training = (ct_training){r->net, r->optimizer, ct_default_rng(), r->numbers, 2, NULL};
}

static void go_on(run *r, int steps) {
    for (int i = 0; i < steps; i++) CT_SCOPE {
            ct_tensor *x = ct_random_normal(ct_default_rng(), "x", CT_F32, CT_CPU, CT_SHAPE(6, 3));
            ck_assert(ct_backward(ct_mean_all(ct_square(ct_forward(r->net, x)))));
            ck_assert(ct_optimizer_step(r->optimizer));
            r->step++;
            r->best /= 3;
        }
    assert_no_error();
}

static void end(run *r) {
    ct_optimizer_destroy(r->optimizer);
    ct_module_destroy(r->net);
}

static bool same_bits(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)buffer;
    ct_tensor *y = ct_module_tensor(context, name);
    size_t bytes = (size_t)ct_count(x) * ct_dtype_size(x->dtype);
    ck_assert_msg(memcmp(ct_data(x), ct_data(y), bytes) == 0, "%s differs", name);
    return true;
}

static void assert_same(run *a, run *b) {
    ck_assert(ct_module_visit(a->net, same_bits, b->net));
    ck_assert_int_eq(a->step, b->step);
    ck_assert(a->best == b->best);
}

START_TEST(goes_on_to_the_same_bits) {
    run through, first, second;
    begin(&through, (kind)_i, 7);
    go_on(&through, 6);
    begin(&first, (kind)_i, 7);
    go_on(&first, 3);
    ck_assert(ct_training_save(path, &first.training));
    begin(&second, (kind)_i, 8); /* other weights, another generator */
    go_on(&second, 2);           /* and moments that must go */
    ck_assert(ct_training_load(path, &second.training));
    ck_assert_int_eq(second.step, 3);
    assert_same(&second, &first);
    go_on(&second, 3);
    assert_same(&second, &through);
    end(&through);
    end(&first);
    end(&second);
}
END_TEST

/* Before the first step there are no moments; loading takes away those that came since. */
START_TEST(a_fresh_optimiser_is_saved_as_such) {
    run through, other;
    begin(&other, ADAM, 7);
    ck_assert(ct_training_save(path, &other.training));
    go_on(&other, 2);
    ck_assert(ct_training_load(path, &other.training));
    ck_assert_int_eq(other.step, 0);
    go_on(&other, 3);
    begin(&through, ADAM, 7);
    go_on(&through, 3);
    assert_same(&other, &through);
    end(&other);
    end(&through);
}
END_TEST

START_TEST(parts_are_saved_alone) {
    run through, other;
    begin(&through, ADAM, 7);
    go_on(&through, 3);
    char weights[80];
    snprintf(weights, sizeof weights, "%s.weights", path);
    begin(&other, ADAM, 8);
    ck_assert(ct_optimizer_save(through.optimizer, path));
    ck_assert(ct_module_save(through.net, weights));
    ck_assert(ct_optimizer_load(other.optimizer, path));
    ck_assert(ct_module_load(other.net, weights, true));
    ck_assert(!ct_rng_load(ct_default_rng(), path));
    assert_error("no generator was saved");

    ct_rng rng = {.seed = UINT64_MAX, .stream = 5, .offset = UINT64_MAX - 1}, read = {0};
    ck_assert(ct_rng_save(&rng, path));
    ck_assert(ct_rng_load(&read, path));
    ck_assert(memcmp(&rng, &read, sizeof rng) == 0);
    ck_assert(!ct_optimizer_load(other.optimizer, path));
    assert_error("no optimiser was saved");
    ck_assert(!ct_optimizer_load(other.optimizer, weights));
    assert_error("not the checkpoint of a training");

    ct_seed(9);
    go_on(&through, 2);
    ct_seed(9);
    go_on(&other, 2);
    ck_assert(ct_module_visit(through.net, same_bits, other.net));
    ck_assert(ct_training_save(path, &through.training)); /* of a whole one a part is taken */
    ck_assert(ct_optimizer_load(other.optimizer, path));
    remove(weights);
    end(&through);
    end(&other);
}
END_TEST

/* ---- what does not fit ------------------------------------------------------------------ */

/* Loading `t` fails, with `text`, and r is as it was. */
static void refuses(run *r, const ct_training *t, const char *text) {
    ct_rng rng = *ct_default_rng();
    int64_t step = r->step;
    ck_assert(!ct_training_load(path, t));
    assert_error(text);
    ck_assert_int_eq(r->step, step);
    ck_assert(memcmp(&rng, ct_default_rng(), sizeof rng) == 0);
}

START_TEST(what_does_not_fit_changes_nothing) {
    run saved, r, untouched;
    begin(&saved, ADAM, 7);
    go_on(&saved, 2);
    ck_assert(ct_training_save(path, &saved.training));
    begin(&untouched, SGD, 8);
    begin(&r, SGD, 8);
    refuses(&r, &r.training, "nothing is called 'step.in.weight'");
    ck_assert(ct_module_visit(r.net, same_bits, untouched.net));
    ct_training t = {.module = r.net, .numbers = r.numbers, .number_count = 2};
    r.numbers[1].name = "worst";
    refuses(&r, &t, "no number 'worst' was saved");
    r.numbers[1] = (ct_training_number){"best", .integer = &r.step};
    refuses(&r, &t, "the number 'best' is '0.0111111");
    ck_assert(ct_module_visit(r.net, same_bits, untouched.net));
    r.numbers[1] = (ct_training_number){"best", .integer = &r.step, .real = &r.best};
    refuses(&r, &t, "training_load: number 1: expected a name, and an integer or a real");
    ct_module_add(r.net, "more", ct_linear_create(2, 2, true));
    t.number_count = 0;
    refuses(&r, &t, "no tensor 'model.more.weight': this checkpoint is of another model");
    t.module = ct_module_child(r.net, "in");
    refuses(&r, &t, "no tensor 'model.weight'");
    refuses(&r, NULL, "training_load: NULL given");
    t.number_count = 1;
    t.numbers = NULL;
    refuses(&r, &t, "training_load: number_count is 1, numbers are NULL");
    t.number_count = 0;
    t.notes = (const char *const[]){"key", NULL};
    ck_assert(!ct_training_save("/tmp/never", &t));
    assert_error("training_save: note 'key' is NULL");
    remove(path);
    r.training.number_count = 0;
    refuses(&r, &r.training, path);
    end(&saved);
    end(&r);
    end(&untouched);
}
END_TEST

START_TEST(other_shapes_and_sizes_are_named) {
    run saved;
    begin(&saved, ADAM, 7);
    ck_assert(ct_training_save(path, &saved.training));
    ct_module *wide = ct_sequential_create();
    ct_module_add(wide, "in", ct_linear_create(3, 5, true));
    ck_assert(!ct_training_load(path, &(ct_training){.module = wide}));
    assert_error("'model.in.weight' is f32 (4,3), the model has f32 (5,3)");
    ct_module_destroy(wide);
    ct_module *small = ct_sequential_create();
    ct_module_add(small, "in", ct_linear_create(3, 4, true));
    ck_assert(!ct_training_load(path, &(ct_training){.module = small}));
    assert_error("model tensors, the model has 2");
    ct_module_destroy(small);
    ck_assert(ct_module_to_dtype(saved.net, CT_F64));
    ck_assert(!ct_training_load(path, &(ct_training){.module = saved.net}));
    assert_error("'model.in.weight' is f32 (4,3), the model has f64 (4,3)");
    end(&saved);
}
END_TEST

START_TEST(names_may_be_long) {
    char name[1000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    run r;
    begin(&r, ADAM, 7);
    ck_assert(ct_module_add(r.net, name, ct_linear_create(2, 2, true)));
    ct_training training = {.module = r.net};
    ck_assert(ct_training_save(path, &training));
    ck_assert_msg(ct_training_load(path, &training), "%s", ct_error());
    end(&r);
}
END_TEST

/* In place changes by an optimiser between forward and backward are noticed (and nowhere else). */
START_TEST(a_step_before_backward_is_an_error) {
    run r;
    begin(&r, (kind)_i, 7);
    go_on(&r, 2);
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(6, 3), 1);
        ct_tensor *loss = ct_mean_all(ct_square(ct_forward(r.net, x)));
        ck_assert(ct_backward(ct_mean_all(ct_square(ct_forward(r.net, x)))));
        ck_assert(ct_optimizer_step(r.optimizer));
        ck_assert(!ct_backward(loss));
        assert_error("was changed in place after 'linear' had saved it");
    }
    go_on(&r, 1);
    end(&r);
}
END_TEST

/* Not one that the next step cannot be counted after, nor one that is no whole number at all. */
START_TEST(a_count_of_steps_is_one) {
    run r;
    begin(&r, ADAM, 7);
    const double wrong[] = {-1, NAN, INFINITY, 1e30, 0x1p53, 0.5};
    CT_SCOPE {
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            const ct_tensor *steps = ct_scalar(CT_F64, CT_CPU, wrong[i]);
            ck_assert(!ct_optimizer_set_state(r.optimizer, "step.in.weight", steps));
            assert_error("'step.in.weight' is");
        }
        const int64_t most = INT64_MAX;
        const ct_tensor *steps = ct_from_data(CT_I64, CT_CPU, CT_SCALAR_SHAPE, &most);
        ck_assert(!ct_optimizer_set_state(r.optimizer, "step.in.weight", steps));
        assert_error("expected a whole number from 0 to 9007199254740991");
        steps = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(2));
        ck_assert(!ct_optimizer_set_state(r.optimizer, "step.in.weight", steps));
        assert_error("expected one number");
    }
    go_on(&r, 1);
    end(&r);
}
END_TEST

LOOPED_TEST_MAIN("training", {goes_on_to_the_same_bits, 3}, {a_fresh_optimiser_is_saved_as_such, 1},
                 {parts_are_saved_alone, 1}, {what_does_not_fit_changes_nothing, 1},
                 {other_shapes_and_sizes_are_named, 1}, {names_may_be_long, 1},
                 {a_count_of_steps_is_one, 1}, {a_step_before_backward_is_an_error, 3})
