/* SPDX-License-Identifier: Apache-2.0 */
/* How long a query takes in a large index, against the rate at which memory is copied.
 *
 *     build/benchmarks/index [ITEMS [WIDTH [QUESTIONS [FILE]]]]
 *
 * Random unit vectors in f16; default: a million of width 1024, one question. Prints the median of
 * five searches for the ten best, the bytes that they read in a second, memcpy's rate in the same
 * run (bytes read and written), and the resident memory. With a FILE the rows are written there,
 * mapped and searched from there: the first search then reads pages that no one has touched.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/measure.h"
#include "train/run/restart.h"
#include "train/search/search.h"

enum { TIMES = 5, AT_ONCE = 1 << 14 };

/* (rows,width) f16, kept: made a block at a time. */
static ct_tensor *make_rows(int64_t rows, int64_t width) {
    ct_rng rng = ct_rng_create(1, 0);
    ct_tensor *all = NULL;
    CT_SCOPE { all = ct_keep(ct_empty(CT_F16, CT_CPU, CT_SHAPE(rows, width))); }
    for (int64_t first = 0; all && first < rows; first += AT_ONCE) {
        int64_t end = first + AT_ONCE < rows ? first + AT_ONCE : rows;
        CT_SCOPE {
            ct_tensor *x =
                ct_random_normal(&rng, "rows", CT_F32, CT_CPU, CT_SHAPE(end - first, width));
            ct_tensor_copy_to(ct_tensor_slice(all, 0, first, end, 1), ct_l2_normalize(x, -1));
        }
    }
    return all;
}

static double resident_gigabytes(void) {
    char line[256];
    double kilobytes = NAN;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = atof(line + 6);
    }
    if (status) fclose(status);
    return 1024e-9 * kilobytes;
}

/* Bytes read and written in a second by memcpy on all threads, a part each. */
static double copy_rate(size_t bytes) {
    char *from = malloc(bytes), *to = malloc(bytes);
    double seconds[TIMES];
    if (!from || !to) return NAN;
    memset(from, 1, bytes);
    memset(to, 1, bytes);
    int threads = ct_threads();
    for (int i = 0; i < TIMES; i++) {
        double start = ct_seconds();
#pragma omp parallel for num_threads(threads)
        for (int k = 0; k < threads; k++) {
            size_t part = bytes / (size_t)threads, at = part * (size_t)k;
            memcpy(to + at, from + at, part);
        }
        seconds[i] = ct_seconds() - start;
    }
    free(from);
    free(to);
    return 2 * (double)bytes / ct_median(seconds, TIMES);
}

static bool time_searches(ct_tensor *rows, ct_tensor *questions) {
    ct_index_split split = {.name = "random", .rows = {rows}, .images = ct_dim(rows, 0)};
    ct_index index = {.measure = CT_COSINE, .splits = &split, .count = 1};
    ct_searched searched = {&index, questions};
    double seconds[TIMES], first = 0, bytes = 2.0 * (double)ct_count(rows);
    for (int i = 0; i <= TIMES; i++) {
        int64_t found;
        double start = ct_seconds();
        ct_answer *answers = ct_search(&searched, 1, CT_INDEX_IMAGES, 10, &found);
        if (!answers) return false;
        if (i) seconds[i - 1] = ct_seconds() - start;
        else first = ct_seconds() - start;
        free(answers);
    }
    double median = ct_median(seconds, TIMES), work = 2 * (double)ct_count(rows);
    printf("the first search %.3f s, then %.3f s: %.1f GB/s, %.0f GFLOP/s\n", first, median,
           1e-9 * bytes / median, 1e-9 * work * (double)ct_dim(questions, 0) / median);
    printf("memcpy: %.1f GB/s read and written\n", 1e-9 * copy_rate((size_t)1 << 28));
    return true;
}

static int run(int64_t items, int64_t width, int64_t count, const char *path) {
    ct_tensor *rows = make_rows(items, width);
    printf("%s\n%lld items of width %lld, %lld questions\n", ct_machine_text(), (long long)items,
           (long long)width, (long long)count);
    CT_SCOPE {
        ct_rng rng = ct_rng_create(2, 0);
        ct_tensor *asked =
            ct_random_normal(&rng, "questions", CT_F32, CT_CPU, CT_SHAPE(count, width));
        asked = ct_l2_normalize(asked, -1);
        if (path && ct_npy_save(path, rows)) {
            ct_release(rows);
            rows = ct_keep(ct_npy_open(path));
        }
        if (ct_ok() && time_searches(rows, asked)) {
            printf("%.2f GB resident at most, %.2f GB of them rows\n", resident_gigabytes(),
                   2e-9 * (double)ct_count(rows));
        }
    }
    ct_release(rows);
    if (ct_error()) fprintf(stderr, "index: %s\n", ct_error());
    return ct_ok() ? 0 : 1;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    int64_t size[3] = {1000000, 1024, 1};
    for (int i = 0; i < 3 && i + 1 < argc; i++) size[i] = atoll(argv[i + 1]);
    if (size[0] < 1 || size[1] < 1 || size[2] < 1) {
        fprintf(stderr, "usage: index [ITEMS [WIDTH [QUESTIONS [FILE]]]]\n");
        return 2;
    }
    return run(size[0], size[1], size[2], argc > 4 ? argv[4] : NULL);
}
