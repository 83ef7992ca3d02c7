/* SPDX-License-Identifier: Apache-2.0 */
/* .npy: round trips, row-wise writing, mapping, and one clear error for every malformed file. */
#include "tests/files_test.h"

/* ---- files made by hand ----------------------------------------------------------------- */

/* A file of the given version with this header text and `data` bytes of value 1. */
static const char *put_npy(int version, const char *header, size_t data) {
    const char *path = in_test_folder("x.npy");
    size_t length = strlen(header);
    uint8_t prefix[12] = {0x93,
                          'N',
                          'U',
                          'M',
                          'P',
                          'Y',
                          (uint8_t)version,
                          0,
                          (uint8_t)length,
                          (uint8_t)(length >> 8)};
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fwrite(prefix, 1, version == 1 ? 10 : 12, file);
    fwrite(header, 1, length, file);
    for (size_t i = 0; i < data; i++) fputc(1, file);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static void check_refused(const char *header, size_t data, const char *message) {
    CT_SCOPE {
        ck_assert_ptr_null(ct_npy_open(put_npy(1, header, data)));
        ck_assert(!ct_ok() && strstr(ct_error(), "x.npy: "));
        assert_error(message);
    }
}

static void check_shape(int version, const char *header, size_t data, ct_dtype dtype,
                        ct_shape shape) {
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(put_npy(version, header, data));
        assert_no_error();
        ck_assert_int_eq(x->dtype, dtype);
        ck_assert_msg(ct_shape_equal(x->shape, shape), "%s: %s", header, ct_tensor_text(x));
        read_all(x);
    }
}

START_TEST(reads_every_version_and_spelling) {
    for (int version = 1; version <= 3; version++) {
        check_shape(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", 24,
                    CT_F32, CT_SHAPE(2, 3));
    }
    check_shape(1, "{\"shape\":(5,),\"descr\":\"<i8\",\"fortran_order\":False}", 40, CT_I64,
                CT_SHAPE(5));
    check_shape(1, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}\n", 8, CT_F64,
                CT_SCALAR_SHAPE);
    check_shape(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (3L, 2L)}\n", 6, CT_U8,
                CT_SHAPE(3, 2));
    check_shape(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (0, 7,)}\n", 0, CT_I32,
                CT_SHAPE(0, 7));
    check_shape(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,2)}\n", 4,
                CT_F16, CT_SHAPE(1, 1, 1, 1, 1, 1, 1, 2));
}
END_TEST

/* ---- malformed -------------------------------------------------------------------------- */

static void check_bytes_refused(const char *data, size_t bytes, const char *message) {
    const char *path = in_test_folder("x.npy");
    put_file(path, data, bytes);
    CT_SCOPE { ck_assert_ptr_null(ct_npy_open(path)); }
    assert_error(message);
}

START_TEST(what_is_no_npy_is_refused) {
    check_bytes_refused("", 0, "x.npy: not an npy file: it does not begin with \\x93NUMPY");
    check_bytes_refused("\x93NUM", 4, "not an npy file");
    check_bytes_refused("PK\3\4 an npz", 12, "a zip archive, expected an .npy file");
    check_bytes_refused("\x93NUMPY\1", 7, "npy file of 7 bytes ends before its header");
    check_bytes_refused("\x93NUMPY\2\0\0\0\0", 11, "npy file of 11 bytes ends before its header");
    check_bytes_refused("\x93NUMPY\0\0\0\0", 10, "npy format version 0.0, expected 1 to 3");
    check_bytes_refused("\x93NUMPY\4\1\0\0", 10, "npy format version 4.1, expected 1 to 3");
    check_bytes_refused("\x93NUMPY\1\0\5\0{}", 12,
                        "npy header of 5 bytes does not fit into the file's 12 bytes");
    check_bytes_refused("\x93NUMPY\2\0\xff\xff\xff\xff{}", 14, "npy header of 4294967295 bytes");
}
END_TEST

START_TEST(a_missing_or_doubled_key_is_named) {
    check_refused("{'fortran_order': False, 'shape': (1,)}", 4, "no key 'descr'");
    check_refused("{'descr': '<f4', 'shape': (1,)}", 4, "no key 'fortran_order'");
    check_refused("{'descr': '<f4', 'fortran_order': False}", 4, "no key 'shape'");
    check_refused("{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", 4,
                  "key 'descr' is there twice");
    check_refused("{'descr': '<f4', 'order': 1}", 4, "unknown key 'order', expected descr, ");
}
END_TEST

START_TEST(what_is_no_dict_is_refused) {
    check_refused("", 4, "expected '{' at byte 0");
    check_refused("[1, 2]", 4, "expected '{' at byte 0");
    check_refused("{'descr': '<f4'", 4, "expected ',' or '}' at byte 15");
    check_refused("{'descr' '<f4'}", 4, "expected ':' at byte 9");
    check_refused("{'descr: '<f4'}", 4, "unknown key 'descr: '");
    check_refused("{'descr", 4, "expected a closing quote at byte 7");
    check_refused("{descr: 1}", 4, "expected a quoted key at byte 1");
    check_refused("{'descr': '<f4' 'shape': ()}", 4, "expected ',' or '}'");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4,
                  "expected nothing but spaces after '}'");
}
END_TEST

START_TEST(other_dtypes_and_orders_are_named) {
    check_refused("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8,
                  "npy dtype '<c8' is not supported, expected <f4, <f8, <f2, <i4, <i8 or |u1");
    check_refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, "npy dtype '|O'");
    check_refused("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4,
                  "npy dtype '>f4' is big-endian, expected little-endian ('<f4')");
    check_refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4,
                  "expected a dtype such as '<f4' (no structured array)");
    check_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", 16,
                  "npy fortran_order is True, expected False");
    check_refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 2)}", 16,
                  "expected False or True");
}
END_TEST

START_TEST(impossible_shapes_are_refused) {
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4,
                  "expected a size of 0 or more");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", 4,
                  "expected a tuple (n,)");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': 1}", 4, "expected a tuple");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", 4,
                  "expected ',' or ')'");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", 4,
                  "expected a size of 0 or more");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}", 4,
                  "expected ',' or ')'");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4,
                  "more than 8 dimensions");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}", 4,
                  "expected a size below 2^63");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}", 4,
                  "npy shape (4611686018427387904) of f32 is too large");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296)}", 4,
                  "is too large");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (0,4611686018427387904,8)}", 0,
                  "is too large");
}
END_TEST

START_TEST(a_wrong_length_gives_both_byte_counts) {
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n";
    check_refused(header, 47,
                  "shorter than its shape needs: 47 bytes of data, expected 48 for f32 (3,4)");
    check_refused(header, 52,
                  "longer than its shape needs: 52 bytes of data, expected 48 for f32 (3,4)");
    check_refused(header, 0, "0 bytes of data, expected 48");
}
END_TEST

START_TEST(what_cannot_be_opened_is_named) {
    CT_SCOPE {
        ck_assert_ptr_null(ct_npy_open(in_test_folder("none.npy")));
        assert_error("none.npy: cannot open: No such file or directory");
        ck_assert_ptr_null(ct_npy_open(test_folder));
        assert_error("not a regular file");
        const char *pipe = in_test_folder("pipe");
        ck_assert_int_eq(mkfifo(pipe, 0600), 0);
        ck_assert_ptr_null(ct_npy_open(pipe)); /* and does not wait for a writer */
        assert_error("pipe: not a regular file");
        ck_assert_ptr_null(ct_npy_open(NULL));
        assert_error("the path is NULL");
    }
    ck_assert_ptr_null(ct_npy_open(put_npy(1,
                                           "{'descr': '<f4', 'fortran_order': False, "
                                           "'shape': (1,)}",
                                           4)));
    assert_error("no scope is open");
}
END_TEST

/* ---- mapping ---------------------------------------------------------------------------- */

/* Header of 53 bytes after the prefix of 10: the data begin at byte 63. */
START_TEST(misaligned_data_are_copied) {
    const char *header = "{'descr': '<f8','fortran_order':False,'shape': (2,)}\n";
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(put_npy(1, header, 16));
        assert_no_error();
        ck_assert_uint_eq((uintptr_t)ct_data(x) % 8, 0);
        double ones;
        memset(&ones, 1, sizeof ones);
        ck_assert_double_eq(ct_get(x, 0), ones);
        ck_assert_double_eq(ct_get(x, 1), ones);
    }
}
END_TEST

START_TEST(overwriting_a_mapped_tensor_leaves_the_file) {
    const char *path = in_test_folder("x.npy");
    CT_SCOPE {
        ck_assert(ct_npy_save(path, ct_arange(CT_F32, CT_CPU, 4)));
        ct_tensor *x = ct_npy_open(path);
        ck_assert(ct_set(x, 2, 99));
        ck_assert_double_eq(ct_get(x, 2), 99);
        ck_assert_double_eq(ct_get(ct_npy_open(path), 2), 2);
        ck_assert_int_eq(unlink(path), 0); /* the mapping outlives the name */
        ck_assert_double_eq(ct_get(x, 3), 3);
    }
    assert_no_error();
}
END_TEST

/* 40 GiB, a little more than the region features of COCO, open at once; only the pages that are
 * read get memory. */
START_TEST(a_large_file_is_not_read_whole) {
    int64_t columns = 1 << 20, rows = 40 << 10;
    char header[128];
    snprintf(header, sizeof header,
             "{'descr': '|u1', 'fortran_order': False, 'shape': (%lld, "
             "%lld)}\n",
             (long long)rows, (long long)columns);
    const char *path = put_npy(1, header, 0);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    int64_t whole = status.st_size + rows * columns;
    if (truncate(path, whole) != 0) return; /* a file system without files of this size */
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(path);
        assert_no_error();
        ck_assert_int_eq(ct_dim(x, 0), rows);
        ct_tensor *row = ct_tensor_slice(x, 0, rows - 1, rows, 1);
        ck_assert_double_eq(
            ct_item(ct_tensor_reduce(CT_MAX, ct_tensor_cast(row, CT_F32), CT_ALL_AXES, false)), 0);
    }
    getrusage(RUSAGE_SELF, &after);
    ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 256 * 1024); /* KiB */
}
END_TEST

/* ---- writing ---------------------------------------------------------------------------- */

START_TEST(every_dtype_comes_back) {
    static const ct_dtype dtypes[] = {CT_F32, CT_F64, CT_F16, CT_I32, CT_I64, CT_U8};
    for (int d = 0; d < 6; d++) {
        CT_SCOPE {
            const char *path = in_test_folder("x.npy");
            ct_tensor *x = ct_tensor_reshape(ct_arange(dtypes[d], CT_CPU, 24), CT_SHAPE(2, 3, 4));
            ck_assert(ct_npy_save(path, x));
            ct_tensor *y = ct_npy_open(path);
            assert_no_error();
            ck_assert_int_eq(y->dtype, dtypes[d]);
            assert_close(y, x, 0, 0, ct_dtype_name(dtypes[d]));
        }
    }
}
END_TEST

START_TEST(every_shape_comes_back) {
    static const ct_shape shapes[] = {
        {0, {0}}, {1, {1}}, {1, {7}}, {2, {0, 5}}, {8, {1, 2, 1, 3, 1, 1, 2, 1}}};
    for (int s = 0; s < 5; s++) {
        CT_SCOPE {
            const char *path = in_test_folder("x.npy");
            ct_tensor *x =
                ct_tensor_reshape(ct_arange(CT_F64, CT_CPU, ct_shape_count(shapes[s])), shapes[s]);
            ck_assert(ct_npy_save(path, x));
            assert_close(ct_npy_open(path), x, 0, 0, ct_shape_text(shapes[s]));
        }
    }
}
END_TEST

/* numpy.save(x) for x = numpy.arange(3, dtype='<i4'), byte for byte. */
START_TEST(writes_what_numpy_writes) {
    uint8_t expected[128 + 12] = "\x93NUMPY\x01\x00v\x00{'descr': '<i4', 'fortran_order': False, "
                                 "'shape': (3,), }";
    memset(expected + 10 + 57, ' ', 118 - 57);
    expected[127] = '\n';
    for (int i = 0; i < 3; i++) memcpy(expected + 128 + 4 * i, &i, 4);
    CT_SCOPE {
        const char *path = in_test_folder("x.npy");
        ck_assert(ct_npy_save(path, ct_arange(CT_I32, CT_CPU, 3)));
        check_file(path, expected, sizeof expected);
    }
}
END_TEST

START_TEST(views_are_saved_row_major) {
    CT_SCOPE {
        const char *path = in_test_folder("x.npy");
        ct_tensor *x = ct_tensor_reshape(ct_arange(CT_F32, CT_CPU, 12), CT_SHAPE(3, 4));
        ct_tensor *view = ct_tensor_slice(ct_tensor_transpose(x, 0, 1), 0, 1, 4, 2);
        ck_assert(ct_npy_save(path, view));
        assert_close(ct_npy_open(path), view, 0, 0, "view");
    }
}
END_TEST

START_TEST(rows_are_appended) {
    const char *path = in_test_folder("x.npy");
    float row[3];
    ct_npy_writer *writer = ct_npy_create(path, CT_F32, CT_SHAPE(1000, 3));
    for (int i = 0; i < 1000; i++) {
        for (int j = 0; j < 3; j++) row[j] = (float)(3 * i + j);
        if (!ct_npy_append(writer, row, sizeof row)) ck_abort_msg("%s", ct_error());
    }
    ck_assert_int_ne(access(path, F_OK), 0); /* nothing before it is closed */
    ck_assert(ct_npy_close(writer));
    ck_assert_int_eq(files_in_test_folder(), 1);
    CT_SCOPE {
        ct_tensor *expected = ct_tensor_reshape(ct_arange(CT_F32, CT_CPU, 3000), CT_SHAPE(1000, 3));
        assert_close(ct_npy_open(path), expected, 0, 0, "rows");
    }
}
END_TEST

START_TEST(missing_and_surplus_rows_are_refused) {
    const char *path = in_test_folder("x.npy");
    float row[3] = {1, 2, 3};
    ct_npy_writer *writer = ct_npy_create(path, CT_F32, CT_SHAPE(2, 3));
    ck_assert(ct_npy_append(writer, row, sizeof row));
    ck_assert(!ct_npy_close(writer));
    assert_error("x.npy: npy_close: rows are missing: 12 bytes were written, expected 24 for f32 "
                 "(2,3)");
    writer = ct_npy_create(path, CT_F32, CT_SHAPE(1, 3));
    ck_assert(ct_npy_append(writer, row, sizeof row));
    ck_assert(!ct_npy_append(writer, row, sizeof row));
    assert_error("x.npy: npy_append: 12 bytes after 12, expected 12 in all for f32 (1,3)");
    ck_assert(!ct_npy_close(writer));
    ck_assert_int_eq(files_in_test_folder(), 0);
}
END_TEST

START_TEST(what_cannot_be_saved_is_named) {
    const char *path = in_test_folder("x.npy");
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_BF16, CT_CPU, CT_SHAPE(2));
        ck_assert(!ct_npy_save(path, x));
        assert_error("x.npy: npy has no dtype for bf16 (cast to f32)");
        ck_assert(!ct_npy_save(path, NULL));
        assert_error("npy_save: an input is NULL");
        ck_assert_ptr_null(ct_npy_create(path, CT_F32, CT_SHAPE(-1)));
        assert_error("negative or too large");
        ck_assert(!ct_npy_save(NULL, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2))));
        assert_error("the path is NULL");
        ck_assert(!ct_npy_append(NULL, "", 0));
        assert_error("npy_append: the writer is NULL");
        ck_assert(!ct_npy_close(NULL));
        assert_error("npy_close: the writer is NULL");
    }
    ck_assert_int_eq(files_in_test_folder(), 0);
}
END_TEST

START_TEST(a_full_disk_keeps_the_old_file) {
    const char *path = in_test_folder("x.npy");
    CT_SCOPE {
        ct_tensor *old = ct_arange(CT_F32, CT_CPU, 5);
        ck_assert(ct_npy_save(path, old));
        limit_file_size(50000);
        ck_assert(!ct_npy_save(path, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(100, 1000))));
        assert_error("x.npy: cannot write: File too large");
        limit_file_size(RLIM_INFINITY);
        assert_close(ct_npy_open(path), old, 0, 0, "old");
    }
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

/* ---- any truncation and any changed byte ------------------------------------------------ */

static bool open_whole(const char *path, size_t bytes) {
    bool opened = false;
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(path);
        opened = x != NULL;
        if (!opened) break;
        if ((size_t)ct_count(x) * ct_dtype_size(x->dtype) > bytes) ck_abort_msg("too large");
        read_all(x);
    }
    return opened;
}

START_TEST(no_damage_crashes) {
    const char *path = in_test_folder("x.npy");
    CT_SCOPE { ck_assert(ct_npy_save(path, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 2)))); }
    size_t bytes;
    char *data = ct_file_read(path, &bytes);
    fuzzed f = {path, (uint8_t *)data, bytes, bytes - 24, open_whole};
    /* e.g. version 1 to 3, spaces, (3,2) to (2,3), '<f4' to '<i4' */
    ck_assert_int_gt(fuzz_file(&f), 10);
    free(data);
}
END_TEST

TEST_MAIN("npy", reads_every_version_and_spelling, what_is_no_npy_is_refused,
          a_missing_or_doubled_key_is_named, what_is_no_dict_is_refused,
          other_dtypes_and_orders_are_named, impossible_shapes_are_refused,
          a_wrong_length_gives_both_byte_counts, what_cannot_be_opened_is_named,
          misaligned_data_are_copied, overwriting_a_mapped_tensor_leaves_the_file,
          a_large_file_is_not_read_whole, every_dtype_comes_back, every_shape_comes_back,
          writes_what_numpy_writes, views_are_saved_row_major, rows_are_appended,
          missing_and_surplus_rows_are_refused, what_cannot_be_saved_is_named,
          a_full_disk_keeps_the_old_file, no_damage_crashes)
