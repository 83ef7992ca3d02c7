/* SPDX-License-Identifier: Apache-2.0 */
/* WebP, by libwebp: with loss and without, with opacity; the first picture of an animation. */
#include <errno.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "train/pictures/decode.h"

static bool is_webp(const uint8_t *bytes, size_t size) {
    return size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

static bool fail_status(ct_picture_source *source, VP8StatusCode status) {
    static const char *const texts[] = {
        [VP8_STATUS_INVALID_PARAM] = "invalid",
        [VP8_STATUS_BITSTREAM_ERROR] = "its data are damaged",
        [VP8_STATUS_UNSUPPORTED_FEATURE] = "an unsupported feature",
        [VP8_STATUS_SUSPENDED] = "the file ends early",
        [VP8_STATUS_USER_ABORT] = "stopped",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "the file ends early",
    };
    if (status == VP8_STATUS_OUT_OF_MEMORY) return ct_fail_bool("%s: out of memory", source->name);
    return ct_picture_broken(source, "a WebP that cannot be read (%s), expected a whole picture",
                             texts[status]);
}

static bool decode_still(ct_picture_source *source, WebPDecoderConfig *config, int channels,
                         ct_picture *picture) {
    WebPDecBuffer *output = &config->output;
    size_t row = (size_t)picture->width * (size_t)channels;
    output->colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    output->is_external_memory = 1;
    output->u.RGBA = (WebPRGBABuffer){picture->rgb, (int)row, row * (size_t)picture->height};
    VP8StatusCode status = WebPDecode(source->bytes, source->size, config);
    return status == VP8_STATUS_OK || fail_status(source, status);
}

/* The first picture, where it lies on a transparent canvas. */
static bool decode_first(ct_picture_source *source, ct_picture *picture) {
    WebPData data = {source->bytes, source->size};
    WebPAnimDecoderOptions options;
    uint8_t *canvas = NULL;
    int time = 0;
    errno = 0; /* by it alone memory that is short is told */
    WebPAnimDecoder *decoder =
        WebPAnimDecoderOptionsInit(&options) ? WebPAnimDecoderNew(&data, &options) : NULL;
    bool done = decoder && WebPAnimDecoderGetNext(decoder, &canvas, &time);
    if (done) memcpy(picture->rgb, canvas, (size_t)picture->width * (size_t)picture->height * 4);
    WebPAnimDecoderDelete(decoder);
    if (!done && errno == ENOMEM) return ct_fail_bool("%s: out of memory", source->name);
    return done ||
           ct_picture_broken(source, "an animated WebP that is damaged or cut short, expected "
                                     "a whole one");
}

/* The first of that name; its bytes are the file's own. */
static ct_picture_block chunk_of(const WebPDemuxer *file, const char *name) {
    WebPChunkIterator chunk;
    if (!WebPDemuxGetChunk(file, name, 1, &chunk)) return (ct_picture_block){NULL, 0};
    ct_picture_block block = {chunk.chunk.bytes, chunk.chunk.size};
    WebPDemuxReleaseChunkIterator(&chunk);
    return block;
}

static bool read_orientation(ct_picture_source *source) {
    WebPData data = {source->bytes, source->size};
    errno = 0;
    WebPDemuxer *file = WebPDemux(&data);
    if (file) ct_picture_orient(source, chunk_of(file, "EXIF"), chunk_of(file, "XMP "));
    bool short_of_memory = !file && errno == ENOMEM;
    WebPDemuxDelete(file);
    return !short_of_memory || ct_fail_bool("%s: out of memory", source->name);
}

static bool decode(ct_picture_source *source, ct_picture *picture) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) return ct_fail_bool("libwebp is of another version");
    VP8StatusCode status = WebPGetFeatures(source->bytes, source->size, &config.input);
    if (status != VP8_STATUS_OK) return fail_status(source, status);
    bool animated = config.input.has_animation;
    int channels = config.input.has_alpha || animated ? 4 : 3;
    if (!ct_picture_allocate(source, config.input.width, config.input.height, channels, picture)) {
        return false;
    }
    bool done =
        animated ? decode_first(source, picture) : decode_still(source, &config, channels, picture);
    if (!done) return false;
    if (channels == 4) ct_picture_over_white(picture);
    return read_orientation(source);
}

const ct_picture_format ct_picture_webp = {is_webp, decode};
