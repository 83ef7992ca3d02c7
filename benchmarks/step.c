/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a training step goes.
 *
 *     build/benchmarks/step CONFIG.INI [--steps N] [--warm-up N] [--set SECTION.KEY=VALUE ...]
 *
 * Runs some steps to warm up (5) and some that count (20), on the configuration's data, and prints
 * the median step, each operation's share, the processor time, the most memory that was resident,
 * and the work done against what BLAS does alone on the largest product of such models (rows x
 * width x width), measured in the same run.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "autograd/profile.h"
#include "benchmarks/measure.h"
#include "benchmarks/training.h"
#include "train/run/restart.h"

enum { MOST_STEPS = 10000, MOST_OVERRIDES = 100 };

typedef struct {
    ct_timed_training training;
    double outside; /* seconds of the counted steps in loading and in the optimiser */
} bench;

/* Seconds of one step. */
static double step(bench *b) {
    ct_timed_training *t = &b->training;
    double start = ct_seconds();
    CT_SCOPE {
        ct_batch batch;
        if (!ct_timed_training_batch(t, &batch)) return -1;
        double loaded = ct_seconds();
        ct_profile_mark();
        if (!ct_backward(ct_timed_training_forward(t, &batch))) return -1;
        double differentiated = ct_seconds();
        if (!ct_optimizer_step(t->optimizer) || !ct_device_wait(t->experiment->device)) return -1;
        b->outside += loaded - start + ct_seconds() - differentiated;
    }
    return ct_seconds() - start;
}

static void print_rows(const ct_profile_row *rows, int count, int steps, double total,
                       double outside) {
    printf("%-20s %10s %12s %12s %8s\n", "operation", "calls/step", "forward ms", "backward ms",
           "share");
    for (int i = 0; i < count; i++) {
        printf("%-20s %10.1f %12.3f %12.3f %7.1f%%\n", rows[i].name, (double)rows[i].calls / steps,
               1e3 * rows[i].forward / steps, 1e3 * rows[i].backward / steps,
               100 * (rows[i].forward + rows[i].backward) / total);
    }
    printf("%-20s %10s %12.3f %12s %7.1f%%\n", "batch, optimiser", "", 1e3 * outside / steps, "",
           100 * outside / total);
}

/* Of all threads, the loader's too: on a machine that others use it tells more than the clock. */
static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak_gigabytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024e-9 * (double)usage.ru_maxrss;
}

/* Pages that the system had to give, of 4 KiB or, where it has them, of 2 MiB. */
static double page_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_minflt;
}

static bool run(bench *b, int warm_up, int steps) {
    static double seconds[MOST_STEPS];
    const ct_timed_training *t = &b->training;
    const ct_config *config = t->config;
    ct_device device = t->experiment->device;
    for (int i = 0; i < warm_up; i++) {
        if (step(b) < 0) return false;
    }
    double total = 0;
    b->outside = 0;
    double processor = processor_seconds(), faults = page_faults();
    ct_profile_start(device);
    for (int i = 0; i < steps; i++) {
        seconds[i] = step(b);
        if (seconds[i] < 0) return false;
        total += seconds[i];
    }
    int count;
    ct_profile_row *rows = ct_profile_stop(&count);
    if (!rows) return false;
    processor = (processor_seconds() - processor) / steps;
    faults = (page_faults() - faults) / steps;
    double middle = ct_median(seconds, steps), gflop = 1e-9 * ct_timed_training_flops(t);
    double memory = peak_gigabytes();
    int64_t width = ct_model_width(t->experiment->model);
    int64_t rows_of_product = config->batch * t->experiment->sizes.regions;
    double limit = 1e-9 * ct_product_rate(device, rows_of_product, width);
    printf("%s: batch %lld, %s\n", config->file, (long long)config->batch, ct_machine_text());
    printf("step: median %.1f ms, fastest %.1f, slowest %.1f of %d; %.0f pairs/s\n", 1e3 * middle,
           1e3 * seconds[0], 1e3 * seconds[steps - 1], steps, (double)config->batch / middle);
    printf("work: %.1f GFLOP a step, %.0f GFLOP/s; products of this width alone: %.0f GFLOP/s\n",
           gflop, gflop / middle, limit);
    printf(
        "processor time %.1f ms a step, %.0f GFLOP/s; memory: %.2f GB resident at most, %.1f page "
        "faults a step\n",
        1e3 * processor, gflop / processor, memory, faults);
    print_rows(rows, count, steps, total, b->outside);
    free(rows);
    return ct_ok();
}

typedef struct {
    int steps, warm_up, override_count;
    const char *override[MOST_OVERRIDES], *config;
} arguments;

static bool read_arguments(int argc, char **argv, arguments *a) {
    static const struct option options[] = {{"steps", required_argument, NULL, 's'},
                                            {"warm-up", required_argument, NULL, 'w'},
                                            {"set", required_argument, NULL, 'o'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's') a->steps = atoi(optarg);
        else if (option == 'w') a->warm_up = atoi(optarg);
        else if (option != 'o' || a->override_count == MOST_OVERRIDES) return false;
        else a->override[a->override_count++] = optarg;
    }
    a->config = optind + 1 == argc ? argv[optind] : NULL;
    return a->config && a->steps >= 1 && a->steps <= MOST_STEPS && a->warm_up >= 0;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    arguments a = {.steps = 20, .warm_up = 5};
    if (!read_arguments(argc, argv, &a)) {
        fprintf(stderr, "usage: step CONFIG.INI [--steps N] [--warm-up N] "
                        "[--set SECTION.KEY=VALUE ...]\n");
        return 2;
    }
    bench b = {0};
    bool done = ct_timed_training_open(&b.training, a.config, a.override, a.override_count) &&
                run(&b, a.warm_up, a.steps);
    ct_timed_training_close(&b.training);
    if (!done) fprintf(stderr, "step: %s\n", ct_error() ? ct_error() : "failed");
    return done ? 0 : 2;
}
