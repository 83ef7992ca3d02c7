/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/data.h"

/* What the released code's captioner reads at most, <start> and <end> counted. */
enum { DECODER_TOKENS = 60 };

struct ct_encoder {
    const ct_vocabulary *vocabulary;
    ct_encoding encoding;
    ct_tokenizer *ids, *vectors; /* vectors: NULL where its tokens are those of the ids */
    ct_tokenizer *plain;         /* NULL: as the ids */
};

/* Whether the words whose vectors are read are not simply the ids. */
static bool reads_apart(const ct_encoder *encoder) {
    const ct_encoding *e = &encoder->encoding;
    return e->known && (e->released_tokens || e->drop_unknown);
}

ct_encoder *ct_encoder_create(const ct_vocabulary *vocabulary, ct_encoding encoding) {
    if (!vocabulary || !ct_ok()) return NULL;
    ct_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder) return ct_fail("encoder: out of memory");
    encoder->vocabulary = vocabulary;
    encoder->encoding = encoding;
    /* the longest caption is padded with nothing: so many words beside <start> and <end> */
    int64_t most = encoding.pad_words - 2, *max_words = &encoder->encoding.max_words;
    if (encoding.pad_words && (!*max_words || *max_words > most)) *max_words = most;
    bool released = encoding.released_tokens;
    encoder->ids = ct_tokenizer_create(released ? CT_TOKENS_RELEASED : CT_TOKENS_PLAIN);
    if (released) encoder->plain = ct_tokenizer_create(CT_TOKENS_PLAIN);
    if (released && encoding.known) {
        encoder->vectors = ct_tokenizer_create(CT_TOKENS_RELEASED_VECTORS);
    }
    if (ct_ok()) return encoder;
    ct_encoder_destroy(encoder);
    return NULL;
}

void ct_encoder_destroy(ct_encoder *encoder) {
    if (!encoder) return;
    ct_tokenizer_destroy(encoder->ids);
    ct_tokenizer_destroy(encoder->vectors);
    ct_tokenizer_destroy(encoder->plain);
    free(encoder);
}

/* ---- one caption ------------------------------------------------------------------------- */

/* Ids of the tokens between <start> and <end>; with `known` only of those that are in the
 * vocabulary and have a flag there. From malloc; NULL and an error for a sentence without one. */
static int64_t *encode(const ct_encoder *encoder, ct_tokenizer *tokenizer, const char *sentence,
                       const uint8_t *known, int64_t *count, bool *cut) {
    int64_t most = encoder->encoding.max_words;
    int found;
    char **tokens = ct_tokenizer_split(tokenizer, sentence, &found);
    if (!tokens) return NULL;
    if (cut) *cut = most > 0 && found > most;
    if (most > 0 && found > most) found = (int)most;
    int64_t *ids = found ? malloc(((size_t)found + 2) * sizeof *ids) : NULL;
    if (!ids) ct_fail(found ? "caption: out of memory" : "no word in '%.60s'", sentence);
    *count = 0;
    for (int i = -1; ids && i <= found; i++) {
        int64_t id = i < 0        ? CT_WORD_START
                     : i == found ? CT_WORD_END
                                  : ct_vocabulary_id(encoder->vocabulary, tokens[i]);
        if (!known || (known[id] && id != CT_WORD_UNKNOWN)) ids[(*count)++] = id;
    }
    ct_tokens_free(tokens);
    return ids;
}

bool ct_encode(const ct_encoder *encoder, const char *sentence, ct_caption *caption) {
    *caption = (ct_caption){0};
    if (!encoder || !ct_ok()) return false;
    caption->ids = encode(encoder, encoder->ids, sentence, NULL, &caption->length, &caption->cut);
    if (caption->ids && reads_apart(encoder)) {
        ct_tokenizer *tokenizer = encoder->vectors ? encoder->vectors : encoder->ids;
        const uint8_t *known = encoder->encoding.drop_unknown ? encoder->encoding.known : NULL;
        caption->read = encode(encoder, tokenizer, sentence, known, &caption->read_count, NULL);
    }
    if (ct_ok()) return true;
    ct_caption_free(caption);
    return false;
}

static bool is_known(const ct_encoder *encoder, const char *word) {
    int64_t id = ct_vocabulary_id(encoder->vocabulary, word);
    const uint8_t *known = encoder->encoding.known;
    return id != CT_WORD_UNKNOWN && (!known || known[id]);
}

char **ct_encoder_unknown(const ct_encoder *encoder, const char *sentence, int *unknown,
                          int *words) {
    int64_t most = encoder->encoding.max_words;
    *unknown = *words = 0;
    ct_tokenizer *plain = encoder->plain ? encoder->plain : encoder->ids;
    char **tokens = ct_tokenizer_split(plain, sentence, words);
    if (!tokens) return NULL;
    if (most > 0 && *words > most) *words = (int)most;
    for (int i = 0; i < *words; i++) {
        if (!is_known(encoder, tokens[i])) tokens[(*unknown)++] = tokens[i];
    }
    tokens[*unknown] = NULL;
    return tokens;
}

void ct_caption_free(ct_caption *caption) {
    free(caption->ids);
    free(caption->read);
    *caption = (ct_caption){0};
}

static bool ids_equal(const int64_t *a, int64_t a_count, const int64_t *b, int64_t b_count) {
    return a_count == b_count && (!a_count || memcmp(a, b, (size_t)a_count * sizeof *a) == 0);
}

static uint64_t hash_caption(const void *context, int64_t i) {
    const ct_caption *caption = (const ct_caption *)context + i;
    uint64_t hash = ct_hash_words(0, caption->ids, (size_t)caption->length * sizeof *caption->ids);
    return ct_hash_words(hash, caption->read, (size_t)caption->read_count * sizeof *caption->read);
}

static bool captions_equal(const void *context, int64_t i, int64_t k) {
    const ct_caption *a = (const ct_caption *)context + i, *b = (const ct_caption *)context + k;
    return ids_equal(a->ids, a->length, b->ids, b->length) &&
           ids_equal(a->read, a->read_count, b->read, b->read_count);
}

bool ct_captions_distinct(const ct_caption *captions, int64_t count, ct_distinct *distinct) {
    return ct_distinct_find(distinct, count,
                            (ct_distinct_by){captions, hash_caption, captions_equal});
}

/* ---- captions side by side --------------------------------------------------------------- */

/* T for captions of at most `longest` tokens. */
static int64_t width_of(const ct_encoder *encoder, int64_t longest) {
    return encoder->encoding.pad_words ? encoder->encoding.pad_words : longest;
}

/* M for the same, 0 where the decoder's tokens are what is read. The padding that is a target needs
 * a place of its own; a caption's other padding is none. */
static int64_t target_width_of(const ct_encoder *encoder, int64_t longest) {
    const ct_encoding *e = &encoder->encoding;
    if (!e->pad_words && !reads_apart(encoder)) return 0;
    bool full = e->pad_words || longest > DECODER_TOKENS;
    return (full ? DECODER_TOKENS : longest) + e->pad_target;
}

bool ct_caption_batch_create(ct_caption_batch *batch, const ct_encoder *encoder, int64_t size,
                             int64_t longest) {
    size_t words = (size_t)width_of(encoder, longest);
    size_t targets = (size_t)target_width_of(encoder, longest), captions = (size_t)size;
    *batch = (ct_caption_batch){
        .most_words = (int64_t)words,
        .most_targets = (int64_t)targets,
        .ids = malloc(captions * words * sizeof *batch->ids + 1),
        .lengths = malloc(captions * sizeof *batch->lengths + 1),
        .targets = targets ? malloc(captions * targets * sizeof *batch->targets + 1) : NULL,
    };
    if (batch->ids && batch->lengths && (batch->targets || !targets)) return true;
    ct_caption_batch_free(batch);
    return ct_fail_bool("captions: out of memory for %lld of %zu words", (long long)size, words);
}

void ct_caption_batch_free(ct_caption_batch *batch) {
    free(batch->ids);
    free(batch->lengths);
    free(batch->targets);
    *batch = (ct_caption_batch){0};
}

/* `count` ids, or the first `width` of them, and <pad> up to `width`. */
static void put(int64_t *row, int64_t width, const int64_t *ids, int64_t count) {
    if (count > width) count = width;
    memcpy(row, ids, (size_t)count * sizeof *row);
    for (int64_t i = count; i < width; i++) row[i] = CT_WORD_PAD;
}

static void put_targets(int64_t *row, int64_t width, const ct_caption *caption) {
    bool cut = caption->length > DECODER_TOKENS;
    put(row, width, caption->ids, cut ? DECODER_TOKENS : caption->length);
    if (cut) row[DECODER_TOKENS - 1] = CT_WORD_END;
}

void ct_caption_batch_fill(ct_caption_batch *batch, const ct_encoder *encoder,
                           const ct_caption *captions, const int64_t *which, int64_t count) {
    int64_t longest = batch->longest;
    for (int64_t i = 0; i < count; i++) {
        batch->lengths[i] = captions[which ? which[i] : i].length;
        if (batch->lengths[i] > longest) longest = batch->lengths[i];
    }
    batch->size = count;
    batch->words = width_of(encoder, longest);
    batch->target_words = target_width_of(encoder, longest);
    for (int64_t i = 0; i < count; i++) {
        const ct_caption *caption = &captions[which ? which[i] : i];
        bool apart = caption->read != NULL;
        put(batch->ids + i * batch->words, batch->words, apart ? caption->read : caption->ids,
            apart ? caption->read_count : caption->length);
        if (!batch->target_words) continue;
        put_targets(batch->targets + i * batch->target_words, batch->target_words, caption);
    }
}
