/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of rows: which, in what order, from where on, and that they are the arrays'. */
#include <unistd.h>

#include "nn/nn.h"
#include "tests/test.h"

enum { EXAMPLES = 21, WIDTH = 3 };

/* Row i: features f32 (WIDTH) i, i + 0.25, i + 0.5; label i64 () 100 i. */
static ct_tensor *features(void) {
    double value[EXAMPLES * WIDTH];
    for (int i = 0; i < EXAMPLES * WIDTH; i++) value[i] = i / WIDTH + i % WIDTH * 0.25;
    return ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(EXAMPLES, WIDTH), value);
}

static ct_tensor *labels(void) {
    int64_t value[EXAMPLES];
    for (int i = 0; i < EXAMPLES; i++) value[i] = 100 * i;
    return ct_from_data(CT_I64, CT_CPU, CT_SHAPE(EXAMPLES), value);
}

static ct_batcher *batcher_of(int64_t batch, bool shuffle, bool drop_last, uint64_t seed) {
    ct_batcher_options options = ct_batcher_defaults();
    options.batch = batch;
    options.shuffle = shuffle;
    options.drop_last = drop_last;
    options.seed = seed;
    options.device = test_device();
    ct_batcher *batcher = NULL;
    CT_SCOPE { /* the batcher keeps what it needs */
        ct_tensor *arrays[] = {features(), labels()};
        batcher = ct_batcher_create(arrays, 2, &options);
    }
    assert_no_error();
    return batcher;
}

/* Both arrays of a batch say the same examples; returns them in `order`. */
static int64_t examples_of(ct_tensor *const *batch, int64_t *order) {
    int64_t count = ct_dim(batch[0], 0), label[EXAMPLES];
    float feature[EXAMPLES * WIDTH];
    ck_assert(batch[0]->device == test_device() && batch[1]->device == test_device());
    ck_assert(ct_shape_equal(batch[0]->shape, CT_SHAPE(count, WIDTH)));
    ck_assert(ct_shape_equal(batch[1]->shape, CT_SHAPE(count)));
    ck_assert(ct_read(batch[0], feature) && ct_read(batch[1], label));
    for (int64_t i = 0; i < count; i++) {
        order[i] = label[i] / 100;
        for (int64_t k = 0; k < WIDTH; k++) {
            ck_assert_float_eq(feature[i * WIDTH + k], (float)order[i] + 0.25f * (float)k);
        }
    }
    return count;
}

/* The examples of an epoch from batch `first` on; returns how many. */
static int64_t read_epoch(ct_batcher *batcher, int64_t epoch, int64_t first, int64_t *order) {
    int64_t count = 0;
    ck_assert(ct_batcher_start(batcher, epoch, first));
    for (bool more = true; more;) CT_SCOPE {
            ct_tensor *batch[2];
            more = ct_batcher_next(batcher, batch);
            if (more) count += examples_of(batch, order + count);
            else ck_assert(!batch[0] && !batch[1]);
        }
    assert_no_error();
    return count;
}

START_TEST(goes_through_all_rows_in_order) {
    static const int64_t sizes[] = {1, 4, 7, EXAMPLES, EXAMPLES + 5};
    for (int i = 0; i < 5; i++) {
        int64_t order[EXAMPLES];
        ct_batcher *batcher = batcher_of(sizes[i], false, false, 1);
        ck_assert_int_eq(ct_batcher_batches(batcher), (EXAMPLES + sizes[i] - 1) / sizes[i]);
        ck_assert_int_eq(read_epoch(batcher, 0, 0, order), EXAMPLES);
        for (int64_t e = 0; e < EXAMPLES; e++) ck_assert_int_eq(order[e], e);
        ct_batcher_destroy(batcher);
    }
}
END_TEST

START_TEST(leaves_out_the_last_batch) {
    int64_t order[EXAMPLES];
    ct_batcher *batcher = batcher_of(4, true, true, 1);
    ck_assert_int_eq(ct_batcher_batches(batcher), 5);
    ck_assert_int_eq(read_epoch(batcher, 0, 0, order), 20);
    ct_batcher_destroy(batcher);
    batcher = batcher_of(7, true, true, 1);
    ck_assert_int_eq(read_epoch(batcher, 0, 0, order), EXAMPLES);
    ct_batcher_destroy(batcher);
    batcher = batcher_of(EXAMPLES + 1, true, true, 1);
    ck_assert_int_eq(ct_batcher_batches(batcher), 0);
    ck_assert_int_eq(read_epoch(batcher, 0, 0, order), 0);
    ct_batcher_destroy(batcher);
}
END_TEST

START_TEST(the_order_is_of_seed_and_epoch) {
    ct_batcher *batcher = batcher_of(4, true, false, 9), *other = batcher_of(4, true, false, 8);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int64_t order[EXAMPLES], others[EXAMPLES], expected[EXAMPLES];
        ct_rng rng = ct_rng_create(9, 0x6c6f6164); /* part of what a seed promises */
        rng.offset = (uint64_t)epoch << 32;
        ct_random_permutation(&rng, EXAMPLES, expected);
        ck_assert_int_eq(read_epoch(batcher, epoch, 0, order), EXAMPLES);
        ck_assert_mem_eq(order, expected, sizeof order);
        read_epoch(other, epoch, 0, others);
        ck_assert_mem_ne(order, others, sizeof order);
    }
    ct_batcher_destroy(batcher);
    ct_batcher_destroy(other);
}
END_TEST

/* From every position, told by the one that stopped there, in a batcher that did something else. */
START_TEST(goes_on_from_where_another_was) {
    int64_t whole[EXAMPLES], rest[EXAMPLES];
    ct_batcher *a = batcher_of(4, true, false, 5), *b = batcher_of(4, true, false, 5);
    read_epoch(a, 3, 0, whole);
    for (int64_t taken = 0; taken <= ct_batcher_batches(a); taken++) {
        int64_t epoch = -1, next = -1;
        ck_assert(ct_batcher_start(a, 3, 0));
        for (int64_t i = 0; i < taken; i++) CT_SCOPE {
                ct_tensor *batch[2];
                ck_assert(ct_batcher_next(a, batch));
            }
        ct_batcher_position(a, &epoch, &next);
        ck_assert_int_eq(epoch, 3);
        ck_assert_int_eq(next, taken);
        int64_t skipped = taken * 4 < EXAMPLES ? taken * 4 : EXAMPLES;
        ck_assert_int_eq(read_epoch(b, epoch, next, rest), EXAMPLES - skipped);
        ck_assert(memcmp(rest, whole + skipped, (size_t)(EXAMPLES - skipped) * 8) == 0);
    }
    ct_batcher_destroy(a);
    ct_batcher_destroy(b);
}
END_TEST

/* At every point: never started, running ahead, waiting for room, finished; what was made and not
 * taken goes. */
START_TEST(stops_at_any_time) {
    int64_t before = ct_memory_in_use(CT_CPU);
    for (int taken = -1; taken <= 22; taken++) {
        ct_batcher *batcher = batcher_of(1, true, false, 5);
        if (taken >= 0) ck_assert(ct_batcher_start(batcher, 0, 0));
        for (int i = 0; i < taken; i++) CT_SCOPE {
                ct_tensor *batch[2];
                ck_assert(ct_batcher_next(batcher, batch) == (i < EXAMPLES));
            }
        if (taken % 2) usleep(500);
        ct_batcher_destroy(batcher);
    }
    ct_batcher_destroy(NULL);
    assert_no_error();
    ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
}
END_TEST

/* A mapped file, a transposed view and bytes, in one batch. */
START_TEST(takes_mapped_files_and_views) {
    char path[] = "/tmp/batcher_XXXXXX";
    int file = mkstemp(path);
    ck_assert(file >= 0);
    CT_SCOPE {
        ck_assert(ct_npy_save(path, features()));
        ct_tensor *columns = ct_tensor_transpose(
            ct_tensor_reshape(ct_arange(CT_I64, CT_CPU, 2 * EXAMPLES), CT_SHAPE(2, EXAMPLES)), 0,
            1);
        ct_tensor *bytes = ct_arange(CT_U8, CT_CPU, EXAMPLES);
        ct_tensor *arrays[] = {ct_npy_open(path), columns, bytes}, *batch[3];
        ct_batcher *batcher = ct_batcher_create(arrays, 3, NULL);
        assert_no_error();
        ck_assert(ct_batcher_start(batcher, 0, 0) && ct_batcher_next(batcher, batch));
        ck_assert(batch[1]->dtype == CT_I64 && batch[2]->dtype == CT_U8);
        for (int64_t i = 0; i < EXAMPLES; i++) { /* 32 a batch: all in one */
            double example = ct_get(batch[2], i);
            ck_assert_double_eq(ct_get(batch[0], WIDTH * i), example);
            ck_assert_double_eq(ct_get(batch[1], 2 * i), example);
            ck_assert_double_eq(ct_get(batch[1], 2 * i + 1), example + EXAMPLES);
        }
        ct_batcher_destroy(batcher);
    }
    close(file);
    unlink(path);
}
END_TEST

START_TEST(refuses_wrong_use) {
    CT_SCOPE {
        ct_tensor *arrays[] = {features(), ct_zeros(CT_F32, CT_CPU, CT_SHAPE(EXAMPLES + 1))};
        ck_assert_ptr_null(ct_batcher_create(arrays, 2, NULL));
        assert_error("batcher: array 0 is f32 (21,3), array 1 f32 (22): expected as many examples");
        ck_assert_ptr_null(ct_batcher_create(arrays, 0, NULL));
        assert_error("batcher: 0 arrays, expected at least one");
        ck_assert_ptr_null(ct_batcher_create(NULL, 1, NULL));
        assert_error("batcher: 1 arrays, expected");
        arrays[1] = ct_scalar(CT_F32, CT_CPU, 1);
        ck_assert_ptr_null(ct_batcher_create(arrays, 2, NULL));
        assert_error("batcher: array 1 is f32 () on cpu, expected (examples,...) on cpu");
        arrays[1] = NULL;
        ck_assert_ptr_null(ct_batcher_create(arrays, 2, NULL));
        assert_error("batcher: array 1 is NULL");
        ct_batcher_options options = ct_batcher_defaults();
        options.batch = 0;
        ck_assert_ptr_null(ct_batcher_create(arrays, 1, &options));
        assert_error("batcher: batches of 0, expected at least 1");
        ct_tensor *batch[2];
        ct_batcher *batcher = batcher_of(4, true, true, 1);
        ck_assert(!ct_batcher_next(batcher, batch));
        assert_error("batcher: ct_batcher_start comes before ct_batcher_next");
        ck_assert(!ct_batcher_start(batcher, 0, 6));
        assert_error("batcher: batch 6 of epoch 0, expected 0 to 5");
        ck_assert(!ct_batcher_start(batcher, -1, 0));
        assert_error("batch 0 of epoch -1");
        ck_assert(!ct_batcher_start(NULL, 0, 0));
        assert_error("batcher: it is NULL");
        ck_assert(!ct_batcher_next(NULL, batch));
        assert_error("batcher: it or the batch is NULL");
        ct_batcher_destroy(batcher);
    }
}
END_TEST

TEST_MAIN("nn batcher", goes_through_all_rows_in_order, leaves_out_the_last_batch,
          the_order_is_of_seed_and_epoch, goes_on_from_where_another_was, stops_at_any_time,
          takes_mapped_files_and_views, refuses_wrong_use)
