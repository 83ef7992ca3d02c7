/* SPDX-License-Identifier: Apache-2.0 */
/* What is served: a model, what it searches, and the pictures that are shown of it. Images are
 * numbered through all splits, in their order: the id by which one is asked for. */
#ifndef CT_SERVED_H
#define CT_SERVED_H

#include <sys/stat.h>

#include "train/pictures/picture.h"
#include "train/search/search.h"

/* What a split's images are shown and looked at by. */
typedef struct {
    int64_t first;    /* the id of its image 0 */
    ct_split *opened; /* features of a split that the index names; NULL: it is not there, or */
    ct_split *split;  /* the index has its own; NULL: neither */
    ct_images *shown; /* pictures in the place of features, or NULL */
} ct_served_split;

typedef struct {
    const ct_experiment *experiment; /* borrowed */
    ct_index *index;
    ct_served_split *splits; /* of each of the index */
    int64_t images, captions;
    int top; /* answers, where a request does not say how many */
} ct_served;

/* Takes the index, also on an error. False and an error when out of memory. */
bool ct_served_open(ct_served *served, const ct_experiment *experiment, ct_index *index, int top);
void ct_served_close(ct_served *served);

/* The split of an image and its number there; false if there is none of this id. */
bool ct_served_find(const ct_served *served, int64_t id, int *split, int64_t *image);
/* The file of an image's picture, or NULL. */
const char *ct_served_picture(const ct_served *served, int split, int64_t image);
/* Whether that file is still one: to read from what may have been put in its place (a pipe, a
 * device) could take for ever. */
bool ct_served_is_file(const char *path, struct stat *file);

#endif
