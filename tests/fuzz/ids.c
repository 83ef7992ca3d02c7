/* SPDX-License-Identifier: Apache-2.0 */
/* Which image each caption is of: train/data/split.c. */
#include "tests/fuzz/split.h"

static const char captions[] = "a man\na horse\na hat\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    if (!begun) {
        put_images();
        fuzz_put("x_caps.txt", captions, sizeof captions - 1);
        begun = true;
    }
    fuzz_put("x_ids.txt", data, size);
    ct_split *split = ct_split_open(fuzz_folder(), "x", (ct_split_options){0});
    for (int64_t i = 0; split && i < split->caption_count; i++) {
        int64_t image = split->image_of[i];
        fuzz_must(image >= 0 && image < split->image_count, "a caption is of an image");
    }
    fuzz_end(split != NULL, "x_ids.txt");
    ct_split_destroy(split);
    return 0;
}
