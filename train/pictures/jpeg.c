/* SPDX-License-Identifier: Apache-2.0 */
/* JPEG, by libjpeg-turbo: the integer DCT and smooth upsampling that are its defaults, and
 * Pillow's. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "train/pictures/decode.h"

enum { MOST_SCANS = 500, APP1 = JPEG_APP0 + 1, APP1_BYTES = 0xffff };

typedef struct {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf leave;
    ct_picture_source *source;
    ct_picture *picture;
} reader;

static bool is_jpeg(const uint8_t *bytes, size_t size) {
    return size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0;
}

/* ---- errors ------------------------------------------------------------------------------ */

static void leave(j_common_ptr info) {
    reader *r = (reader *)info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    if (info->err->msg_code == JERR_OUT_OF_MEMORY) ct_fail("%s: out of memory", r->source->name);
    else {
        ct_picture_broken(r->source, "a JPEG that cannot be read (%s), expected a whole picture",
                          text);
    }
    longjmp(r->leave, 1);
}

/* Warnings that leave every pixel as it is meant: unknown versions and profiles, and bytes between
 * the data and the picture's end. */
static bool harmless(const struct jpeg_error_mgr *e) {
    return e->msg_code == JWRN_ADOBE_XFORM || e->msg_code == JWRN_JFIF_MAJOR ||
           e->msg_code == JWRN_BOGUS_ICC ||
           (e->msg_code == JWRN_EXTRANEOUS_DATA && e->msg_parm.i[1] == JPEG_EOI);
}

/* A level below 0 is a warning: data are damaged, and libjpeg would go on with grey. */
static void note(j_common_ptr info, int level) {
    if (level < 0 && !harmless(info->err)) leave(info);
}

static void print_nothing(j_common_ptr info) { (void)info; }

/* A file of a few kilobytes can say hundreds of times that each pixel changes a little. */
static void count_scans(j_common_ptr info) {
    reader *r = (reader *)info->client_data;
    if (r->info.input_scan_number <= MOST_SCANS) return;
    ct_picture_broken(r->source, "a JPEG of more than %d scans, expected fewer", MOST_SCANS);
    longjmp(r->leave, 1);
}

/* ---- pixels ------------------------------------------------------------------------------ */

static int scaled(int a, int b) {
    int product = a * b + 128;
    return (product + (product >> 8)) >> 8;
}

/* As Adobe's programs write it, inverted: bytes say how much ink there is not. */
static void ink_to_rgb(const uint8_t *cmyk, int width, uint8_t *rgb) {
    for (int x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        for (int c = 0; c < 3; c++) {
            int value = cmyk[3] - scaled(255 - cmyk[c], cmyk[3]);
            rgb[c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

/* The first segment that begins so. */
static ct_picture_block segment(const reader *r, const char *head, size_t length) {
    jpeg_saved_marker_ptr m = r->info.marker_list;
    while (m && (m->data_length < length || memcmp(m->data, head, length) != 0)) m = m->next;
    return m ? (ct_picture_block){m->data, m->data_length} : (ct_picture_block){NULL, 0};
}

static void read_orientation(reader *r) {
    static const char exif[] = "Exif\0", xmp[] = "http://ns.adobe.com/xap/1.0/";
    ct_picture_orient(r->source, segment(r, exif, sizeof exif), segment(r, xmp, sizeof xmp));
}

static bool choose_colours(reader *r) {
    struct jpeg_decompress_struct *info = &r->info;
    int channels = info->num_components;
    if (channels != 1 && channels != 3 && channels != 4) {
        return ct_picture_broken(r->source, "a JPEG of %d channels, expected 1, 3 or 4", channels);
    }
    info->out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
    return true;
}

/* Reduced while decoding, which is faster, if the source says by how much. */
static void choose_size(reader *r) {
    struct jpeg_decompress_struct *info = &r->info;
    ct_picture_source *source = r->source;
    int width = (int)info->image_width, height = (int)info->image_height;
    bool lies = source->orientation >= 5;
    if (source->reduce) {
        source->reduced =
            source->reduce(source->context, lies ? height : width, lies ? width : height);
    }
    info->scale_num = 1;
    info->scale_denom = (unsigned)source->reduced;
    jpeg_calc_output_dimensions(info);
}

static void read_rows(reader *r) {
    struct jpeg_decompress_struct *info = &r->info;
    size_t width = info->output_width;
    bool ink = info->out_color_space == JCS_CMYK;
    JSAMPROW line = NULL;
    if (ink) line = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, width * 4);
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = r->picture->rgb + info->output_scanline * width * 3;
        JSAMPROW row = ink ? line : rgb;
        jpeg_read_scanlines(info, &row, 1);
        if (ink) ink_to_rgb(line, (int)width, rgb);
    }
}

/* Left by longjmp on an error. */
static bool read_all(reader *r) {
    struct jpeg_decompress_struct *info = &r->info;
    jpeg_create_decompress(info);
    info->progress = &r->progress;
    jpeg_mem_src(info, r->source->bytes, r->source->size);
    jpeg_save_markers(info, APP1, APP1_BYTES);
    jpeg_read_header(info, TRUE);
    read_orientation(r);
    if (!choose_colours(r) ||
        !ct_picture_check_size(r->source, info->image_width, info->image_height)) {
        return false;
    }
    choose_size(r);
    if (!ct_picture_allocate(r->source, info->output_width, info->output_height, 3, r->picture)) {
        return false;
    }
    jpeg_start_decompress(info);
    read_rows(r);
    jpeg_finish_decompress(info);
    return true;
}

static bool decode(ct_picture_source *source, ct_picture *picture) {
    reader r = {.source = source, .picture = picture};
    r.info.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = leave;
    r.errors.emit_message = note;
    r.errors.output_message = print_nothing;
    r.progress.progress_monitor = count_scans;
    r.info.client_data = &r;
    bool done = setjmp(r.leave) == 0 && read_all(&r);
    jpeg_destroy_decompress(&r.info);
    return done;
}

const ct_picture_format ct_picture_jpeg = {is_jpeg, decode};
