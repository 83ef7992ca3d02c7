/* SPDX-License-Identifier: Apache-2.0 */
/* Networks for pictures: pictures a second.
 *
 *     build/benchmarks/pictures NETWORK [THREADS [BATCH [SIZE [train]]]]     default 2 32 224
 *
 * Of BATCH random pictures SIZE x SIZE, f32: `forward` is evaluation to the last feature map, with
 * nothing recorded; `train` also takes the gradients of all parameters. Prints a line a sample
 * (seconds of a batch, pictures a second), and the rate of matrix products of 2048 x 2048 between
 * them. benchmarks/pytorch/pictures.py runs this program and PyTorch in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmarks/measure.h"
#include "models/backbones.h"
#include "train/run/restart.h"

enum { SAMPLES = 3, PRODUCT = 2048 };

static bool forward(ct_module *net, ct_tensor *x) {
    bool done = false;
    CT_SCOPE {
        CT_NO_GRAD { done = ct_backbone_regions(net, x) != NULL; }
    }
    return done;
}

static bool step(ct_module *net, ct_tensor *x) {
    bool done = false;
    CT_SCOPE { done = ct_backward(ct_sum_all(ct_square(ct_backbone_regions(net, x)))); }
    return done;
}

/* FLOP/s. */
static double product_rate(void) {
    double seconds = 0;
    CT_SCOPE {
        ct_tensor *a = ct_full(CT_F32, CT_CPU, CT_SHAPE(PRODUCT, PRODUCT), 0.5);
        ct_tensor_matmul(a, a);
        double start = ct_seconds();
        ct_tensor_matmul(a, a);
        seconds = ct_seconds() - start;
    }
    return 2.0 * PRODUCT * PRODUCT * PRODUCT / seconds;
}

static bool measure(ct_module *net, ct_tensor *x, bool train) {
    bool (*call)(ct_module *, ct_tensor *) = train ? step : forward;
    ct_module_train(net, train);
    if (!call(net, x)) return false;
    for (int i = 0; i < SAMPLES; i++) {
        double start = ct_seconds();
        if (!call(net, x)) return false;
        double seconds = ct_seconds() - start;
        printf("%.4f s  %.2f pictures/s  products %.1f GFLOP/s\n", seconds,
               (double)x->shape.dim[0] / seconds, product_rate() / 1e9);
        fflush(stdout);
    }
    return true;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    if (argc < 2) {
        fprintf(stderr, "usage: pictures NETWORK [THREADS [BATCH [SIZE [train]]]]\n");
        return 2;
    }
    ct_set_threads(argc > 2 ? atoi(argv[2]) : 2);
    int64_t batch = argc > 3 ? atoll(argv[3]) : 32, size = argc > 4 ? atoll(argv[4]) : 224;
    bool done = false;
    ct_module *net = ct_backbone_create(argv[1], NULL);
    CT_SCOPE {
        ct_tensor *x = ct_random_normal(ct_default_rng(), "pictures", CT_F32, CT_CPU,
                                        CT_SHAPE(batch, 3, size, size));
        done = net && x && measure(net, x, argc > 5 && strcmp(argv[5], "train") == 0);
    }
    ct_module_destroy(net);
    if (ct_error()) fprintf(stderr, "%s\n", ct_error());
    return done ? 0 : 2;
}
