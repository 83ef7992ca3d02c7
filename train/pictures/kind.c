/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no JPEG, PNG or WebP, called what they are. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "tensor/io/file.h"
#include "train/pictures/decode.h"

typedef struct {
    size_t at;
    const char *text;
    size_t length;
    const char *what;
} signature;

#define HAS(at, text, what) \
    { at, text, sizeof(text) - 1, what }

/* Pictures of other kinds. */
static const signature pictures[] = {
    HAS(0, "GIF87a", "a GIF"),
    HAS(0, "GIF89a", "a GIF"),
    HAS(0, "II*\0", "a TIFF"),
    HAS(0, "MM\0*", "a TIFF"),
    HAS(0, "II+\0", "a TIFF"),
    HAS(0, "MM\0+", "a TIFF"),
    HAS(4, "ftypavif", "an AVIF picture"),
    HAS(4, "ftypavis", "an AVIF picture"),
    HAS(4, "ftypheic", "a HEIC picture"),
    HAS(4, "ftypheix", "a HEIC picture"),
    HAS(4, "ftypmif1", "a HEIF picture"),
    HAS(4, "ftyphevc", "a HEIC picture"),
    HAS(4, "ftypmsf1", "a HEIF picture"),
    HAS(4, "ftyp", "a video or another file of MPEG-4's kind"),
    HAS(0, "\0\0\0\x0cjP  ", "a JPEG 2000"),
    HAS(0, "\xff\x4f\xff\x51", "a JPEG 2000"),
    HAS(0, "\xff\x0a", "a JPEG XL"),
    HAS(0, "\0\0\0\x0cJXL ", "a JPEG XL"),
    HAS(0, "8BPS", "a Photoshop document"),
    HAS(0, "\0\0\1\0", "an icon (ICO)"),
    HAS(0, "BM", "a BMP"),
    HAS(0, "<svg", "an SVG drawing"),
};

/* Texts that come instead of a picture, after white space and whatever their case. */
static const signature texts[] = {
    HAS(0, "<!doctype", "a web page"), HAS(0, "<html", "a web page"),
    HAS(0, "<head", "a web page"),     HAS(0, "<?xml", "an XML document"),
    HAS(0, "{", "a JSON text"),
};

static bool is_text(const signature *s, const uint8_t *bytes, size_t size) {
    return size >= s->length && strncasecmp((const char *)bytes, s->text, s->length) == 0;
}

static bool contains_svg(const uint8_t *bytes, size_t size) {
    return memmem(bytes, size < 4096 ? size : 4096, "<svg", 4) != NULL;
}

static bool other_text(ct_picture_source *source) {
    const uint8_t *bytes = source->bytes;
    size_t size = source->size, space = 0;
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) space = 3; /* byte order mark */
    while (space < size && isspace(bytes[space])) space++;
    if (space == size) return ct_picture_broken(source, "only white space, expected a picture");
    if (bytes[space] == '<' && contains_svg(bytes, size) &&
        !is_text(&texts[0], bytes + space, size - space) &&
        !is_text(&texts[1], bytes + space, size - space)) {
        return ct_picture_broken(source, "an SVG drawing, expected JPEG, PNG or WebP: draw it "
                                         "first, as rsvg-convert does");
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!is_text(&texts[i], bytes + space, size - space)) continue;
        return ct_picture_broken(
            source, "%s, expected a picture: perhaps of a download that failed", texts[i].what);
    }
    return false;
}

bool ct_picture_other(ct_picture_source *source) {
    size_t size = source->size;
    if (size == 0) return ct_picture_broken(source, "the file is empty, expected a picture");
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        const signature *s = &pictures[i];
        if (size < s->at + s->length || memcmp(source->bytes + s->at, s->text, s->length) != 0) {
            continue;
        }
        return ct_picture_broken(source,
                                 "%s, expected JPEG, PNG or WebP: convert it, as ImageMagick's "
                                 "`convert FILE FILE.png` does",
                                 s->what);
    }
    source->broken = true;
    if (other_text(source) || !ct_ok() ||
        ct_file_is_other(source->name, source->bytes, size, "a picture (JPEG, PNG or WebP)")) {
        return false;
    }
    return ct_picture_broken(source,
                             "neither JPEG, PNG nor WebP: it begins with the bytes "
                             "%02x %02x %02x %02x",
                             source->bytes[0], size > 1 ? source->bytes[1] : 0,
                             size > 2 ? source->bytes[2] : 0, size > 3 ? source->bytes[3] : 0);
}
