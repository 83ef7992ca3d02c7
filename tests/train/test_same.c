/* SPDX-License-Identifier: Apache-2.0 */
/* The same captions and images, however the work on them is cut: the same recalls. */
#include "tests/train/program.h"
#include "train/data/distinct.h"

static uint64_t hash_number(const void *context, int64_t row) {
    return ((const uint64_t *)context)[row] % 3; /* all collide */
}

static bool numbers_equal(const void *context, int64_t a, int64_t b) {
    const uint64_t *number = context;
    return number[a] == number[b];
}

START_TEST(finds_equal_rows) {
    const uint64_t number[] = {5, 8, 5, 2, 8, 5, 11};
    const int64_t of[] = {0, 1, 0, 2, 1, 0, 3}, first[] = {0, 1, 3, 6};
    const int64_t place[] = {0, 2, 5, 1, 4, 3, 6}, begin[] = {0, 3, 5, 6, 7};
    ct_distinct d;
    ck_assert(ct_distinct_find(&d, 7, (ct_distinct_by){number, hash_number, numbers_equal}));
    ck_assert_int_eq(d.count, 4);
    ck_assert_mem_eq(d.of, of, sizeof of);
    ck_assert_mem_eq(d.first, first, sizeof first);
    ck_assert_mem_eq(d.place, place, sizeof place);
    ck_assert_mem_eq(d.begin, begin, sizeof begin);
    ct_distinct_free(&d);
    ck_assert(ct_distinct_find(&d, 0, (ct_distinct_by){number, hash_number, numbers_equal}));
    ck_assert_int_eq(d.count, 0);
    ct_distinct_free(&d);
}
END_TEST

/* Bytes differ where only the last, an odd one out, does. */
START_TEST(hashes_every_byte) {
    unsigned char bytes[21] = {0};
    uint64_t whole = ct_hash_words(0, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = 1;
        ck_assert(ct_hash_words(0, bytes, sizeof bytes) != whole);
        bytes[i] = 0;
    }
    ck_assert(ct_hash_words(0, bytes, 20) != whole);
}
END_TEST

/* A test split of 37 images, seven of them different, whose captions are of a dozen kinds. */
static void repeat_test_split(const char *folder) {
    enum { IMAGES = 37, KINDS = 7, EACH = TINY_REGIONS * TINY_FEATURES };
    const char *data = in_folder(folder, "data");
    write_split(data, "test", IMAGES, 3);
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(in_folder(data, "test_ims.npy"));
        ct_tensor *copy = x ? ct_tensor_copy(x) : NULL;
        ck_assert(copy != NULL);
        float *value = ct_data(copy);
        for (int64_t i = KINDS; i < IMAGES; i++) {
            memcpy(value + i * EACH, value + (i * 5 % KINDS) * EACH, EACH * sizeof *value);
        }
        ck_assert(ct_npy_save(in_folder(data, "test_ims.npy"), copy));
    }
}

START_TEST(recalls_do_not_depend_on_the_batch) {
    static const int batches[] = {1, 2, 3, 5, 7, 11, 16, 29, 64, 128};
    char *folder = tiny_experiment(), arguments[1024];
    static char output[OUTPUT_SIZE], first[OUTPUT_SIZE];
    repeat_test_split(folder);
    snprintf(arguments, sizeof arguments, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(arguments, NULL), 0);
    for (size_t i = 0; i < 2 * sizeof batches / sizeof *batches; i++) {
        snprintf(arguments, sizeof arguments,
                 "%s/tiny.ini --evaluate test --set evaluate.batch=%d --set run.threads=%d", folder,
                 batches[i / 2], (int)(i % 2) + 1);
        ck_assert_int_eq(run_train(arguments, output), 0);
        ck_assert_msg(strstr(output, "test: 37 images, 7 of them different: ") != NULL, "%s",
                      output);
        if (i == 0) memcpy(first, output, sizeof first);
        ck_assert_str_eq(output, first);
    }
    folder_remove(folder);
}
END_TEST

/* Other captions and images together would give other last bits: here more of them than are
 * embedded at once, and captions of many lengths. */
START_TEST(embeddings_do_not_depend_on_the_batch) {
    enum { IMAGES = 300 };
    static const int batches[] = {1, 2, 7, 32, 128, 1000};
    char *folder = tiny_experiment(), arguments[1024];
    write_split(in_folder(folder, "data"), "test", IMAGES, 5);
    FILE *captions = fopen(in_folder(in_folder(folder, "data"), "test_caps.txt"), "w");
    FILE *ids = fopen(in_folder(in_folder(folder, "data"), "test_ids.txt"), "w");
    for (int i = 0; i < 2 * IMAGES; i++) {
        for (int k = 0; k < 1 + i * 7 % 23; k++) fprintf(captions, "%s ", k * i % 3 ? "red" : "a");
        fprintf(captions, "star%d\n", i);
        fprintf(ids, "%d\n", i / 2);
    }
    ck_assert(fclose(captions) == 0 && fclose(ids) == 0);
    snprintf(arguments, sizeof arguments, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(arguments, NULL), 0);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        snprintf(arguments, sizeof arguments,
                 "%s/tiny.ini --embed test --out %s/%zu --set "
                 "evaluate.batch=%d",
                 folder, folder, i, batches[i]);
        ck_assert_int_eq(run_train(arguments, NULL), 0);
        char other[32];
        snprintf(other, sizeof other, "%zu/img_embs.npy", i);
        assert_same_file(in_folder(folder, "0/img_embs.npy"), in_folder(folder, other));
        snprintf(other, sizeof other, "%zu/cap_embs.npy", i);
        assert_same_file(in_folder(folder, "0/cap_embs.npy"), in_folder(folder, other));
    }
    folder_remove(folder);
}
END_TEST

/* Pictures that are the same are equally good answers to a question: in the order of their numbers,
 * with one score. */
START_TEST(equal_images_answer_alike) {
    char *folder = tiny_experiment(), arguments[1024];
    static char output[OUTPUT_SIZE];
    repeat_test_split(folder);
    snprintf(arguments, sizeof arguments, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(arguments, NULL), 0);
    snprintf(arguments, sizeof arguments,
             "%s/tiny.ini --query 'a red square' --split test --top 37 --set evaluate.batch=5",
             folder);
    ck_assert_int_eq(run_train(arguments, output), 0);
    double before = 2;
    int count = 0, image_before = -1;
    for (const char *line = output; *line; line = strchr(line, '\n') + 1, count++) {
        int number, image;
        double score;
        ck_assert_int_eq(sscanf(line, "%d %lf test %d", &number, &score, &image), 3);
        ck_assert_int_eq(number, count + 1);
        ck_assert(score < before || (score == before && image > image_before));
        before = score;
        image_before = image;
    }
    ck_assert_int_eq(count, 37);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("same", finds_equal_rows, hashes_every_byte, embeddings_do_not_depend_on_the_batch,
          recalls_do_not_depend_on_the_batch, equal_images_answer_alike)
