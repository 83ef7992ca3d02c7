/* SPDX-License-Identifier: Apache-2.0 */
/* An INI file, and the model that it describes: train/config/, models/graph/. */
#include <ctype.h>

#include "tests/fuzz/harness.h"
#include "train/config/config.h"

/* Sizes of three digits at most: a model of larger ones is no fault, but takes long to make. */
static bool is_small(const ct_description *model) {
    int64_t product = 1;
    for (int i = 0; i < model->count; i++) {
        for (const char *at = model->entries[i].value; *at; at++) {
            if (!isdigit((unsigned char)*at)) continue;
            char *end;
            int64_t number = strtoll(at, &end, 10);
            if (end - at > 3) return false;
            product *= number > 1 ? number : 1;
            if (product > 1000000) return false;
            at = end - 1;
        }
    }
    return model->count < 24;
}

static void make_model(const ct_config *config, const char *path) {
    if (!is_small(&config->model)) return;
    CT_SCOPE {
        ct_model_sizes sizes = {.regions = 3, .features = 4, .vocabulary = 9, .images = 5};
        ct_model *model = ct_model_create(&config->model, sizes);
        fuzz_must((model != NULL) == ct_ok(), "there is a model or an error");
        fuzz_must(model || strstr(ct_error(), path), "the error names the file");
        ct_model_destroy(model);
    }
    ct_error_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("x.ini", data, size);
    ct_config *config = ct_config_read(path, NULL, 0);
    if (config) {
        ct_config *again = ct_config_read_text(path, config->text);
        fuzz_must(again && strcmp(again->text, config->text) == 0,
                  "what is saved with a run is read as the same");
        ct_config_destroy(again);
        make_model(config, path);
    }
    fuzz_end(config != NULL, path);
    ct_config_destroy(config);
    return 0;
}
