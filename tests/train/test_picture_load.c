/* SPDX-License-Identifier: Apache-2.0 */
/* What training sees of pictures: changes drawn for a sample, and many loaded by several threads.
 */
#include "tests/files_test.h"
#include "tests/train/picture_fixture.h"

enum { WIDTH = 40, HEIGHT = 30 };

/* A picture whose pixel (x, y) is (6 x, 8 y, 100). */
static ct_picture slope(void) {
    ct_picture p = {WIDTH, HEIGHT, malloc(WIDTH * HEIGHT * 3)};
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        p.rgb[3 * i] = (uint8_t)(6 * (i % WIDTH));
        p.rgb[3 * i + 1] = (uint8_t)(8 * (i / WIDTH));
        p.rgb[3 * i + 2] = 100;
    }
    return p;
}

/* (3, size, size) from malloc. */
static float *seen(const ct_picture *picture, const ct_picture_view *view,
                   const ct_picture_draw *draw) {
    float *out = malloc((size_t)(3 * view->size * view->size) * sizeof *out);
    ck_assert_msg(ct_picture_look(picture, view, draw, out), "%s", ct_error());
    return out;
}

/* ---- fits -------------------------------------------------------------------------------- */

START_TEST(stretches_to_the_square) {
    ct_picture p = slope(), square;
    ct_picture_view view = ct_picture_view_defaults(12);
    view.fit = CT_PICTURE_STRETCH;
    float *out = seen(&p, &view, NULL);
    ck_assert(ct_picture_resize(&p, NULL, 12, 12, CT_PICTURE_BILINEAR, &square));
    for (int i = 0; i < 3 * 144; i++) {
        ck_assert_float_eq(out[i], (float)square.rgb[i % 144 * 3 + i / 144] / 255);
    }
    ct_picture_free(&square);
    ct_picture_free(&p);
    free(out);
}
END_TEST

START_TEST(pads_on_both_sides) {
    ct_picture p = slope(), inner;
    ct_picture_view view = ct_picture_view_defaults(20);
    view.fit = CT_PICTURE_PAD;
    float *out = seen(&p, &view, NULL);
    ck_assert(ct_picture_resize(&p, NULL, 20, 15, CT_PICTURE_BILINEAR, &inner));
    for (int i = 0; i < 3 * 400; i++) {
        int c = i / 400, y = i % 400 / 20 - 2, x = i % 20;
        int value = y < 0 || y >= 15 ? view.fill[c] : inner.rgb[(y * 20 + x) * 3 + c];
        ck_assert_float_eq(out[i], (float)value / 255);
    }
    ct_picture_free(&inner);
    ct_picture_free(&p);
    free(out);
}
END_TEST

/* The thinnest pictures there can be, both ways, in every way they can be fitted. */
START_TEST(sees_thin_pictures) {
    for (int way = 0; way < 2; way++) {
        ct_picture p = {way ? 1 : 65535, way ? 65535 : 1, malloc(65535 * 3)};
        memset(p.rgb, 51, 65535 * 3);
        for (int fit = 0; fit < 3; fit++) {
            ct_picture_view view = ct_picture_view_defaults(8);
            view.fit = (ct_picture_fit)fit;
            view.fill[0] = 51;
            view.changes.crop = way;
            ct_picture_draw draw = {1, 2, 3};
            for (int k = 0; k < 2; k++) {
                float *out = seen(&p, &view, k ? &draw : NULL);
                for (int i = 0; i < 64; i++) ck_assert_float_eq(out[i], 51.0f / 255);
                free(out);
            }
        }
        ct_picture_free(&p);
    }
}
END_TEST

/* large.jpg, 89 x 61 pixels, with these segments behind its first marker. */
static const char *write_with(const void *segments, size_t more) {
    golden g = golden_open("pictures", CT_F32);
    const char *path = in_test_folder("turned.jpg");
    CT_SCOPE {
        const ct_tensor *large = recorded(&g, "file", "large.jpg");
        size_t size = (size_t)ct_count(large);
        uint8_t *bytes = malloc(size + more);
        memcpy(bytes, ct_data(large), 2);
        memcpy(bytes + 2, segments, more);
        memcpy(bytes + 2 + more, (const uint8_t *)ct_data(large) + 2, size - 2);
        put_file(path, bytes, size + more);
        free(bytes);
    }
    golden_close(&g);
    return path;
}

/* EXIF of one tag, whose value is at [28]. */
#define EXIF_OF(tag) \
    "\xff\xe1\0\x22" \
    "Exif\0\0II*\0\x08\0\0\0\1\0" tag "\3\0\1\0\0\0\0\0\0\0\0\0\0"

/* With EXIF that says this orientation. */
static const char *write_turned(int orientation) {
    uint8_t exif[] = EXIF_OF("\x12\1");
    exif[28] = (uint8_t)orientation;
    return write_with(exif, 2 + 0x22);
}

static double mean_difference(const float *a, const float *b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += fabs((double)a[i] - (double)b[i]) / count;
    return sum;
}

/* What is seen stays where it is, whichever way up, a part or the whole: a few grey levels off, and
 * tens of them from what is elsewhere. */
START_TEST(sees_the_same_of_reduced_pictures) {
    static float whole[3 * 64], reduced[3 * 64], before[3 * 64];
    for (int i = 0; i < 8 * 4; i++) {
        const char *path = write_turned(i / 4 + 1);
        ct_picture_view view = ct_picture_view_defaults(8);
        view.fit = (ct_picture_fit)(i % 4 % 3);
        view.changes.crop = i % 4 == 3;
        view.changes.scale[0] = 0.3;
        ct_picture_draw draw = {1, 2, i};
        ck_assert(ct_picture_load(path, &view, &draw, whole));
        view.reduce = true;
        ck_assert(ct_picture_load(path, &view, &draw, reduced));
        double is = mean_difference(whole, reduced, 3 * 64) * 255;
        ck_assert_msg(is > 0 && is < 10, "%d: %g off", i, is);
        if (i >= 4) {
            double other = mean_difference(before, reduced, 3 * 64) * 255;
            ck_assert_msg(i % 4 != 0 || other > 15, "%d: %g off the one before", i, other);
        }
        if (i % 4 == 0) memcpy(before, reduced, sizeof before);
    }
}
END_TEST

/* XMP, then EXIF whose only tag has the value 3: the orientation's, or another. */
static const char *write_xmp(const char *tag, const char *text) {
    uint8_t segments[256] = "\xff\xe1\0\0http://ns.adobe.com/xap/1.0/", exif[] = EXIF_OF("\x12\1");
    size_t length = 4 + 29 + strlen(text);
    memcpy(segments + 4 + 29, text, strlen(text));
    segments[3] = (uint8_t)(length - 2);
    memcpy(exif + 20, tag, 2);
    exif[28] = 3;
    memcpy(segments + length, exif, 2 + 0x22);
    return write_with(segments, length + 2 + 0x22);
}

/* As Pillow: where EXIF says no orientation that of XMP counts, an attribute or an element. */
START_TEST(turns_as_xmp_says_where_exif_does_not) {
    static const struct {
        const char *tag, *xmp;
        int orientation;
    } cases[] = {
        {"\x12\1", "<x tiff:Orientation=\"6\"/>", 3},
        {"\x1a\1", "<x tiff:Orientation=\"6\"/>", 6},
        {"\x1a\1", "<tiff:Orientation>8</tiff:Orientation>", 8},
        {"\x1a\1", "<x tiff:Orientation=\"9\"/>", 1},
        {"\x1a\1", "<x tiff:Orientations=\"2\" tiff:Orientation=\"5\"/>", 5},
        {"\x1a\1", "<x tiff:Orientation=\"", 1},
        {"\x1a\1", "", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct_picture turned, expected;
        ck_assert(ct_picture_read(write_turned(cases[i].orientation), 1 << 20, &expected));
        ck_assert(ct_picture_read(write_xmp(cases[i].tag, cases[i].xmp), 1 << 20, &turned));
        ck_assert_int_eq(turned.width, expected.width);
        ck_assert_msg(!memcmp(turned.rgb, expected.rgb, 89 * 61 * 3), "case %zu", i);
        ct_picture_free(&turned);
        ct_picture_free(&expected);
    }
}
END_TEST

/* ---- changes ----------------------------------------------------------------------------- */

START_TEST(flips_half_of_them) {
    ct_picture p = slope();
    ct_picture_view view = ct_picture_view_defaults(12);
    float *plain = seen(&p, &view, NULL);
    view.changes.flip = 0.5;
    int flipped = 0;
    for (int number = 0; number < 200; number++) {
        float *out = seen(&p, &view, &(ct_picture_draw){7, 1, number});
        bool is = out[0] != plain[0];
        for (int i = 0; i < 3 * 144; i++) {
            ck_assert_float_eq(out[i], plain[is ? i / 12 * 12 + 11 - i % 12 : i]);
        }
        flipped += is;
        free(out);
    }
    ck_assert_int_ge(flipped, 75);
    ck_assert_int_le(flipped, 125);
    free(plain);
    ct_picture_free(&p);
}
END_TEST

/* The picture's colours say where they were: all of the result is of the part that was drawn, whose
 * area and ratio are within what was asked for. */
START_TEST(crops_within_scale_and_ratio) {
    ct_picture p = slope();
    ct_picture_view view = ct_picture_view_defaults(32);
    view.changes.crop = true;
    view.changes.scale[0] = 0.2;
    view.changes.scale[1] = 0.5;
    double least = 1, most = 0;
    for (int number = 0; number < 300; number++) {
        float *out = seen(&p, &view, &(ct_picture_draw){3, 0, number});
        /* red grows by 6 / 255 a pixel to the right, green by 8 / 255 downwards */
        double width = (double)(out[16 * 32 + 24] - out[16 * 32 + 8]) * 255 / 6 * 2;
        double height = (double)(out[1024 + 24 * 32 + 16] - out[1024 + 8 * 32 + 16]) * 255 / 8 * 2;
        double area = width * height / (WIDTH * HEIGHT), ratio = width / height;
        ck_assert_msg(area > 0.17 && area < 0.54, "area %g", area);
        ck_assert_msg(ratio > 0.69 && ratio < 1.45, "ratio %g", ratio);
        least = fmin(least, (double)out[16 * 32]);
        most = fmax(most, (double)out[16 * 32 + 31]);
        free(out);
    }
    ck_assert_msg(least < 0.02 && most > 6 * 38 / 255.0, "red from %g to %g", least, most);
    ct_picture_free(&p);
}
END_TEST

static double clamped(double x) { return fmin(fmax(x, 0), 1); }

/* `factor`: what brightness made of the value 100 / 255 of the plane that has no other. */
START_TEST(changes_colours_as_torchvision_does) {
    ct_picture p = slope();
    ct_picture_view view = ct_picture_view_defaults(10);
    float *plain = seen(&p, &view, NULL);
    double grey[100], mean = 0;
    for (int i = 0; i < 100; i++) {
        grey[i] = 0.2989 * plain[i] + 0.587 * plain[100 + i] + 0.114 * plain[200 + i];
        mean += grey[i] / 100;
    }
    for (int kind = 0; kind < 3; kind++) {
        double least = 9, most = 0;
        view.changes = ct_picture_changes_defaults();
        double *amount[] = {&view.changes.brightness, &view.changes.contrast,
                            &view.changes.saturation};
        *amount[kind] = 0.4;
        for (int number = 0; number < 100; number++) {
            float *out = seen(&p, &view, &(ct_picture_draw){5, 4, number});
            const int at = 255; /* blue, which differs from both greys */
            double other = kind == 0 ? 0 : kind == 1 ? mean : grey[at % 100];
            double factor = (out[at] - other) / (plain[at] - other);
            for (int i = 0; i < 300; i++) {
                other = kind == 0 ? 0 : kind == 1 ? mean : grey[i % 100];
                double right = clamped(other + (plain[i] - other) * factor);
                ck_assert_double_eq_tol((double)out[i], right, 1e-4);
            }
            least = fmin(least, factor);
            most = fmax(most, factor);
            free(out);
        }
        ck_assert_msg(least > 0.599 && least < 0.65 && most < 1.401 && most > 1.35,
                      "factors of %d from %g to %g", kind, least, most);
    }
    free(plain);
    ct_picture_free(&p);
}
END_TEST

/* What a sample's changes are is part of what a seed promises. */
START_TEST(draws_by_seed_epoch_and_number) {
    ct_picture p = slope();
    ct_picture_view view = ct_picture_view_defaults(16);
    view.changes.crop = true;
    view.changes.flip = 0.5;
    view.changes.brightness = view.changes.contrast = view.changes.saturation = 0.3;
    static const ct_picture_draw draws[] = {{1, 2, 3}, {1, 2, 3}, {2, 2, 3}, {1, 3, 3}, {1, 2, 4}};
    float *first = seen(&p, &view, &draws[0]);
    size_t bytes = 3 * 256 * sizeof *first;
    for (int i = 1; i < 5; i++) {
        float *other = seen(&p, &view, &draws[i]);
        ck_assert((memcmp(first, other, bytes) == 0) == (i == 1));
        free(other);
    }
    ct_rng rng = ct_rng_create(1, 0x70696374);
    rng.offset = (((uint64_t)2 << 32 | 3) << 6) + 48;
    bool flips = ct_random_double(&rng) < 0.5;
    view.changes = ct_picture_changes_defaults();
    float *plain = seen(&p, &view, &draws[0]);
    view.changes.flip = 0.5;
    float *flipped = seen(&p, &view, &draws[0]);
    ck_assert((plain[0] != flipped[0]) == flips);
    free(first);
    free(plain);
    free(flipped);
    ct_picture_free(&p);
}
END_TEST

/* ---- many -------------------------------------------------------------------------------- */

enum { FILES = 24, SIZE = 9, VALUES = 3 * SIZE * SIZE };

static char paths[FILES][512];
static const char *path_of[FILES];

/* 24 files, of every kind that Pillow made. */
static void write_files(void) {
    static const char *const names[] = {"420.jpg", "plain8.png", "alpha.webp", "turned6.jpg"};
    golden g = golden_open("pictures", CT_F32);
    for (int i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.jpg", i);
        snprintf(paths[i], sizeof paths[i], "%s", in_test_folder(name));
        path_of[i] = paths[i];
        CT_SCOPE {
            const ct_tensor *file = recorded(&g, "file", names[i % 4]);
            put_file(paths[i], ct_data(file), (size_t)ct_count(file));
        }
    }
    golden_close(&g);
}

static ct_picture_view changing_view(void) {
    ct_picture_view view = ct_picture_view_defaults(SIZE);
    view.changes.crop = true;
    view.changes.flip = 0.5;
    view.changes.saturation = 0.5;
    return view;
}

START_TEST(loads_the_same_with_any_number_of_threads) {
    write_files();
    ct_picture_view view = changing_view();
    ct_picture_draw draws[FILES];
    for (int i = 0; i < FILES; i++) draws[i] = (ct_picture_draw){9, 1, 1000 + i};
    static float one[FILES * VALUES], many[FILES * VALUES];
    ck_assert(ct_pictures_load(path_of, FILES, 1, &view, draws, NULL, one));
    static const int threads[] = {2, 5, 100};
    for (int t = 0; t < 3; t++) {
        memset(many, 0, sizeof many);
        ck_assert(ct_pictures_load(path_of, FILES, threads[t], &view, draws, NULL, many));
        ck_assert_mem_eq(one, many, sizeof one);
    }
    for (int i = 0; i < FILES; i++) {
        ck_assert(ct_picture_load(path_of[i], &view, &draws[i], many));
        ck_assert_mem_eq(one + i * VALUES, many, VALUES * sizeof *many);
    }
    ck_assert(ct_pictures_load(NULL, 0, 3, &view, NULL, NULL, NULL));
    assert_no_error();
}
END_TEST

START_TEST(names_the_first_that_cannot_be_loaded) {
    write_files();
    ct_picture_view view = changing_view();
    static float out[FILES * VALUES];
    put_file(path_of[17], "GIF89a", 6);
    put_file(path_of[11], "", 0);
    for (int repeat = 0; repeat < 20; repeat++) {
        ck_assert(!ct_pictures_load(path_of, FILES, 1 + repeat % 5, &view, NULL, NULL, out));
        assert_error("/11.jpg: the file is empty, expected JPEG, PNG or WebP");
    }
    unlink(path_of[3]);
    ck_assert(!ct_pictures_load(path_of, FILES, 5, &view, NULL, NULL, out));
    assert_error("/3.jpg: cannot open: No such file or directory");
}
END_TEST

START_TEST(skips_broken_ones_if_asked) {
    write_files();
    ct_picture_view view = changing_view();
    static float out[FILES * VALUES], whole[FILES * VALUES];
    bool broken[FILES];
    memset(broken, 1, sizeof broken);
    ck_assert(ct_pictures_load(path_of, FILES, 3, &view, NULL, broken, whole));
    for (int i = 0; i < FILES; i++) ck_assert(!broken[i]);
    put_file(path_of[17], "GIF89a", 6);
    put_file(path_of[0], "\xff\xd8\xff", 3);
    for (int threads = 1; threads < 6; threads += 2) {
        memset(out, 1, sizeof out);
        ck_assert(ct_pictures_load(path_of, FILES, threads, &view, NULL, broken, out));
        assert_no_error();
        for (int i = 0; i < FILES * VALUES; i++) {
            bool is = i / VALUES == 17 || i / VALUES == 0;
            ck_assert(broken[i / VALUES] == is);
            ck_assert(out[i] == (is ? 0 : whole[i]));
        }
    }
    /* a file that is not there is no broken picture */
    unlink(path_of[20]);
    ck_assert(!ct_pictures_load(path_of, FILES, 3, &view, NULL, broken, out));
    assert_error("/20.jpg: cannot open");
}
END_TEST

/* ---- wrong use --------------------------------------------------------------------------- */

#define REFUSED(change, text)                                  \
    do {                                                       \
        ct_picture_view view = ct_picture_view_defaults(SIZE); \
        view.changes.crop = true;                              \
        change;                                                \
        ck_assert(!ct_picture_view_check(&view));              \
        assert_error(text);                                    \
    } while (0)

START_TEST(refuses_views_that_make_no_sense) {
    REFUSED(view.size = 0, "pictures: size is 0, expected 1 to 8192");
    REFUSED(view.size = 8193, "pictures: size is 8193, expected 1 to 8192");
    REFUSED(view.resize = 8, "pictures: resize is 8, expected 9, which is the size, to 65535");
    REFUSED(view.most_pixels = 0, "pictures: most_pixels is 0, expected 1 or more");
    REFUSED(view.filter = (ct_picture_filter)2, "pictures: filter");
    REFUSED(view.fit = (ct_picture_fit)-1, "pictures: fit");
    REFUSED(view.changes.scale[0] = 0, "pictures: scale is 0 to 1, expected numbers above 0, 1");
    REFUSED(view.changes.scale[1] = 1.5, "pictures: scale is 0.08 to 1.5, expected numbers");
    REFUSED(view.changes.ratio[0] = 2, "pictures: ratio is 2 to 1.33333, expected numbers above");
    REFUSED(view.changes.flip = 1.1, "pictures: flip is 1.1, expected 0 to 1");
    REFUSED(view.changes.contrast = -1, "pictures: contrast is -1, expected 0 to 100");
    REFUSED(view.changes.saturation = NAN, "pictures: saturation is nan, expected 0 to 100");
    ck_assert(!ct_picture_view_check(NULL));
    assert_error("pictures: view is NULL");
}
END_TEST

START_TEST(refuses_wrong_use) {
    ct_picture p = slope(), to;
    ct_picture_view view = ct_picture_view_defaults(SIZE);
    float out[VALUES];
    const char *path[] = {NULL};
    ck_assert(!ct_picture_look(&p, &view, &(ct_picture_draw){1, -1, 0}, out));
    assert_error("sample 0 of epoch -1, expected samples 0 to 4294967295 of epochs 0 to 67108863");
    ck_assert(!ct_picture_look(&p, &view, NULL, NULL));
    assert_error("picture_look: out is NULL");
    ck_assert(!ct_pictures_load(path, 1, 1, &view, NULL, NULL, out));
    assert_error("pictures_load: a path is NULL");
    path[0] = "a.jpg";
    ck_assert(!ct_pictures_load(path, 1, 0, &view, NULL, NULL, out));
    assert_error("pictures_load: 0 threads, expected 1 to 1024");
    ck_assert(!ct_pictures_load(path, -1, 1, &view, NULL, NULL, out));
    assert_error("pictures_load: ");
    ck_assert(!ct_picture_resize(&p, NULL, 0, 5, CT_PICTURE_BILINEAR, &to));
    assert_error("picture_resize: to 0 x 5 pixels, expected sides of 1 to 65535");
    ct_picture_box box = {0, 0, WIDTH + 1, 5};
    ck_assert(!ct_picture_resize(&p, &box, 5, 5, CT_PICTURE_BILINEAR, &to));
    assert_error("the box from (0, 0) to (41, 5), expected one within 40 x 30 pixels");
    box.right = NAN;
    ck_assert(!ct_picture_resize(&p, &box, 5, 5, CT_PICTURE_BILINEAR, &to));
    assert_error("picture_resize: the box from");
    ck_assert(!ct_picture_resize(NULL, NULL, 5, 5, CT_PICTURE_BILINEAR, &to));
    assert_error("picture_resize: from is NULL");
    ct_picture_free(&p);
    ct_picture_free(NULL);
}
END_TEST

TEST_MAIN("loading pictures", stretches_to_the_square, pads_on_both_sides, sees_thin_pictures,
          sees_the_same_of_reduced_pictures, turns_as_xmp_says_where_exif_does_not,
          flips_half_of_them, crops_within_scale_and_ratio, changes_colours_as_torchvision_does,
          draws_by_seed_epoch_and_number, loads_the_same_with_any_number_of_threads,
          names_the_first_that_cannot_be_loaded, skips_broken_ones_if_asked,
          refuses_views_that_make_no_sense, refuses_wrong_use)
