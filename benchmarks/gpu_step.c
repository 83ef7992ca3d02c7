/* SPDX-License-Identifier: Apache-2.0 */
/* Trains a configuration and answers with times, for benchmarks/gpu and benchmarks/compare-pytorch.
 *
 *     build/benchmarks/gpu_step CONFIG.INI [--warm-up N] [--set SECTION.KEY=VALUE ...]
 *
 * One line of JSON is printed when some steps (12) were taken, then one for each line of standard
 * input:
 *
 *     step COUNT SAMPLES      seconds a step, of SAMPLES times COUNT steps: batch, forward,
 *                             backward, clipping and the optimiser; one wait behind COUNT steps;
 *                             how many of them repeated a recorded one
 *     forward COUNT SAMPLES   the same of forward in training, losses included, without the batch
 *     evaluate SAMPLES        seconds to embed and rank the first of [data] test_splits
 *     product                 FLOP/s of products of the model's width alone, a row for each region
 *     memory                  bytes of device memory in use at most, and those of tensors
 *     profile STEPS           each operation's part of a step, waiting for the device behind each
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/profile.h"
#include "benchmarks/measure.h"
#include "benchmarks/training.h"
#include "train/run/restart.h"

enum { MOST_OVERRIDES = 100 };

typedef struct {
    ct_timed_training training;
    ct_split *test;
    ct_device device;
} bench;

/* ---- answers: JSON, or NULL and an error ------------------------------------------------- */

static json_t *steps(bench *b, int count, int samples) {
    double seconds[CT_MOST_SAMPLES];
    ct_timed_training *t = &b->training;
    int64_t before = ct_steps_repeated(t->steps);
    if (!ct_device_wait(b->device)) return NULL;
    for (int i = 0; i < samples; i++) {
        double start = ct_seconds();
        for (int k = 0; k < count; k++) {
            if (!ct_timed_training_step(t)) return NULL;
        }
        if (!ct_device_wait(b->device)) return NULL;
        seconds[i] = (ct_seconds() - start) / count;
    }
    json_t *found = ct_samples_json(seconds, samples);
    json_object_set_new(found, "repeated", json_integer(ct_steps_repeated(t->steps) - before));
    return found;
}

typedef struct {
    ct_timed_training *training;
    const ct_batch *batch;
    ct_capture *recording; /* of forward, or NULL */
} forward_run;

static bool forward_once(const forward_run *run) {
    if (run->recording) return ct_capture_run(run->recording, &run->training->progress.rng);
    bool done = false;
    CT_SCOPE { done = ct_timed_training_forward(run->training, run->batch) != NULL; }
    return done;
}

/* Recorded where that can be, as steps are. */
static void record(bench *b, forward_run *run) {
    if (!b->training.config->graphs || !ct_can_capture(b->device) ||
        !ct_capture_begin(b->device, &b->training.progress.rng)) {
        return;
    }
    forward_once(run);
    run->recording = ct_capture_end();
    if (!run->recording) ct_error_clear();
}

static json_t *forward(bench *b, int count, int samples) {
    double seconds[CT_MOST_SAMPLES];
    json_t *found = NULL;
    CT_SCOPE {
        ct_batch batch;
        forward_run run = {&b->training, &batch, NULL};
        if (!ct_timed_training_batch(&b->training, &batch) || !forward_once(&run)) return NULL;
        record(b, &run);
        int taken = 0;
        while (taken < samples && ct_device_wait(b->device)) {
            double start = ct_seconds();
            for (int k = 0; k < count && forward_once(&run); k++) {
            }
            ct_device_wait(b->device);
            seconds[taken++] = (ct_seconds() - start) / count;
        }
        if (ct_ok()) found = ct_samples_json(seconds, samples);
        if (found) json_object_set_new(found, "recorded", json_boolean(run.recording != NULL));
        ct_capture_destroy(run.recording);
    }
    return found;
}

static json_t *evaluate(bench *b, int samples) {
    double seconds[CT_MOST_SAMPLES];
    ct_retrieval found;
    for (int i = 0; i < samples; i++) {
        double start = ct_seconds();
        if (!ct_evaluate_split(b->training.experiment, b->test, false, &found)) return NULL;
        seconds[i] = ct_seconds() - start;
    }
    json_t *answer = ct_samples_json(seconds, samples);
    json_object_set_new(answer, "recalls",
                        json_pack("[f, f, f, f, f, f]", found.i2t.r1, found.i2t.r5, found.i2t.r10,
                                  found.t2i.r1, found.t2i.r5, found.t2i.r10));
    return answer;
}

static json_t *memory(const bench *b) {
    return json_pack("{s:I, s:I}", "peak_bytes", (json_int_t)ct_device_memory_peak(b->device),
                     "tensor_bytes", (json_int_t)ct_memory_peak(b->device));
}

static json_t *product(const bench *b) {
    const ct_experiment *e = b->training.experiment;
    int64_t rows = b->training.config->batch * e->sizes.regions;
    double rate = ct_product_rate(b->device, rows, ct_model_width(e->model));
    return rate > 0 ? json_pack("{s:f}", "flops_per_second", rate) : NULL;
}

/* As it comes, not recorded. */
static bool profiled_step(bench *b) {
    bool done = false;
    CT_SCOPE {
        ct_batch batch;
        if (!ct_timed_training_batch(&b->training, &batch)) return false;
        ct_profile_mark();
        done = ct_backward(ct_timed_training_forward(&b->training, &batch)) &&
               ct_optimizer_step(b->training.optimizer);
    }
    return done;
}

static json_t *operations(int count) {
    int operations;
    ct_profile_row *rows = ct_profile_stop(&operations);
    json_t *all = rows ? json_array() : NULL;
    for (int i = 0; rows && i < operations; i++) {
        json_t *row = json_pack("{s:s, s:f, s:f, s:f, s:f}", "operation", rows[i].name, "calls",
                                (double)rows[i].calls / count, "forward", rows[i].forward / count,
                                "backward", rows[i].backward / count, "bytes_per_second",
                                (double)rows[i].bytes / rows[i].forward);
        json_array_append_new(all, row);
    }
    free(rows);
    return all;
}

static json_t *profile(bench *b, int count) {
    double start = ct_seconds();
    ct_profile_start(b->device);
    for (int i = 0; i < count; i++) {
        if (!profiled_step(b)) return NULL;
    }
    double seconds = (ct_seconds() - start) / count;
    json_t *rows = operations(count);
    return rows ? json_pack("{s:f, s:o}", "seconds", seconds, "operations", rows) : NULL;
}

static json_t *answer(bench *b, const char *line) {
    char what[32] = "";
    int first = 1, second = 1;
    sscanf(line, "%31s %d %d", what, &first, &second);
    if (first < 1 || second < 1 || first > CT_MOST_SAMPLES || second > CT_MOST_SAMPLES) {
        return ct_fail("'%s': numbers from 1 to %d", what, CT_MOST_SAMPLES);
    }
    if (strcmp(what, "step") == 0) return steps(b, first, second);
    if (strcmp(what, "forward") == 0) return forward(b, first, second);
    if (strcmp(what, "evaluate") == 0) return evaluate(b, first);
    if (strcmp(what, "product") == 0) return product(b);
    if (strcmp(what, "memory") == 0) return memory(b);
    if (strcmp(what, "profile") == 0) return profile(b, first);
    return ct_fail("'%s': expected step, forward, evaluate, product, memory or profile", what);
}

/* ---- the program ------------------------------------------------------------------------ */

static void print(json_t *object) {
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static json_t *ready(const bench *b) {
    ct_experiment *e = b->training.experiment;
    return json_pack("{s:b, s:s, s:I, s:f, s:I}", "ready", 1, "machine", ct_machine_text(),
                     "parameters", (json_int_t)ct_module_parameter_count(ct_model_module(e->model)),
                     "flops", ct_timed_training_flops(&b->training), "batch",
                     (json_int_t)b->training.config->batch);
}

static bool serve(bench *b, int warm_up) {
    ct_experiment *e = b->training.experiment;
    char line[256];
    b->device = e->device;
    b->test = ct_experiment_split(e, b->training.config->test_splits[0], CT_SPLIT_WHOLE);
    for (int i = 0; b->test && i < warm_up; i++) {
        if (!ct_timed_training_step(&b->training)) return false;
    }
    if (!b->test || !ct_device_wait(b->device)) return false;
    print(ready(b));
    while (fgets(line, sizeof line, stdin)) {
        json_t *object = answer(b, line);
        if (!object) return false;
        print(object);
    }
    return ct_ok();
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    static const struct option options[] = {
        {"warm-up", required_argument, NULL, 'w'}, {"set", required_argument, NULL, 's'}, {0}};
    const char *override[MOST_OVERRIDES];
    int overrides = 0, warm_up = 12, option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'w') warm_up = atoi(optarg);
        else if (option == 's' && overrides < MOST_OVERRIDES) override[overrides++] = optarg;
        else break;
    }
    if (option != -1 || optind + 1 != argc) {
        fprintf(stderr, "usage: gpu_step CONFIG.INI [--warm-up N] [--set SECTION.KEY=VALUE ...]\n");
        return 2;
    }
    bench b = {0};
    bool done = ct_timed_training_open(&b.training, argv[optind], override, overrides) &&
                serve(&b, warm_up);
    ct_split_destroy(b.test);
    ct_timed_training_close(&b.training);
    if (!done) fprintf(stderr, "gpu_step: %s\n", ct_error() ? ct_error() : "failed");
    return done ? 0 : 2;
}
