/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/pictures.h"

#include <setjmp.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "tensor/core/excuse.h"
#include "train/report/html.h"

enum { QUALITY = 88 };

/* ---- base64 ------------------------------------------------------------------------------ */

static void write_base64(FILE *page, const uint8_t *bytes, size_t size) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (uint32_t)(left > 1 ? bytes[i + 1] : 0) << 8 |
                         (left > 2 ? bytes[i + 2] : 0);
        fputc(digit[three >> 18], page);
        fputc(digit[three >> 12 & 63], page);
        fputc(left > 1 ? digit[three >> 6 & 63] : '=', page);
        fputc(left > 2 ? digit[three & 63] : '=', page);
    }
}

/* ---- jpeg -------------------------------------------------------------------------------- */

typedef struct {
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    jmp_buf leave;
    unsigned char *bytes;
    unsigned long size;
} writer;

static void leave(j_common_ptr info) { longjmp(((writer *)info->client_data)->leave, 1); }

static bool compress(writer *w, const ct_picture *picture) {
    w->info.err = jpeg_std_error(&w->errors);
    w->errors.error_exit = leave;
    w->info.client_data = w;
    if (setjmp(w->leave)) return ct_fail_bool("a picture to be shown: out of memory");
    jpeg_create_compress(&w->info);
    jpeg_mem_dest(&w->info, &w->bytes, &w->size);
    w->info.image_width = (JDIMENSION)picture->width;
    w->info.image_height = (JDIMENSION)picture->height;
    w->info.input_components = 3;
    w->info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&w->info);
    jpeg_set_quality(&w->info, QUALITY, TRUE);
    w->info.optimize_coding = TRUE;
    jpeg_start_compress(&w->info, TRUE);
    while (w->info.next_scanline < w->info.image_height) {
        JSAMPROW row = picture->rgb + 3 * (size_t)picture->width * w->info.next_scanline;
        jpeg_write_scanlines(&w->info, &row, 1);
    }
    jpeg_finish_compress(&w->info);
    return true;
}

bool ct_picture_to_jpeg(const ct_picture *picture, uint8_t **bytes, size_t *size) {
    writer *w = calloc(1, sizeof *w);
    if (!w) return ct_fail_bool("out of memory");
    bool done = compress(w, picture);
    jpeg_destroy_compress(&w->info);
    *bytes = w->bytes;
    *size = w->size;
    if (!done) free(w->bytes);
    free(w);
    return done;
}

bool ct_picture_write_uri(FILE *page, const ct_picture *picture) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ct_picture_to_jpeg(picture, &bytes, &size)) return false;
    fputs("data:image/jpeg;base64,", page);
    write_base64(page, bytes, size);
    free(bytes);
    return true;
}

/* ---- a file ------------------------------------------------------------------------------ */

/* What a model sees of a picture, as a picture. */
static bool read_view(const char *path, const ct_picture_view *view, ct_picture *seen) {
    size_t pixels = (size_t)(view->size * view->size);
    float *planes = malloc(3 * pixels * sizeof *planes);
    *seen = (ct_picture){(int)view->size, (int)view->size, malloc(3 * pixels)};
    bool done = (planes && seen->rgb) || ct_fail_bool("%s: out of memory", path);
    done = done && ct_picture_load(path, view, NULL, planes);
    for (size_t i = 0; done && i < 3 * pixels; i++)
        seen->rgb[3 * (i % pixels) + i / pixels] = (uint8_t)(255 * planes[i] + 0.5F);
    free(planes);
    if (!done) ct_picture_free(seen);
    return done;
}

bool ct_picture_small(const char *path, const ct_picture_view *view, int side, ct_picture *small) {
    ct_picture whole;
    bool read = view ? read_view(path, view, &whole)
                     : ct_picture_read(path, CT_PICTURE_MOST_PIXELS, &whole);
    if (!read) return false;
    int longer = whole.width > whole.height ? whole.width : whole.height;
    if (longer <= side) {
        *small = whole;
        return true;
    }
    int width = whole.width * side / longer, height = whole.height * side / longer;
    bool done = ct_picture_resize(&whole, NULL, width ? width : 1, height ? height : 1,
                                  CT_PICTURE_BILINEAR, small);
    ct_picture_free(&whole);
    return done;
}

bool ct_picture_write(FILE *page, const char *path, int side, const char *alternative) {
    ct_picture picture;
    if (!ct_picture_small(path, NULL, side, &picture)) {
        if (!ct_error_excuse()) return false;
        fputs("<span class=\"missing\">picture cannot be read</span>", page);
        return true;
    }
    fprintf(page, "<img width=\"%d\" height=\"%d\" alt=\"", picture.width, picture.height);
    ct_html(page, alternative);
    fputs("\" src=\"", page);
    bool done = ct_picture_write_uri(page, &picture);
    fputs("\">", page);
    ct_picture_free(&picture);
    return done;
}
