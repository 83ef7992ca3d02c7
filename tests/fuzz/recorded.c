/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded batches and noise: train/data/recorded.c. */
#include "tests/fuzz/harness.h"
#include "train/data/recorded.h"

static ct_model *model;

static void close_model(void) { ct_model_destroy(model); }

static void open_model(void) {
    static const char text[] = "[data]\nfolder = data\n[image]\nfc = linear width=2\npool = mean\n"
                               "[text]\nembed = words width=2\npool = gru\n"
                               "[loss]\ninstance = classifier hidden=2\n";
    ct_config *config = ct_config_read_text("model.ini", text);
    ct_model_sizes sizes = {.regions = 2, .features = 2, .vocabulary = 6, .images = 3};
    CT_SCOPE { model = config ? ct_model_create(&config->model, sizes) : NULL; }
    fuzz_must(model != NULL, "there is a model");
    ct_config_destroy(config);
    atexit(close_model);
}

/* What a policy would draw in each step. */
static bool draw(ct_recorded *recorded) {
    for (int64_t i = 0; i < ct_recorded_noise_steps(recorded); i++) {
        CT_SCOPE {
            ct_rng rng = {0};
            ct_tensor *z = ct_empty(CT_F32, CT_CPU, CT_SHAPE(2, 1, 2));
            bool drawn = ct_recorded_replay(recorded, i, &rng) &&
                         rng.replay(rng.replay_context, "txt_enc.z1", z);
            if (!drawn) return false;
            fuzz_read_all(z);
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!model) open_model();
    char *path = (char *)fuzz_put("x.safetensors", data, size), nothing[] = "";
    ct_config config = {.recorded_file = path, .recorded_noise = nothing};
    ct_recorded *recorded = ct_recorded_open(&config);
    bool done = recorded && ct_recorded_check(recorded, model) && draw(recorded);
    fuzz_end(done, path);
    ct_recorded_close(recorded);
    return 0;
}
