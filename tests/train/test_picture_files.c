/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no picture, or not a whole one: each is one error that names it. */
#include "tests/files_test.h"
#include "tests/train/picture_fixture.h"

static bool decode(const void *bytes, size_t size, int64_t most_pixels) {
    ct_picture picture;
    bool done = ct_picture_decode("a/file.jpg", bytes, size, most_pixels, &picture);
    ck_assert(done == ct_ok() && done == (picture.rgb != NULL));
    if (!done) ck_assert_msg(strncmp(ct_error(), "a/file.jpg: ", 12) == 0, "%s", ct_error());
    ct_picture_free(&picture);
    return done;
}

#define OTHER(bytes, text) \
    { bytes, sizeof(bytes) - 1, text }

static const struct {
    const char *bytes;
    size_t size;
    const char *text;
} others[] = {
    OTHER("", "the file is empty, expected JPEG, PNG or WebP"),
    OTHER(" \n\t", "neither JPEG, PNG nor WebP: it begins with the bytes 20 0a 09"),
    OTHER("GIF89a\1\0\1\0", "a GIF, expected JPEG, PNG or WebP: convert it"),
    OTHER("BM\x9a\0\0\0\0\0\0\0\0\0", "a BMP, expected JPEG"),
    OTHER("II*\0\x08\0\0\0", "a TIFF, expected JPEG"),
    OTHER("MM\0*\0\0\0\x08", "a TIFF, expected JPEG"),
    OTHER("\0\0\0\x18"
          "ftypheic\0\0\0\0",
          "a HEIC picture, expected JPEG"),
    OTHER("\0\0\0\x18"
          "ftypavif\0\0\0\0",
          "an AVIF picture, expected JPEG"),
    OTHER("\0\0\0\x18"
          "ftypisom\0\0\0\0",
          "a video or another file of MPEG-4's kind"),
    OTHER("<svg xmlns=", "an SVG drawing, expected JPEG, PNG or WebP: draw it first"),
    OTHER("\xef\xbb\xbf<?xml version='1.0'?>\n<svg >",
          "an SVG drawing, expected JPEG, PNG or WebP: draw it first"),
    OTHER("<?xml version='1.0'?><Error/>",
          "an XML document, expected JPEG, PNG or WebP: perhaps of"),
    OTHER("\n<!DOCTYPE html><svg></svg>", "a web page, expected JPEG, PNG or WebP: perhaps of"),
    OTHER("<HTML><head>", "a web page, expected JPEG, PNG or WebP: perhaps of"),
    OTHER("{\"error\": 404}", "a JSON text, expected JPEG, PNG or WebP: perhaps of"),
    OTHER("version https://git-lfs.github.com/spec/v1\n", "git lfs pull fetches the file"),
    OTHER("PK\x03\x04", "a zip archive, expected JPEG, PNG or WebP: unzip it"),
    OTHER("\x93NUMPY\1\0", "a NumPy array (.npy), expected JPEG"),
    OTHER("a dog", "neither JPEG, PNG nor WebP: it begins with the bytes 61 20 64 6f"),
    OTHER("a", "neither JPEG, PNG nor WebP: it begins with the bytes 61"),
    OTHER("\xff\xd8\xff", "a JPEG that cannot be read"),
    OTHER("\x89PNG\r\n\x1a\n", "a PNG that cannot be read (the file ends early)"),
    OTHER("RIFF\0\0\0\0WEBP", "a WebP that cannot be read"),
};

START_TEST(says_what_a_file_is_instead) {
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_assert_msg(!decode(others[i].bytes, others[i].size, 1000), "decoded %zu", i);
        assert_error(others[i].text);
    }
}
END_TEST

static const char *const bad[][2] = {
    {"scans.jpg", "a JPEG of more than 500 scans"},
    {"channels.jpg", "a JPEG of 2 channels, expected 1, 3 or 4"},
    {"huge.jpg", "a picture of 65000 x 65000 pixels, expected 178956970 at most: make it smaller"},
    {"huge.png", "a picture of 65000 x 65000 pixels, expected 178956970 at most"},
    {"huge.webp", "a picture of 16383 x 16383 pixels, expected 178956970 at most"},
    {"flat.png", "a PNG that cannot be read (Invalid IHDR data), expected a whole picture"},
    {"long.png", "a picture of 70000 x 2 pixels, expected sides of 1 to 65535"},
};
enum { BAD = sizeof bad / sizeof *bad };

static void refuse(const golden *g, const char *name) {
    size_t i = 0;
    while (i < BAD && strcmp(bad[i][0], name) != 0) i++;
    ck_assert_msg(i < BAD, "%s", name);
    const ct_tensor *file = recorded(g, "bad", name);
    ck_assert(!decode(ct_data(file), (size_t)ct_count(file), CT_PICTURE_MOST_PIXELS));
    assert_error(bad[i][1]);
}

START_TEST(refuses_bombs_before_they_go_off) { ck_assert_int_eq(for_each("bad", refuse), BAD); }
END_TEST

/* Every 11th length, and each of the last ones. */
static void cut(const golden *g, const char *name) {
    const ct_tensor *file = recorded(g, "file", name);
    size_t size = (size_t)ct_count(file);
    for (size_t bytes = 0; bytes < size; bytes += bytes + 16 < size ? 11 : 1) {
        /* memory of that size: AddressSanitizer sees what is read beyond it */
        void *part = malloc(bytes + 1);
        memcpy(part, ct_data(file), bytes);
        ck_assert_msg(!decode(part, bytes, 1 << 20), "%s: decoded %zu of %zu bytes", name, bytes,
                      size);
        ct_error_clear();
        free(part);
    }
}

START_TEST(refuses_what_is_cut_short) { ck_assert_int_gt(for_each("file", cut), 30); }
END_TEST

/* Changed bytes give a picture or an error, soon, and nothing else. */
static void damage(const golden *g, const char *name) {
    enum { CHANGES = 200 };
    const ct_tensor *file = recorded(g, "file", name);
    size_t size = (size_t)ct_count(file);
    ct_rng rng = ct_rng_create(17, size);
    uint8_t *bytes = malloc(size);
    for (int i = 0; i < CHANGES; i++) {
        memcpy(bytes, ct_data(file), size);
        for (uint64_t k = ct_random_below(&rng, 3) + 1; k > 0; k--) {
            /* half of them in the headers */
            uint64_t room = ct_random_below(&rng, 2) || size < 64 ? size : 64;
            bytes[ct_random_below(&rng, room)] ^= (uint8_t)(1 << ct_random_below(&rng, 8));
        }
        decode(bytes, size, 1 << 18);
        ct_error_clear();
    }
    free(bytes);
}

START_TEST(survives_damage) { ck_assert_int_gt(for_each("file", damage), 30); }
END_TEST

/* A file with `more` bytes in it, `from_end` bytes before its end: the same pixels. */
static void check_inserted(const golden *g, const char *name, size_t from_end, const char *more,
                           size_t count) {
    const ct_tensor *file = recorded(g, "file", name);
    size_t size = (size_t)ct_count(file), at = size - from_end;
    uint8_t *bytes = malloc(size + count);
    memcpy(bytes, ct_data(file), at);
    memcpy(bytes + at, more, count);
    memcpy(bytes + at + count, (const uint8_t *)ct_data(file) + at, from_end);
    ct_picture picture, right = decoded(g, name);
    ck_assert_msg(ct_picture_decode(name, bytes, size + count, 1 << 20, &picture), "%s",
                  ct_error());
    ck_assert_mem_eq(picture.rgb, right.rgb, (size_t)right.width * (size_t)right.height * 3);
    ct_picture_free(&picture);
    ct_picture_free(&right);
    free(bytes);
}

#define INSERTED(name, from_end, more) check_inserted(&g, name, from_end, more, sizeof(more) - 1)

/* Cameras and programs write such files. */
START_TEST(passes_over_what_has_no_part_in_the_pixels) {
    golden g = golden_open("pictures", CT_F32);
    CT_SCOPE {
        INSERTED("444.jpg", 2, "\0\0\0\0\0");        /* before the end of the picture */
        INSERTED("444.jpg", 0, "a video behind it"); /* after it */
        INSERTED("plain8.png", 0, "more");
        INSERTED("plain8.png", 12, "\0\0\0\3tEXta\0b\1\2\3\4"); /* a wrong checksum */
        INSERTED("plain8.png", 12,
                 "\0\0\0\4gAMA\0\0\xb1\x8f\x0b\xfc\x61\x05"); /* in a wrong place */
        INSERTED("lossy.webp", 0, "more");
    }
    golden_close(&g);
}
END_TEST

static void put_recorded(const golden *g, const char *name, const char *path) {
    const ct_tensor *file = recorded(g, "file", name);
    put_file(path, ct_data(file), (size_t)ct_count(file));
}

START_TEST(tells_the_kind_by_content) {
    static const char *const pairs[][2] = {
        {"444.jpg", "a.png"}, {"plain8.png", "a.webp"}, {"lossy.webp", "a.jpg"}, {"422.jpg", "a"}};
    golden g = golden_open("pictures", CT_F32);
    for (int i = 0; i < 4; i++) {
        CT_SCOPE {
            ct_picture picture, right = decoded(&g, pairs[i][0]);
            put_recorded(&g, pairs[i][0], in_test_folder(pairs[i][1]));
            ck_assert(ct_picture_read(in_test_folder(pairs[i][1]), 1 << 20, &picture));
            ck_assert_int_eq(picture.width, right.width);
            ck_assert_int_eq(picture.height, right.height);
            size_t bytes = (size_t)right.width * (size_t)right.height * 3;
            ck_assert_mem_eq(picture.rgb, right.rgb, bytes);
            ct_picture_free(&picture);
            ct_picture_free(&right);
        }
    }
    golden_close(&g);
}
END_TEST

START_TEST(names_what_cannot_be_read) {
    ct_picture picture;
    ck_assert(!ct_picture_read(in_test_folder("none.jpg"), 100, &picture));
    assert_error("none.jpg: cannot open: No such file or directory");
    ck_assert(!ct_picture_read("/tmp", 100, &picture));
    assert_error("/tmp: cannot read: Is a directory");
    golden g = golden_open("pictures", CT_F32);
    const char *path = in_test_folder("small.jpg");
    CT_SCOPE { put_recorded(&g, "444.jpg", path); }
    ck_assert(ct_picture_read(path, 23 * 17, &picture));
    ct_picture_free(&picture);
    ck_assert(!ct_picture_read(path, 23 * 17 - 1, &picture));
    assert_error("small.jpg: a picture of 23 x 17 pixels, expected 390 at most: make it smaller");
    ck_assert(!ct_picture_read(NULL, 100, &picture));
    assert_error("picture_read: path is NULL");
    ck_assert(!ct_picture_read(path, 100, NULL));
    assert_error("picture_read: picture is NULL");
    ck_assert(!ct_picture_decode(path, NULL, 3, 100, &picture));
    assert_error("picture_decode: bytes");
    golden_close(&g);
}
END_TEST

START_TEST(reads_no_more_than_a_picture_may_have) {
    const char *path = in_test_folder("huge.jpg");
    ct_picture picture;
    size_t size;
    put_file(path, "\xff\xd8\xff", 3);
    ck_assert_int_eq(truncate(path, 1LL << 40), 0);
    ck_assert(!ct_picture_read(path, 100, &picture));
    assert_error("huge.jpg: larger than 256 MiB, what is read of a picture at most");
    ck_assert_ptr_null(ct_picture_bytes(path, &size));
    assert_error("huge.jpg: larger than 256 MiB, what is read of a picture at most");
    ck_assert(!ct_picture_read("/dev/zero", 100, &picture));
    assert_error("/dev/zero: larger than 256 MiB");
    ct_picture_view view = ct_picture_view_defaults(8);
    static float out[3 * 8 * 8];
    const char *paths[] = {path};
    bool broken[1];
    ck_assert(ct_pictures_load(paths, 1, 1, &view, NULL, broken, out));
    ck_assert(broken[0]); /* it can be left out as others that are none */
}
END_TEST

/* The most address space that the process ever had, in MiB; -1: not known. */
static long most_mapped(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1024;
    while (file && fgets(line, sizeof line, file)) sscanf(line, "VmPeak: %ld", &kib);
    if (file) fclose(file);
    return kib / 1024;
}

/* Found by tests/fuzz: a text of 1 GiB, says the file of 72 bytes. */
START_TEST(gives_a_chunk_no_memory_for_what_it_only_claims) {
    static const char claims[] = "\x89PNG\r\n\x1a\n\0\0\0\15IHDR\0\0\0\27\0\0\0\21\10\2\0\0\0"
                                 "\xb9\x11\xa0\xea\x40\0\0\x45iTXtXML:com.adobe.xmp\0\0\0\0\0<x";
    long before = most_mapped();
    ck_assert(!decode(claims, sizeof claims - 1, 1 << 20));
    assert_error("a PNG that cannot be read (the file ends early), expected a whole picture");
    ck_assert_int_lt(most_mapped() - before, 256);
}
END_TEST

/* The libraries below write to the standard error stream if they are let. */
START_TEST(prints_nothing) {
    fflush(stderr);
    int before = dup(STDERR_FILENO), file = open(in_test_folder("printed"), O_CREAT | O_RDWR, 0600);
    ck_assert(before >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    for_each("bad", refuse);
    for_each("file", cut);
    fflush(stderr);
    ck_assert(dup2(before, STDERR_FILENO) >= 0);
    ck_assert_int_eq(lseek(file, 0, SEEK_END), 0);
    close(file);
    close(before);
}
END_TEST

TEST_MAIN("picture files", says_what_a_file_is_instead, refuses_bombs_before_they_go_off,
          refuses_what_is_cut_short, survives_damage, passes_over_what_has_no_part_in_the_pixels,
          tells_the_kind_by_content, names_what_cannot_be_read,
          reads_no_more_than_a_picture_may_have, gives_a_chunk_no_memory_for_what_it_only_claims,
          prints_nothing)
