/* SPDX-License-Identifier: Apache-2.0 */
/* Training steps of N ranks with B/N rows each, on the device that is tested, against those of one
 * with B rows on the CPU: every rank computes both. */
#include "tests/ranks/ranks_test.h"

#include "models/register.h"
#include "tests/models/model_fixture.h"

/* A batch of 12 is shared by 1, 2, 3 and 4 ranks; each has captions of other lengths. */
enum { B = 12, N = 4, F = 6, V = 12, T = 9, IMAGES = 9 };
static const ct_model_sizes sizes = {
    .regions = N, .features = F, .vocabulary = V, .images = IMAGES};
static const int64_t lengths_of[B] = {9, 3, 5, 4, 6, 3, 3, 8, 4, 4, 7, 3};

#define IMAGE(first, policy)                                                                       \
    "[image]\nfc = linear width=8\n" first "norm = l2norm\ngcn = gcn x 2\nnorm2 = l2norm\n" policy \
    "pool = mean + gru\nbn = batchnorm momentum=0.5\n"
#define DROPOUT "drop = dropout p=0.2\n"
#define TEXT(policy)                                                                      \
    "[text]\nembed = words width=6\nbnw = batchnorm\nenc = transformer heads=2 hidden=5 " \
    "dropout=0.1\n" policy "pool = gru\nbn = batchnorm\n"
#define POLICY "attend = policy_attention actions=5\n"
#define LOSSES(ranking)                                                                            \
    "[loss]\nretrieval = hinge margin=0.3 negatives=hardest intra_modal=yes sum_epochs=1 " ranking \
    "\ninstance = classifier hidden=7\ndecoder = convcap width=4 hidden=3 layers=2 kernel=3 "      \
    "dropout=0.1\ndiscrete_policy = 1\ncontinuous_policy = 1\n"
#define FULL IMAGE(DROPOUT, POLICY) TEXT(POLICY) LOSSES("")

static const char *const descriptions[] = {
    FULL,
    IMAGE(DROPOUT, POLICY) TEXT(POLICY)
        LOSSES("same_image=ignored") "baseline = leave_one_out\nmeasure = order\n",
    IMAGE("", POLICY) TEXT(POLICY) LOSSES("") "[compat]\npreset = released\n",
    IMAGE(DROPOUT, "attend = policy_attention discrete=none\n")
        TEXT("attend = policy_attention actions=5 continuous=no\n")
            LOSSES("") "[compat]\ndecoder_targets = words_and_pad\n",
    IMAGE("", "") TEXT("") "[loss]\nretrieval = hinge negatives=sum\n",
    IMAGE("", "") TEXT("") "[loss]\nretrieval = hinge\nnear = near weight=0.5\napart = apart\n",
};

/* ---- losses of one's own --------------------------------------------------------------------- */

/* The mean squared distance of pairs, of which each knows itself alone. */
static ct_tensor *compute_near(const ct_loss_input *in) {
    ct_tensor *images = ct_dropout_with(in->images, 0.2, in->rng, "near");
    return ct_mean_all(ct_square(ct_sub(images, in->captions)));
}
static const ct_loss_kind near_loss = {
    .name = "near", .compute = compute_near, .sharing = CT_LOSS_MEAN_OF_ROWS};

/* How close all images are to all captions, in a space of its own with a batch norm. */
static ct_module *create_apart(const ct_option_value *option, const ct_model_sizes *model_sizes,
                               int64_t width) {
    (void)option, (void)model_sizes;
    ct_module *module = ct_module_create("apart");
    ct_module_add(module, "fc", ct_linear_create(width, 4, true));
    ct_module_add(module, "bn", ct_batch_norm_create(4, NULL));
    return module;
}
static ct_tensor *compute_apart(const ct_loss_input *in) {
    ck_assert_int_eq(ct_dim(in->images, 0), B);
    ct_module *fc = ct_module_child(in->module, "fc"), *bn = ct_module_child(in->module, "bn");
    ct_tensor *images = ct_dropout_with(in->images, 0.2, in->rng, "apart");
    ct_tensor *x = ct_batch_norm(bn, ct_linear(fc, images)), *y = ct_linear(fc, in->captions);
    return ct_log_sum_exp(ct_reshape(ct_similarity(x, y, CT_COSINE), CT_SHAPE(-1)), 0);
}
static const ct_loss_kind apart_loss = {.name = "apart",
                                        .create = create_apart,
                                        .compute = compute_apart,
                                        .sharing = CT_LOSS_OF_ALL_ROWS};

/* Of which nothing is said. */
static const ct_loss_kind alone_loss = {.name = "alone", .compute = compute_near};

static void register_losses(void) {
    static bool registered;
    if (registered) return;
    registered = true;
    ck_assert(ct_register_loss(&near_loss) && ct_register_loss(&apart_loss) &&
              ct_register_loss(&alone_loss));
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Step s's batch, the same on all ranks. */
static ct_batch whole_batch(ct_dtype dtype, int step) {
    ct_rng rng = ct_rng_create(7, (uint64_t)step);
    int64_t classes[B], lengths[B], words[B * T] = {0};
    for (int64_t b = 0; b < B; b++) {
        classes[b] = (int64_t)ct_random_below(&rng, IMAGES);
        lengths[b] = lengths_of[(b + step) % B];
        for (int64_t t = 0; t < lengths[b]; t++) {
            int64_t word = 3 + (int64_t)ct_random_below(&rng, V - 3);
            words[b * T + t] = t == 0 ? 1 : t == lengths[b] - 1 ? 2 : word;
        }
    }
    return (ct_batch){
        .images = ct_random_normal(&rng, "images", dtype, CT_CPU, CT_SHAPE(B, N, F)),
        .words = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B, T), words),
        .lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), lengths),
        .classes = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), classes),
    };
}

static ct_tensor *own_rows(const ct_tensor *whole) {
    return ct_tensor_to_device(ct_tensor_contiguous(own_part(whole)), test_device());
}

static ct_batch own_batch(const ct_batch *whole) {
    return (ct_batch){.images = own_rows(whole->images),
                      .words = own_rows(whole->words),
                      .lengths = own_rows(whole->lengths),
                      .classes = own_rows(whole->classes)};
}

/* With two ranks as many as rounding needs to grow; of others, which take longer together than
 * there are processors for, or under a tool that makes all slow, some of either phase; under the
 * shim one of each. */
static int steps(void) {
    if (test_device() != CT_CPU) return 2;
    return ct_ranks() == 2 && !getenv("CT_TEST_SMALL") ? 20 : 4;
}

typedef struct {
    ct_model *model;
    ct_optimizer *optimizer;
    ct_rng rng;
    bool decoder_fixed;
} training;

/* The batch norms in the graph convolutions start at gain 0: moved, so that all takes part. */
static bool shake(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    if (buffer || !strstr(name, ".W.1.")) return true;
    return ct_init_uniform(tensor, 0.2, 0.8, context);
}

static training training_of(const char *text, ct_dtype dtype, ct_device device) {
    ct_seed(5);
    register_losses();
    training t = {fixture_model(text, sizes), NULL, ct_rng_create(2, 1),
                  strstr(text, "preset = released") != NULL};
    assert_no_error();
    ct_module *module = ct_model_module(t.model);
    ct_rng rng = ct_rng_create(6, 0);
    ck_assert(ct_module_to_dtype(module, dtype));
    ck_assert(ct_module_visit(module, shake, &rng));
    ck_assert(ct_module_to_device(module, device));
    /* not Adam: of a gradient that is rounding noise it makes a whole step */
    ct_sgd_options options = ct_sgd_defaults();
    options.momentum = 0.9;
    t.optimizer = ct_sgd_create(module, &options);
    ct_optimizer_set_lr(t.optimizer, 0.002);
    ct_optimizer_clip_norm(t.optimizer, 0.5);          /* which clips */
    ck_assert(ct_optimizer_bucket(t.optimizer, 2000)); /* several buckets */
    ck_assert(ct_model_group_parameters(t.model, t.optimizer));
    return t;
}

static void training_end(training *t) {
    ct_optimizer_destroy(t->optimizer);
    ct_model_destroy(t->model);
}

/* Its elements, until the scope ends. */
static const double *elements(const ct_tensor *x) {
    return ct_data(ct_tensor_to_device(ct_tensor_cast(x, CT_F64), CT_CPU));
}

static bool find_largest(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)name;
    double *largest = context;
    const ct_tensor *grad = buffer ? NULL : ct_grad(tensor);
    if (!grad) return true;
    CT_SCOPE {
        const double *x = elements(grad);
        for (int64_t i = 0; i < ct_count(grad); i++) *largest = fmax(*largest, fabs(x[i]));
    }
    return true;
}

static double largest_gradient(training *t) {
    double largest = 0;
    ck_assert(ct_module_visit(ct_model_module(t->model), find_largest, &largest));
    return largest;
}

typedef struct {
    training *other;
    bool gradients;
    bool shares; /* the decoder's gradients are shares: nothing is updated by them */
    double relative, absolute;
    int compared;
} comparison;

static bool compare_tensor(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    comparison *c = context;
    ct_tensor *other = ct_module_tensor(ct_model_module(c->other->model), name);
    if (c->gradients && (buffer || !ct_grad(other))) return true;
    CT_SCOPE {
        if (c->gradients) tensor = ct_tensor_copy(ct_grad(tensor)), other = ct_grad(other);
        if (c->gradients && c->shares && strncmp(name, "decoder.", 8) == 0)
            ck_assert(ct_tensor_all_reduce(tensor));
        assert_close(tensor, other, c->relative, c->absolute, name);
    }
    c->compared++;
    return true;
}

static void compare(training *shared, training *alone, bool gradients, double relative,
                    double absolute) {
    comparison c = {alone, gradients, shared->decoder_fixed, relative, absolute, 0};
    ck_assert(ct_module_visit(ct_model_module(shared->model), compare_tensor, &c));
    ck_assert_int_gt(c.compared, 20);
}

/* Whether there is one. */
static bool compare_term(const ct_tensor *shared, const ct_tensor *alone, double relative,
                         const char *name) {
    ck_assert(!shared == !alone);
    if (!alone) return false;
    ct_tensor *sum = ct_tensor_copy(shared);
    ck_assert(ct_tensor_all_reduce(sum));
    assert_close(sum, alone, relative, 1e-3 * relative, name);
    return true;
}

static void compare_terms(const ct_losses *shared, const ct_losses *alone, double relative) {
    int compared = 0;
    for (int i = 0; i < CT_LOSS_COUNT; i++)
        compared += compare_term(shared->term[i], alone->term[i], relative, ct_loss_name(i));
    ck_assert_int_ge(compared, 2);
    for (int i = 0; i < CT_MOST_OWN_LOSSES; i++)
        compare_term(shared->own[i], alone->own[i], relative, "a loss of one's own");
    if (!alone->reward) return;
    assert_close(shared->reward, alone->reward, 0, 0, "reward"); /* made of ranks */
    assert_close(shared->advantage, alone->advantage, relative, relative, "advantage");
}

static ct_losses losses_of(training *t, const ct_batch *batch, int step) {
    ct_losses losses = ct_model_losses(t->model, batch, step < steps() / 2 ? 0 : 1, &t->rng);
    assert_no_error();
    ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
    return losses;
}

/* A gradient that is 0 in exact arithmetic, of a bias before a batch norm, is noise in both:
 * `noise` of the largest there are. */
static void compare_step(training *shared, training *alone, int step) {
    const double relative = 1e-10, noise = 1e-13;
    CT_SCOPE {
        ct_batch whole = whole_batch(CT_F64, step), own = own_batch(&whole);
        ct_losses apart = losses_of(alone, &whole, step), together = {0};
        ck_assert(ct_optimizer_all_reduce_begin(shared->optimizer));
        CT_OVER_RANKS { together = losses_of(shared, &own, step); }
        ck_assert(ct_optimizer_all_reduce(shared->optimizer));
        compare_terms(&together, &apart, relative);
        compare(shared, alone, true, relative, noise * largest_gradient(alone));
        ck_assert(shared->rng.offset == alone->rng.offset);
        ck_assert(ct_optimizer_step(shared->optimizer) && ct_optimizer_step(alone->optimizer));
        compare(shared, alone, false, relative, noise);
    }
}

START_TEST(ranks_train_as_one_does) {
    training shared = training_of(descriptions[_i], CT_F64, test_device());
    training alone = training_of(descriptions[_i], CT_F64, CT_CPU);
    for (int step = 0; step < steps(); step++) {
        compare_step(&shared, &alone, step);
    }
    training_end(&shared);
    training_end(&alone);
}
END_TEST

typedef struct {
    training *other;
    bool shares;           /* as in comparison */
    double distance, size; /* squares */
} distance;

static bool add_distance(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    distance *d = context;
    ct_tensor *other = ct_module_tensor(ct_model_module(d->other->model), name);
    if (buffer || !ct_grad(other)) return true;
    CT_SCOPE {
        ct_tensor *a = ct_tensor_copy(ct_grad(tensor)), *b = ct_grad(other);
        if (d->shares && strncmp(name, "decoder.", 8) == 0) ck_assert(ct_tensor_all_reduce(a));
        const double *x = elements(a), *y = elements(b);
        for (int64_t i = 0; i < ct_count(b); i++) {
            d->distance += pow(x[i] - y[i], 2);
            d->size += pow(y[i], 2);
        }
    }
    return true;
}

/* In f32 one step, of which nothing has grown yet. Terms to the 1e-4 that golden values are held
 * to; of the gradient, single elements of which are mostly rounding, the distance, in parts of its
 * length: a share that is missing would be some tenths. */
START_TEST(ranks_step_as_one_does_in_f32) {
    training shared = training_of(descriptions[_i], CT_F32, test_device());
    training alone = training_of(descriptions[_i], CT_F32, CT_CPU);
    CT_SCOPE {
        ct_batch whole = whole_batch(CT_F32, 0), own = own_batch(&whole);
        ct_losses apart = losses_of(&alone, &whole, 0), together = {0};
        CT_OVER_RANKS { together = losses_of(&shared, &own, 0); }
        ck_assert(ct_optimizer_all_reduce(shared.optimizer));
        compare_terms(&together, &apart, 1e-4);
        distance d = {.other = &alone, .shares = shared.decoder_fixed};
        ck_assert(ct_module_visit(ct_model_module(shared.model), add_distance, &d));
        ck_assert_double_gt(d.size, 0);
        ck_assert_double_lt(sqrt(d.distance / d.size), 1e-3);
    }
    training_end(&shared);
    training_end(&alone);
}
END_TEST

/* Modules that are run again in backward do their collectives again, on all ranks alike. */
START_TEST(ranks_run_modules_again_alike) {
    training shared = training_of(descriptions[0], CT_F64, test_device());
    training alone = training_of(descriptions[0], CT_F64, CT_CPU);
    ck_assert(ct_model_checkpoint(shared.model, "gcn"));
    ck_assert(ct_model_checkpoint(shared.model, "decoder"));
    for (int step = 0; step < steps() && step < 3; step++) {
        compare_step(&shared, &alone, step);
    }
    training_end(&shared);
    training_end(&alone);
}
END_TEST

/* Each rank ranks its own rows alone: in the phase of sums, and in the other. */
START_TEST(ranks_that_rank_their_own_rows_train_as_one_does) {
    training shared = training_of(descriptions[_i], CT_F64, test_device());
    training alone = training_of(descriptions[_i], CT_F64, CT_CPU);
    ck_assert(ct_model_local_loss(shared.model, true));
    const int step[] = {0, steps() - 2, steps() - 1};
    for (int k = 0; k < 3; k++) compare_step(&shared, &alone, step[k]);
    training_end(&shared);
    training_end(&alone);
}
END_TEST

START_TEST(a_loss_that_does_not_say_how_ranks_share_it_is_refused) {
    training t = training_of(IMAGE("", "") TEXT("") "[loss]\nretrieval = hinge\nmine = alone\n",
                             CT_F64, test_device());
    CT_SCOPE {
        ct_batch whole = whole_batch(CT_F64, 0), own = own_batch(&whole);
        ck_assert_ptr_nonnull(ct_model_losses(t.model, &own, 0, NULL).own[0]);
        CT_OVER_RANKS {
            ct_losses losses = ct_model_losses(t.model, &own, 0, NULL);
            ck_assert(!losses.own[0] == (ct_ranks() > 1));
        }
    }
    if (ct_ranks() > 1) {
        assert_error("loss mine: a 'alone' does not say how several ranks share it "
                     "(ct_loss_kind.sharing)");
    }
    ct_error_clear();
    training_end(&t);
}
END_TEST

/* ---- recorded steps -------------------------------------------------------------------------- */

/* What the device is told of a step. */
static bool compute(training *t, const ct_batch *batch) {
    bool done = false;
    CT_SCOPE CT_OVER_RANKS {
        ct_losses losses = ct_model_losses(t->model, batch, 1, &t->rng);
        done = ct_backward(losses.term[CT_LOSS_TOTAL]) && ct_optimizer_all_reduce(t->optimizer) &&
               ct_optimizer_update(t->optimizer);
    }
    return done;
}

/* The first as it comes, the second recorded, which is run then and for the others. */
static void take(training *t, const ct_batch *batch, int step, ct_capture **recorded) {
    ck_assert(ct_optimizer_prepare(t->optimizer));
    if (step == 0) {
        ck_assert_msg(compute(t, batch), "%s", ct_error());
    } else {
        if (!*recorded) {
            ck_assert(ct_capture_begin(test_device(), &t->rng));
            compute(t, batch);
            *recorded = ct_capture_end();
            ck_assert_msg(*recorded != NULL, "%s", ct_error());
        }
        ck_assert_msg(ct_capture_run(*recorded, &t->rng), "%s", ct_error());
    }
    ct_optimizer_count(t->optimizer);
}

static void copy_batch(const ct_batch *to, const ct_batch *from) {
    ck_assert(ct_tensor_copy_to(to->images, from->images));
    ck_assert(ct_tensor_copy_to(to->words, from->words));
    ck_assert(ct_tensor_copy_to(to->lengths, from->lengths));
    ck_assert(ct_tensor_copy_to(to->classes, from->classes));
}

START_TEST(ranks_repeat_recorded_steps) {
    if (!ct_can_capture(test_device())) return;
    training shared = training_of(descriptions[_i], CT_F64, test_device());
    training alone = training_of(descriptions[_i], CT_F64, CT_CPU);
    ct_capture *recorded = NULL;
    CT_SCOPE {
        ct_batch first = whole_batch(CT_F64, 0), input = own_batch(&first);
        for (int step = 0; step < 3; step++) CT_SCOPE {
                ct_batch whole = whole_batch(CT_F64, step), own = own_batch(&whole);
                copy_batch(&input, &own);
                take(&shared, &input, step, &recorded);
                ct_losses losses = ct_model_losses(alone.model, &whole, 1, &alone.rng);
                ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
                ck_assert(ct_optimizer_step(alone.optimizer));
                compare(&shared, &alone, false, 1e-10, 1e-13);
                ck_assert(shared.rng.offset == alone.rng.offset);
            }
    }
    ct_capture_destroy(recorded);
    training_end(&shared);
    training_end(&alone);
}
END_TEST

enum { DESCRIPTIONS = sizeof descriptions / sizeof *descriptions };

RANKS_MAIN("ranks model", {ranks_train_as_one_does, DESCRIPTIONS},
           {ranks_step_as_one_does_in_f32, DESCRIPTIONS}, {ranks_run_modules_again_alike, 1},
           {ranks_that_rank_their_own_rows_train_as_one_does, DESCRIPTIONS},
           {a_loss_that_does_not_say_how_ranks_share_it_is_refused, 1},
           {ranks_repeat_recorded_steps, DESCRIPTIONS})
