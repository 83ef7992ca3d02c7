/* SPDX-License-Identifier: Apache-2.0 */
/* What a model sees of a picture: a square of it, cut and resized, as numbers. */
#include "train/pictures/view.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "tensor/core/check.h"

enum { MOST_SIZE = 8192, MOST_RESIZE = 65535 };

ct_picture_view ct_picture_view_defaults(int64_t size) {
    return (ct_picture_view){.size = size,
                             .resize = (size * 256 + 112) / 224,
                             .filter = CT_PICTURE_BILINEAR,
                             .fit = CT_PICTURE_CROP,
                             .fill = {124, 116, 104},
                             .most_pixels = CT_PICTURE_MOST_PIXELS,
                             .changes = ct_picture_changes_defaults()};
}

bool ct_picture_view_check(const ct_picture_view *view) {
    if (!ct_check_pointer("pictures", "view", view) ||
        !ct_check_choice("pictures", "filter", view->filter, 2) ||
        !ct_check_choice("pictures", "fit", view->fit, 3)) {
        return false;
    }
    if (view->size < 1 || view->size > MOST_SIZE) {
        return ct_fail_bool("pictures: size is %" PRId64 ", expected 1 to %d", view->size,
                            MOST_SIZE);
    }
    if (view->fit == CT_PICTURE_CROP && (view->resize < view->size || view->resize > MOST_RESIZE)) {
        return ct_fail_bool("pictures: resize is %" PRId64 ", expected %" PRId64
                            ", which is the size, to %d",
                            view->resize, view->size, MOST_RESIZE);
    }
    if (view->most_pixels < 1) {
        return ct_fail_bool("pictures: most_pixels is %" PRId64 ", expected 1 or more",
                            view->most_pixels);
    }
    return ct_picture_changes_check(&view->changes);
}

/* ---- which part of the picture, at which size --------------------------------------------- */

/* A rectangle of the picture, what it becomes, and where that lies in the square. */
typedef struct {
    ct_rectangle from;
    ct_resampling how; /* but for its box */
    int left, top;
} framing;

static framing frame_whole(const ct_rectangle *from, int width, int height,
                           ct_picture_filter filter) {
    return (framing){.from = *from,
                     .how = {.width = width,
                             .height = height,
                             .part_width = width,
                             .part_height = height,
                             .filter = filter}};
}

/* The middle of what torchvision's Resize makes of it, whose longer side is cut to an integer. */
static framing frame_middle(const ct_rectangle *from, const ct_picture_view *view) {
    int64_t width = from->width, height = from->height, shorter = width < height ? width : height;
    framing f = frame_whole(from, (int)(view->resize * width / shorter),
                            (int)(view->resize * height / shorter), view->filter);
    f.how.part_width = f.how.part_height = (int)view->size;
    f.how.left = (int)nearbyint((f.how.width - (int)view->size) / 2.0);
    f.how.top = (int)nearbyint((f.how.height - (int)view->size) / 2.0);
    return f;
}

static framing frame_padded(const ct_rectangle *from, const ct_picture_view *view) {
    int64_t longer = from->width > from->height ? from->width : from->height;
    int64_t width = (view->size * from->width + longer / 2) / longer;
    int64_t height = (view->size * from->height + longer / 2) / longer;
    width = width ? width : 1;
    height = height ? height : 1;
    framing f = frame_whole(from, (int)width, (int)height, view->filter);
    f.left = (int)(view->size - width) / 2;
    f.top = (int)(view->size - height) / 2;
    return f;
}

/* Of a picture of this size. */
static framing frame(int width, int height, const ct_picture_view *view,
                     const ct_picture_draw *draw) {
    ct_rectangle from = {0, 0, width, height};
    int size = (int)view->size;
    if (draw && view->changes.crop) {
        from = ct_picture_draw_crop(&view->changes, draw, width, height);
        return frame_whole(&from, size, size, view->filter);
    }
    if (view->fit == CT_PICTURE_CROP) return frame_middle(&from, view);
    if (view->fit == CT_PICTURE_PAD) return frame_padded(&from, view);
    return frame_whole(&from, size, size, view->filter);
}

int ct_picture_reduction(const ct_picture_view *view, const ct_picture_draw *draw, int width,
                         int height) {
    framing f = frame(width, height, view, draw);
    int by = 8;
    while (by > 1 && (f.from.width / by < f.how.width || f.from.height / by < f.how.height)) {
        by /= 2;
    }
    return by;
}

ct_picture_box ct_picture_seen(const ct_picture_view *view, int width, int height) {
    framing f = frame(width, height, view, NULL);
    float across = (float)f.how.width, down = (float)f.how.height, size = (float)view->size;
    float left = (float)(f.how.left - f.left), top = (float)(f.how.top - f.top);
    return (ct_picture_box){left / across, top / down, (left + size) / across, (top + size) / down};
}

/* What is seen is cut out and then resized, as torchvision has it: the filter does not look beyond
 * it. Of a reduced picture it is a box whose edges may lie within pixels. */
static bool resample(const ct_looked_at *at, framing *f, uint8_t *to, size_t row) {
    const ct_rectangle *r = &f->from;
    if (at->reduced == 1) {
        ct_pixels part = ct_pixels_within(at->picture, r->left, r->top, r->width, r->height);
        f->how.box = (ct_picture_box){0, 0, (float)r->width, (float)r->height};
        return ct_resample(&part, &f->how, to, row);
    }
    ct_pixels whole = ct_pixels_of(at->picture);
    float by = (float)at->reduced, right = (float)at->width / by, bottom = (float)at->height / by;
    int o = at->orientation;
    float left = o == 2 || o == 3 || o == 6 || o == 7 ? (float)whole.width - right : 0;
    float top = o == 3 || o == 4 || o == 7 || o == 8 ? (float)whole.height - bottom : 0;
    f->how.box = (ct_picture_box){left + (float)r->left / by, top + (float)r->top / by,
                                  left + (float)(r->left + r->width) / by,
                                  top + (float)(r->top + r->height) / by};
    return ct_resample(&whole, &f->how, to, row);
}

/* ---- numbers ----------------------------------------------------------------------------- */

static void fill_square(const ct_picture_view *view, uint8_t *rgb) {
    int64_t pixels = view->size * view->size;
    for (int64_t i = 0; i < pixels * 3; i++) rgb[i] = view->fill[i % 3];
}

/* Rows of pixels to planes, each row from right to left if `flip`. */
static void to_planes(const uint8_t *rgb, int64_t size, bool flip, float *out) {
    float *red = out, *green = out + size * size, *blue = out + 2 * size * size;
    int64_t step = flip ? -1 : 1;
    for (int64_t y = 0; y < size; y++) {
        int64_t to = y * size + (flip ? size - 1 : 0);
        for (int64_t x = 0; x < size; x++, rgb += 3, to += step) {
            red[to] = (float)rgb[0] / 255;
            green[to] = (float)rgb[1] / 255;
            blue[to] = (float)rgb[2] / 255;
        }
    }
}

bool ct_picture_look_at(const ct_looked_at *at, const ct_picture_view *view,
                        const ct_picture_draw *draw, float *out) {
    size_t row = (size_t)view->size * 3;
    uint8_t *rgb = malloc(row * (size_t)view->size);
    if (!rgb) return ct_fail_bool("picture: out of memory");
    framing f = frame(at->width, at->height, view, draw);
    if (f.how.part_width < view->size || f.how.part_height < view->size) fill_square(view, rgb);
    bool done = resample(at, &f, rgb + (size_t)f.top * row + (size_t)f.left * 3, row);
    if (done) {
        to_planes(rgb, view->size, draw && ct_picture_draw_flip(&view->changes, draw), out);
        if (draw) ct_picture_jitter(&view->changes, draw, view->size * view->size, out);
    }
    free(rgb);
    return done;
}

bool ct_picture_look(const ct_picture *picture, const ct_picture_view *view,
                     const ct_picture_draw *draw, float *out) {
    if (!ct_check_pointer("picture_look", "picture", picture) ||
        !ct_check_pointer("picture_look", "picture->rgb", picture->rgb) ||
        !ct_check_pointer("picture_look", "out", out) || !ct_picture_view_check(view) ||
        !ct_picture_draw_check(draw) || !ct_ok()) {
        return false;
    }
    ct_looked_at at = {picture, picture->width, picture->height, 1, 1};
    return ct_picture_look_at(&at, view, draw, out);
}
