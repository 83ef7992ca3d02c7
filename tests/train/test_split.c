/* SPDX-License-Identifier: Apache-2.0 */
/* Splits: what is read, and one clear sentence for everything that does not fit. */
#include <unistd.h>

#include "tests/train/split_fixture.h"

#define AS_IS ((ct_split_options){0})

static char *make_folder(int64_t images, const char *captions, const char *ids) {
    char *folder = folder_make();
    write_features(folder, images, CT_F32);
    write_text(in_folder(folder, "train_caps.txt"), captions);
    if (ids) write_text(in_folder(folder, "train_ids.txt"), ids);
    return folder;
}

static bool read_image(const ct_split *split, int64_t image, float *out) {
    return ct_images_read(split->images, &image, 1, NULL, out);
}

/* Number `at` of all features. */
static double value_at(const ct_split *split, int64_t at) {
    int64_t each = split->images->regions * split->images->width;
    float x[REGIONS * WIDTH];
    ck_assert(read_image(split, at / each, x));
    return (double)x[at % each];
}

static void assert_images(const ct_split *split, int64_t count, int64_t regions, int64_t width) {
    ck_assert_int_eq(split->images->count, count);
    ck_assert_int_eq(split->images->regions, regions);
    ck_assert_int_eq(split->images->width, width);
}

START_TEST(numbers_captions_evenly) {
    char *folder = make_folder(2, "a dog\r\nthe dog\r\n\xc3\x89t\xc3\xa9 \n cat", NULL);
    ct_split *split = ct_split_open(folder, "train", AS_IS);
    assert_no_error();
    ck_assert_str_eq(split->name, "train");
    ck_assert_int_eq(split->image_count, 2);
    ck_assert_int_eq(split->caption_count, 4);
    static const char *const lines[] = {"a dog", "the dog", "\xc3\x89t\xc3\xa9 ", " cat"};
    for (int64_t i = 0; i < 4; i++) {
        ck_assert_str_eq(split->captions[i], lines[i]);
        ck_assert_int_eq(split->image_of[i], i / 2);
    }
    assert_images(split, 2, 2, 3);
    ck_assert_double_eq(value_at(split, 9), feature_of(1, 1, 0));
    ck_assert(ct_split_check(split));
    ct_split_destroy(split);
    folder_remove(folder);
}
END_TEST

START_TEST(reads_image_numbers) {
    char *folder = make_folder(3, "one\ntwo\nthree\nfour\n", "2\n0 \n 1\r\n0");
    ct_split *split = ct_split_open(folder, "train", AS_IS);
    assert_no_error();
    static const int64_t rows[] = {2, 0, 1, 0};
    for (int64_t i = 0; i < 4; i++) ck_assert_int_eq(split->image_of[i], rows[i]);
    ct_split_destroy(split);
    folder_remove(folder);
}
END_TEST

START_TEST(names_file_and_line) {
    static const struct {
        int64_t images;
        const char *captions, *ids, *message;
    } cases[] = {
        {2, "a\nb\nc\n", "0\n1\n", "train_caps.txt has 3 captions but"},
        {2, "a\nb\nc\n", "0\n1\n", "train_ids.txt has 2 lines"},
        {3, "a\nb\nc\nd\n", NULL,
         "train_caps.txt: 4 captions do not divide among 3 images; give "
         "train_ids.txt"},
        {3, "a\nb\n", NULL, "2 captions do not divide among 3 images"},
        {2, "a\nb\n", "0\n2\n", "train_ids.txt:2: image 2, expected 0 to 1"},
        {2, "a\nb\n", "-1\n1\n", "train_ids.txt:1: image -1, expected 0 to 1"},
        {2, "a\nb\n", "0\n99999999999999999999\n", "train_ids.txt:2: image 99999999999999999999"},
        {2, "a\nb\n", "0\n\n", "train_ids.txt:2: '', expected the number of an image"},
        {2, "a\nb\n", "0\n1 x\n", "train_ids.txt:2: '1 x', expected the number of an image"},
        {2, "a\nb\n", "0\n391895\n",
         "expected 0 to 1; if these are the data set's own numbers, "
         "set [data] ids = names"},
        {2, "a\n\nc\nd\n", NULL, "train_caps.txt:2: empty caption"},
        {2, "a\n \t\nc\nd\n", NULL, "train_caps.txt:2: empty caption"},
        {2, "", NULL, "train_caps.txt: no captions"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = make_folder(cases[i].images, cases[i].captions, cases[i].ids);
        ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
        assert_error(cases[i].message);
        folder_remove(folder);
    }
}
END_TEST

START_TEST(refuses_other_features) {
    char *folder = make_folder(2, "a\nb\n", NULL);
    const char *path = in_folder(folder, "train_ims.npy");
    CT_SCOPE {
        ct_npy_save(path, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3, 1, 1)));
        ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
        assert_error("train_ims.npy: features are (2,3,1,1), expected (images, regions, width), or "
                     "(images, width) of images of one region");
        ct_npy_save(path, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3, 4)));
        ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
        assert_error("train_ims.npy: features are f64, expected f32 or f16");
        ct_npy_save(path, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 3, 4)));
        ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
        assert_error("features are (0,3,4), expected");
    }
    ck_assert_ptr_null(ct_split_open(folder, "dev", AS_IS));
    assert_error("dev_ims.npy");
    write_features(folder, 2, CT_F32);
    ck_assert_int_eq(unlink(in_folder(folder, "train_caps.txt")), 0);
    ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
    assert_error("train_caps.txt");
    ck_assert(ct_file_write(in_folder(folder, "train_caps.txt"), "a\nb\0c\n", 6));
    ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
    assert_error("train_caps.txt:2: a NUL byte");
    folder_remove(folder);
}
END_TEST

/* VSE++'s features: one vector an image is one region. */
START_TEST(one_vector_an_image) {
    char *folder = make_folder(3, "a\nb\nc\n", NULL);
    for (int half = 0; half < 2; half++) {
        CT_SCOPE {
            const float values[] = {1, 2, 3, 4, 5, 6};
            ct_tensor *x = ct_from_data(CT_F32, CT_CPU, CT_SHAPE(3, 2), values);
            ct_npy_save(in_folder(folder, "train_ims.npy"), half ? ct_tensor_cast(x, CT_F16) : x);
        }
        ct_split *split = ct_split_open(folder, "train", AS_IS);
        assert_no_error();
        assert_images(split, 3, 1, 2);
        ck_assert_int_eq(split->image_count, 3);
        float image[2];
        ck_assert(read_image(split, 2, image));
        ck_assert(image[0] == 5 && image[1] == 6);
        ct_split_destroy(split);
        int64_t regions, features;
        ck_assert(ct_split_sizes(folder, "train", &regions, &features));
        ck_assert(regions == 1 && features == 2);
    }
    folder_remove(folder);
}
END_TEST

/* Both dtypes, both kinds of wrong number, wherever they stand. */
START_TEST(finds_features_that_are_not_finite) {
    char *folder = make_folder(5, "a\nb\nc\nd\ne\n", "0\n1\n2\n3\n4\n");
    for (int dtype = 0; dtype < 2; dtype++) {
        for (int64_t at = 0; at < 5 * REGIONS * WIDTH; at += 7) {
            CT_SCOPE {
                ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(5, REGIONS, WIDTH), 65504);
                ct_set(x, at, at % 2 ? NAN : -INFINITY);
                ct_npy_save(in_folder(folder, "train_ims.npy"),
                            ct_tensor_cast(x, dtype ? CT_F16 : CT_F32));
            }
            ct_split *split = ct_split_open(folder, "train", AS_IS);
            assert_no_error();
            ck_assert(!ct_split_check(split));
            char expected[128];
            snprintf(expected, sizeof expected, "image %d, region %d, feature %d is %s",
                     (int)at / 6, (int)at / 3 % 2, (int)at % 3, at % 2 ? "nan" : "-inf");
            assert_error(expected);
            ct_split_destroy(split);
        }
    }
    folder_remove(folder);
}
END_TEST

START_TEST(reads_images_of_both_dtypes) {
    for (int dtype = 0; dtype < 2; dtype++) {
        char *folder = make_folder(3, "a\nb\nc\n", NULL);
        write_features(folder, 3, dtype ? CT_F16 : CT_F32);
        ct_split *split = ct_split_open(folder, "train", AS_IS);
        float x[REGIONS * WIDTH];
        for (int64_t image = 2; image >= 0; image--) {
            ck_assert(read_image(split, image, x));
            for (int64_t i = 0; i < REGIONS * WIDTH; i++) {
                ck_assert_float_eq(x[i], (float)feature_of(image, i / WIDTH, i % WIDTH));
            }
        }
        ck_assert(ct_split_check(split));
        ck_assert_int_eq(
            truncate(in_folder(folder, "train_ims.npy"), split->images->features.start[0] + 10), 0);
        ck_assert(!read_image(split, 2, x));
        assert_error("train_ims.npy: the file has become shorter");
        ct_split_destroy(split);
        folder_remove(folder);
    }
}
END_TEST

/* Features of which each image stands `times` times; the last row is another image if `spoilt`. */
static void write_repeated(const char *folder, int64_t images, int64_t times, bool spoilt) {
    CT_SCOPE {
        int64_t rows = images * times, size = REGIONS * WIDTH;
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(rows, REGIONS, WIDTH));
        float *value = ct_data(x);
        for (int64_t i = 0; i < rows * size; i++) {
            value[i] = (float)feature_of(i / size / times, i / WIDTH % REGIONS, i % WIDTH);
        }
        if (spoilt) value[rows * size - WIDTH * REGIONS] += 1;
        ck_assert(ct_npy_save(in_folder(folder, "train_ims.npy"), x));
    }
}

/* As dev and test are distributed: each image in five rows, an ids file of the data set's own
 * numbers, and as many rows as captions. */
START_TEST(joins_images_that_stand_several_times) {
    char *folder = make_folder(1, "a\nb\nc\nd\ne\nf\n", "77\n77\n77\n1031\n1031\n1031\n");
    ct_split_options published = {.images_repeated = 3, .ids_are_names = true};
    write_repeated(folder, 2, 3, false);
    ct_split *split = ct_split_open(folder, "train", published);
    assert_no_error();
    ck_assert_int_eq(split->image_count, 2);
    assert_images(split, 2, 2, 3);
    ck_assert_double_eq(value_at(split, 7), feature_of(1, 0, 1));
    float x[REGIONS * WIDTH];
    for (int64_t i = 0; i < 6; i++) ck_assert_int_eq(split->image_of[i], i / 3);
    ck_assert(read_image(split, 1, x));
    ck_assert_float_eq(x[5], (float)feature_of(1, 1, 2));
    ck_assert(ct_split_check(split));
    ck_assert(ct_split_cut(split, 3));
    ck_assert_int_eq(split->image_count, 1);
    ck_assert(ct_split_check(split));
    ct_split_destroy(split);

    /* a split with fewer rows than captions has each image once */
    write_repeated(folder, 3, 1, false);
    split = ct_split_open(folder, "train", published);
    assert_no_error();
    ck_assert_int_eq(split->image_count, 3);
    for (int64_t i = 0; i < 6; i++) ck_assert_int_eq(split->image_of[i], i / 2);
    ct_split_destroy(split);

    write_repeated(folder, 2, 3, true);
    ck_assert_ptr_null(ct_split_open(folder, "train", published));
    assert_error("train_ims.npy: rows 3 and 5 differ, expected each image 3 times");
    published.images_repeated = 4;
    ck_assert_ptr_null(ct_split_open(folder, "train", published));
    assert_error("train_ims.npy: 6 rows, expected each image 4 times");
    published.images_repeated = 1;
    write_repeated(folder, 2, 3, false);
    ck_assert_ptr_null(ct_split_open(folder, "train", published));
    assert_error(
        "train_ims.npy: rows 0 to 2 are the same image, and so are every 3 behind them: say "
        "so with [data] images_repeated = 3");
    folder_remove(folder);
}
END_TEST

/* The same with an ids file of rows: as many rows as captions, or fewer captions than rows. */
START_TEST(joins_rows_that_an_ids_file_names) {
    static const struct {
        const char *captions, *ids;
        int64_t image_of[6];
    } cases[] = {
        {"a\nb\nc\nd\ne\nf\n", "0\n1\n2\n3\n4\n5\n", {0, 0, 0, 1, 1, 1}},
        {"a\nb\nc\nd\ne\nf\n", "5\n0\n3\n1\n4\n2\n", {1, 0, 1, 0, 1, 0}},
        {"a\nb\nc\n", "0\n3\n0\n", {0, 1, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = make_folder(1, cases[i].captions, cases[i].ids);
        write_repeated(folder, 2, 3, false);
        ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
        assert_error("say so with [data] images_repeated = 3");
        ct_split *split = ct_split_open(folder, "train", (ct_split_options){.images_repeated = 3});
        assert_no_error();
        ck_assert_int_eq(split->image_count, 2);
        for (int64_t k = 0; k < split->caption_count; k++) {
            ck_assert_int_eq(split->image_of[k], cases[i].image_of[k]);
        }
        ct_split_destroy(split);
        folder_remove(folder);
    }
    /* two pictures that happen to be the same are no such thing */
    char *folder = make_folder(1, "a\nb\nc\nd\n", "0\n1\n2\n3\n");
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4, REGIONS, WIDTH));
        for (int64_t i = 0; i < REGIONS * WIDTH; i++) ct_set(x, 2 * REGIONS * WIDTH + i, 1);
        for (int64_t i = 0; i < REGIONS * WIDTH; i++) ct_set(x, 3 * REGIONS * WIDTH + i, 2);
        ct_npy_save(in_folder(folder, "train_ims.npy"), x);
    }
    ct_split *split = ct_split_open(folder, "train", AS_IS);
    assert_no_error();
    ck_assert_int_eq(split->image_count, 4);
    ct_split_destroy(split);
    folder_remove(folder);
}
END_TEST

START_TEST(encodes_every_caption) {
    char *folder = make_folder(2, "a dog\nthe big dog\n", NULL);
    ct_split *split = ct_split_open(folder, "train", AS_IS);
    ct_vocabulary *v = ct_vocabulary_build((const char *const *)split->captions, 2, 1);
    ct_encoder *encoder = ct_encoder_create(v, (ct_encoding){0});
    for (int again = 0; again < 2; again++) {
        ck_assert(ct_split_encode(split, encoder));
        ck_assert_int_eq(split->longest, 5);
        ck_assert_int_eq(split->encoded[0].length, 4);
        ck_assert_int_eq(split->encoded[0].ids[2], ct_vocabulary_id(v, "dog"));
    }
    ct_encoder *first_word = ct_encoder_create(v, (ct_encoding){.max_words = 1});
    ck_assert(ct_split_encode(split, first_word));
    ck_assert_int_eq(split->longest, 3);
    ct_split_destroy(split);
    ct_encoder_destroy(first_word);
    ct_encoder_destroy(encoder);

    write_text(in_folder(folder, "train_caps.txt"), "a dog\nbad \xff\n");
    ck_assert_ptr_null(ct_split_open(folder, "train", AS_IS));
    assert_error("train_caps.txt:2: invalid UTF-8 at byte 5");
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

START_TEST(is_cut_to_whole_images) {
    /* images 0, 1, 2 have 2, 3, 1 captions, not in order */
    static const char captions[] = "c0\nc1\nc2\nc3\nc4\nc5 is longer\n";
    static const char ids[] = "1\n0\n1\n0\n1\n2\n";
    static const struct {
        int64_t limit, images, captions;
        const char *kept[6];
    } cases[] = {
        {6, 3, 6, {"c0", "c1", "c2", "c3", "c4", "c5 is longer"}},
        {5, 2, 5, {"c0", "c1", "c2", "c3", "c4"}},
        {4, 1, 2, {"c1", "c3"}},
        {1, 1, 2, {"c1", "c3"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int encoded = 0; encoded < 2; encoded++) {
            char *folder = make_folder(3, captions, ids);
            ct_split *split = ct_split_open(folder, "train", AS_IS);
            ct_vocabulary *v = ct_vocabulary_build((const char *const *)split->captions, 6, 1);
            ct_encoder *encoder = ct_encoder_create(v, (ct_encoding){0});
            if (encoded) ck_assert(ct_split_encode(split, encoder));
            ck_assert(ct_split_cut(split, cases[i].limit));
            assert_no_error();
            ck_assert_int_eq(split->image_count, cases[i].images);
            ck_assert_int_eq(split->images->count, cases[i].images);
            ck_assert_int_eq(split->caption_count, cases[i].captions);
            for (int64_t k = 0; k < split->caption_count; k++) {
                ck_assert_str_eq(split->captions[k], cases[i].kept[k]);
                ck_assert_int_lt(split->image_of[k], split->image_count);
                int64_t first = ct_vocabulary_id(v, strtok(split->captions[k], " "));
                if (encoded) ck_assert_int_eq(split->encoded[k].ids[1], first);
            }
            if (encoded) ck_assert_int_eq(split->longest, cases[i].limit == 6 ? 5 : 3);
            ck_assert(ct_split_check(split));
            ct_split_destroy(split);
            ct_encoder_destroy(encoder);
            ct_vocabulary_destroy(v);
            folder_remove(folder);
        }
    }
}
END_TEST

TEST_MAIN("split", numbers_captions_evenly, reads_image_numbers, names_file_and_line,
          refuses_other_features, one_vector_an_image, finds_features_that_are_not_finite,
          reads_images_of_both_dtypes, joins_images_that_stand_several_times,
          joins_rows_that_an_ids_file_names, encodes_every_caption, is_cut_to_whole_images)
