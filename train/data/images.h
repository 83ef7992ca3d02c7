/* SPDX-License-Identifier: Apache-2.0 */
/* The images of a split, of which no more is read than is asked for: features in .npy files, or
 * files of pictures. Either way an image is `regions` x `width` floats; a picture three planes of
 * size x size values.
 *
 *     {split}_ims.npy        (images, regions, width) f32 or f16, or (images, width): one region
 *     {split}_pictures.txt   one picture a line, its path from the folder's own place, or absolute
 */
#ifndef CT_IMAGES_H
#define CT_IMAGES_H

#include "train/data/distinct.h"
#include "train/pictures/picture.h"

/* Features in files of which each but the last has `images_a_file` images. */
typedef struct {
    int *file; /* opened for reading */
    int files;
    int64_t images_a_file;
    int64_t *start; /* where the first feature of each lies */
    ct_dtype dtype;
    int64_t rows_an_image; /* in the file; the first is read */
    double smallest;       /* that the largest feature of an image may be, if it is not 0 */
} ct_image_features;

typedef struct {
    char *path; /* of the .npy file or of the list of pictures: for messages */
    int64_t count, regions, width;
    ct_image_features features; /* files 0: they are pictures */
    char **picture;             /* (count) paths, or NULL; also where features were made of them */
    ct_picture_view view;       /* of pictures: how they come to their size */
    int threads;                /* that decode them */
} ct_images;

/* Features are read from the file, not mapped: memory does not grow with the images that were seen.
 * NULL and an error naming the file otherwise; closed by ct_images_close. */
ct_images *ct_images_open_features(const char *path, double smallest);
/* The same in several files: FOLDER/00000.npy, FOLDER/00001.npy, ... of `count` images. */
ct_images *ct_images_open_parts(const char *folder, int64_t count, int64_t images_a_file,
                                double smallest);
char *ct_images_part(const char *folder, int64_t part); /* the path of one, from malloc */
/* Pictures in a list. That they are there is asked; what is in them, when they are read. */
ct_images *ct_images_open_pictures(const char *list, const ct_picture_view *view, int threads);
/* A picture alone, or all of a folder that are called *.jpg, *.jpeg, *.png or *.webp, by name. */
ct_images *ct_images_find(const char *path, const ct_picture_view *view, int threads);
void ct_images_close(ct_images *images);

/* Images which[0], which[1], ... (NULL: 0, 1, ...) as count x regions x width floats. `draws` NULL,
 * or one an image: what pictures are changed by in training. Errors: a file that cannot be read or
 * has become shorter, a picture that is none, a NaN or infinity, naming image, region and feature,
 * and an image whose features are all too small to be told from 0 beside a model's parameters (but
 * for one that is 0). */
bool ct_images_read(const ct_images *images, const int64_t *which, int64_t count,
                    const ct_picture_draw *draws, float *out);
/* Which images are the same: reads every one. */
bool ct_images_distinct(const ct_images *images, ct_distinct *distinct);
/* A hash of up to 64 images spread over the first `count`, of their bytes in the files. */
bool ct_images_fingerprint(const ct_images *images, int64_t count, uint64_t *hash);
/* "FOLDER/test_ims.npy: image 3", or the picture's path: what messages call it. */
void ct_images_name(const ct_images *images, int64_t image, char *text, size_t size);
/* Keeps the first ones. */
void ct_images_cut(ct_images *images, int64_t count);
/* Keeps those of `keep`, of pictures. */
void ct_images_keep(ct_images *images, const bool *keep);

/* Features of images that stand `times` times each, in rows next to each other: joins them where
 * they do. `must`: an error if they do not; else times 1 finds that they do, which is then an error
 * too, since one image in several rows would be several answers, of which one alone counts as
 * right. */
bool ct_images_join_rows(ct_images *images, int64_t times, bool must);

#endif
