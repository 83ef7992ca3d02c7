/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `train` other than training. Each opens the experiment, does its work and
 * prints; false and an error otherwise. */
#ifndef CT_COMMANDS_H
#define CT_COMMANDS_H

#include "train/evaluate/trained.h"
#include "train/run/preparation.h"

/* Checks all that a training with these options needs (train/run/preparation.h), prints the graph
 * with shapes and parameters, memory and work of a step; trains nothing and writes nothing. */
bool ct_dry_run(ct_config *config, ct_train_options options);

/* What is said of a split besides its recalls. */
typedef struct {
    const char *out;              /* a file for all of it as JSON; NULL: none */
    const char *const *judgments; /* files of what else fits (train/evaluate/judgments.h) */
    int judgment_count;
    int64_t resamples; /* for intervals, and pairs; 0: no intervals */
    bool paired;       /* two models: each, and whether their recalls differ */
} ct_evaluate_options;

/* Recalls of a trained model, or of the mean similarity of several, on a split: prints the table.
 * With [evaluate] folds both the mean over the folds and all images at once; all else is of all
 * images at once. train/evaluation.c */
bool ct_evaluate_command(ct_config *config, const char *split, ct_weights weights,
                         const ct_evaluate_options *options);

/* Writes the weights to a safetensors file, with our names or, under [run] names = released, with
 * the released code's; a line says what has no name there. */
bool ct_export_command(ct_config *config, const char *path, ct_weights weights);

/* The two names below. */
extern const char *const ct_embedding_files[2];
/* Writes FOLDER/img_embs.npy (a row an image) and, if the split has captions, cap_embs.npy (a row a
 * caption), as rankings take them, in the configured dtype. The folder is made if it is not there.
 * With recorded batches the split is "recorded": the first of them, a row a pair. */
bool ct_embed_command(ct_config *config, const char *split, const char *folder, ct_weights weights);

/* Writes the embeddings of splits (none named: of all of the data folder) to a file that queries
 * search (train/search/index.h). train/query.c */
bool ct_index_command(ct_config *config, const char *const *splits, int count, const char *path,
                      ct_weights weights);

/* What is searched with, one of four, and where. */
typedef struct {
    const char *sentence;
    const char *picture; /* a file, for a model that begins with pictures */
    const char *file;    /* of sentences, one a line */
    bool interactive;    /* sentences that are typed */
    const char *index;   /* a file of ct_index_command, or NULL: splits */
    const char *const *splits;
    int split_count; /* 0: all of the data folder */
    int top;
    bool json; /* an object a question, a line each; other lines go to stderr */
} ct_query;

/* Prints the `top` images that fit a sentence best (by the mean similarity of several models), with
 * their pictures and the first of the captions they may have; before them the words that a model
 * does not know. Of a picture: the captions that fit it best, and the images that are most like it.
 * Searching an index and typing take one model. train/query.c */
bool ct_query_command(ct_config *config, const ct_query *query, ct_weights weights);

#endif
