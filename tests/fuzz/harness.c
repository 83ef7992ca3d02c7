/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/harness.h"

#include <dirent.h>
#include <unistd.h>

enum { MOST_FILES = 8 };

int64_t fuzz_results;
static char folder[256];
static char *paths[MOST_FILES];

static void remove_folder(void) {
    DIR *opened = opendir(folder);
    for (struct dirent *item; opened && (item = readdir(opened));) {
        unlinkat(dirfd(opened), item->d_name, 0);
    }
    if (opened) closedir(opened);
    rmdir(folder);
    for (int i = 0; i < MOST_FILES; i++) free(paths[i]);
}

const char *fuzz_folder(void) {
    if (*folder) return folder;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/cotangent-fuzz-XXXXXX", base ? base : "/tmp");
    fuzz_must(mkdtemp(folder) != NULL, "a folder can be made");
    atexit(remove_folder);
    return folder;
}

static const char *path_of(const char *name) {
    size_t before = strlen(fuzz_folder()) + 1;
    int i = 0;
    while (i < MOST_FILES && paths[i] && strcmp(paths[i] + before, name) != 0) i++;
    fuzz_must(i < MOST_FILES, "there are few files");
    if (!paths[i]) fuzz_must(asprintf(&paths[i], "%s/%s", folder, name) > 0, "there is memory");
    return paths[i];
}

const char *fuzz_put(const char *name, const void *data, size_t size) {
    const char *path = path_of(name);
    FILE *file = fopen(path, "wb");
    fuzz_must(file && fwrite(data, 1, size, file) == size, "the file can be written");
    fuzz_must(fclose(file) == 0, "the file can be written");
    return path;
}

void fuzz_must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "does not hold: %s; the error is: %s\n", what, ct_ok() ? "none" : ct_error());
    abort();
}

void fuzz_end(bool result, const char *named) {
    fuzz_must(result == ct_ok(),
              result ? "a result comes without an error" : "without a result there is an error");
    fuzz_must(result || strstr(ct_error(), named), "the error names the file");
    fuzz_results += result;
    ct_error_clear();
}

void fuzz_read_all(const ct_tensor *x) {
    void *copy = malloc((size_t)ct_count(x) * ct_dtype_size(x->dtype) + 1);
    fuzz_must(copy != NULL, "there is memory");
    ct_read(x, copy);
    free(copy);
}
