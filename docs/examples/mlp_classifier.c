/* SPDX-License-Identifier: Apache-2.0 */
/* An MLP tells the arms of a spiral apart. Given a file, it goes on from the training saved there:
 *     cc mlp_classifier.c -o mlp_classifier $(pkg-config --cflags --libs cotangent) -lm
 *     ./mlp_classifier [training.safetensors [epochs]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "nn/nn.h"
enum { CLASSES = 3, EXAMPLES = 600, EPOCHS = 60 };
static void make_spiral(ct_tensor **points, ct_tensor **arms) {
    double xy[2 * EXAMPLES];
    int64_t arm[EXAMPLES];
    for (int i = 0; i < EXAMPLES; i++) {
        arm[i] = i % CLASSES;
        double radius = (i + 1.0) / EXAMPLES, noise = ct_random_double(ct_default_rng()) - 0.5;
        double angle = 2.094 * (double)arm[i] + 5 * radius + 0.4 * noise;
        xy[2 * i] = radius * cos(angle);
        xy[2 * i + 1] = radius * sin(angle);
    }
    *points = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(EXAMPLES, 2), xy);
    *arms = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(EXAMPLES), arm);
}
static void train(ct_module *net, const char *file, int64_t epochs) {
    ct_tensor *data[2], *batch[2];
    make_spiral(&data[0], &data[1]);
    ct_batcher *batcher = ct_batcher_create(data, 2, NULL);
    ct_optimizer *adamw = ct_adamw_create(net, NULL);
    int64_t step = 0, batches = ct_batcher_batches(batcher), steps = EPOCHS * batches;
    ct_training_number numbers[] = {{.name = "step", .integer = &step}};
    ct_training training = {net, adamw, ct_default_rng(), numbers, 1, NULL};
    if (file && access(file, F_OK) == 0) ct_training_load(file, &training);
    while (step < epochs * batches && ct_batcher_start(batcher, step / batches, step % batches)) {
        for (bool more = true; more;) CT_SCOPE {
                more = ct_batcher_next(batcher, batch);
                if (!more) break; /* the epoch is over */
                double lr = ct_schedule_cosine(0.01, step, steps, 0);
                ct_optimizer_set_lr(adamw, ct_schedule_warmup(lr, step, 20));
                ct_tensor *loss = ct_cross_entropy(ct_forward(net, batch[0]), batch[1], NULL);
                if (step % 200 == 0) printf("step %4d  loss %.4f\n", (int)step, ct_item(loss));
                ct_backward(loss);
                step += ct_optimizer_step(adamw);
            }
        if (file) ct_training_save(file, &training);
    }
    ct_tensor *right = ct_tensor_compare(CT_COMPARE_equal,
                                         ct_tensor_argmax(ct_forward(net, data[0]), -1), data[1]);
    printf("accuracy %.3f\n", ct_item(ct_mean_all(ct_cast(right, CT_F32))));
    ct_batcher_destroy(batcher);
    ct_optimizer_destroy(adamw);
}
int main(int argc, char **argv) {
    ct_module *net = ct_sequential_create();
    ct_module_add(net, "in", ct_linear_create(2, 64, true));
    ct_module_add(net, "relu", ct_activation_create("relu"));
    ct_module_add(net, "out", ct_linear_create(64, CLASSES, true));
    CT_SCOPE { train(net, argc > 1 ? argv[1] : NULL, argc > 2 ? atoi(argv[2]) : EPOCHS); }
    ct_module_destroy(net);
    return ct_ok() ? 0 : (fprintf(stderr, "%s\n", ct_error()), 1);
}
