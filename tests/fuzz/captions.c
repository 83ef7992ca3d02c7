/* SPDX-License-Identifier: Apache-2.0 */
/* Captions, their words and a vocabulary of them: train/data/text.c, tokenize.c, split.c,
 * encode.c. */
#include "tests/fuzz/split.h"

static ct_vocabulary *vocabulary;
static ct_encoder *encoders[2];

static void close_encoders(void) {
    for (int i = 0; i < 2; i++) ct_encoder_destroy(encoders[i]);
    ct_vocabulary_destroy(vocabulary);
}

static void open_encoders(void) {
    const char *const words[] = {"a man rides a horse ."};
    vocabulary = ct_vocabulary_build(words, 1, 1);
    encoders[0] = ct_encoder_create(vocabulary, (ct_encoding){0});
    encoders[1] = ct_encoder_create(vocabulary, (ct_encoding){.released_tokens = true});
    fuzz_must(encoders[0] && encoders[1], "captions can be encoded");
    atexit(close_encoders);
    put_images();
}

static void build_vocabulary(const ct_split *split) {
    ct_vocabulary *built =
        ct_vocabulary_build((const char *const *)split->captions, split->caption_count, 1);
    fuzz_must(built != NULL, "there is a vocabulary of captions that could be read");
    ct_vocabulary_destroy(built);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!vocabulary) open_encoders();
    fuzz_put("x_caps.txt", data, size);
    ct_split *split = ct_split_open(fuzz_folder(), "x", (ct_split_options){0});
    if (split) build_vocabulary(split);
    bool done = split != NULL;
    for (int i = 0; done && i < 2; i++) done = ct_split_encode(split, encoders[i]);
    fuzz_end(done, "x_caps.txt");
    ct_split_destroy(split);
    return 0;
}
