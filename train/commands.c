/* SPDX-License-Identifier: Apache-2.0 */
#include "train/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/run/console.h"
#include "train/run/resume.h"
#include "train/run/run_log.h"
#include "train/run/weight_file.h"

/* ---- weights ----------------------------------------------------------------------------- */

static bool save_weights(void *context, int model, const ct_experiment *e) {
    (void)model;
    const char *path = context;
    if (!ct_experiment_export(e, path)) return false;
    ct_console_line("%s: %s names", path, e->config->names);
    return true;
}

bool ct_export_command(ct_config *config, const char *path, ct_weights weights) {
    return ct_one_trained(config, weights, "--export",
                          (ct_trained){.visit = save_weights, .context = (void *)path});
}

/* ---- embeddings -------------------------------------------------------------------------- */

const char *const ct_embedding_files[2] = {"img_embs.npy", "cap_embs.npy"};

static bool save_tensor(const char *folder, const char *name, const ct_tensor *x) {
    char *path = ct_path(folder, name);
    bool saved = path && ct_npy_save(path, x);
    if (saved) ct_console_line("%s: %s", path, ct_tensor_text(x));
    free(path);
    return saved;
}

/* captions NULL: the split has none. */
static bool save_embeddings(const char *folder, const char *split, const ct_tensor *images,
                            const ct_tensor *captions) {
    const char *name = ct_embedding_files[1];
    if (!save_tensor(folder, ct_embedding_files[0], images)) return false;
    if (captions) return save_tensor(folder, name, captions);
    char *path = ct_path(folder, name);
    bool earlier = path && access(path, F_OK) == 0;
    if (path) {
        ct_console_line(earlier ? "%s: left as it was, of other captions: %s has none"
                                : "%s: not written: %s has no captions",
                        path, split);
    }
    free(path);
    return path != NULL;
}

/* The first recorded batch. */
static bool embed_recorded(const ct_experiment *e, ct_tensor **images, ct_tensor **captions) {
    ct_batch batch;
    return ct_experiment_recorded(e, 0, &batch) && ct_embed_batch(e, &batch, images, captions);
}

typedef struct {
    const char *split, *folder;
} embedding;

static bool write_embeddings(void *context, int model, const ct_experiment *e) {
    (void)model;
    const embedding *to = context;
    bool recorded = ct_experiment_is_recorded(e) && strcmp(to->split, "recorded") == 0;
    bool done = false;
    ct_split *split = recorded ? NULL : ct_experiment_split(e, to->split, CT_SPLIT_CAPTIONS_IF_ANY);
    CT_SCOPE {
        ct_tensor *images = NULL, *captions = NULL;
        done = (recorded || split) && ct_make_folders(to->folder) &&
               (recorded ? embed_recorded(e, &images, &captions)
                         : ct_embed_split(e, split, &images, split->captions ? &captions : NULL)) &&
               (ct_rank() > 0 || save_embeddings(to->folder, to->split, images, captions));
    }
    ct_split_destroy(split);
    return done;
}

bool ct_embed_command(ct_config *config, const char *name, const char *folder, ct_weights weights) {
    embedding to = {name, folder};
    return ct_one_trained(config, weights, "--embed", (ct_trained){&name, write_embeddings, &to});
}

/* ---- dry run ----------------------------------------------------------------------------- */

/* Of the split's captions, or of the first recorded batch's. */
static int64_t mean_length(const ct_experiment *e, const ct_batch *batch) {
    int64_t count = e->train ? e->train->caption_count : ct_dim(batch->lengths, 0);
    const int64_t *recorded = ct_data(ct_tensor_to_device(batch->lengths, CT_CPU));
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)(e->train ? e->train->encoded[i].length : recorded[i]);
    }
    return (int64_t)(sum / (double)count + 0.5);
}

/* "24 regions x 2048 features", or "64 x 64 pixels". */
static void name_images(const ct_experiment *e, char *text, size_t size) {
    bool pixels = e->pictures && e->train && !e->train->images->features.files;
    if (pixels) {
        snprintf(text, size, "%lld x %lld pixels", (long long)e->view.size,
                 (long long)e->view.size);
    } else {
        snprintf(text, size, "%lld regions x %lld features", (long long)e->sizes.regions,
                 (long long)e->sizes.features);
    }
}

static void print_data(const ct_experiment *e, const ct_batch *batch, int64_t words) {
    char images[64];
    name_images(e, images, sizeof images);
    if (e->train) {
        ct_console_line("%s: %lld images of %s, %lld captions of %lld words on average (with "
                        "<start>, <end>), vocabulary %lld",
                        e->config->train_split, (long long)e->train->image_count, images,
                        (long long)e->train->caption_count, (long long)words,
                        (long long)e->sizes.vocabulary);
    } else {
        ct_console_line("%s: %lld recorded batches, the first of %lld images of %s with captions "
                        "of %lld words on average, vocabulary %lld",
                        e->config->recorded_file, (long long)ct_recorded_batches(e->recorded),
                        (long long)ct_dim(batch->images, 0), images, (long long)words,
                        (long long)e->sizes.vocabulary);
    }
}

static void print_graph(const ct_model_row *rows, int count) {
    ct_console_line("%-6s %-16s %-18s %-18s %12s %12s", "part", "name", "module", "output",
                    "parameters", "GFLOP");
    double flops = 0, again = 0;
    for (int i = 0; i < count; i++) {
        ct_console_line("%-6s %-16s %-18s %-18s %12lld %12.3f%s", rows[i].part, rows[i].name,
                        rows[i].module, ct_shape_text(rows[i].output),
                        (long long)rows[i].parameters, 1e-9 * rows[i].flops,
                        rows[i].checkpointed ? "  checkpoint" : "");
        flops += rows[i].flops;
        if (rows[i].checkpointed) again += rows[i].flops;
    }
    /* Backward does each product twice: for the input's gradient and for the weight's. */
    ct_console_line("forward %.2f GFLOP, a training step about %.2f GFLOP", 1e-9 * flops,
                    1e-9 * (3 * flops + again));
    if (again > 0)
        ct_console_line("of which %.2f GFLOP are done again in backward ([train] checkpoint)",
                        1e-9 * again);
}

/* The bytes that the optimiser keeps from its first step on. */
static double optimizer_bytes(const ct_experiment *e) {
    const ct_config *c = e->config;
    int moments = strcmp(c->optimizer, "sgd") != 0 ? 2 : c->momentum > 0;
    int64_t numbers = moments * ct_module_parameter_count(ct_model_module(e->model));
    return (double)numbers * (double)ct_dtype_size(c->dtype);
}

/* A step's memory is measured, not guessed, on the first batch. Nothing of the step is kept. */
static bool print_memory(const ct_experiment *e, const ct_batch *batch) {
    int64_t before = ct_memory_in_use(e->device);
    ct_rng rng = ct_rng_create((uint64_t)e->config->seed, 1);
    if (!ct_recorded_replay(e->recorded, 0, &rng)) return false;
    ct_losses losses = ct_model_losses(e->model, batch, 0, &rng);
    if (!ct_backward(losses.term[CT_LOSS_TOTAL])) return false;
    ct_console_line("memory: %.1f MB parameters and data, %.1f MB at the peak of a step, to which "
                    "%s adds %.1f MB",
                    1e-6 * (double)before, 1e-6 * (double)ct_memory_peak(e->device),
                    e->config->optimizer, 1e-6 * optimizer_bytes(e));
    ct_console_line("loss of the first batch: %.6g", ct_item(losses.term[CT_LOSS_TOTAL]));
    return ct_ok();
}

static bool describe(const ct_experiment *e, const ct_batch *batch) {
    int count = 0;
    int64_t words = mean_length(e, batch);
    ct_model_row *rows = ct_model_table(e->model, ct_dim(batch->images, 0), words, &count);
    if (!rows) return false;
    print_data(e, batch, words);
    ct_console_line("%s\n", ct_machine_text());
    print_graph(rows, count);
    free(rows);
    ct_console_line("parameters %lld",
                    (long long)ct_module_parameter_count(ct_model_module(e->model)));
    return print_memory(e, batch);
}

/* As far as what is there would be in the way. */
static void print_run_folder(const ct_config *config, ct_run_mode mode) {
    if (mode != CT_RUN_NEW || !ct_run_folder_is_taken(config)) return;
    ct_console_line(
        "%s already holds a run: training needs --resume, --overwrite or another folder",
        config->run_folder);
}

bool ct_dry_run(ct_config *config, ct_train_options options) {
    ct_prepared p;
    config->writes_nothing = true;
    bool done = ct_prepare(&p, config, &options) &&
                (options.mode != CT_RUN_RESUME || ct_resume_possible(&p));
    ct_optimizer_destroy(p.optimizer); /* its memory is added to what is measured */
    p.optimizer = NULL;
    CT_SCOPE {
        ct_batch batch;
        done = done && ct_batches_start(p.batches, 0, 0) && ct_batches_next(p.batches, &batch) &&
               describe(p.experiment, &batch);
    }
    if (done) ct_prepared_say(&p);
    if (done) print_run_folder(config, options.mode);
    ct_prepared_end(&p);
    return done;
}
