/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of files: a folder of this process's own, gone when it ends; files from bytes. */
#ifndef CT_FILES_TEST_H
#define CT_FILES_TEST_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static char test_folder[256];

static inline void remove_test_folder(void) {
    DIR *folder = opendir(test_folder);
    if (!folder) return;
    for (struct dirent *item; (item = readdir(folder));) {
        char path[sizeof test_folder + 257];
        snprintf(path, sizeof path, "%s/%s", test_folder, item->d_name);
        unlink(path);
    }
    closedir(folder);
    rmdir(test_folder);
}

/* The path of a file in the test's folder; eight are valid at a time. */
static inline const char *in_test_folder(const char *name) {
    static char paths[8][sizeof test_folder + 64];
    static int next;
    if (!test_folder[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(test_folder, sizeof test_folder, "%.200s/cotangent-XXXXXX", base ? base : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(test_folder));
        atexit(remove_test_folder);
    }
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static inline void put_file(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, bytes, file), bytes);
    ck_assert_int_eq(fclose(file), 0);
}

/* How many files the folder holds: whether something was left behind. */
static inline int files_in_test_folder(void) {
    int count = 0;
    DIR *folder = opendir(test_folder);
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *item; (item = readdir(folder));) count += item->d_name[0] != '.';
    closedir(folder);
    return count;
}

static inline void check_file(const char *path, const void *data, size_t bytes) {
    size_t size = 0;
    char *text = ct_file_read(path, &size);
    assert_no_error();
    ck_assert_msg(size == bytes && memcmp(text, data, bytes) == 0, "%s: %zu bytes, expected %zu",
                  path, size, bytes);
    free(text);
}

/* As on a full disk: writing beyond `bytes` fails, with EFBIG instead of ENOSPC. */
static inline void limit_file_size(rlim_t bytes) {
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Changes of one byte that a parser may stumble over: each bit, and what has a meaning. */
static inline int changes_of(uint8_t byte, uint8_t out[64]) {
    static const char meaningful[] = "{}[]()'\":,.-+ eELTFu<>|\\0189\n\x01\x7f\x80\xff";
    int count = 0;
    for (int bit = 0; bit < 8; bit++) out[count++] = (uint8_t)(byte ^ 1 << bit);
    for (size_t i = 0; i < sizeof meaningful; i++) out[count++] = (uint8_t)meaningful[i];
    return count;
}

/* Reads every byte of a tensor: AddressSanitizer, valgrind and the page table object if it does not
 * lie in the file. */
static inline void read_all(const ct_tensor *x) {
    size_t bytes = (size_t)ct_count(x) * ct_dtype_size(x->dtype);
    void *copy = malloc(bytes + 1);
    ck_assert_ptr_nonnull(copy);
    ct_read(x, copy);
    free(copy);
}

/* A file of a fuzz test: opened fresh after every change. */
typedef struct {
    const char *path;
    const uint8_t *data;
    size_t bytes, header;                         /* the header is where bytes are changed */
    bool (*open)(const char *path, size_t bytes); /* opens and reads all; false on an error */
} fuzzed;

/* A result is either whole or one error that names the file. */
static inline bool fuzz_open(const fuzzed *f, const char *what, size_t at, unsigned value) {
    bool opened = f->open(f->path, f->bytes);
    if (opened != ct_ok() || (!opened && !strstr(ct_error(), f->path))) {
        ck_abort_msg("%s %zu (0x%02x): opened %d, error: %s", what, at, value, opened,
                     ct_ok() ? "none" : ct_error());
    }
    ct_error_clear();
    return opened;
}

/* Every truncation is an error; every change of one header byte an error or a whole result. Returns
 * how many changes gave a result. */
static inline int fuzz_file(const fuzzed *f) {
    for (size_t bytes = 0; bytes < f->bytes; bytes++) {
        put_file(f->path, f->data, bytes);
        if (fuzz_open(f, "cut to bytes:", bytes, 0)) ck_abort_msg("opened when cut to %zu", bytes);
    }
    int valid = 0;
    put_file(f->path, f->data, f->bytes);
    int fd = open(f->path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < f->header; i++) {
        uint8_t change[64];
        int count = changes_of(f->data[i], change);
        for (int k = 0; k < count; k++) {
            if (pwrite(fd, &change[k], 1, (off_t)i) != 1) ck_abort_msg("pwrite failed");
            valid += fuzz_open(f, "changed byte:", i, change[k]);
        }
        if (pwrite(fd, &f->data[i], 1, (off_t)i) != 1) ck_abort_msg("pwrite failed");
    }
    close(fd);
    return valid;
}

#endif
