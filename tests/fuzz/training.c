/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint: nn/optim/training.c. */
#include "nn/nn.h"
#include "tests/fuzz/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("training.safetensors", data, size);
    CT_SCOPE {
        int64_t step = 0;
        double best = 0;
        ct_rng rng = {0};
        ct_module *net = ct_linear_create(2, 3, true);
        ct_optimizer *adam = ct_adam_create(net, NULL);
        const ct_training_number numbers[] = {{"step", .integer = &step}, {"best", .real = &best}};
        ct_training training = {net, adam, &rng, numbers, 2, NULL};
        fuzz_end(ct_training_load(path, &training), path);
        ct_optimizer_destroy(adam);
        ct_module_destroy(net);
    }
    return 0;
}
