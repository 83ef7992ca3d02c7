/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures from files: which decoder, memory for pixels, errors that name the file. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tensor/core/check.h"
#include "tensor/io/file.h"
#include "train/pictures/decode.h"

enum { MOST_SIDE = 65535 };

bool ct_picture_broken(ct_picture_source *source, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    source->broken = true;
    return ct_fail_bool("%s: %s", source->name, text);
}

bool ct_picture_check_size(ct_picture_source *source, int64_t width, int64_t height) {
    if (width < 1 || height < 1 || width > MOST_SIDE || height > MOST_SIDE) {
        return ct_picture_broken(
            source, "a picture of %" PRId64 " x %" PRId64 " pixels, expected sides of 1 to %d",
            width, height, MOST_SIDE);
    }
    if (width * height > source->most_pixels) {
        return ct_picture_broken(source,
                                 "a picture of %" PRId64 " x %" PRId64 " pixels, expected %" PRId64
                                 " at most: make it smaller",
                                 width, height, source->most_pixels);
    }
    return true;
}

bool ct_picture_allocate(ct_picture_source *source, int64_t width, int64_t height, int channels,
                         ct_picture *picture) {
    if (!ct_picture_check_size(source, width, height)) return false;
    uint8_t *pixels = malloc((size_t)(width * height * channels));
    if (!pixels) return ct_fail_bool("%s: out of memory", source->name);
    *picture = (ct_picture){(int)width, (int)height, pixels};
    return true;
}

/* What a pixel of this opacity is over white, rounded. */
static uint8_t over_white(int value, int opacity) {
    int sum = value * opacity + 255 * (255 - opacity) + 128;
    return (uint8_t)((sum + (sum >> 8)) >> 8);
}

void ct_picture_over_white(ct_picture *picture) {
    size_t pixels = (size_t)picture->width * (size_t)picture->height;
    const uint8_t *from = picture->rgb;
    uint8_t *to = picture->rgb;
    for (size_t i = 0; i < pixels; i++, from += 4, to += 3) {
        int opacity = from[3];
        for (int c = 0; c < 3; c++) to[c] = over_white(from[c], opacity);
    }
    uint8_t *smaller = realloc(picture->rgb, pixels * 3);
    if (smaller) picture->rgb = smaller;
}

static const ct_picture_format *format_of(const ct_picture_source *source) {
    static const ct_picture_format *const formats[] = {&ct_picture_jpeg, &ct_picture_png,
                                                       &ct_picture_webp};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i]->is(source->bytes, source->size)) return formats[i];
    }
    return NULL;
}

static bool decode(ct_picture_source *source, ct_picture *picture) {
    const ct_picture_format *format = format_of(source);
    source->orientation = source->reduced = 1;
    bool done = format ? format->decode(source, picture) : ct_picture_other(source);
    if (done && ct_picture_turn(picture, source->orientation)) return true;
    ct_picture_free(picture);
    return false;
}

static bool is_small_enough(ct_picture_source *source) {
    return source->size <= CT_PICTURE_MOST_BYTES ||
           ct_picture_broken(source, "larger than %d MiB, what is read of a picture at most",
                             CT_PICTURE_MOST_BYTES >> 20);
}

char *ct_picture_bytes(const char *path, size_t *size) {
    ct_picture_source source = {.name = path};
    char *bytes = ct_file_read_start(path, CT_PICTURE_MOST_BYTES + 1, &source.size);
    *size = source.size;
    if (!bytes || is_small_enough(&source)) return bytes;
    free(bytes);
    return NULL;
}

bool ct_picture_read_source(ct_picture_source *source, ct_picture *picture) {
    char *bytes = ct_file_read_start(source->name, CT_PICTURE_MOST_BYTES + 1, &source->size);
    source->bytes = (const uint8_t *)bytes;
    bool done = bytes && is_small_enough(source) && decode(source, picture);
    free(bytes);
    source->bytes = NULL;
    return done;
}

bool ct_picture_read(const char *path, int64_t most_pixels, ct_picture *picture) {
    if (!ct_check_pointer("picture_read", "picture", picture)) return false;
    *picture = (ct_picture){0};
    if (!ct_check_pointer("picture_read", "path", path) || !ct_ok()) return false;
    ct_picture_source source = {.name = path, .most_pixels = most_pixels};
    return ct_picture_read_source(&source, picture);
}

bool ct_picture_decode(const char *name, const void *bytes, size_t size, int64_t most_pixels,
                       ct_picture *picture) {
    if (!ct_check_pointer("picture_decode", "picture", picture)) return false;
    *picture = (ct_picture){0};
    if (!ct_check_pointer("picture_decode", "name", name) ||
        !ct_check_list("picture_decode", "bytes", bytes, (int64_t)size) || !ct_ok()) {
        return false;
    }
    ct_picture_source source = {
        .name = name, .bytes = bytes, .size = size, .most_pixels = most_pixels};
    return decode(&source, picture);
}

void ct_picture_free(ct_picture *picture) {
    if (!picture) return;
    free(picture->rgb);
    *picture = (ct_picture){0};
}
