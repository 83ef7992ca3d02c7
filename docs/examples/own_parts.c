/* SPDX-License-Identifier: Apache-2.0 */
/* A module and a loss term of one's own, in a description like those of configs/, on made-up data:
 *     cc own_parts.c -o own_parts $(pkg-config --cflags --libs cotangent) && ./own_parts */
#include <stdio.h>
#include "models/register.h"
enum { PAIRS = 32, REGIONS = 4, FEATURES = 16, WORDS = 6, VOCABULARY = 20, STEPS = 120 };
/* "highway bias=-1": x + sigmoid(gate(x)) * (relu(transform(x)) - x), Srivastava et al. 2015 */
static const ct_option highway_options[] = {{"bias", CT_OPTION_REAL, "-1", -9, 9, NULL}, {0}};
static bool make_highway(const ct_module_site *site, ct_module **module, int64_t *out) {
    *module = ct_module_create("highway"); /* *out stays as it is: as wide as what it is given */
    ct_module_add(*module, "transform", ct_linear_create(site->in, *out, true));
    ct_module_add(*module, "gate", ct_linear_create(site->in, *out, true));
    return ct_init_constant(ct_module_tensor(*module, "gate.bias"), site->option[0].number);
}
static ct_tensor *run_highway(const ct_module_site *site, ct_module *m, const ct_module_input *in) {
    (void)site;
    ct_tensor *gate = ct_sigmoid(ct_linear(ct_module_child(m, "gate"), in->x));
    ct_tensor *h = ct_relu(ct_linear(ct_module_child(m, "transform"), in->x));
    return ct_add(in->x, ct_mul(gate, ct_sub(h, in->x)));
}
/* "alignment": the mean squared distance within a pair, Wang and Isola 2020 */
static ct_tensor *alignment(const ct_loss_input *in) {
    return ct_mean_all(ct_sum(ct_square(ct_sub(in->images, in->captions)), 1));
}
static const ct_module_kind highway = {
    .name = "highway", .options = highway_options, .create = make_highway, .forward = run_highway};
static const ct_loss_kind alignment_loss = {
    .name = "alignment", .compute = alignment, .sharing = CT_LOSS_MEAN_OF_ROWS};
static const ct_description_entry entries[] = {{"image", "fc", "linear width=24", 1},
                                               {"image", "gate", "highway x 2", 2},
                                               {"image", "pool", "mean", 3},
                                               {"text", "embed", "words width=24", 4},
                                               {"text", "gate", "highway bias=-2", 5},
                                               {"text", "pool", "gru", 6},
                                               {"loss", "retrieval", "hinge negatives=sum", 7},
                                               {"loss", "near", "alignment weight=2", 8}};
int main(void) {
    if (!ct_register_module(&highway) || !ct_register_loss(&alignment_loss)) return 1;
    ct_description description = {"own_parts", entries, sizeof entries / sizeof *entries};
    ct_model_sizes sizes = {REGIONS, FEATURES, VOCABULARY, PAIRS, NULL, NULL};
    ct_model *model = ct_model_create(&description, sizes);
    ct_module_print(stdout, ct_model_module(model));
    ct_optimizer *adam = ct_adam_create(ct_model_module(model), NULL);
    for (int step = 0; step <= STEPS && ct_ok(); step++) CT_SCOPE {
            ct_rng rng = ct_rng_create(1, 0); /* the same pairs again and again */
            int64_t words[PAIRS * WORDS];
            for (int i = 0; i < PAIRS * WORDS; i++) words[i] = 4 + ct_random_below(&rng, 16);
            ct_shape shape = CT_SHAPE(PAIRS, REGIONS, FEATURES);
            ct_batch batch = {.images = ct_random_normal(&rng, "x", CT_F32, CT_CPU, shape),
                              .words = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(PAIRS, WORDS), words),
                              .lengths = ct_full(CT_I64, CT_CPU, CT_SHAPE(PAIRS), WORDS)};
            ct_losses losses = ct_model_losses(model, &batch, 0, NULL);
            ct_tensor *total = losses.term[CT_LOSS_TOTAL];
            if (step % 20 == 0) printf("step %3d  loss %.4f\n", step, ct_item(total));
            if (ct_backward(total)) ct_optimizer_step(adam);
        }
    ct_optimizer_destroy(adam);
    ct_model_destroy(model);
    return ct_ok() ? 0 : (fprintf(stderr, "%s\n", ct_error()), 1);
}
