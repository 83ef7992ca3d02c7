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

#define EXPECTED "JPEG, PNG or WebP"
static const char convert[] = "convert it, as ImageMagick's `convert FILE FILE.png` does";
static const char draw[] = "draw it first, as rsvg-convert does";
static const char failed[] = "perhaps of a download that failed";

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
};

/* Texts that come instead of a picture, after white space and whatever their case. */
static const signature texts[] = {
    HAS(0, "<!doctype", "a web page"), HAS(0, "<html", "a web page"),
    HAS(0, "<head", "a web page"),     HAS(0, "<?xml", "an XML document"),
    HAS(0, "{", "a JSON text"),
};

static const char *picture_of(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        const signature *s = &pictures[i];
        if (size >= s->at + s->length && memcmp(bytes + s->at, s->text, s->length) == 0) {
            return s->what;
        }
    }
    return NULL;
}

static const char *text_of(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const signature *s = &texts[i];
        if (size >= s->length && strncasecmp((const char *)bytes, s->text, s->length) == 0) {
            return s->what;
        }
    }
    return NULL;
}

/* XML may be anything; a drawing says so soon. */
static bool is_drawing(const uint8_t *bytes, size_t size) {
    const size_t most = 4096;
    return size >= 5 &&
           (memcmp(bytes, "<svg", 4) == 0 || memcmp(bytes, "<?xml", 5) == 0 ||
            memcmp(bytes, "<!--", 4) == 0) &&
           memmem(bytes, size < most ? size : most, "<svg", 4) != NULL;
}

static bool other(ct_picture_source *source, const char *what, const char *way_out) {
    return ct_picture_broken(source, "%s, expected " EXPECTED ": %s", what, way_out);
}

bool ct_picture_other(ct_picture_source *source) {
    const uint8_t *bytes = source->bytes;
    size_t size = source->size;
    if (size == 0) return ct_picture_broken(source, "the file is empty, expected " EXPECTED);
    const char *picture = picture_of(bytes, size);
    if (picture) return other(source, picture, convert);
    size_t space = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* byte order mark */
    while (space < size && isspace(bytes[space])) space++;
    if (is_drawing(bytes + space, size - space)) return other(source, "an SVG drawing", draw);
    const char *text = text_of(bytes + space, size - space);
    if (text) return other(source, text, failed);
    source->broken = true;
    if (ct_file_is_other(source->name, bytes, size, EXPECTED)) return false;
    return ct_picture_broken(source,
                             "neither JPEG, PNG nor WebP: it begins with the bytes "
                             "%02x %02x %02x %02x",
                             bytes[0], size > 1 ? bytes[1] : 0, size > 2 ? bytes[2] : 0,
                             size > 3 ? bytes[3] : 0);
}
