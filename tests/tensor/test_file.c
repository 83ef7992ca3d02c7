/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing and reading files: whole or not at all. */
#include <sys/wait.h>

#include "tensor/io/file.h"
#include "tests/files_test.h"

START_TEST(writes_and_reads_back) {
    const char *path = in_test_folder("a.bin");
    static char data[100000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7);
    ck_assert(ct_file_write(path, data, sizeof data));
    check_file(path, data, sizeof data);
    ck_assert(ct_file_write(path, "new", 3));
    check_file(path, "new", 3);
    ck_assert(ct_file_write(path, NULL, 0));
    check_file(path, "", 0);
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

START_TEST(reading_ends_with_nul) {
    const char *path = in_test_folder("text");
    ck_assert(ct_file_write(path, "line\n", 5));
    char *text = ct_file_read(path, NULL);
    ck_assert_str_eq(text, "line\n");
    free(text);
}
END_TEST

START_TEST(no_more_is_read_than_is_asked_for) {
    enum { SIZE = 10000 };
    static char data[SIZE];
    const char *path = in_test_folder("long");
    for (int i = 0; i < SIZE; i++) data[i] = (char)('a' + i % 26);
    ck_assert(ct_file_write(path, data, SIZE));
    static const size_t most[] = {0, 1, 4095, 4096, 4097, 9999, 10000, 10001, SIZE_MAX - 1};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        size_t bytes = 0, expected = most[i] < SIZE ? most[i] : SIZE;
        char *text = ct_file_read_start(path, most[i], &bytes);
        ck_assert_uint_eq(bytes, expected);
        ck_assert_mem_eq(text, data, expected);
        ck_assert_int_eq(text[expected], '\0');
        free(text);
    }
    char *endless = ct_file_read_start("/dev/zero", 5000, NULL);
    ck_assert_ptr_nonnull(endless);
    free(endless);
}
END_TEST

START_TEST(failures_name_path_and_reason) {
    const char *missing = in_test_folder("none/x");
    ck_assert(!ct_file_write(missing, "x", 1));
    assert_error("none/x.partial: cannot create: No such file or directory");
    ck_assert_ptr_null(ct_file_read(missing, NULL));
    assert_error("none/x: cannot open: No such file or directory");
    ck_assert(!ct_file_write(test_folder, "x", 1));
    assert_error("is not a regular file");
    ck_assert_ptr_null(ct_file_read(test_folder, NULL));
    assert_error("cannot read: Is a directory");
    ck_assert(!ct_file_write(NULL, "x", 1));
    assert_error("the path is NULL");
    ck_assert_ptr_null(ct_file_read(NULL, NULL));
    assert_error("the path is NULL");
    ck_assert_int_eq(files_in_test_folder(), 0);
}
END_TEST

/* Renaming over /dev/null would replace the device for the whole machine. A pipe in the test's own
 * folder stands for it: this test must not harm the machine when it fails. */
START_TEST(what_is_no_file_is_not_replaced) {
    const char *path = in_test_folder("pipe");
    struct stat status;
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert(!ct_file_write(path, "x", 1));
    assert_error("pipe: cannot write: it exists and is not a regular file");
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert(S_ISFIFO(status.st_mode));
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

START_TEST(a_full_disk_keeps_the_old_file) {
    const char *path = in_test_folder("kept");
    static char large[300000];
    ck_assert(ct_file_write(path, "old", 3));
    limit_file_size(100000);
    ck_assert(!ct_file_write(path, large, sizeof large)); /* fails while writing */
    assert_error("kept: cannot write: File too large");
    limit_file_size(100);
    ck_assert(!ct_file_write(path, large, 1000)); /* stays in the buffer: fails when flushed */
    assert_error("kept: cannot write: File too large");
    limit_file_size(RLIM_INFINITY);
    check_file(path, "old", 3);
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

START_TEST(a_symbolic_link_stays_one) {
    const char *real = in_test_folder("real"), *name = in_test_folder("link");
    struct stat status;
    ck_assert(ct_file_write(real, "old", 3));
    ck_assert_int_eq(symlink(real, name), 0);
    ck_assert(ct_file_write(name, "new", 3));
    check_file(real, "new", 3);
    ck_assert_int_eq(lstat(name, &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
}
END_TEST

START_TEST(what_a_killed_writer_left_is_taken_over) {
    const char *path = in_test_folder("x"), *partial = in_test_folder("x.partial");
    put_file(partial, "half a file that was being written", 34);
    ck_assert(ct_file_write(path, "whole", 5));
    check_file(path, "whole", 5);
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

START_TEST(two_writers_of_one_file_are_refused) {
    const char *path = in_test_folder("x.npy");
    ct_npy_writer *writer = ct_npy_create(path, CT_U8, CT_SHAPE(3));
    assert_no_error();
    ck_assert_ptr_null(ct_npy_create(path, CT_U8, CT_SHAPE(3)));
    assert_error("x.npy.partial: another writer is writing this file");
    ck_assert(ct_npy_append(writer, "abc", 3));
    ck_assert(ct_npy_close(writer));
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

enum { CHECKPOINT = 1 << 18 };

static void replace_until_killed(const char *path) {
    static char data[CHECKPOINT];
    for (char version = 1;; version++) {
        memset(data, version, sizeof data);
        if (!ct_file_write(path, data, sizeof data)) _exit(1);
    }
}

/* A process that replaces the file over and over is killed at any instant, twenty times: the file
 * is always all of one version. */
START_TEST(a_kill_at_any_instant_leaves_a_whole_file) {
    const char *path = in_test_folder("checkpoint");
    static char data[CHECKPOINT];
    ck_assert(ct_file_write(path, data, sizeof data));
    int versions = 0;
    char last = 0;
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) replace_until_killed(path);
        usleep((useconds_t)(3000 + 1700 * round));
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status));
        size_t bytes;
        char *text = ct_file_read(path, &bytes);
        assert_no_error();
        ck_assert_uint_eq(bytes, sizeof data);
        ck_assert_msg(memcmp(text, text + 1, sizeof data - 1) == 0, "a mixture of versions");
        versions += text[0] != last;
        last = text[0];
        free(text);
    }
    ck_assert_int_gt(versions, 0); /* the children did replace it */
    ck_assert(ct_file_write(path, data, sizeof data));
    ck_assert_int_eq(files_in_test_folder(), 1);
}
END_TEST

/* How files begin that are given in place of others, and what is said of them. */
START_TEST(names_files_of_another_kind) {
#define HEAD(text) text, sizeof(text) - 1
    static const float numbers[32] = {[0 ... 31] = -0.25f};
    static const double doubles[16] = {[0 ... 15] = 0.125};
    static const struct {
        const void *head;
        size_t bytes;
        const char *said;
    } cases[] = {
        {HEAD("\x1f\x8b\x08"), "x: gzip, expected text: gunzip it"},
        {HEAD("PK\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0"
              "arr.npy"),
         "x: NumPy arrays (.npz), expected text: numpy.save"},
        {HEAD("PK\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\0\0"
              "m/data.pkl"),
         "x: a PyTorch checkpoint (.pth, .pth.tar), expected text: data/convert_checkpoint.py"},
        {HEAD("PK\x03\x04\0\0"), "x: a zip archive, expected text: unzip it"},
        {HEAD("\x80\x02}q"), "x: a Python pickle, expected text: data/convert_checkpoint.py"},
        {HEAD("(ivocab\nVocabulary\np0\n"), "x: a Python pickle, expected text: "},
        {HEAD("ccopy_reg\n_reconstructor\n"), "x: a Python pickle, expected text: "},
        {HEAD("\x40\0\0\0\0\0\0\0{\"a\":"), "x: a safetensors file, expected text"},
        {HEAD("\x89HDF\r\n\x1a\n"), "x: HDF5, expected text: h5py"},
        {HEAD("\x89PNG\r\n\x1a\n"), "x: a picture (PNG), expected text"},
        {HEAD("400000 300\nthe \0\0\x80\x3f"), "x: word vectors in word2vec's binary form"},
        {HEAD("\xba\x16\x4f\x2f"), "x: word vectors in fastText's binary form"},
        {numbers, sizeof numbers, "x: numbers in binary form (as GloVe's vectors.bin)"},
        {doubles, sizeof doubles, "x: numbers in binary form (as GloVe's vectors.bin)"},
        {HEAD("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull fetches the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(ct_file_is_other("x", cases[i].head, cases[i].bytes, "text"), "%zu", i);
        assert_error(cases[i].said);
    }
    char tar[512] = "checkpoint.pth";
    memcpy(tar + 257, "ustar", 5);
    ck_assert(ct_file_is_other("x", tar, sizeof tar, "text"));
    assert_error("x: a tar archive, expected text: tar -xf unpacks it");
    static const char *const texts[] = {"",
                                        "a man.",
                                        "PK",
                                        "cat\ndog\n",
                                        "(in snow)\n",
                                        "12 3\na 1 2 3\n",
                                        "?@>??@>??@>??@>??@>??@>??@>??@>?",
                                        "{\"word2idx\": {}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ck_assert_msg(!ct_file_is_other("x", texts[i], strlen(texts[i]), "text"), "%s", texts[i]);
    }
    assert_no_error();
}
END_TEST

TEST_MAIN("file", writes_and_reads_back, reading_ends_with_nul, no_more_is_read_than_is_asked_for,
          failures_name_path_and_reason, what_is_no_file_is_not_replaced,
          a_full_disk_keeps_the_old_file, a_symbolic_link_stays_one,
          what_a_killed_writer_left_is_taken_over, two_writers_of_one_file_are_refused,
          a_kill_at_any_instant_leaves_a_whole_file, names_files_of_another_kind)
