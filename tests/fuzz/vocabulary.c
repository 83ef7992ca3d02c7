/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON vocabulary: train/data/vocabulary.c. */
#include "tests/fuzz/harness.h"
#include "train/data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("vocabulary.json", data, size);
    ct_vocabulary *vocabulary = ct_vocabulary_read(path);
    for (int64_t i = 0; i < ct_vocabulary_size(vocabulary); i++) {
        const char *word = ct_vocabulary_word(vocabulary, i);
        fuzz_must(word && ct_vocabulary_id(vocabulary, word) == i, "a word's id is its own");
    }
    fuzz_end(vocabulary != NULL, path);
    ct_vocabulary_destroy(vocabulary);
    return 0;
}
