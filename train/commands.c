#include "train/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/console.h"
#include "train/experiment.h"

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

static bool save_embeddings(const ct_experiment *e, const ct_split *split, const char *folder) {
    char *image_path = ct_path(folder, "img_embs.npy");
    char *caption_path = ct_path(folder, "cap_embs.npy");
    bool saved = false;
    CT_SCOPE {
        ct_tensor *images, *captions;
        saved = image_path && caption_path && ct_embed_split(e, split, &images, &captions) &&
                ct_npy_save(image_path, images) && ct_npy_save(caption_path, captions);
        if (saved) {
            ct_console_line("%s: %s", image_path, ct_tensor_text(images));
            ct_console_line("%s: %s", caption_path, ct_tensor_text(captions));
        }
    }
    free(image_path);
    free(caption_path);
    return saved;
}

bool ct_embed_command(ct_config *config, const char *name, const char *folder,
                      const char *weights) {
    ct_experiment *e = open_trained(config, weights);
    ct_split *split = e ? ct_experiment_split(e, name) : NULL;
    bool done = split && ct_make_folders(folder) && save_embeddings(e, split, folder);
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

static double mean_length(const ct_split *split) {
    double sum = 0;
    for (int64_t i = 0; i < split->caption_count; i++) sum += (double)split->lengths[i];
    return sum / (double)split->caption_count;
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
static bool print_memory(ct_experiment *e) {
    const ct_config *c = e->config;
    ct_loader *loader = ct_loader_create(e->train, c->batch, true, true, (uint64_t)c->seed);
    bool done = false;
    CT_SCOPE {
        if (!loader || !ct_loader_start(loader, 0, 0)) break;
        const ct_host_batch *host = ct_loader_next(loader);
        if (!host) {
            if (ct_ok()) {
                ct_fail("%s: %lld captions do not fill one batch of %lld: lower [train] batch",
                        c->train_split, (long long)e->train->caption_count, (long long)c->batch);
            }
            break;
        }
        int64_t before = ct_memory_in_use(CT_CPU);
        ct_rng rng = ct_rng_create((uint64_t)c->seed, 1);
        ct_batch batch = ct_batch_from_host(e, host);
        ct_losses losses = ct_model_losses(e->model, &batch, 0, &rng);
        if (!ct_backward(losses.term[CT_LOSS_TOTAL])) break;
        ct_console_line("memory: %.1f MB parameters and data, %.1f MB at the peak of a step, and "
                        "twice the parameters for adam", 1e-6 * (double)before,
                        1e-6 * (double)ct_memory_peak(CT_CPU));
        ct_console_line("loss of the first batch: %.6g", ct_item(losses.term[CT_LOSS_TOTAL]));
        done = ct_ok();
    }
    ct_loader_destroy(loader);
    return done;
}

bool ct_dry_run(ct_config *config) {
    ct_experiment *e = ct_experiment_open(config, false);
    if (!e) return false;
    int count = 0;
    int64_t words = (int64_t)(mean_length(e->train) + 0.5);
    ct_model_row *rows = ct_model_table(e->model, config->batch, words, &count);
    bool done = false;
    if (rows) {
        ct_console_line("%s: %lld images of %lld regions x %lld features, %lld captions of %lld "
                        "words on average (with <start>, <end>), vocabulary %lld",
                        config->train_split, (long long)e->train->image_count,
                        (long long)e->train->images->shape.dim[1],
                        (long long)e->train->images->shape.dim[2],
                        (long long)e->train->caption_count, (long long)words,
                        (long long)ct_vocabulary_size(e->vocabulary));
        ct_console_line("%s\n", ct_machine_text());
        print_graph(rows, count);
        ct_console_line("parameters %lld", (long long)ct_module_parameter_count(
                                               ct_model_module(e->model)));
        done = print_memory(e);
    }
    free(rows);
    ct_experiment_close(e);
    return done;
}
