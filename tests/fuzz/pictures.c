/* SPDX-License-Identifier: Apache-2.0 */
/* JPEG, PNG and WebP: train/pictures/. */
#include "tests/fuzz/harness.h"
#include "train/pictures/picture.h"

enum { MOST_PIXELS = 1 << 18, SIZE = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ct_picture picture;
    bool done = ct_picture_decode("x.jpg", data, size, MOST_PIXELS, &picture);
    if (done) {
        float seen[3 * SIZE * SIZE];
        ct_picture_view view = ct_picture_view_defaults(SIZE);
        fuzz_must((int64_t)picture.width * picture.height <= MOST_PIXELS, "it is small enough");
        fuzz_must(ct_picture_look(&picture, &view, NULL, seen), "what is read can be looked at");
    } else fuzz_must(!picture.rgb, "what is not read is empty");
    fuzz_end(done, "x.jpg");
    ct_picture_free(&picture);
    return 0;
}
