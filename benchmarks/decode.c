/* SPDX-License-Identifier: Apache-2.0 */
/* How long pictures take from files to the numbers that a network sees.
 *
 *     build/benchmarks/decode SIZE THREADS PICTURE...
 *
 * Prints, of one thread, the processor's milliseconds a picture: decoding, and resizing, cutting
 * and turning into (3, SIZE, SIZE); that with augmentation; all of it with JPEGs reduced while they
 * are decoded; then pictures a second by THREADS threads. Medians of seven rounds over all
 * pictures. benchmarks/decode_pillow.py does the same with Pillow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "benchmarks/measure.h"
#include "train/pictures/picture.h"
#include "train/run/restart.h"

enum { ROUNDS = 7 };

typedef struct {
    const char *const *paths;
    int count, threads;
    ct_picture_view plain, changed, reduced;
    ct_picture *pictures;
    float *out;
} job;

/* Of this process, in milliseconds. */
static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void decode(job *j) {
    for (int i = 0; i < j->count; i++) {
        ct_picture_free(&j->pictures[i]);
        ct_picture_read(j->paths[i], CT_PICTURE_MOST_PIXELS, &j->pictures[i]);
    }
}

static void look(job *j) {
    for (int i = 0; i < j->count; i++) ct_picture_look(&j->pictures[i], &j->plain, NULL, j->out);
}

static void change(job *j) {
    for (int i = 0; i < j->count; i++) {
        ct_picture_look(&j->pictures[i], &j->changed, &(ct_picture_draw){1, 0, i}, j->out);
    }
}

static void load_reduced(job *j) {
    for (int i = 0; i < j->count; i++) {
        ct_picture_load(j->paths[i], &j->reduced, NULL, j->out);
    }
}

static void print_times(job *j, const char *what, void (*run)(job *j)) {
    double times[ROUNDS];
    run(j);
    for (int i = 0; i < ROUNDS; i++) {
        double start = processor_time();
        run(j);
        times[i] = (processor_time() - start) / j->count;
    }
    printf("%-8s %.2f ms a picture\n", what, ct_median(times, ROUNDS));
}

static void print_rate(job *j) {
    double seconds[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        double start = ct_seconds();
        ct_pictures_load(j->paths, j->count, j->threads, &j->plain, NULL, NULL, j->out);
        seconds[i] = ct_seconds() - start;
    }
    printf("%.0f pictures a second by %d threads\n", j->count / ct_median(seconds, ROUNDS),
           j->threads);
}

static int run(job *j) {
    size_t values = (size_t)(3 * j->plain.size * j->plain.size);
    j->pictures = calloc((size_t)j->count, sizeof *j->pictures);
    j->out = malloc((size_t)j->count * values * sizeof *j->out);
    if (!j->pictures || !j->out) ct_fail("out of memory");
    else if (ct_picture_view_check(&j->plain)) {
        print_times(j, "decode", decode);
        print_times(j, "look", look);
        print_times(j, "augment", change);
        print_times(j, "reduced", load_reduced);
        print_rate(j);
    }
    for (int i = 0; j->pictures && i < j->count; i++) ct_picture_free(&j->pictures[i]);
    free(j->pictures);
    free(j->out);
    if (ct_error()) fprintf(stderr, "decode: %s\n", ct_error());
    return ct_ok() ? 0 : 1;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    if (argc < 4) {
        fprintf(stderr, "usage: decode SIZE THREADS PICTURE...\n");
        return 2;
    }
    job j = {.paths = (const char *const *)argv + 3, .count = argc - 3, .threads = atoi(argv[2])};
    j.plain = j.changed = j.reduced = ct_picture_view_defaults(atoi(argv[1]));
    j.reduced.reduce = true;
    j.changed.changes.crop = true;
    j.changed.changes.flip = 0.5;
    j.changed.changes.brightness = j.changed.changes.contrast = j.changed.changes.saturation = 0.4;
    return run(&j);
}
