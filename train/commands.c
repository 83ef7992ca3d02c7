#include "train/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/batches.h"
#include "train/console.h"

/* ---- trained models ---------------------------------------------------------------------- */

static ct_experiment *open_trained(ct_config *config, const char *weights) {
    ct_experiment *e = ct_experiment_open(config, true);
    if (!e) return NULL;
    char *best = weights ? NULL : ct_path(config->run_folder, "best.safetensors");
    bool loaded = weights ? ct_experiment_load(e, weights)
                          : best && ct_module_load(ct_model_module(e->model), best, true);
    free(best);
    if (loaded) return e;
    ct_experiment_close(e);
    return NULL;
}

bool ct_evaluate_command(ct_config *config, const char *name, const char *weights) {
    ct_experiment *e = open_trained(config, weights);
    ct_split *split = e ? ct_experiment_split(e, name) : NULL;
    ct_retrieval metrics;
    bool done = split && ct_evaluate_split(e, split, &metrics);
    if (done) ct_console_table(&name, &metrics, 1);
    ct_split_destroy(split);
    ct_experiment_close(e);
    return done;
}

bool ct_export_command(ct_config *config, const char *path, const char *weights) {
    ct_experiment *e = open_trained(config, weights);
    bool done = e && ct_experiment_save(e, path);
    if (done) ct_console_line("%s: %s names", path, config->names);
    ct_experiment_close(e);
    return done;
}

/* ---- embeddings -------------------------------------------------------------------------- */

static bool save_embeddings(const char *folder, const ct_tensor *images,
                            const ct_tensor *captions) {
    char *image_path = ct_path(folder, "img_embs.npy");
    char *caption_path = ct_path(folder, "cap_embs.npy");
    bool saved = image_path && caption_path && ct_npy_save(image_path, images) &&
                 ct_npy_save(caption_path, captions);
    if (saved) {
        ct_console_line("%s: %s", image_path, ct_tensor_text(images));
        ct_console_line("%s: %s", caption_path, ct_tensor_text(captions));
    }
    free(image_path);
    free(caption_path);
    return saved;
}

/* The first recorded batch. */
static bool embed_recorded(const ct_experiment *e, ct_tensor **images, ct_tensor **captions) {
    ct_batch batch;
    return ct_experiment_recorded(e, 0, &batch) && ct_embed_batch(e, &batch, images, captions);
}

bool ct_embed_command(ct_config *config, const char *name, const char *folder,
                      const char *weights) {
    ct_experiment *e = open_trained(config, weights);
    if (!e) return false;
    bool recorded = !e->train && strcmp(name, "recorded") == 0, done = false;
    ct_split *split = recorded ? NULL : ct_experiment_split(e, name);
    CT_SCOPE {
        ct_tensor *images = NULL, *captions = NULL;
        done = (recorded || split) && ct_make_folders(folder) &&
               (recorded ? embed_recorded(e, &images, &captions)
                         : ct_embed_split(e, split, &images, &captions)) &&
               save_embeddings(folder, images, captions);
    }
    ct_split_destroy(split);
    ct_experiment_close(e);
    return done;
}

/* ---- queries ----------------------------------------------------------------------------- */

static const char *first_caption(const ct_split *split, int64_t image) {
    for (int64_t c = 0; c < split->caption_count; c++) {
        if (split->image_of[c] == image) return split->captions[c];
    }
    return "";
}

static bool print_best(const ct_experiment *e, const ct_split *split, const char *sentence,
                       int top) {
    CT_SCOPE {
        ct_tensor *images, *query = ct_embed_sentences(e, &sentence, 1);
        if (!query || !ct_embed_split(e, split, &images, NULL)) return false;
        ct_tensor *score = ct_similarity(images, query, ct_model_measure(e->model));
        score = score ? ct_tensor_transpose(score, 0, 1) : NULL;
        ct_tensor *order = ct_tensor_argsort(score, true);
        if (!order) return false;
        for (int i = 0; i < top && i < split->image_count; i++) {
            int64_t image = (int64_t)ct_get(order, i);
            ct_console_line("%3d  %7.4f  %s %lld  %s", i + 1, ct_get(score, image), split->name,
                            (long long)image, first_caption(split, image));
        }
    }
    return ct_ok();
}

bool ct_query_command(ct_config *config, const char *name, const char *sentence, int top,
                      const char *weights) {
    ct_experiment *e = open_trained(config, weights);
    ct_split *split = e ? ct_experiment_split(e, name) : NULL;
    bool done = split && print_best(e, split, sentence, top);
    ct_split_destroy(split);
    ct_experiment_close(e);
    return done;
}

/* ---- dry run ----------------------------------------------------------------------------- */

/* Of the split's captions, or of the first recorded batch's. */
static int64_t mean_length(const ct_experiment *e, const ct_batch *batch) {
    int64_t count = e->train ? e->train->caption_count : ct_dim(batch->lengths, 0);
    const int64_t *length = e->train ? e->train->lengths : ct_data(batch->lengths);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)length[i];
    return (int64_t)(sum / (double)count + 0.5);
}

static void print_data(const ct_experiment *e, const ct_batch *batch, int64_t words) {
    const ct_model_sizes *sizes = &e->sizes;
    if (e->train) {
        ct_console_line("%s: %lld images of %lld regions x %lld features, %lld captions of %lld "
                        "words on average (with <start>, <end>), vocabulary %lld",
                        e->config->train_split, (long long)e->train->image_count,
                        (long long)sizes->regions, (long long)sizes->features,
                        (long long)e->train->caption_count, (long long)words,
                        (long long)sizes->vocabulary);
    } else {
        ct_console_line("%s: %lld recorded batches, the first of %lld images of %lld regions x "
                        "%lld features with captions of %lld words on average, vocabulary %lld",
                        e->config->recorded_file, (long long)ct_recorded_batches(e->recorded),
                        (long long)ct_dim(batch->images, 0), (long long)sizes->regions,
                        (long long)sizes->features, (long long)words,
                        (long long)sizes->vocabulary);
    }
}

static void print_graph(const ct_model_row *rows, int count) {
    ct_console_line("%-6s %-16s %-18s %-18s %12s %12s", "part", "name", "module", "output",
                    "parameters", "GFLOP");
    double flops = 0;
    for (int i = 0; i < count; i++) {
        ct_console_line("%-6s %-16s %-18s %-18s %12lld %12.3f", rows[i].part, rows[i].name,
                        rows[i].module, ct_shape_text(rows[i].output),
                        (long long)rows[i].parameters, 1e-9 * rows[i].flops);
        flops += rows[i].flops;
    }
    /* Backward does each product twice: for the input's gradient and for the weight's. */
    ct_console_line("forward %.2f GFLOP, a training step about %.2f GFLOP", 1e-9 * flops,
                    3e-9 * flops);
}

/* Memory is measured, not guessed: one step on the first batch. Nothing is kept of it. */
static bool print_memory(const ct_experiment *e, const ct_batch *batch) {
    int64_t before = ct_memory_in_use(CT_CPU);
    ct_rng rng = ct_rng_create((uint64_t)e->config->seed, 1);
    if (!ct_recorded_replay(e->recorded, 0, &rng)) return false;
    ct_losses losses = ct_model_losses(e->model, batch, 0, &rng);
    if (!ct_backward(losses.term[CT_LOSS_TOTAL])) return false;
    ct_console_line("memory: %.1f MB parameters and data, %.1f MB at the peak of a step, and "
                    "twice the parameters for adam", 1e-6 * (double)before,
                    1e-6 * (double)ct_memory_peak(CT_CPU));
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

bool ct_dry_run(ct_config *config) {
    ct_experiment *e = ct_experiment_open(config, false);
    ct_batches *batches = e ? ct_batches_open(e) : NULL;
    bool done = false;
    CT_SCOPE {
        ct_batch batch;
        done = batches && ct_batches_start(batches, 0, 0) && ct_batches_next(batches, &batch) &&
               describe(e, &batch);
    }
    ct_batches_close(batches);
    ct_experiment_close(e);
    return done;
}
