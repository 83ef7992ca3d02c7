/* SPDX-License-Identifier: Apache-2.0 */
/* Which way up a picture is: EXIF's or XMP's orientation, and turning by it. */
#include <stdlib.h>
#include <string.h>

#include "train/pictures/decode.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY = 12 };

/* A block of TIFF: numbers of either byte order. */
typedef struct {
    const uint8_t *bytes;
    size_t size;
    bool big; /* the most significant byte first */
} block;

/* 0 beyond the end. */
static uint32_t number(const block *b, size_t at, int bytes) {
    uint32_t value = 0;
    if (at > b->size || b->size - at < (size_t)bytes) return 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | b->bytes[at + (size_t)(b->big ? i : bytes - 1 - i)];
    }
    return value;
}

static uint32_t entry_value(const block *b, size_t entry) {
    uint32_t type = number(b, entry + 2, 2);
    if (type == TYPE_BYTE) return number(b, entry + 8, 1);
    if (type == TYPE_SHORT) return number(b, entry + 8, 2);
    return type == TYPE_LONG ? number(b, entry + 8, 4) : 0;
}

/* 0: none is said; so below. */
static int exif_orientation(ct_picture_block exif) {
    static const char head[6] = "Exif\0";
    bool named = exif.size >= sizeof head && memcmp(exif.bytes, head, sizeof head) == 0;
    size_t skipped = named ? sizeof head : 0;
    block b = {(const uint8_t *)exif.bytes + skipped, exif.size - skipped, false};
    if (b.size < 8) return 0;
    b.big = memcmp(b.bytes, "MM\0*", 4) == 0;
    if (!b.big && memcmp(b.bytes, "II*\0", 4) != 0) return 0;
    size_t list = number(&b, 4, 4);
    size_t count = number(&b, list, 2);
    for (size_t i = 0; i < count && list + 2 + (i + 1) * ENTRY <= b.size; i++) {
        size_t entry = list + 2 + i * ENTRY;
        if (number(&b, entry, 2) != TAG_ORIENTATION) continue;
        uint32_t value = entry_value(&b, entry);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 0;
}

static int xmp_orientation(ct_picture_block xmp) {
    static const char name[] = "tiff:Orientation";
    const uint8_t *text = xmp.bytes;
    enum { LENGTH = sizeof name - 1, TAIL = 3 }; /* ="6 or >6< */
    for (size_t i = 0; i + LENGTH + TAIL <= xmp.size; i++) {
        if (memcmp(text + i, name, LENGTH) != 0) continue;
        const uint8_t *value = text + i + LENGTH;
        if (value[0] == '=' && value[1] == '"') value++;
        else if (value[0] != '>') continue;
        return value[1] >= '1' && value[1] <= '8' ? value[1] - '0' : 1;
    }
    return 0;
}

void ct_picture_orient(ct_picture_source *source, ct_picture_block exif, ct_picture_block xmp) {
    int said = exif.bytes ? exif_orientation(exif) : 0;
    if (said == 0 && xmp.bytes) said = xmp_orientation(xmp);
    if (said) source->orientation = said;
}

/* Orientations 2, 3, 7, 8 have the file's columns from right to left, 3, 4, 6, 7 its rows from the
 * bottom up; from 5 on they are exchanged. */
bool ct_picture_turn(ct_picture *picture, int orientation) {
    if (orientation == 1) return true;
    int width = picture->width, height = picture->height;
    bool swap = orientation >= 5;
    bool back = orientation == 2 || orientation == 3 || orientation >= 7;
    bool up = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    ptrdiff_t column = back ? -3 : 3, row = (ptrdiff_t)width * (up ? -3 : 3);
    const uint8_t *first = picture->rgb + (back ? (ptrdiff_t)(width - 1) * 3 : 0) +
                           (up ? (ptrdiff_t)(height - 1) * width * 3 : 0);
    uint8_t *turned = malloc((size_t)width * (size_t)height * 3);
    if (!turned) return ct_fail_bool("picture: out of memory");
    int to_width = swap ? height : width, to_height = swap ? width : height;
    uint8_t *to = turned;
    for (int y = 0; y < to_height; y++) {
        const uint8_t *from = first + y * (swap ? column : row);
        for (int x = 0; x < to_width; x++, to += 3, from += swap ? row : column) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
    free(picture->rgb);
    *picture = (ct_picture){to_width, to_height, turned};
    return true;
}
