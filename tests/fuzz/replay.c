/* SPDX-License-Identifier: Apache-2.0 */
/* The main of a reader without libFuzzer: replay FOLDER reads each file there, which must give a
 * result, then the file cut and with bits flipped at places that are always the same. */
#include <dirent.h>
#include <limits.h>

#include "tests/fuzz/harness.h"

enum { CUTS = 24, FLIPS = 120 };

/* Copies, so that a sanitizer sees what lies beyond. */
static void give(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    fuzz_must(copy != NULL, "there is memory");
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* Weyl's sequence: spread evenly, the same in each run. */
static size_t place(uint64_t i, size_t size) {
    return (size_t)((double)(i * 0x9e3779b97f4a7c15u >> 11) * 0x1p-53 * (double)size);
}

static void give_changed(uint8_t *data, size_t size) {
    for (uint64_t i = 0; i < CUTS; i++) give(data, place(i, size));
    for (uint64_t i = 0; size && i < FLIPS; i++) {
        uint8_t *at = &data[place(i + 1, size)], before = *at;
        *at ^= (uint8_t)(1 << i % 8);
        if (i % 3 == 0) data[place(7 * i + 5, size)] ^= (uint8_t)(1 << i / 8 % 8);
        give(data, size);
        if (i % 3 == 0) data[place(7 * i + 5, size)] ^= (uint8_t)(1 << i / 8 % 8);
        *at = before;
    }
}

static void replay(const char *path) {
    size_t size = 0;
    char *data = ct_file_read(path, &size);
    fuzz_must(data != NULL, "the seed can be read");
    int64_t before = fuzz_results;
    give((uint8_t *)data, size);
    if (fuzz_results != before + 1) fprintf(stderr, "%s:\n", path);
    fuzz_must(fuzz_results == before + 1, "a seed is read without an error");
    give_changed((uint8_t *)data, size);
    free(data);
}

static int is_visible(const struct dirent *item) { return item->d_name[0] != '.'; }

int main(int argc, char **argv) {
    struct dirent **items;
    int count = argc == 2 ? scandir(argv[1], &items, is_visible, alphasort) : -1;
    fuzz_must(count > 0, "there are seeds");
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", argv[1], items[i]->d_name);
        replay(path);
        free(items[i]);
    }
    free(items);
    return 0;
}
