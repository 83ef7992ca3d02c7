/* SPDX-License-Identifier: Apache-2.0 */
/* GloVe's text: train/data/word_vectors.c. */
#include <math.h>

#include "tests/fuzz/harness.h"
#include "train/data/data.h"

static ct_vocabulary *vocabulary;

static void close_vocabulary(void) { ct_vocabulary_destroy(vocabulary); }

static void open_vocabulary(void) {
    const char *const words[] = {"a man rides 1 horse , the ."};
    vocabulary = ct_vocabulary_build(words, 1, 1);
    fuzz_must(vocabulary != NULL, "there is a vocabulary");
    atexit(close_vocabulary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!vocabulary) open_vocabulary();
    const char *path = fuzz_put("vectors.txt", data, size);
    uint8_t *known = NULL;
    ct_tensor *vectors = ct_word_vectors_read(path, vocabulary, NULL, &known);
    if (vectors) {
        fuzz_must(known && ct_dim(vectors, 0) == ct_vocabulary_size(vocabulary),
                  "each word has a row");
        fuzz_must(!ct_tensor_has_nonfinite(vectors), "vectors are finite");
    }
    fuzz_end(vectors != NULL, path);
    free(known);
    ct_release(vectors);
    return 0;
}
