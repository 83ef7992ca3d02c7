/* SPDX-License-Identifier: Apache-2.0 */
/* A small convolutional network tells the orientation of bars in noise:
 *     cc bars_cnn.c -o bars_cnn $(pkg-config --cflags --libs cotangent) -lm && ./bars_cnn */
#include <math.h>
#include <stdio.h>
#include "nn/nn.h"
enum { ORIENTATIONS = 4, SIDE = 20, BATCH = 32, STEPS = 120, TESTS = 200 };
/* Pictures (count,1,SIDE,SIDE) of bars of all widths, each turned by a multiple of 45 degrees. */
static void draw_bars(int count, ct_tensor **pictures, ct_tensor **labels) {
    ct_rng *rng = ct_default_rng();
    *labels = ct_empty(CT_I64, CT_CPU, CT_SHAPE(count));
    *pictures = ct_random_normal(rng, "noise", CT_F32, CT_CPU, CT_SHAPE(count, 1, SIDE, SIDE));
    float *pixel = ct_data(*pictures);
    for (int i = 0; i < count; i++) {
        double angle = 3.14159265 * (i % ORIENTATIONS) / ORIENTATIONS;
        double thickness = 0.8 + 0.8 * ct_random_double(rng), shift = 6 * ct_random_double(rng);
        ct_set(*labels, i, i % ORIENTATIONS);
        for (int p = 0; p < SIDE * SIDE; p++) { /* row p / SIDE, column p % SIDE */
            double along = p % SIDE * cos(angle) + p / SIDE * sin(angle);
            *pixel++ += sin(along / thickness + shift) > 0 ? 1 : -1;
        }
    }
}
static void add_stage(ct_module *net, const char *name, int64_t in, int64_t out) {
    ct_module *stage = ct_module_add(net, name, ct_sequential_create());
    ct_module_add(stage, "conv", ct_conv2d_create(in, out, 5, NULL));
    ct_module_add(stage, "norm", ct_batch_norm_create(out, NULL));
    ct_module_add(stage, "relu", ct_activation_create("relu"));
    ct_module_add(stage, "pool", ct_max_pool2d_create(2, 2, NULL));
}
static ct_tensor *classify(ct_module *stages, ct_module *head, ct_tensor *x) {
    x = ct_adaptive_avg_pool2d(ct_forward(stages, x), 1, 1); /* (B,16,1,1) */
    return ct_linear(head, ct_reshape(x, CT_SHAPE(-1, 16))); /* (B,ORIENTATIONS) */
}
int main(void) {
    ct_module *net = ct_module_create("bars_cnn");
    ct_module *stages = ct_module_add(net, "stages", ct_sequential_create());
    add_stage(stages, "0", 1, 8);
    add_stage(stages, "1", 8, 16);
    ct_module *head = ct_module_add(net, "head", ct_linear_create(16, ORIENTATIONS, true));
    ct_optimizer *adam = ct_adam_create(net, &(ct_adam_options){5e-3, 0.9, 0.999, 1e-8, 0});
    ct_tensor *pictures, *labels, *right;
    for (int step = 0; step < STEPS && ct_ok(); step++) CT_SCOPE {
            draw_bars(BATCH, &pictures, &labels);
            ct_tensor *loss = ct_cross_entropy(classify(stages, head, pictures), labels, NULL);
            if (step % 20 == 0) printf("step %3d  loss %.4f\n", step, ct_item(loss));
            ct_backward(loss);
            ct_optimizer_step(adam);
        }
    ct_module_train(net, false); /* running statistics from here on */
    CT_SCOPE {
        draw_bars(TESTS, &pictures, &labels);
        right = ct_tensor_argmax(classify(stages, head, pictures), -1);
        right = ct_tensor_compare(CT_COMPARE_equal, right, labels);
        printf("accuracy %.3f\n", ct_item(ct_mean_all(ct_cast(right, CT_F32))));
    }
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
    return ct_ok() ? 0 : (fprintf(stderr, "%s\n", ct_error()), 1);
}
