/* SPDX-License-Identifier: Apache-2.0 */
/* What is searched: embeddings of the images and captions of splits by one model, in f16, with what
 * is shown of them. Made of splits, or read from a file that was written of it before: either way
 * the same rows.
 *
 * The file is a safetensors file, mapped when it is read. Its metadata say "cotangent.index" = "1",
 * "cotangent.model" (the fingerprint), "cotangent.measure" (cosine or order) and "cotangent.splits"
 * (their names, a line each), and "cotangent.images" (a hash of the images, a line each). Of split
 * 0, and of 1, 2, ... in the same way, it has
 *
 *     0.images (I,D) f16, 0.captions (C,D) f16    rows as rankings take them
 *     0.image_of (C) i64                          each caption's image
 *     0.caption_text, 0.picture_text u8           lines: captions in UTF-8, paths in bytes
 *
 * without the captions, or the paths, where the split has none.
 */
#ifndef CT_INDEX_H
#define CT_INDEX_H

#include "train/run/experiment.h"

typedef enum { CT_INDEX_IMAGES, CT_INDEX_CAPTIONS } ct_index_side;

/* One split of an index. */
typedef struct {
    char *name;
    char images_hash[24]; /* of what was embedded (ct_index_images_hash); "": it is not known */
    ct_tensor *rows[2];   /* of a ct_index_side: (I,D), (C,D) f16, kept; NULL: they are not there */
    int64_t images, captions;
    char *const *picture;    /* (I) paths, or NULL */
    char *const *caption;    /* (C), or NULL */
    const int64_t *image_of; /* (C) */
    int64_t *first_caption;  /* (I): of each image; -1: it has none */
    ct_split *split;         /* what it was made of; NULL: it was read from the index's file, */
    char **lines[2];         /* and these are its captions and paths, which point into */
    char *text[2];
    ct_tensor *kept; /* holds image_of */
} ct_index_split;

typedef struct {
    ct_measure measure;
    char fingerprint[24]; /* of the model, its vocabulary and what else embeddings are by */
    ct_index_split *splits;
    int count;
    ct_safetensors *file; /* NULL: it was made */
    char *path;           /* of the file, or NULL */
} ct_index;

/* Which splits are searched. */
typedef struct {
    char **names;
    int count;
    bool all; /* none was named: a split that cannot be searched is left out, with a line */
} ct_searched_splits;

/* Those that are named (`count` of them), or, if none is, all of the data folder, by name. False
 * and an error otherwise; freed by ct_searched_splits_free either way. */
bool ct_searched_splits_find(ct_searched_splits *splits, const ct_config *config,
                             const char *const *names, int count);
void ct_searched_splits_free(ct_searched_splits *splits);

/* Embeds them; their captions too if that is wanted and they have some. Rows are where the model
 * is. What is left out is taken out of `splits`. NULL and an error otherwise, also if none is
 * left. */
ct_index *ct_index_make(const ct_experiment *experiment, ct_searched_splits *splits, bool captions);
/* Takes out what `splits` has no more: another model left it out. */
void ct_index_keep(ct_index *index, const ct_searched_splits *splits);
/* Writes it (as tensor/io/files.h says: whole or not at all). */
bool ct_index_write(const ct_index *index, const char *path);
/* "0123456789abcdef": of up to 64 images spread over the first `count` of a split. */
bool ct_index_images_hash(const ct_split *split, int64_t count, char text[24]);
/* Opens a file. NULL and an error naming it if it is none, not whole, or of another model. */
ct_index *ct_index_open(const ct_experiment *experiment, const char *path);
void ct_index_close(ct_index *index);

#endif
