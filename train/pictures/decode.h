/* SPDX-License-Identifier: Apache-2.0 */
/* What the decoders of train/pictures/ share. Internal to it. */
#ifndef CT_PICTURE_DECODE_H
#define CT_PICTURE_DECODE_H

#include "train/pictures/picture.h"

/* A file's bytes, and what became of them. */
typedef struct {
    const char *name;
    const uint8_t *bytes;
    size_t size;
    int64_t most_pixels;
    /* Of an upright picture of this size: 1, 2, 4 or 8, what a decoder that can may divide its
     * sides by. NULL: 1. */
    int (*reduce)(void *context, int width, int height);
    void *context;
    int reduced;     /* what they were divided by */
    int orientation; /* of EXIF or XMP, 1 to 8; 1 is upright */
    bool broken;     /* the error is the file's: no picture, or not a whole one */
} ct_picture_source;

/* Each sets the error "NAME: ..." and source->broken. Always false. */
bool ct_picture_broken(ct_picture_source *source, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* False and an error if a picture of this size has more pixels than may be, or none. */
bool ct_picture_check_size(ct_picture_source *source, int64_t width, int64_t height);
/* The same, and memory for width x height pixels of `channels` bytes in *picture, whose sizes it
 * sets. False, with an error, without memory too. */
bool ct_picture_allocate(ct_picture_source *source, int64_t width, int64_t height, int channels,
                         ct_picture *picture);
/* Pixels of four bytes, the last opacity, over white: three bytes each, in less memory. */
void ct_picture_over_white(ct_picture *picture);

/* Whether the bytes are of this kind; the decoder fills *picture, not yet upright. On an error the
 * caller frees it. */
typedef struct {
    bool (*is)(const uint8_t *bytes, size_t size);
    bool (*decode)(ct_picture_source *source, ct_picture *picture);
} ct_picture_format;

extern const ct_picture_format ct_picture_jpeg, ct_picture_png, ct_picture_webp;

/* Errors "NAME: a GIF picture, expected JPEG, PNG or WebP: how to get one", of bytes that are none
 * of these. Always false. */
bool ct_picture_other(ct_picture_source *source);

/* Some bytes of a file; NULL: it has none such. */
typedef struct {
    const void *bytes;
    size_t size;
} ct_picture_block;

/* Sets source->orientation by a block of EXIF, with or without "Exif\0\0" before it, or where that
 * says none by one of XMP, as Pillow does: 1 for a value that there is not. Left where neither says
 * one. */
void ct_picture_orient(ct_picture_source *source, ct_picture_block exif, ct_picture_block xmp);
/* Turns the pixels as the orientation says; false and an error without memory. */
bool ct_picture_turn(ct_picture *picture, int orientation);

/* ct_picture_read and ct_picture_load with the source, whose name is the path, so that its `broken`
 * can be asked. */
bool ct_picture_read_source(ct_picture_source *source, ct_picture *picture);

#endif
