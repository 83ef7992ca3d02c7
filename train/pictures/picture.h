/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures from files to numbers: decoded, turned upright, resized, augmented.
 *
 * JPEG, PNG and WebP, told by their content whatever their name. Pixels are those of Pillow
 * (Image.open, ImageOps.exif_transpose, convert("RGB"), resize), to the last bit where both use the
 * same libjpeg: integer DCT, smooth upsampling, antialiased filters in fixed point. What is
 * transparent is laid over white; of an animation the first picture counts; 16 bits a channel
 * become
 * 8. Colour profiles and gamma are not applied.
 *
 * A file that is no picture, or not a whole one, is an error "FILE: what is wrong, what was
 * expected" (tensor/core/error.h), never grey pixels. Nothing is printed, and several threads may
 * read at the same time.
 */
#ifndef CT_PICTURE_H
#define CT_PICTURE_H

#include "tensor/tensor.h"

/* Three bytes a pixel, red, green, blue; rows from the top down, without gaps; from malloc. */
typedef struct {
    int width, height; /* 1 to 65535 */
    uint8_t *rgb;
} ct_picture;

/* How many pixels a file may say it has, by default: where Pillow takes one for a decompression
 * bomb. Asked before anything is allocated for them. */
enum { CT_PICTURE_MOST_PIXELS = 178956970 };
/* How many bytes a file may have: no more is read of one that lies in a picture's place. */
enum { CT_PICTURE_MOST_BYTES = 256 << 20 };
/* A file's bytes as they are, from malloc; NULL and an error if it cannot be read or is larger. */
char *ct_picture_bytes(const char *path, size_t *size);

/* Of the file `path`, upright as EXIF's orientation says, or XMP's. On an error false, and
 * *picture is empty; else the caller's, for ct_picture_free. */
bool ct_picture_read(const char *path, int64_t most_pixels, ct_picture *picture);
/* The same of a file's `size` bytes; `name` is for messages. */
bool ct_picture_decode(const char *name, const void *bytes, size_t size, int64_t most_pixels,
                       ct_picture *picture);
void ct_picture_free(ct_picture *picture); /* an empty one too; leaves it empty */

/* ---- resizing: train/pictures/resize.c ---------------------------------------------------- */

typedef enum { CT_PICTURE_BILINEAR, CT_PICTURE_BICUBIC } ct_picture_filter;

/* In pixels from the top left corner; edges may lie within a pixel. */
typedef struct {
    float left, top, right, bottom;
} ct_picture_box;

/* What Pillow's resize((width, height), filter, box) gives, each value the same up to its
 * version 12. (From 13 on it resizes rows before columns where the height shrinks much more than
 * the width, which rounds otherwise: a few values differ by 1 or 2.) `box` NULL: the whole of it.
 * False and an error, *to empty, for a box that is empty or not within `from`, a size below 1 or
 * above 65535, or without memory. */
bool ct_picture_resize(const ct_picture *from, const ct_picture_box *box, int width, int height,
                       ct_picture_filter filter, ct_picture *to);

/* ---- views: what a model sees of a picture: train/pictures/view.c -------------------------- */

/* How a picture comes to a square.
 * CROP: the shorter side becomes `resize`, and the middle is cut out (torchvision's Resize, then
 * CenterCrop). STRETCH: both sides become `size`. PAD: the longer side becomes `size`, and the rest
 * is `fill`, the same on both sides. */
typedef enum { CT_PICTURE_CROP, CT_PICTURE_STRETCH, CT_PICTURE_PAD } ct_picture_fit;

/* Changes drawn for every picture and epoch, in this order. Zeros: none. */
typedef struct {
    bool crop;       /* torchvision's RandomResizedCrop, instead of `fit`: */
    double scale[2]; /* its part of the area, above 0, 1 at most, smaller first */
    double ratio[2]; /* its width / height, above 0, smaller first */
    double flip;     /* probability of left and right exchanged */
    /* A factor between max(0, 1 - x) and 1 + x each, as torchvision's ColorJitter has them, applied
     * in this order to values of 0 to 1; contrast is about the mean of the picture's grey,
     * saturation about the pixel's. */
    double brightness, contrast, saturation;
} ct_picture_changes;

typedef struct {
    int64_t size; /* of (3, size, size): 1 to 8192 */
    int64_t resize;
    ct_picture_filter filter;
    ct_picture_fit fit;
    uint8_t fill[3];
    bool reduce; /* ct_picture_load may decode a JPEG at 1/2, 1/4 or 1/8 of its size if what is seen
                  * of it stays as large as it is to become: faster, and other pixels */
    int64_t most_pixels; /* as of ct_picture_read */
    ct_picture_changes changes;
} ct_picture_view;

/* CROP after `resize` = size * 256 / 224, bilinear, fill (124, 116, 104), not reduced, no changes.
 */
ct_picture_view ct_picture_view_defaults(int64_t size);
/* No changes; scale 0.08 to 1 and ratio 3/4 to 4/3, which crop = true uses. */
ct_picture_changes ct_picture_changes_defaults(void);
/* False and an error that names the field and what it may be. */
bool ct_picture_view_check(const ct_picture_view *view);

/* Where what a model sees of a picture of this size lies, without changes, as parts of its width
 * and height: below 0 and above 1 where it is padded. The view is a good one. */
ct_picture_box ct_picture_seen(const ct_picture_view *view, int width, int height);

/* What changes are drawn from: the same three, the same changes. Each below 2^26 (epoch), 2^32
 * (number). */
typedef struct {
    uint64_t seed;
    int64_t epoch, number; /* the number of the sample, not its place in a batch */
} ct_picture_draw;

/* (3, size, size), values of 0 to 1, red plane first. `draw` NULL: without changes, as for
 * evaluation. False and an error for a view that ct_picture_view_check refuses or without memory.
 */
bool ct_picture_look(const ct_picture *picture, const ct_picture_view *view,
                     const ct_picture_draw *draw, float *out);
/* ct_picture_read, then ct_picture_look. */
bool ct_picture_load(const char *path, const ct_picture_view *view, const ct_picture_draw *draw,
                     float *out);

/* ---- many at a time: train/pictures/load.c ------------------------------------------------- */

/* `count` pictures into (count, 3, size, size) by `threads` threads, 1 or more, the caller's one of
 * them: the same bits for any number. `draws` NULL or one a picture.
 * `broken` NULL: the first path that cannot be loaded is the error, of the first in the list, and
 * the result false. Else one flag a picture: files that are no picture, or not a whole one, are
 * true, their values zeros, and the result true (ct_picture_read tells what is wrong with one);
 * those that cannot be opened or read, and want of memory, stay errors. */
bool ct_pictures_load(const char *const *paths, int64_t count, int threads,
                      const ct_picture_view *view, const ct_picture_draw *draws, bool *broken,
                      float *out);

#endif
