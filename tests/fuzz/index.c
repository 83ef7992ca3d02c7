/* SPDX-License-Identifier: Apache-2.0 */
/* The file of an index: train/search/index_file.c. */
#include "tests/fuzz/harness.h"
#include "train/search/index_parts.h"

/* Every row, caption and path that a search may show. */
static void show(const ct_index *index) {
    size_t shown = 0;
    for (int i = 0; i < index->count; i++) {
        const ct_index_split *s = &index->splits[i];
        for (int side = 0; side < 2; side++) {
            if (s->rows[side]) fuzz_read_all(s->rows[side]);
        }
        for (int64_t c = 0; c < s->captions; c++) {
            shown += strlen(s->caption[c]) + (size_t)s->image_of[c];
        }
        for (int64_t n = 0; n < s->images; n++) {
            if (s->picture) shown += strlen(s->picture[n]);
            fuzz_must(s->first_caption[n] < s->captions, "an image has a caption or none");
        }
    }
    fuzz_must(shown < SIZE_MAX, "it can be shown");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ct_index_model model = {CT_COSINE, 2, "0123456789abcdef"};
    const char *path = fuzz_put("all.index", data, size);
    CT_SCOPE {
        ct_index *index = ct_index_read(&model, path);
        if (index) show(index);
        fuzz_end(index != NULL, path);
        ct_index_close(index);
    }
    return 0;
}
