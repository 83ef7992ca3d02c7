/* SPDX-License-Identifier: Apache-2.0 */
/* PNG, by libpng: every depth and colour type as 8-bit RGB; of an animation the picture that
 * programs without animations show. */
#include <errno.h>
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "train/pictures/decode.h"

enum { MOST_TEXTS = 16 };

typedef struct {
    png_struct *png;
    png_info *info;
    ct_picture_source *source;
    size_t at; /* how many bytes have been read */
    ct_picture *picture;
    int channels; /* as decoded: 3, or 4 with opacity */
} reader;

static bool is_png(const uint8_t *bytes, size_t size) {
    return size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0;
}

/* Whether each chunk's bytes are there: libpng takes memory for what a chunk claims to have, up to
 * 2 GiB, before it reads it. */
static bool chunks_are_there(const ct_picture_source *source) {
    enum { BEFORE = 8, CRC = 4 }; /* length and name; behind the bytes */
    size_t at = 8;
    while (source->size - at >= BEFORE) {
        const uint8_t *chunk = source->bytes + at;
        size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 |
                        (size_t)chunk[3];
        if (memcmp(chunk + 4, "IEND", 4) == 0) break;
        at += BEFORE;
        if (length > source->size - at) return false;
        at += length;
        at += source->size - at < CRC ? source->size - at : CRC;
    }
    return true;
}

/* ---- errors ------------------------------------------------------------------------------ */

static const char early[] = "the file ends early";

static bool broken(ct_picture_source *source, const char *text) {
    return ct_picture_broken(source, "a PNG that cannot be read (%s), expected a whole picture",
                             text);
}

static void leave(png_struct *png, const char *text) {
    reader *r = png_get_error_ptr(png);
    if (errno == ENOMEM) ct_fail("%s: out of memory", r->source->name);
    else broken(r->source, text);
    png_longjmp(png, 1);
}

/* Of what has no part in the pixels, such as profiles. */
static void pass_over(png_struct *png, const char *text) {
    (void)png;
    (void)text;
}

static void give_bytes(png_struct *png, png_byte *to, size_t bytes) {
    reader *r = png_get_io_ptr(png);
    if (bytes > r->source->size - r->at) png_error(png, early);
    memcpy(to, r->source->bytes + r->at, bytes);
    r->at += bytes;
}

/* ---- pixels ------------------------------------------------------------------------------ */

/* Ancillary chunks are neither unpacked nor kept, but transparency and what says the orientation:
 * of texts the first few, since each can unpack to 8 MB. */
static void choose_chunks(reader *r) {
    static const png_byte wanted[] = "tRNS\0eXIf\0iTXt";
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_AS_DEFAULT, wanted, 3);
    png_set_chunk_cache_max(r->png, MOST_TEXTS);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
}

/* 16 bits become their upper 8, as Pillow has it. */
static void choose_colours(reader *r) {
    png_set_expand(r->png);
    png_set_strip_16(r->png);
    png_set_gray_to_rgb(r->png);
}

static ct_picture_block xmp_of(const reader *r) {
    png_text *texts = NULL;
    int count = png_get_text(r->png, r->info, &texts, NULL);
    for (int i = 0; i < count; i++) {
        if (strcmp(texts[i].key, "XML:com.adobe.xmp") == 0)
            return (ct_picture_block){texts[i].text, texts[i].itxt_length};
    }
    return (ct_picture_block){NULL, 0};
}

static void read_orientation(reader *r) {
    png_byte *exif = NULL;
    png_uint_32 size = 0;
    png_get_eXIf_1(r->png, r->info, &size, &exif);
    ct_picture_orient(r->source, (ct_picture_block){exif, size}, xmp_of(r));
}

/* Left by longjmp on an error. */
static bool read_all(reader *r) {
    png_set_read_fn(r->png, r, give_bytes);
    choose_chunks(r);
    png_read_info(r->png, r->info);
    choose_colours(r);
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    r->channels = png_get_channels(r->png, r->info);
    png_uint_32 width = png_get_image_width(r->png, r->info);
    png_uint_32 height = png_get_image_height(r->png, r->info);
    if (!ct_picture_allocate(r->source, width, height, r->channels, r->picture)) return false;
    size_t row = (size_t)width * (size_t)r->channels;
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            png_read_row(r->png, r->picture->rgb + y * row, NULL);
        }
    }
    png_read_end(r->png, r->info);
    read_orientation(r);
    return true;
}

static bool read_protected(reader *r) { return setjmp(png_jmpbuf(r->png)) == 0 && read_all(r); }

static bool decode(ct_picture_source *source, ct_picture *picture) {
    reader r = {.source = source, .picture = picture};
    if (!chunks_are_there(source)) return broken(source, early);
    errno = 0; /* by it alone libpng, and zlib in it, always tell that memory was short */
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, leave, pass_over);
    if (r.png) r.info = png_create_info_struct(r.png);
    bool done = r.info && read_protected(&r);
    if (ct_ok() && (!r.info || errno == ENOMEM))
        done = ct_fail_bool("%s: out of memory", source->name); /* also where it was passed over */
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (done && r.channels == 4) ct_picture_over_white(picture);
    return done;
}

const ct_picture_format ct_picture_png = {is_png, decode};
