/* SPDX-License-Identifier: Apache-2.0 */
/* .safetensors: files written by PyTorch, round trips, and one clear error for every malformed
 * file. */
#include "tests/files_test.h"

/* ---- files made by hand ----------------------------------------------------------------- */

/* A file with this header text and `data` bytes 0, 1, 2, ... */
static const char *put_safetensors(const char *header, size_t data) {
    const char *path = in_test_folder("x.safetensors");
    uint64_t length = strlen(header);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fwrite(&length, 1, sizeof length, file);
    fwrite(header, 1, length, file);
    for (size_t i = 0; i < data; i++) fputc((int)i, file);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static void check_refused(const char *header, size_t data, const char *message) {
    ck_assert_ptr_null(ct_safetensors_open(put_safetensors(header, data)));
    ck_assert(!ct_ok() && strstr(ct_error(), "x.safetensors: "));
    assert_error(message);
}

static void check_bytes_refused(const char *data, size_t bytes, const char *message) {
    const char *path = in_test_folder("x.safetensors");
    put_file(path, data, bytes);
    ck_assert_ptr_null(ct_safetensors_open(path));
    assert_error(message);
}

START_TEST(what_is_no_safetensors_is_refused) {
    check_bytes_refused("", 0, "x.safetensors: not a safetensors file: 0 bytes, expected");
    check_bytes_refused("\5\0\0\0\0\0\0", 7, "7 bytes, expected at least 8");
    check_bytes_refused("\3\0\0\0\0\0\0\0{}", 10,
                        "header of 3 bytes, expected at most 100000000 and within the file's 10");
    check_bytes_refused("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
                        "header of 18446744073709551615 bytes");
    check_bytes_refused("\0\0\0\0\0\0\0\0{}", 10, "its header does not begin with '{'");
    check_refused(" {}", 0, "its header does not begin with '{'");
    check_refused("[]", 0, "its header does not begin with '{'");
    ck_assert_ptr_null(ct_safetensors_open(in_test_folder("none")));
    assert_error("none: cannot open: No such file or directory");
    ck_assert_ptr_null(ct_safetensors_open(NULL));
    assert_error("the path is NULL");
}
END_TEST

START_TEST(invalid_json_is_refused) {
    check_refused("{", 0, "header is not valid JSON: ");
    check_refused("{\"a\"}", 0, "header is not valid JSON: ':' expected");
    check_refused("{} x", 0, "header is not valid JSON: end of file expected");
    check_refused("{\"\xff\": {}}", 0, "header is not valid JSON: unable to decode byte 0xff");
    check_refused("{\"a\": {\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                  "\"a\": {\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                  2, "duplicate object key near '\"a\"'");
    check_refused("{\"a\": {\"dtype\":\"U8\",\"shape\":[1],\"shape\":[2]}}", 1,
                  "duplicate object key near '\"shape\"'");
    char deep[5001] = "{\"a\":";
    memset(deep + 5, '[', sizeof deep - 6);
    check_refused(deep, 0, "header is not valid JSON: maximum parsing depth reached");
}
END_TEST

START_TEST(metadata_must_be_texts) {
    check_refused("{\"__metadata__\": 5}", 0, "__metadata__: expected an object of texts");
    check_refused("{\"__metadata__\": {\"epoch\": 5}}", 0, "__metadata__ 'epoch': expected a text");
}
END_TEST

/* A header with one tensor 'w'. */
static const char *one(const char *dtype, const char *shape, const char *offsets) {
    static char header[512];
    snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":%s}}",
             dtype, shape, offsets);
    return header;
}

START_TEST(a_malformed_tensor_is_named) {
    check_refused("{\"w\": 3}", 0,
                  "tensor 'w': expected an object with dtype, shape and data_offsets");
    check_refused("{\"w\": {}}", 0, "tensor 'w': expected a text for dtype");
    check_refused("{\"w\": {\"dtype\": 7}}", 4, "tensor 'w': expected a text for dtype");
    check_refused(one("I16", "[1]", "[0,2]"), 2,
                  "tensor 'w': dtype 'I16' is not supported, expected F32, F64, BF16, F16, I32");
    check_refused("{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
                  "tensor 'w': expected a list");
    check_refused(one("F32", "4", "[0,4]"), 4, "expected a list of at most 8 sizes for shape");
    check_refused(one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "at most 8 sizes");
    check_refused(one("F32", "[-1]", "[0,4]"), 4, "tensor 'w': expected integers of 0 or more");
    check_refused(one("F32", "[1.0]", "[0,4]"), 4, "tensor 'w': expected integers of 0 or more");
    check_refused(one("F32", "[\"1\"]", "[0,4]"), 4, "expected integers of 0 or more in shape");
    check_refused(one("F32", "[9223372036854775808]", "[0,4]"), 4, "too big integer");
    check_refused(one("F32", "[4611686018427387904]", "[0,4]"), 4,
                  "tensor 'w': shape (4611686018427387904) is too large");
    check_refused(one("F32", "[0,4611686018427387904,8]", "[0,0]"), 0, "is too large");
}
END_TEST

START_TEST(wrong_offsets_are_named) {
    check_refused(one("F32", "[1]", "[0]"), 4, "tensor 'w': expected [begin, end]");
    check_refused(one("F32", "[1]", "[0,4,8]"), 4, "tensor 'w': expected [begin, end]");
    check_refused(one("F32", "[1]", "[-4,0]"), 4, "expected [begin, end] with 0 <= begin <= end");
    check_refused(one("F32", "[1]", "[4,0]"), 4, "expected [begin, end] with 0 <= begin <= end");
    check_refused(one("F32", "[1]", "[0,4.0]"), 4, "expected [begin, end]");
    check_refused(one("F32", "[2,3]", "[0,20]"), 20,
                  "tensor 'w': has 20 bytes, expected 24 for f32 (2,3)");
    check_refused(one("F64", "[]", "[0,4]"), 4, "tensor 'w': has 4 bytes, expected 8 for f64 ()");
    check_refused(one("F32", "[2,3]", "[0,24]"), 20,
                  "tensor 'w': ends at byte 24 of the data, which has 20 bytes");
    check_refused(one("F32", "[1]", "[4,8]"), 8,
                  "tensor 'w': begins at byte 4 of the data, expected 0: no tensor has the bytes "
                  "after 'the beginning'");
    check_refused(one("F32", "[1]", "[0,4]"), 6, "6 bytes of data, but the tensors end at byte 4");
    check_refused("{}", 1, "1 bytes of data, but the tensors end at byte 0");
}
END_TEST

START_TEST(tensors_must_not_overlap_or_leave_gaps) {
    check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                  "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                  12, "tensor 'b': begins at byte 4 of the data, expected 8: it overlaps 'a'");
    check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                  "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
                  12,
                  "tensor 'b': begins at byte 8 of the data, expected 4: no tensor has the bytes "
                  "after 'a'");
}
END_TEST

/* ---- reading ---------------------------------------------------------------------------- */

START_TEST(header_order_and_data_order_may_differ) {
    const char *path =
        put_safetensors("{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
                        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[3,3]},"
                        "\"flag\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}    ",
                        5);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        assert_no_error();
        ck_assert_int_eq(ct_safetensors_count(file), 3);
        ck_assert_str_eq(ct_safetensors_name(file, 0), "flag");
        ck_assert_str_eq(ct_safetensors_name(file, 1), "empty");
        ck_assert_str_eq(ct_safetensors_name(file, 2), "b");
        ck_assert_str_eq(ct_tensor_text(ct_safetensors_get(file, "flag")), "u8 (3)");
        ck_assert_str_eq(ct_tensor_text(ct_safetensors_get(file, "empty")), "f32 (0,9)");
        ck_assert_double_eq(ct_get(ct_safetensors_get(file, "b"), 1), 4);
        ct_safetensors_close(file);
    }
    assert_no_error();
}
END_TEST

START_TEST(misaligned_tensors_are_copied) {
    const char *path =
        put_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
                        "\"w\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[3,11]}}",
                        11);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        ct_tensor *w = ct_safetensors_get(file, "w");
        assert_no_error();
        ck_assert_uint_eq((uintptr_t)ct_data(w) % 4, 0);
        ck_assert_double_eq(ct_get(w, 0), 0x06050403);
        ck_assert_double_eq(ct_get(w, 1), 0x0a090807);
        ct_safetensors_close(file);
    }
}
END_TEST

START_TEST(what_is_not_there_is_named) {
    const char *path = put_safetensors(one("U8", "[1]", "[0,1]"), 1);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        ck_assert(ct_safetensors_has(file, "w"));
        ck_assert(!ct_safetensors_has(file, "v"));
        ck_assert(!ct_safetensors_has(file, "__metadata__"));
        ck_assert(!ct_safetensors_has(file, NULL));
        ck_assert(!ct_safetensors_has(NULL, "w"));
        ck_assert_ptr_null(ct_safetensors_metadata(file, "key"));
        assert_no_error();
        ck_assert_ptr_null(ct_safetensors_get(file, "v"));
        assert_error("x.safetensors: there is no tensor 'v'");
        ck_assert_ptr_null(ct_safetensors_name(file, 1));
        assert_error("x.safetensors: tensor 1 of 1 was asked for");
        ck_assert_ptr_null(ct_safetensors_get(NULL, "v"));
        assert_error("safetensors_get: the file or the name is NULL");
        ct_safetensors_close(file);
        ct_safetensors_close(NULL);
    }
}
END_TEST

START_TEST(tensors_outlive_the_file) {
    const char *path = put_safetensors(one("U8", "[2]", "[0,2]"), 2);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        ct_tensor *w = ct_safetensors_get(file, "w");
        ct_safetensors_close(file);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_double_eq(ct_get(w, 1), 1);
        ck_assert(ct_set(w, 1, 7)); /* private to this process */
        ck_assert_double_eq(ct_get(w, 1), 7);
    }
    assert_no_error();
}
END_TEST

/* Files that PyTorch's safetensors wrote, with their numbers of tensors. */
static const struct {
    const char *name;
    int tensors;
} written_by_pytorch[] = {
    {"adam_clip", 122},
    {"batchnorm1d", 50},
    {"contrastive_loss", 60},
    {"convcap", 78},
    {"dcpg_step_coco", 417},
    {"dcpg_step_f30k", 417},
    {"eval_fold5", 13},
    {"eval_metrics", 28},
    {"gru_bidirectional_2layer", 65},
    {"gru_cell", 19},
    {"gru_packed", 28},
    {"gumbel_softmax", 16},
    {"normal_logprob", 8},
    {"policy_image_coco", 205},
    {"policy_image_f30k", 205},
    {"policy_text", 66},
    {"reward", 20},
    {"rs_gcn", 84},
    {"vsrn_step_coco", 434},
    {"vsrn_step_f30k", 460},
};

START_TEST(reads_what_pytorch_wrote) {
    const char *source = getenv("CT_TEST_DATA");
    for (size_t i = 0; i < sizeof written_by_pytorch / sizeof *written_by_pytorch; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", source ? source : ".",
                 written_by_pytorch[i].name);
        CT_SCOPE {
            ct_safetensors *file = ct_safetensors_open(path);
            assert_no_error();
            ck_assert_msg(ct_safetensors_count(file) == written_by_pytorch[i].tensors,
                          "%s: %d tensors", path, ct_safetensors_count(file));
            ck_assert_str_eq(ct_safetensors_metadata(file, "dtype"), "float64");
            for (int t = 0; t < ct_safetensors_count(file); t++) {
                ct_tensor *x = ct_safetensors_get(file, ct_safetensors_name(file, t));
                assert_no_error();
                if (x->dtype != CT_F64 && x->dtype != CT_I64) ck_abort_msg("%s", ct_tensor_text(x));
                read_all(x);
            }
            ct_safetensors_close(file);
        }
    }
}
END_TEST

/* Numbers of one of them as another reader prints them. */
START_TEST(reads_pytorchs_values) {
    const char *source = getenv("CT_TEST_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/gru_cell.safetensors", source ? source : ".");
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        ct_tensor *x = ct_safetensors_get(file, "in.x"), *h = ct_safetensors_get(file, "out.h");
        assert_no_error();
        ck_assert(ct_shape_equal(x->shape, CT_SHAPE(5, 7)));
        ck_assert(ct_shape_equal(h->shape, CT_SHAPE(5, 6)));
        ck_assert_double_eq(ct_get(x, 0), -0x1.79d958p-1);
        ck_assert_double_eq(ct_get(x, 34), -0x1.fc5c34p-1);
        ck_assert_double_eq(ct_get(h, 29), -0x1.b73e6b75e7767p-2);
        ct_safetensors_close(file);
    }
}
END_TEST

/* ---- writing ---------------------------------------------------------------------------- */

START_TEST(every_dtype_comes_back) {
    CT_SCOPE {
        const char *path = in_test_folder("x.safetensors");
        ct_named_tensor tensors[CT_DTYPE_COUNT + 2];
        for (int d = 0; d < CT_DTYPE_COUNT; d++) {
            tensors[d].name = ct_dtype_name((ct_dtype)d);
            tensors[d].tensor =
                ct_tensor_reshape(ct_arange((ct_dtype)d, CT_CPU, 15), CT_SHAPE(3, 5));
        }
        tensors[CT_DTYPE_COUNT] = (ct_named_tensor){"scalar", ct_scalar(CT_F32, CT_CPU, 2.5)};
        tensors[CT_DTYPE_COUNT + 1] =
            (ct_named_tensor){"empty", ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3, 0))};
        ck_assert(ct_safetensors_save(path, tensors, CT_DTYPE_COUNT + 2, NULL));
        ct_safetensors *file = ct_safetensors_open(path);
        assert_no_error();
        ck_assert_int_eq(ct_safetensors_count(file), CT_DTYPE_COUNT + 2);
        for (int i = 0; i < CT_DTYPE_COUNT + 2; i++) {
            ct_tensor *x = ct_safetensors_get(file, tensors[i].name);
            assert_no_error();
            ck_assert_int_eq(x->dtype, tensors[i].tensor->dtype);
            ck_assert(x->storage != NULL && ct_is_contiguous(x));
            assert_close(x, tensors[i].tensor, 0, 0, tensors[i].name);
        }
        ct_safetensors_close(file);
    }
}
END_TEST

/* Byte for byte what the reference implementation writes for two tensors whose order of alignment
 * is also that of their names. */
START_TEST(writes_the_reference_bytes) {
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"numpy\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]}}     ";
    uint8_t expected[8 + sizeof header - 1 + 9] = {sizeof header - 1};
    float a[2] = {0, 1};
    memcpy(expected + 8, header, sizeof header - 1);
    memcpy(expected + 8 + sizeof header - 1, a, 8);
    expected[sizeof expected - 1] = 7;
    ck_assert_uint_eq((sizeof header - 1) % 8, 0);
    CT_SCOPE {
        const char *path = in_test_folder("x.safetensors");
        ct_named_tensor tensors[] = {{"b", ct_scalar(CT_U8, CT_CPU, 7)},
                                     {"a", ct_arange(CT_F32, CT_CPU, 2)}};
        const char *metadata[] = {"format", "numpy", NULL};
        ck_assert(ct_safetensors_save(path, tensors, 2, metadata));
        check_file(path, expected, sizeof expected);
    }
}
END_TEST

START_TEST(order_is_by_alignment_then_as_given) {
    CT_SCOPE {
        const char *path = in_test_folder("x.safetensors");
        ct_tensor *f32 = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1));
        ct_tensor *f64 = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(1));
        ct_tensor *u8 = ct_zeros(CT_U8, CT_CPU, CT_SHAPE(1));
        ct_named_tensor tensors[] = {{"z", u8}, {"y", f32}, {"x", f64}, {"a", f32}, {"b", u8}};
        ck_assert(ct_safetensors_save(path, tensors, 5, NULL));
        ct_safetensors *file = ct_safetensors_open(path);
        static const char *const expected[] = {"x", "y", "a", "z", "b"};
        for (int i = 0; i < 5; i++) ck_assert_str_eq(ct_safetensors_name(file, i), expected[i]);
        ct_safetensors_close(file);
    }
    assert_no_error();
}
END_TEST

START_TEST(names_and_metadata_of_any_text_come_back) {
    CT_SCOPE {
        const char *path = in_test_folder("x.safetensors");
        const char *name = "gr\xc3\xbc\xc3\x9f/\"quoted\"\n\\ \xf0\x9f\x98\x80";
        ct_named_tensor tensors[] = {{name, ct_scalar(CT_I64, CT_CPU, 3)},
                                     {"", ct_scalar(CT_F32, CT_CPU, 4)}};
        const char *metadata[] = {"step", "12", "config", "[a]\nb = \"c\"\n", "", name, NULL};
        ck_assert(ct_safetensors_save(path, tensors, 2, metadata));
        ct_safetensors *file = ct_safetensors_open(path);
        assert_no_error();
        ck_assert_double_eq(ct_item(ct_safetensors_get(file, name)), 3);
        ck_assert_double_eq(ct_item(ct_safetensors_get(file, "")), 4);
        ck_assert_str_eq(ct_safetensors_metadata(file, "step"), "12");
        ck_assert_str_eq(ct_safetensors_metadata(file, "config"), "[a]\nb = \"c\"\n");
        ck_assert_str_eq(ct_safetensors_metadata(file, ""), name);
        ck_assert_ptr_null(ct_safetensors_metadata(file, "none"));
        ct_safetensors_close(file);
        ck_assert(ct_safetensors_save(path, NULL, 0, NULL)); /* nothing at all */
        file = ct_safetensors_open(path);
        assert_no_error();
        ck_assert_int_eq(ct_safetensors_count(file), 0);
        ct_safetensors_close(file);
    }
}
END_TEST

START_TEST(views_are_saved_row_major) {
    CT_SCOPE {
        const char *path = in_test_folder("x.safetensors");
        ct_tensor *x = ct_tensor_reshape(ct_arange(CT_F32, CT_CPU, 12), CT_SHAPE(3, 4));
        ct_named_tensor tensors[] = {{"t", ct_tensor_transpose(x, 0, 1)},
                                     {"row", ct_tensor_slice(x, 0, 1, 2, 1)}};
        ck_assert(ct_safetensors_save(path, tensors, 2, NULL));
        ct_safetensors *file = ct_safetensors_open(path);
        for (int i = 0; i < 2; i++) {
            assert_close(ct_safetensors_get(file, tensors[i].name), tensors[i].tensor, 0, 0,
                         tensors[i].name);
        }
        ct_safetensors_close(file);
    }
}
END_TEST

/* Fails and leaves nothing behind. */
static void check_not_saved(const ct_named_tensor *tensors, int count, const char *const *metadata,
                            const char *message) {
    const char *path = in_test_folder("x.safetensors");
    ck_assert(!ct_safetensors_save(path, tensors, count, metadata));
    assert_error(message);
    ck_assert_int_eq(files_in_test_folder(), 0);
}

START_TEST(what_cannot_be_saved_is_named) {
    CT_SCOPE {
        ct_tensor *x = ct_scalar(CT_F32, CT_CPU, 1);
        check_not_saved((ct_named_tensor[]){{"a", x}, {"a", x}}, 2, NULL,
                        "x.safetensors: tensor 'a': the name is there twice");
        check_not_saved((ct_named_tensor[]){{"__metadata__", x}}, 1, NULL,
                        "tensor '__metadata__': the name is reserved");
        check_not_saved((ct_named_tensor[]){{"a", x}, {"b", NULL}}, 2, NULL,
                        "x.safetensors: tensor 1 ('b') or its name is NULL");
        check_not_saved((ct_named_tensor[]){{NULL, x}}, 1, NULL,
                        "tensor 0 ('') or its name is NULL");
        check_not_saved((ct_named_tensor[]){{"\xff", x}}, 1, NULL, "or the name is not UTF-8");
        check_not_saved(NULL, 0, (const char *[]){"k", "1", "k", "2", NULL},
                        "x.safetensors: metadata 'k' is there twice");
        check_not_saved(NULL, 0, (const char *[]){"k", NULL}, "metadata 'k' has no value");
        check_not_saved(NULL, 0, (const char *[]){"k", "\xff", NULL},
                        "'k' or its value is not UTF-8");
        ck_assert(!ct_safetensors_save(NULL, NULL, 0, NULL));
        assert_error("the path is NULL");
        ck_assert(!ct_safetensors_save(in_test_folder("no/x"), NULL, 0, NULL));
        assert_error("no/x.partial: cannot create: No such file or directory");
    }
}
END_TEST

START_TEST(a_full_disk_keeps_the_old_file) {
    const char *path = in_test_folder("x.safetensors");
    CT_SCOPE {
        ct_named_tensor old = {"w", ct_arange(CT_F32, CT_CPU, 5)};
        ct_named_tensor large = {"w", ct_zeros(CT_F32, CT_CPU, CT_SHAPE(100, 1000))};
        ck_assert(ct_safetensors_save(path, &old, 1, NULL));
        limit_file_size(50000);
        ck_assert(!ct_safetensors_save(path, &large, 1, NULL));
        assert_error("x.safetensors: cannot write: File too large");
        limit_file_size(RLIM_INFINITY);
        ct_safetensors *file = ct_safetensors_open(path);
        assert_close(ct_safetensors_get(file, "w"), old.tensor, 0, 0, "old");
        ct_safetensors_close(file);
    }
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

/* ---- any truncation and any changed byte ------------------------------------------------ */

static bool open_whole(const char *path, size_t bytes) {
    ct_safetensors *file = ct_safetensors_open(path);
    if (!file) return false;
    for (int i = 0; i < ct_safetensors_count(file); i++) {
        CT_SCOPE {
            ct_tensor *x = ct_safetensors_get(file, ct_safetensors_name(file, i));
            if (!x) ck_abort_msg("%s", ct_error());
            if ((size_t)ct_count(x) * ct_dtype_size(x->dtype) > bytes) ck_abort_msg("too large");
            read_all(x);
        }
    }
    ct_safetensors_metadata(file, "key");
    ct_safetensors_close(file);
    return true;
}

START_TEST(no_damage_crashes) {
    const char *path = in_test_folder("x.safetensors");
    CT_SCOPE {
        ct_named_tensor tensors[] = {{"ab", ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 1))},
                                     {"cd", ct_zeros(CT_I64, CT_CPU, CT_SCALAR_SHAPE)},
                                     {"ef", ct_zeros(CT_U8, CT_CPU, CT_SHAPE(2))}};
        const char *metadata[] = {"key", "value", NULL};
        ck_assert(ct_safetensors_save(path, tensors, 3, metadata));
    }
    size_t bytes;
    char *data = ct_file_read(path, &bytes);
    fuzzed f = {path, (uint8_t *)data, bytes, bytes - 22, open_whole};
    ck_assert_int_gt(fuzz_file(&f), 10); /* another name, I32 for F32 */
    free(data);
}
END_TEST

TEST_MAIN("safetensors", what_is_no_safetensors_is_refused, invalid_json_is_refused,
          metadata_must_be_texts, a_malformed_tensor_is_named, wrong_offsets_are_named,
          tensors_must_not_overlap_or_leave_gaps, header_order_and_data_order_may_differ,
          misaligned_tensors_are_copied, what_is_not_there_is_named, tensors_outlive_the_file,
          reads_what_pytorch_wrote, reads_pytorchs_values, every_dtype_comes_back,
          writes_the_reference_bytes, order_is_by_alignment_then_as_given,
          names_and_metadata_of_any_text_come_back, views_are_saved_row_major,
          what_cannot_be_saved_is_named, a_full_disk_keeps_the_old_file, no_damage_crashes)
