/* Splits: what is read, and one clear sentence for everything that does not fit. */
#include <unistd.h>

#include "split_fixture.h"

static char *make_folder(int64_t images, const char *captions, const char *ids) {
    char *folder = folder_make();
    write_features(folder, images, CT_F32);
    write_text(in_folder(folder, "train_caps.txt"), captions);
    if (ids) write_text(in_folder(folder, "train_ids.txt"), ids);
    return folder;
}

START_TEST(numbers_captions_evenly) {
    char *folder = make_folder(2, "a dog\r\nthe dog\r\n\xc3\x89t\xc3\xa9 \n cat", NULL);
    ct_split *split = ct_split_open(folder, "train");
    assert_no_error();
    ck_assert_str_eq(split->name, "train");
    ck_assert_int_eq(split->image_count, 2);
    ck_assert_int_eq(split->caption_count, 4);
    static const char *const lines[] = {"a dog", "the dog", "\xc3\x89t\xc3\xa9 ", " cat"};
    for (int64_t i = 0; i < 4; i++) {
        ck_assert_str_eq(split->captions[i], lines[i]);
        ck_assert_int_eq(split->image_of[i], i / 2);
    }
    ck_assert_str_eq(ct_tensor_text(split->images), "f32 (2,2,3)");
    ck_assert_double_eq(ct_get(split->images, 9), feature_of(1, 1, 0));
    ck_assert(ct_split_check(split));
    ct_split_destroy(split);
    folder_remove(folder);
}
END_TEST

START_TEST(reads_image_numbers) {
    char *folder = make_folder(3, "one\ntwo\nthree\nfour\n", "2\n0 \n 1\r\n0");
    ct_split *split = ct_split_open(folder, "train");
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
        {3, "a\nb\nc\nd\n", NULL, "train_caps.txt: 4 captions do not divide among 3 images; give "
                                  "train_ids.txt"},
        {3, "a\nb\n", NULL, "2 captions do not divide among 3 images"},
        {2, "a\nb\n", "0\n2\n", "train_ids.txt:2: image 2, expected 0 to 1"},
        {2, "a\nb\n", "-1\n1\n", "train_ids.txt:1: image -1, expected 0 to 1"},
        {2, "a\nb\n", "0\n99999999999999999999\n", "train_ids.txt:2: image 99999999999999999999"},
        {2, "a\nb\n", "0\n\n", "train_ids.txt:2: '', expected the number of an image"},
        {2, "a\nb\n", "0\n1 x\n", "train_ids.txt:2: '1 x', expected the number of an image"},
        {2, "a\nb\n", "0\n0\n", "train_ids.txt: image 1 of 0 to 1 has no caption"},
        {2, "a\n\nc\nd\n", NULL, "train_caps.txt:2: empty caption"},
        {2, "a\n \t\nc\nd\n", NULL, "train_caps.txt:2: empty caption"},
        {2, "", NULL, "train_caps.txt: no captions"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = make_folder(cases[i].images, cases[i].captions, cases[i].ids);
        ck_assert_ptr_null(ct_split_open(folder, "train"));
        assert_error(cases[i].message);
        folder_remove(folder);
    }
}
END_TEST

START_TEST(refuses_other_features) {
    char *folder = make_folder(2, "a\nb\n", NULL);
    const char *path = in_folder(folder, "train_ims.npy");
    CT_SCOPE {
        ct_npy_save(path, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3)));
        ck_assert_ptr_null(ct_split_open(folder, "train"));
        assert_error("train_ims.npy: features are (2,3), expected (images, regions, width)");
        ct_npy_save(path, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3, 4)));
        ck_assert_ptr_null(ct_split_open(folder, "train"));
        assert_error("train_ims.npy: features are f64, expected f32 or f16");
        ct_npy_save(path, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 3, 4)));
        ck_assert_ptr_null(ct_split_open(folder, "train"));
        assert_error("features are (0,3,4), expected");
    }
    ck_assert_ptr_null(ct_split_open(folder, "dev"));
    assert_error("dev_ims.npy");
    write_features(folder, 2, CT_F32);
    ck_assert_int_eq(unlink(in_folder(folder, "train_caps.txt")), 0);
    ck_assert_ptr_null(ct_split_open(folder, "train"));
    assert_error("train_caps.txt");
    ck_assert(ct_file_write(in_folder(folder, "train_caps.txt"), "a\nb\0c\n", 6));
    ck_assert_ptr_null(ct_split_open(folder, "train"));
    assert_error("train_caps.txt:2: a NUL byte");
    folder_remove(folder);
}
END_TEST

/* Both dtypes, both kinds of wrong number, wherever they stand. */
START_TEST(finds_features_that_are_not_finite) {
    char *folder = make_folder(5, "a\nb\nc\nd\ne\n", NULL);
    for (int dtype = 0; dtype < 2; dtype++) {
        for (int64_t at = 0; at < 5 * REGIONS * WIDTH; at += 7) {
            CT_SCOPE {
                ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(5, REGIONS, WIDTH), 65504);
                ct_set(x, at, at % 2 ? NAN : -INFINITY);
                ct_npy_save(in_folder(folder, "train_ims.npy"),
                            ct_tensor_cast(x, dtype ? CT_F16 : CT_F32));
            }
            ct_split *split = ct_split_open(folder, "train");
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
        ct_split *split = ct_split_open(folder, "train");
        float x[REGIONS * WIDTH], raw[REGIONS * WIDTH];
        for (int64_t image = 2; image >= 0; image--) {
            ck_assert(ct_split_read_image(split, image, x, raw));
            for (int64_t i = 0; i < REGIONS * WIDTH; i++) {
                ck_assert_float_eq(x[i], (float)feature_of(image, i / WIDTH, i % WIDTH));
            }
        }
        ck_assert(ct_split_check(split));
        ck_assert_int_eq(truncate(in_folder(folder, "train_ims.npy"), split->file_start + 10), 0);
        ck_assert(!ct_split_read_image(split, 2, x, raw));
        assert_error("train_ims.npy: the file has become shorter");
        ct_split_destroy(split);
        folder_remove(folder);
    }
}
END_TEST

START_TEST(encodes_every_caption) {
    char *folder = make_folder(2, "a dog\nthe big dog\n", NULL);
    ct_split *split = ct_split_open(folder, "train");
    ct_vocabulary *v = ct_vocabulary_build((const char *const *)split->captions, 2, 1);
    for (int again = 0; again < 2; again++) {
        ck_assert(ct_split_encode(split, v, 0));
        ck_assert_int_eq(split->longest, 5);
        ck_assert_int_eq(split->lengths[0], 4);
        ck_assert_int_eq(split->words[0][2], ct_vocabulary_id(v, "dog"));
    }
    ck_assert(ct_split_encode(split, v, 1));
    ck_assert_int_eq(split->longest, 3);
    ct_split_destroy(split);

    write_text(in_folder(folder, "train_caps.txt"), "a dog\nbad \xff\n");
    ck_assert_ptr_null(ct_split_open(folder, "train"));
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
            ct_split *split = ct_split_open(folder, "train");
            ct_vocabulary *v = ct_vocabulary_build((const char *const *)split->captions, 6, 1);
            if (encoded) ck_assert(ct_split_encode(split, v, 0));
            ck_assert(ct_split_cut(split, cases[i].limit));
            assert_no_error();
            ck_assert_int_eq(split->image_count, cases[i].images);
            ck_assert_int_eq(split->images->shape.dim[0], cases[i].images);
            ck_assert_int_eq(split->caption_count, cases[i].captions);
            for (int64_t k = 0; k < split->caption_count; k++) {
                ck_assert_str_eq(split->captions[k], cases[i].kept[k]);
                ck_assert_int_lt(split->image_of[k], split->image_count);
                int64_t first = ct_vocabulary_id(v, strtok(split->captions[k], " "));
                if (encoded) ck_assert_int_eq(split->words[k][1], first);
            }
            if (encoded) ck_assert_int_eq(split->longest, cases[i].limit == 6 ? 5 : 3);
            ck_assert(ct_split_check(split));
            ct_vocabulary_destroy(v);
            ct_split_destroy(split);
            folder_remove(folder);
        }
    }
}
END_TEST

TEST_MAIN("split", numbers_captions_evenly, reads_image_numbers, names_file_and_line,
          refuses_other_features, finds_features_that_are_not_finite, reads_images_of_both_dtypes,
          encodes_every_caption, is_cut_to_whole_images)
