/* SPDX-License-Identifier: Apache-2.0 */
/* What cannot be captured is refused in one sentence, and everything goes on afterwards. */
#include <pthread.h>

#include "tests/cuda/cuda_test.h"

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
        CT_SCOPE { ct_tensor_add_to(x, 1, ct_full(CT_F32, CT_CUDA, CT_SCALAR_SHAPE, 1)); }
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

static bool replays(void *context, const char *name, ct_tensor *out) {
    (void)context, (void)name;
    return ct_tensor_fill(out, 0);
}

START_TEST(another_generator_for_a_run) {
    ct_rng rng = {.seed = 6}, other = {.seed = 7}, replaying = rng;
    replaying.replay = replays;
    ck_assert(ct_capture_begin(CT_CUDA, &rng));
    CT_SCOPE { ct_random_uniform(&rng, "u", CT_F32, CT_CUDA, CT_SHAPE(3)); }
    ct_capture *capture = ct_capture_end();
    ck_assert(!ct_capture_run(capture, &other));
    assert_error("capture_run: expected the generator that was recorded, of seed 6 and stream 0");
    ck_assert(!ct_capture_run(capture, NULL));
    assert_error("capture_run: expected the generator");
    ck_assert(!ct_capture_run(capture, &replaying));
    assert_error("capture_run: the generator replays recorded numbers");
    ck_assert(ct_capture_run(capture, &rng));
    ck_assert_uint_eq(rng.offset, 1);
    ct_capture_destroy(capture);
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
        assert_error("capture_end: tensors made within are still held (2, of 0.1 MiB): they must "
                     "be released before the end");
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

LOOPED_TEST_MAIN("cuda capture refused", {what_cannot_be_repeated_fails, 2 * REFUSALS},
                 {no_generator_no_draws, 1}, {another_generator_for_a_run, 1},
                 {held_tensors_fail, 1}, {begin_and_end_belong_together, 1}, {the_cpu_cannot, 1},
                 {no_device_no_error, 1})
