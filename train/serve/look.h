/* SPDX-License-Identifier: Apache-2.0 */
/* What a model makes of a sentence or a picture, and the attention it pays on the way, as JSON. */
#ifndef CT_SERVE_LOOK_H
#define CT_SERVE_LOOK_H

#include <jansson.h>

#include "train/serve/served.h"

/* Each gives the embedding (1,D), in the innermost scope, and adds to `object` "attention", a list
 * of an object a module: "module" (its path in the model) and "weights", a list a head of a number
 * a word or region; a policy attention's weights are those of its best actions, a self-attention's
 * what a step gets from all steps on average. NULL and an error otherwise. */

/* Adds "words", too: those that the model reads, and "unknown": those that it does not know. */
ct_tensor *ct_look_at_sentence(const ct_served *served, const char *sentence, json_t *object);
/* A module has "boxes", too, a list a region: left, top, right, bottom, as parts of the picture's
 * width and height; those of a picture that is only seen in part, or padded, lie in it as they do.
 */
ct_tensor *ct_look_at_picture(const ct_served *served, const ct_picture *picture, const char *name,
                              json_t *object);
/* The same of an image that is searched: of its picture, or of its features where they are there.
 * NULL without an error, and nothing added, where neither is, or the picture cannot be read. */
ct_tensor *ct_look_at_image(const ct_served *served, int split, int64_t image, json_t *object);

#endif
