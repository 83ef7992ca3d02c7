/* SPDX-License-Identifier: Apache-2.0 */
#include "benchmarks/training.h"

#include <stdlib.h>

bool ct_timed_training_open(ct_timed_training *t, const char *file, const char *const *overrides,
                            int count) {
    *t = (ct_timed_training){.progress = {.epoch = 1000, .rng = ct_rng_create(1, 1)}};
    t->config = ct_config_read(file, overrides, count);
    if (!t->config) return false;
    ct_set_threads((int)t->config->threads);
    t->experiment = ct_experiment_open(t->config, false);
    if (!t->experiment) return false;
    if (!t->experiment->train) return ct_fail_bool("%s: no [data] folder to train on", file);
    t->batches = ct_batches_open(t->experiment);
    t->optimizer = ct_configured_optimizer(t->config, t->experiment->model);
    t->interval = ct_interval_create(t->experiment->device);
    if (!t->batches || !t->optimizer || !t->interval) return false;
    t->steps = ct_steps_create((ct_steps_options){
        .experiment = t->experiment, .optimizer = t->optimizer, .interval = t->interval});
    return t->steps && ct_batches_start(t->batches, 0, 0);
}

void ct_timed_training_close(ct_timed_training *t) {
    ct_steps_destroy(t->steps);
    ct_interval_destroy(t->interval);
    ct_batches_close(t->batches);
    ct_optimizer_destroy(t->optimizer);
    ct_experiment_close(t->experiment);
    ct_config_destroy(t->config);
}

bool ct_timed_training_batch(ct_timed_training *t, ct_batch *batch) {
    if (t->batch == ct_batches_count(t->batches)) {
        t->batch = 0;
        if (!ct_batches_start(t->batches, ++t->epoch, 0)) return false;
    }
    t->batch++;
    return ct_batches_next(t->batches, batch);
}

bool ct_timed_training_step(ct_timed_training *t) {
    bool done = false;
    CT_SCOPE {
        ct_batch batch;
        done = ct_timed_training_batch(t, &batch) && ct_steps_take(t->steps, &batch, &t->progress);
    }
    t->progress.step++;
    return done && ct_batches_ahead(t->batches);
}

ct_tensor *ct_timed_training_forward(ct_timed_training *t, const ct_batch *batch) {
    ct_progress *p = &t->progress;
    return ct_model_losses(t->experiment->model, batch, p->epoch, &p->rng).term[CT_LOSS_TOTAL];
}

double ct_timed_training_flops(const ct_timed_training *t) {
    int count;
    double flops = 0;
    int64_t words = 0;
    const ct_split *train = t->experiment->train;
    for (int64_t i = 0; i < train->caption_count; i++) words += train->encoded[i].length;
    words = (words + train->caption_count / 2) / train->caption_count;
    ct_model_row *rows = ct_model_table(t->experiment->model, t->config->batch, words, &count);
    for (int i = 0; rows && i < count; i++) flops += rows[i].flops;
    free(rows);
    return 3 * flops;
}
