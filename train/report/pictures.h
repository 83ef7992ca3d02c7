/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures as JPEG: within a page as a data URI, and for event files. */
#ifndef CT_REPORT_PICTURES_H
#define CT_REPORT_PICTURES_H

#include <stdio.h>

#include "train/pictures/picture.h"

/* The file's bytes, from malloc, of a picture of which neither side is above 65535. False and an
 * error when out of memory. */
bool ct_picture_to_jpeg(const ct_picture *picture, uint8_t **bytes, size_t *size);

/* Writes "data:image/jpeg;base64,..." of a picture of which neither side is above 65535. False and
 * an error when out of memory. */
bool ct_picture_write_uri(FILE *page, const ct_picture *picture);

/* The picture in a file, made smaller to `side` pixels at most: the whole of it, or what a model
 * sees of it by a view. False and an error if it cannot be read; for ct_picture_free. */
bool ct_picture_small(const char *path, const ct_picture_view *view, int side, ct_picture *small);

/* Writes <img> of the picture in a file, made smaller to `side` pixels at most; `alternative` is
 * what it shows in words. Where it cannot be read a box that says so: that is no error. */
bool ct_picture_write(FILE *page, const char *path, int side, const char *alternative);

#endif
