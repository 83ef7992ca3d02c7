/* SPDX-License-Identifier: Apache-2.0 */
/* One GRU, or one MLP of small layers, alone: answers with times, for benchmarks/compare-pytorch.
 *
 *     build/benchmarks/layers gru|mlp [THREADS]          default: all cores
 *
 * gru: width 1024 over 128 sequences of 36; a step is forward and backward to input and parameters.
 * mlp: 64 rows through layers of 64, 64, 64 and 10 with ReLU between; a step is forward,
 * cross-entropy, backward and Adam. benchmarks/pytorch/layers.py does the same. One line of JSON
 * when some steps were taken, then one for each line of standard input:
 *
 *     step COUNT SAMPLES      seconds a step, of SAMPLES times COUNT steps
 *     product                 FLOP/s of products of that width alone, with a row for each row
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/measure.h"
#include "nn/nn.h"
#include "train/run/restart.h"

enum { WIDTH = 1024, SEQUENCES = 128, LENGTH = 36, SMALL = 64, CLASSES = 10, WARM_UP = 3 };

typedef struct {
    ct_module *module;
    ct_tensor *x, *gradient, *labels;
    ct_optimizer *adam;
    double flops;
    int64_t rows, width; /* of the products that it is compared with */
} bench;

static void make_gru(bench *b) {
    ct_shape shape = CT_SHAPE(SEQUENCES, LENGTH, WIDTH);
    b->module = ct_gru_create(WIDTH, WIDTH, NULL);
    b->x = ct_require_grad(ct_random_normal(ct_default_rng(), "x", CT_F32, CT_CPU, shape));
    b->gradient = ct_full(CT_F32, CT_CPU, shape, 1);
    b->rows = SEQUENCES * LENGTH;
    b->width = WIDTH;
    b->flops = 3.0 * 2 * SEQUENCES * LENGTH * 6 * WIDTH * WIDTH; /* 3 gates of x and of h */
}

static void make_mlp(bench *b) {
    const int64_t widths[] = {SMALL, SMALL, SMALL, SMALL, CLASSES};
    const char *names[] = {"0", "1", "2", "3", "4", "5", "6"};
    b->module = ct_sequential_create();
    for (int i = 0; i < 4; i++) {
        ct_module_add(b->module, names[2 * i], ct_linear_create(widths[i], widths[i + 1], true));
        if (i < 3) ct_module_add(b->module, names[2 * i + 1], ct_activation_create("relu"));
        b->flops += 3.0 * 2 * SMALL * (double)(widths[i] * widths[i + 1]);
    }
    int64_t labels[SMALL];
    for (int i = 0; i < SMALL; i++) labels[i] = i % CLASSES;
    b->labels = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(SMALL), labels);
    b->x = ct_random_normal(ct_default_rng(), "x", CT_F32, CT_CPU, CT_SHAPE(SMALL, SMALL));
    b->adam = ct_adam_create(b->module, NULL);
    b->rows = b->width = SMALL;
}

static bool step(const bench *b) {
    bool done = false;
    CT_SCOPE {
        if (b->adam) {
            ct_tensor *logits = ct_forward(b->module, b->x);
            done = ct_backward(ct_cross_entropy(logits, b->labels, NULL)) &&
                   ct_optimizer_step(b->adam);
        } else {
            ct_tensor *y = ct_gru(b->module, b->x, NULL, NULL, NULL);
            done = ct_backward_from(&y, (ct_tensor *const *)&b->gradient, 1, false);
            ct_zero_grad(b->x);
            ct_module_zero_grad(b->module);
        }
    }
    return done;
}

/* JSON, or NULL and an error. */
static json_t *answer(const bench *b, const char *line) {
    double seconds[CT_MOST_SAMPLES];
    int count = 1, samples = 1;
    if (strcmp(line, "product\n") == 0) {
        return json_pack("{s:f}", "flops_per_second", ct_product_rate(CT_CPU, b->rows, b->width));
    }
    if (sscanf(line, "step %d %d", &count, &samples) < 1 || count < 1 || samples < 1 ||
        samples > CT_MOST_SAMPLES) {
        return ct_fail("'%s': expected product, or step with up to two numbers", line);
    }
    for (int i = 0; i < samples; i++) {
        double start = ct_seconds();
        for (int k = 0; k < count; k++) {
            if (!step(b)) return NULL;
        }
        seconds[i] = (ct_seconds() - start) / count;
    }
    return ct_samples_json(seconds, samples);
}

static void print(json_t *object) {
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static void serve(const bench *b) {
    char line[256];
    for (int i = 0; i < WARM_UP; i++) step(b);
    if (!ct_ok()) return;
    print(
        json_pack("{s:b, s:s, s:f}", "ready", 1, "machine", ct_machine_text(), "flops", b->flops));
    while (fgets(line, sizeof line, stdin)) {
        json_t *object = answer(b, line);
        if (!object) return;
        print(object);
    }
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    bool gru = argc > 1 && strcmp(argv[1], "gru") == 0;
    if (argc < 2 || argc > 3 || !(gru || strcmp(argv[1], "mlp") == 0)) {
        fprintf(stderr, "usage: layers gru|mlp [THREADS]\n");
        return 2;
    }
    if (argc > 2) ct_set_threads(atoi(argv[2]));
    CT_SCOPE {
        bench b = {0};
        if (gru) make_gru(&b);
        else make_mlp(&b);
        serve(&b);
        ct_optimizer_destroy(b.adam);
        ct_module_destroy(b.module);
    }
    if (!ct_ok()) fprintf(stderr, "layers: %s\n", ct_error());
    return ct_ok() ? 0 : 2;
}
