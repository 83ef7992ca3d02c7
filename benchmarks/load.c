/* SPDX-License-Identifier: Apache-2.0 */
/* What a run reads before and while it trains.
 *
 *     build/benchmarks/load CONFIG.INI [SECTION.KEY=VALUE ...]
 *
 * Times, on the configuration's data: opening the training split and encoding its captions, finding
 * the vocabulary's words in the word vectors' text file (without its cache), and batches as the
 * loader makes them. Files that were read before come from memory: run it twice to see the
 * program's own speed, after a reboot to see the disk's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "autograd/profile.h"
#include "train/run/experiment.h"
#include "train/run/restart.h"

enum { BATCHES = 20 };

static double megabytes(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? 1e-6 * (double)status.st_size : 0;
}

static bool time_vectors(const ct_config *config, const ct_vocabulary *vocabulary) {
    char path[4096];
    if (!ct_description_word_vectors(&config->model, path, sizeof path)) return ct_ok();
    double start = ct_profile_clock();
    uint8_t *known;
    ct_tensor *vectors = ct_word_vectors_read(path, vocabulary, NULL, &known);
    double seconds = ct_profile_clock() - start;
    if (!vectors) return false;
    printf("word vectors: %.0f MB in %.2f s, %.0f MB/s\n", megabytes(path), seconds,
           megabytes(path) / seconds);
    free(known);
    ct_release(vectors);
    return true;
}

static bool time_batches(const ct_config *config, const ct_split *split) {
    ct_loader *loader = ct_loader_create(split, config->batch, true, true, 1, CT_CPU);
    double start = ct_profile_clock();
    int count = 0;
    if (loader && ct_loader_start(loader, 0, 0)) {
        while (count < BATCHES && ct_loader_next(loader)) count++;
    }
    double seconds = ct_profile_clock() - start;
    const ct_images *images = split->images;
    double bytes = (double)(images->regions * images->width * config->batch * count) *
                   (double)ct_dtype_size(images->features.dtype);
    printf("batches: %d of %lld in %.2f s, %.0f MB/s\n", count, (long long)config->batch, seconds,
           1e-6 * bytes / seconds);
    ct_loader_destroy(loader);
    return ct_ok();
}

static bool run(ct_config *config) {
    double start = ct_profile_clock();
    ct_split *split =
        ct_split_open(config->folder, config->train_split,
                      (ct_split_options){.images_repeated = config->images_repeated,
                                         .ids_are_names = strcmp(config->ids, "names") == 0});
    double opened = ct_profile_clock();
    ct_vocabulary *vocabulary = !split ? NULL
                                : config->vocabulary[0]
                                    ? ct_vocabulary_read(config->vocabulary)
                                    : ct_vocabulary_build((const char *const *)split->captions,
                                                          split->caption_count, config->min_count);
    double built = ct_profile_clock();
    ct_encoder *encoder = ct_encoder_create(vocabulary, (ct_encoding){0});
    bool done = ct_split_encode(split, encoder);
    if (done) {
        printf("captions: %lld opened in %.2f s, vocabulary of %lld in %.2f s, encoded in %.2f s\n",
               (long long)split->caption_count, opened - start,
               (long long)ct_vocabulary_size(vocabulary), built - opened,
               ct_profile_clock() - built);
    }
    done = done && time_vectors(config, vocabulary) && time_batches(config, split);
    ct_split_destroy(split);
    ct_encoder_destroy(encoder);
    ct_vocabulary_destroy(vocabulary);
    return done;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    if (argc < 2) {
        fprintf(stderr, "usage: load CONFIG.INI [SECTION.KEY=VALUE ...]\n");
        return 2;
    }
    ct_config *config = ct_config_read(argv[1], (const char *const *)argv + 2, argc - 2);
    bool done = config && run(config);
    ct_config_destroy(config);
    if (!done) fprintf(stderr, "load: %s\n", ct_error() ? ct_error() : "failed");
    return done ? 0 : 2;
}
