/* The commands of `train` other than training. Each opens the experiment, does its work and
 * prints; false and an error otherwise. */
#ifndef CT_COMMANDS_H
#define CT_COMMANDS_H

#include "train/config.h"

/* Prints the graph with shapes and parameters, memory and work of a step; trains nothing. */
bool ct_dry_run(ct_config *config);

/* Evaluates weights (NULL: the run folder's best.safetensors) on a split and prints the table. */
bool ct_evaluate_command(ct_config *config, const char *split, const char *weights);

/* Writes the weights to a safetensors file, with our names or, under [run] names = released, with
 * the released code's; a line says what has no name there. */
bool ct_export_command(ct_config *config, const char *path, const char *weights);

/* Writes FOLDER/img_embs.npy (a row an image) and cap_embs.npy (a row a caption) of a split, as
 * rankings take them, in the configured dtype. The folder is made if it is not there. With
 * recorded batches the split is "recorded": the first of them, a row a pair. */
bool ct_embed_command(ct_config *config, const char *split, const char *folder,
                      const char *weights);

/* The `top` images of a split that fit a sentence best, with the captions they have. */
bool ct_query_command(ct_config *config, const char *split, const char *sentence, int top,
                      const char *weights);

#endif
