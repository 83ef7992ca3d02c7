/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's batches: what is in them, their order, and going on from anywhere. */
#include <unistd.h>

#include "tests/train/split_fixture.h"

enum { IMAGES = 7, EACH = 3, CAPTIONS = IMAGES * EACH };

typedef struct {
    char *folder;
    ct_vocabulary *vocabulary;
    ct_encoder *encoder;
    ct_split *split;
} fixture;

/* Caption c has c % 5 + 1 words, the first of them "c" followed by its number. */
static fixture make_split(ct_dtype dtype) {
    fixture f = {.folder = folder_make()};
    char text[4096] = "", word[32];
    for (int i = 0; i < CAPTIONS; i++) {
        snprintf(word, sizeof word, "c%d", i);
        strcat(text, word);
        for (int k = 0; k < i % 5; k++) strcat(text, " more");
        strcat(text, "\n");
    }
    write_features(f.folder, IMAGES, dtype);
    write_text(in_folder(f.folder, "train_caps.txt"), text);
    f.split = ct_split_open(f.folder, "train", (ct_split_options){0});
    f.vocabulary = ct_vocabulary_build((const char *const *)f.split->captions, CAPTIONS, 1);
    f.encoder = ct_encoder_create(f.vocabulary, (ct_encoding){0});
    ck_assert(ct_split_encode(f.split, f.encoder));
    return f;
}

static void destroy_split(fixture f) {
    ct_split_destroy(f.split);
    ct_encoder_destroy(f.encoder);
    ct_vocabulary_destroy(f.vocabulary);
    folder_remove(f.folder);
}

/* Everything in a batch follows from its captions' numbers. */
static void assert_batch(const fixture *f, const ct_host_batch *b) {
    int64_t longest = 0;
    for (int64_t i = 0; i < b->size; i++) {
        int64_t caption = b->captions[i], image = caption / EACH, length = caption % 5 + 3;
        char word[32];
        snprintf(word, sizeof word, "c%d", (int)caption);
        longest = length > longest ? length : longest;
        ck_assert_int_eq(b->text.lengths[i], length);
        ck_assert_int_eq(b->classes[i], image);
        const int64_t *ids = b->text.ids + i * b->text.words;
        ck_assert_int_eq(ids[0], CT_WORD_START);
        ck_assert_int_eq(ids[1], ct_vocabulary_id(f->vocabulary, word));
        ck_assert_int_eq(ids[length - 1], CT_WORD_END);
        for (int64_t t = length; t < b->text.words; t++) ck_assert_int_eq(ids[t], CT_WORD_PAD);
        const float *x = b->images + i * REGIONS * WIDTH;
        for (int64_t k = 0; k < REGIONS * WIDTH; k++) {
            ck_assert_float_eq(x[k], (float)feature_of(image, k / WIDTH, k % WIDTH));
        }
    }
    ck_assert_int_eq(b->text.words, longest);
}

/* The caption numbers of an epoch from batch `first` on; returns how many. */
static int64_t read_epoch(const fixture *f, ct_loader *loader, int64_t epoch, int64_t first,
                          int64_t *order) {
    int64_t count = 0;
    ck_assert(ct_loader_start(loader, epoch, first));
    const ct_host_batch *b;
    while ((b = ct_loader_next(loader))) {
        assert_batch(f, b);
        for (int64_t i = 0; i < b->size; i++) order[count++] = b->captions[i];
    }
    assert_no_error();
    ck_assert_ptr_null(ct_loader_next(loader)); /* and again */
    assert_no_error();
    return count;
}

START_TEST(goes_through_all_captions_in_order) {
    for (int dtype = 0; dtype < 2; dtype++) {
        fixture f = make_split(dtype ? CT_F16 : CT_F32);
        static const int64_t sizes[] = {1, 4, 7, CAPTIONS, CAPTIONS + 5};
        for (int i = 0; i < 5; i++) {
            int64_t order[CAPTIONS];
            ct_loader *loader = ct_loader_create(f.split, sizes[i], false, false, 1, CT_CPU);
            ck_assert_int_eq(ct_loader_batches(loader), (CAPTIONS + sizes[i] - 1) / sizes[i]);
            ck_assert_int_eq(read_epoch(&f, loader, 0, 0, order), CAPTIONS);
            for (int64_t c = 0; c < CAPTIONS; c++) ck_assert_int_eq(order[c], c);
            ct_loader_destroy(loader);
        }
        destroy_split(f);
    }
}
END_TEST

START_TEST(leaves_out_the_last_batch) {
    fixture f = make_split(CT_F32);
    int64_t order[CAPTIONS];
    ct_loader *loader = ct_loader_create(f.split, 4, false, true, 1, CT_CPU);
    ck_assert_int_eq(ct_loader_batches(loader), 5);
    ck_assert_int_eq(read_epoch(&f, loader, 0, 0, order), 20);
    ct_loader_destroy(loader);
    loader = ct_loader_create(f.split, CAPTIONS + 1, false, true, 1, CT_CPU);
    ck_assert_int_eq(ct_loader_batches(loader), 0);
    ck_assert_int_eq(read_epoch(&f, loader, 0, 0, order), 0);
    ct_loader_destroy(loader);
    destroy_split(f);
}
END_TEST

/* Part r of a batch is its rows from r on, as they are in the whole. */
START_TEST(parts_of_a_batch_are_its_rows) {
    enum { BATCH = 6, PARTS = 3, ROWS = BATCH / PARTS };
    fixture f = make_split(CT_F32);
    ct_loader *whole = ct_loader_create(f.split, BATCH, true, true, 1, CT_CPU);
    ck_assert(ct_loader_start(whole, 2, 1));
    for (int r = 0; r < PARTS; r++) {
        ct_loader *part = ct_loader_create_part(f.split, BATCH, true, 1, CT_CPU, r, PARTS);
        ck_assert_int_eq(ct_loader_batches(part), ct_loader_batches(whole));
        ck_assert(ct_loader_start(part, 2, 1) && ct_loader_start(whole, 2, 1));
        const ct_host_batch *a, *b;
        while ((b = ct_loader_next(whole)) != NULL) {
            a = ct_loader_next(part);
            ck_assert_int_eq(a->size, ROWS);
            ck_assert_int_eq(a->text.words, b->text.words);
            size_t words = (size_t)a->text.words, features = REGIONS * WIDTH;
            for (int64_t i = 0, k = r * ROWS; i < ROWS; i++, k++) {
                ck_assert_int_eq(a->captions[i], b->captions[k]);
                ck_assert_int_eq(a->classes[i], b->classes[k]);
                ck_assert_int_eq(a->text.lengths[i], b->text.lengths[k]);
                ck_assert_mem_eq(a->text.ids + (size_t)i * words, b->text.ids + (size_t)k * words,
                                 words * sizeof *a->text.ids);
                ck_assert_mem_eq(a->images + (size_t)i * features, b->images + (size_t)k * features,
                                 features * sizeof *a->images);
            }
        }
        ck_assert_ptr_null(ct_loader_next(part));
        assert_no_error();
        ct_loader_destroy(part);
    }
    ct_loader_destroy(whole);
    destroy_split(f);
}
END_TEST

static bool same(const int64_t *a, const int64_t *b) {
    return memcmp(a, b, CAPTIONS * sizeof *a) == 0;
}

START_TEST(shuffles_by_seed_and_epoch) {
    fixture f = make_split(CT_F32);
    int64_t order[4][CAPTIONS];
    ct_loader *loader = ct_loader_create(f.split, 4, true, false, 1, CT_CPU);
    for (int epoch = 0; epoch < 2; epoch++) {
        ck_assert_int_eq(read_epoch(&f, loader, epoch, 0, order[epoch]), CAPTIONS);
        bool seen[CAPTIONS] = {false};
        for (int64_t c = 0; c < CAPTIONS; c++) {
            ck_assert(!seen[order[epoch][c]]);
            seen[order[epoch][c]] = true;
        }
    }
    read_epoch(&f, loader, 0, 0, order[2]);
    ct_loader_destroy(loader);
    loader = ct_loader_create(f.split, 4, true, false, 2, CT_CPU);
    read_epoch(&f, loader, 0, 0, order[3]);
    ct_loader_destroy(loader);
    ck_assert(same(order[0], order[2]));
    ck_assert(!same(order[0], order[1]));
    ck_assert(!same(order[0], order[3]));
    /* the order is part of what a seed promises: it may not change */
    ct_rng rng = ct_rng_create(1, 0x6c6f6164);
    rng.offset = (uint64_t)1 << 32;
    int64_t expected[CAPTIONS];
    ct_random_permutation(&rng, CAPTIONS, expected);
    ck_assert(same(order[1], expected));
    destroy_split(f);
}
END_TEST

START_TEST(goes_on_from_anywhere) {
    fixture f = make_split(CT_F32);
    int64_t whole[CAPTIONS], part[CAPTIONS];
    ct_loader *loader = ct_loader_create(f.split, 4, true, false, 5, CT_CPU);
    read_epoch(&f, loader, 3, 0, whole);
    for (int64_t first = 0; first <= ct_loader_batches(loader); first++) {
        /* left in the middle of another epoch, with batches ahead */
        ck_assert(ct_loader_start(loader, 9, 1));
        for (int64_t i = 0; i < first % 3; i++) ck_assert_ptr_nonnull(ct_loader_next(loader));
        int64_t count = read_epoch(&f, loader, 3, first, part);
        int64_t expected = first * 4 < CAPTIONS ? CAPTIONS - first * 4 : 0;
        ck_assert_int_eq(count, expected);
        ck_assert(memcmp(part, whole + first * 4, (size_t)count * sizeof *part) == 0);
    }
    ct_loader_destroy(loader);
    destroy_split(f);
}
END_TEST

/* At every point: never started, running ahead, waiting for room, finished. */
START_TEST(stops_at_any_time) {
    fixture f = make_split(CT_F32);
    for (int taken = -1; taken <= 22; taken++) {
        ct_loader *loader = ct_loader_create(f.split, 1, true, false, 5, CT_CPU);
        if (taken >= 0) ck_assert(ct_loader_start(loader, 0, 0));
        for (int i = 0; i < taken; i++) ct_loader_next(loader);
        if (taken % 2) usleep(500);
        ct_loader_destroy(loader);
    }
    assert_no_error();
    ct_loader_destroy(NULL);
    destroy_split(f);
}
END_TEST

START_TEST(brings_the_threads_error_to_the_caller) {
    fixture f = make_split(CT_F32);
    ct_loader *loader = ct_loader_create(f.split, 3, false, false, 1, CT_CPU);
    int64_t two_images = f.split->images->features.start[0] + 2 * REGIONS * WIDTH * 4;
    ck_assert_int_eq(truncate(in_folder(f.folder, "train_ims.npy"), two_images), 0);
    ck_assert(ct_loader_start(loader, 0, 0));
    for (int i = 0; i < 2; i++) ck_assert_ptr_nonnull(ct_loader_next(loader));
    for (int i = 0; i < 2; i++) { /* it stays */
        ck_assert_ptr_null(ct_loader_next(loader));
        assert_error("train_ims.npy: the file has become shorter");
    }
    write_features(f.folder, IMAGES, CT_F32);
    ct_loader_destroy(loader);
    destroy_split(f);
}
END_TEST

/* The training split is not read before training: what is wrong in it is found with its batch. */
START_TEST(names_the_image_with_wrong_features) {
    fixture f = make_split(CT_F32);
    ct_loader *loader = ct_loader_create(f.split, 3, false, false, 1, CT_CPU);
    float wrong = INFINITY;
    int64_t at = f.split->images->features.start[0] +
                 (4 * REGIONS * WIDTH + WIDTH + 2) * (int64_t)sizeof wrong;
    FILE *file = fopen(in_folder(f.folder, "train_ims.npy"), "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert(fseek(file, at, SEEK_SET) == 0 && fwrite(&wrong, sizeof wrong, 1, file) == 1);
    fclose(file);
    ck_assert(ct_loader_start(loader, 0, 0));
    for (int i = 0; i < 4; i++) ck_assert_ptr_nonnull(ct_loader_next(loader));
    ck_assert_ptr_null(ct_loader_next(loader));
    assert_error("train_ims.npy: image 4, region 1, feature 2 is inf, expected finite numbers");
    ct_loader_destroy(loader);
    destroy_split(f);
}
END_TEST

START_TEST(refuses_wrong_use) {
    fixture f = make_split(CT_F32);
    ck_assert_ptr_null(ct_loader_create(f.split, 0, true, true, 1, CT_CPU));
    assert_error("loader: batches of 0, expected at least 1");
    ct_loader *loader = ct_loader_create(f.split, 4, true, true, 1, CT_CPU);
    ck_assert_ptr_null(ct_loader_next(loader));
    assert_error("ct_loader_start comes before ct_loader_next");
    ck_assert(!ct_loader_start(loader, 0, 6));
    assert_error("batch 6 of epoch 0, expected 0 to 5");
    ck_assert(!ct_loader_start(loader, -1, 0));
    assert_error("batch 0 of epoch -1");
    ct_loader_destroy(loader);
    ct_split *raw = ct_split_open(f.folder, "train", (ct_split_options){0});
    ck_assert_ptr_null(ct_loader_create(raw, 4, true, true, 1, CT_CPU));
    assert_error("the captions of train are not encoded");
    ct_split_destroy(raw);
    destroy_split(f);
}
END_TEST

TEST_MAIN("loader", goes_through_all_captions_in_order, leaves_out_the_last_batch,
          parts_of_a_batch_are_its_rows, shuffles_by_seed_and_epoch, goes_on_from_anywhere,
          stops_at_any_time, brings_the_threads_error_to_the_caller,
          names_the_image_with_wrong_features, refuses_wrong_use)
