/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures against what Pillow makes of them (tests/train/record_pictures.py): every kind of file,
 * resized, and the views of a model. */
#include "tests/files_test.h"
#include "tests/train/picture_fixture.h"

static void check_pixels(const char *name, const ct_picture *picture, const ct_tensor *expected) {
    assert_no_error();
    ck_assert_msg(picture->height == expected->shape.dim[0] &&
                      picture->width == expected->shape.dim[1],
                  "%s: %d x %d pixels, expected %s", name, picture->width, picture->height,
                  ct_shape_text(expected->shape));
    const uint8_t *right = ct_data(expected);
    for (int64_t i = 0; i < ct_count(expected); i++) {
        ck_assert_msg(picture->rgb[i] == right[i],
                      "%s: value %d of pixel (%d,%d) is %d, expected %d", name, (int)(i % 3),
                      (int)(i / 3 % picture->width), (int)(i / 3 / picture->width), picture->rgb[i],
                      right[i]);
    }
}

static void check_file_of(const golden *g, const char *name) {
    ct_picture picture = decoded(g, name);
    check_pixels(name, &picture, recorded(g, "rgb", name));
    ct_picture_free(&picture);
    ck_assert_ptr_null(picture.rgb);
}

START_TEST(decodes_as_pillow_does) { ck_assert_int_eq(for_each("file", check_file_of), 49); }
END_TEST

static ct_picture_filter filter_of(const char *name) {
    return strcmp(name, "bicubic") == 0 ? CT_PICTURE_BICUBIC : CT_PICTURE_BILINEAR;
}

/* "444.jpg.9x11.bilinear", and perhaps ".LEFT,TOP,RIGHT,BOTTOM". */
static void check_resized(const golden *g, const char *name) {
    char file[32], kind[32];
    int width, height, length = 0;
    ct_picture_box box;
    ck_assert_int_eq(
        sscanf(name, "%31[^.].jpg.%dx%d.%31[a-z]%n", file, &width, &height, kind, &length), 4);
    int edges = sscanf(name + length, ".%f,%f,%f,%f", &box.left, &box.top, &box.right, &box.bottom);
    strcat(file, ".jpg");
    ct_picture picture = decoded(g, file), small;
    ck_assert(ct_picture_resize(&picture, edges == 4 ? &box : NULL, width, height, filter_of(kind),
                                &small));
    check_pixels(name, &small, recorded(g, "resize", name));
    ct_picture_free(&small);
    ct_picture_free(&picture);
}

START_TEST(resizes_as_pillow_does) { ck_assert_int_eq(for_each("resize", check_resized), 24); }
END_TEST

/* "444.jpg.RESIZE.SIZE.bilinear". */
static void check_viewed(const golden *g, const char *name) {
    char file[32], kind[32];
    int resize, size;
    ck_assert_int_eq(sscanf(name, "%31[^.].jpg.%d.%d.%31[a-z]", file, &resize, &size, kind), 4);
    strcat(file, ".jpg");
    ct_picture picture = decoded(g, file);
    ct_picture_view view = ct_picture_view_defaults(size);
    view.resize = resize;
    view.filter = filter_of(kind);
    float *out = malloc((size_t)(3 * size * size) * sizeof *out);
    ck_assert(ct_picture_look(&picture, &view, NULL, out));
    const uint8_t *right = ct_data(recorded(g, "view", name));
    for (int i = 0; i < 3 * size * size; i++) {
        float expected = (float)right[i % (size * size) * 3 + i / (size * size)] / 255;
        ck_assert_msg(out[i] == expected, "%s: value %d is %g, expected %g", name, i,
                      (double)out[i], (double)expected);
    }
    free(out);
    ct_picture_free(&picture);
}

START_TEST(sees_as_torchvision_does) { ck_assert_int_eq(for_each("view", check_viewed), 16); }
END_TEST

/* "large.jpg.RESIZE.SIZE". */
static void check_reduced(const golden *g, const char *name) {
    int resize, size;
    ck_assert_int_eq(sscanf(name, "large.jpg.%d.%d", &resize, &size), 2);
    const ct_tensor *file = recorded(g, "file", "large.jpg");
    put_file(in_test_folder("large.jpg"), ct_data(file), (size_t)ct_count(file));
    ct_picture_view view = ct_picture_view_defaults(size);
    view.resize = resize;
    view.reduce = true;
    float *out = malloc((size_t)(3 * size * size) * sizeof *out);
    ck_assert(ct_picture_load(in_test_folder("large.jpg"), &view, NULL, out));
    const uint8_t *right = ct_data(recorded(g, "reduced", name));
    for (int i = 0; i < 3 * size * size; i++) {
        float expected = (float)right[i % (size * size) * 3 + i / (size * size)] / 255;
        ck_assert_msg(out[i] == expected, "%s: value %d is %g, expected %g", name, i,
                      (double)out[i] * 255, (double)expected * 255);
    }
    free(out);
}

START_TEST(reduces_as_pillow_does) { ck_assert_int_eq(for_each("reduced", check_reduced), 4); }
END_TEST

TEST_MAIN("pictures", decodes_as_pillow_does, resizes_as_pillow_does, sees_as_torchvision_does,
          reduces_as_pillow_does)
