/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a run: an INI file, checked key by key.
 *
 * Every key stands once in one table (config.c) with its section, type, default and a sentence
 * of help; `train --help-config` prints that table. An unknown key or section is an error naming
 * file, line and the nearest known one; a value of the wrong type says what was expected. Sections
 * of the model
 * ([image], [text], [loss], [compat]) are kept as entries, in order, for ct_model_create.
 */
#ifndef CT_CONFIG_H
#define CT_CONFIG_H

#include "models/models.h"

typedef struct {
    /* [data] */
    char *folder; /* with {split}_ims.npy, {split}_caps.txt, {split}_ids.txt; "" only with
                   * recorded_file */
    char *train_split, *dev_split;
    char **test_splits; /* evaluated at the end; a comma-separated list */
    int test_split_count;
    char *vocabulary;        /* JSON of SCAN's form, or "" : built from the training captions */
    int64_t min_count;       /* of a word, when built */
    int64_t max_words;       /* longer captions are cut (before <end>); 0: none is */
    int64_t pad_words;       /* captions are padded to so many tokens; 0: automatic */
    char *ids;               /* rows or names: what {split}_ids.txt holds */
    int64_t images_repeated; /* rows an image, in splits with as many rows as captions */
    int64_t dev_captions;    /* at most this many captions of dev are used, whole images; 0: all */
    bool shuffle;            /* no: batches in the order of the captions */
    char *cache;             /* where features of pictures are kept; "": cache in the data folder */
    char *broken_pictures;   /* error or skip */
    double augment_crop;     /* smallest part of a picture's area that training sees; 1: as is */
    bool augment_flip;       /* half of them left and right exchanged */
    double augment_jitter;   /* of brightness, contrast and saturation; 0: none */

    /* [run] */
    char *run_folder;
    int64_t seed, threads; /* threads 0: all cores */
    char *device;          /* cpu, cuda, auto */
    ct_dtype dtype;        /* f32 or f64 */
    bool graphs;           /* steps on cuda are recorded and repeated */
    char *precision;       /* fp32, tf32, bf16 */
    char *gradient_wire;   /* same, f32, bf16: between ranks */
    bool local_loss;       /* each rank ranks its own rows alone */
    bool tensorboard;      /* writes an event file too */
    bool histograms;       /* with histograms in it */
    char *names;           /* ours or released: of tensors in weight files given by the user */

    /* [train] */
    int64_t epochs, batch;
    char *optimizer; /* adam, adamw, sgd */
    double lr, weight_decay, momentum, clip_norm;
    char **lr_factors; /* "image.attend:0.1" */
    int lr_factor_count;
    char **checkpoint; /* "gcn", "decoder" */
    int checkpoint_count;
    char *schedule;    /* step, cosine, constant */
    int64_t lr_update; /* epochs, for step */
    double lr_factor;  /* for step */
    int64_t warmup_steps;
    int64_t validate_every; /* steps; 0: at the end of every epoch */
    int64_t log_every;      /* steps */
    char *select;           /* score of the best model on dev: r1_r5 or rsum */

    /* [evaluate] */
    int64_t evaluate_batch, folds;

    /* [recorded]: train/data/recorded.h */
    char *recorded_file;  /* with batches, and noise if there is any; "": none, [data] counts */
    char *recorded_noise; /* noise alone, or other noise than that of the file */
    int64_t recorded_vocabulary_size, recorded_classes; /* 0: from the file's metadata */

    /* the model's sections */
    ct_description model;
    bool writes_nothing; /* --dry-run: features of pictures are not kept either */
    char *file;          /* path of the configuration */
    char *text; /* all of it as INI text with --set applied and defaults filled in: what is saved
                 * with a run; read again, it gives the same configuration */
} ct_config;

/* Reads `path`, applies `count` overrides "section.key=value" (--set) in order, checks everything.
 * An override of a model's section replaces that entry's value in its place, appends a new entry,
 * or, with an empty value, takes the entry out; such entries have line 0. NULL and an error
 * otherwise: "config.ini:12: [train] unknown key 'epoch'; did you mean 'epochs'?". Relative paths
 * in the file are relative to the current folder. */
ct_config *ct_config_read(const char *path, const char *const *overrides, int count);
/* The same of a text that ct_config_read made (`text`); `name` is what messages call it. */
ct_config *ct_config_read_text(const char *name, const char *text);
void ct_config_destroy(ct_config *config);
/* Prints the table of keys: section, key, default, help. */
void ct_config_print_help(void *file /* FILE */);

#endif
