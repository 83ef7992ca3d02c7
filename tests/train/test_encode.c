/* SPDX-License-Identifier: Apache-2.0 */
/* Captions as models read them: ids, what is read, lengths and targets, in every way there is. */
#include "tests/train/program.h"
#include "train/data/data.h"

static const char *const words[] = {
    "<pad>", "<start>", "<end>",   "<unk>", "a",      "dog",  "b",    "'",  "man",
    ".",     "t",       "t-shirt", "shirt", "b'four", "four", "dogs", "in",
};
enum {
    PAD,
    START,
    END,
    UNK,
    A,
    DOG,
    B,
    QUOTE,
    MAN,
    STOP,
    T,
    T_SHIRT,
    SHIRT,
    B_FOUR,
    FOUR,
    DOGS,
    IN,
    WORDS
};

/* Of these a file has vectors: all but dog, b'four, t-shirt and the special words. */
static const uint8_t known[WORDS] = {[A] = 1, [B] = 1,     [QUOTE] = 1, [MAN] = 1,  [STOP] = 1,
                                     [T] = 1, [SHIRT] = 1, [FOUR] = 1,  [DOGS] = 1, [IN] = 1};

static ct_vocabulary *make_vocabulary(void) {
    char *folder = folder_make(), json[1024] = "{\"word2idx\": {";
    for (int i = 0; i < WORDS; i++) {
        size_t at = strlen(json);
        snprintf(json + at, sizeof json - at, "%s\"%s\": %d", i ? ", " : "", words[i], i);
    }
    strcat(json, "}}");
    write_text(in_folder(folder, "v.json"), json);
    ct_vocabulary *v = ct_vocabulary_read(in_folder(folder, "v.json"));
    assert_no_error();
    folder_remove(folder);
    return v;
}

typedef struct {
    int64_t id[12];
    int count;
} sequence;
#define SEQUENCE(...) \
    ((sequence){{__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)})
#define SAME ((sequence){.count = -1}) /* as the ids */

static void assert_ids(const int64_t *ids, int64_t count, sequence expected) {
    ck_assert_int_eq(count, expected.count);
    for (int i = 0; i < expected.count; i++) ck_assert_int_eq(ids[i], expected.id[i]);
}

static void assert_caption(const ct_encoder *encoder, const char *sentence, sequence ids,
                           sequence read) {
    ct_caption caption;
    ck_assert(ct_encode(encoder, sentence, &caption));
    assert_ids(caption.ids, caption.length, ids);
    if (read.count < 0) ck_assert_ptr_null(caption.read);
    else assert_ids(caption.read, caption.read_count, read);
    ct_caption_free(&caption);
}

/* One caption in a way of reading it. */
static void assert_reads(ct_encoding encoding, const char *sentence, sequence ids, sequence read) {
    ct_vocabulary *v = make_vocabulary();
    ct_encoder *encoder = ct_encoder_create(v, encoding);
    assert_caption(encoder, sentence, ids, read);
    ct_encoder_destroy(encoder);
    ct_vocabulary_destroy(v);
}

START_TEST(encodes_captions) {
    ct_encoding plain = {0};
    assert_reads(plain, "A dog barks.", SEQUENCE(START, A, DOG, UNK, STOP, END), SAME);
    plain.max_words = 4;
    assert_reads(plain, "A dog barks.", SEQUENCE(START, A, DOG, UNK, STOP, END), SAME);
    plain.max_words = 2;
    assert_reads(plain, "A dog barks.", SEQUENCE(START, A, DOG, END), SAME);
    /* one length, and unknown words are read like others */
    plain = (ct_encoding){.known = known};
    assert_reads(plain, "A dog barks.", SEQUENCE(START, A, DOG, UNK, STOP, END), SAME);

    ct_vocabulary *v = make_vocabulary();
    ct_encoder *encoder = ct_encoder_create(v, (ct_encoding){0});
    ct_caption caption;
    ck_assert(!ct_encode(encoder, " \xc2\xa0", &caption));
    assert_error("no word in");
    ck_assert(!ct_encode(encoder, "\xff", &caption));
    assert_error("invalid UTF-8");
    ct_encoder_destroy(encoder);
    ct_vocabulary_destroy(v);
}
END_TEST

START_TEST(encodes_as_released) {
    /* without vectors from a file the ids are read */
    ct_encoding tokens = {.released_tokens = true};
    assert_reads(tokens, "A man.", SEQUENCE(START, B, QUOTE, A, MAN, STOP, QUOTE, END), SAME);
    assert_reads(tokens, "Four dogs", SEQUENCE(START, B_FOUR, DOGS, QUOTE, END), SAME);
    /* vectors are looked up without b', and with - as a space */
    tokens.known = known;
    assert_reads(tokens, "A man.", SEQUENCE(START, B, QUOTE, A, MAN, STOP, QUOTE, END),
                 SEQUENCE(START, A, MAN, STOP, QUOTE, END));
    assert_reads(tokens, "Four dogs in t-shirt",
                 SEQUENCE(START, B_FOUR, DOGS, IN, T_SHIRT, QUOTE, END),
                 SEQUENCE(START, FOUR, DOGS, IN, T, SHIRT, QUOTE, END));
    /* both cut alike */
    tokens.max_words = 2;
    assert_reads(tokens, "Four dogs in t-shirt", SEQUENCE(START, B_FOUR, DOGS, END),
                 SEQUENCE(START, FOUR, DOGS, END));
}
END_TEST

START_TEST(drops_words_without_a_vector) {
    ct_encoding drop = {.drop_unknown = true};
    assert_reads(drop, "A dog barks.", SEQUENCE(START, A, DOG, UNK, STOP, END), SAME);
    drop.known = known;
    /* <start> and <end> have no vector in GloVe either */
    assert_reads(drop, "A dog barks.", SEQUENCE(START, A, DOG, UNK, STOP, END), SEQUENCE(A, STOP));
    ct_vocabulary *v = make_vocabulary();
    ct_encoder *encoder = ct_encoder_create(v, drop);
    ct_caption caption;
    ck_assert(ct_encode(encoder, "dog", &caption));
    ck_assert_int_eq(caption.length, 3);
    ck_assert_int_eq(caption.read_count, 0);
    ct_caption_free(&caption);
    ct_encoder_destroy(encoder);
    ct_vocabulary_destroy(v);
    drop.released_tokens = true;
    assert_reads(drop, "A dog in t-shirt.",
                 SEQUENCE(START, B, QUOTE, A, DOG, IN, T_SHIRT, STOP, QUOTE, END),
                 SEQUENCE(A, IN, T, SHIRT, STOP, QUOTE));
}
END_TEST

/* A word that is not in the vocabulary is dropped, even if a file should have a vector of <unk>. */
START_TEST(drops_words_not_in_the_vocabulary) {
    uint8_t all[WORDS];
    memset(all, 1, sizeof all);
    assert_reads((ct_encoding){.drop_unknown = true, .known = all}, "A dog barks.",
                 SEQUENCE(START, A, DOG, UNK, STOP, END), SEQUENCE(START, A, DOG, STOP, END));
}
END_TEST

/* ---- side by side ------------------------------------------------------------------------ */

enum { SENTENCES = 3, LONG_SENTENCE = 70 };

typedef struct {
    ct_vocabulary *vocabulary;
    ct_encoder *encoder;
    ct_caption caption[SENTENCES];
    ct_caption_batch batch;
} side_by_side;

/* "a dog barks.", "man", and a sentence of `words_of_last` words. */
static side_by_side make_batch(ct_encoding encoding, int words_of_last) {
    char last[1024] = "";
    for (int i = 0; i < words_of_last; i++) strcat(last, i % 2 ? "dogs " : "dog ");
    const char *const sentences[] = {"A dog barks.", "man", last};
    side_by_side s = {.vocabulary = make_vocabulary()};
    s.encoder = ct_encoder_create(s.vocabulary, encoding);
    for (int i = 0; i < SENTENCES; i++) {
        ck_assert(ct_encode(s.encoder, sentences[i], &s.caption[i]));
    }
    ck_assert(ct_caption_batch_create(&s.batch, s.encoder, SENTENCES, words_of_last + 2));
    ct_caption_batch_fill(&s.batch, s.encoder, s.caption, NULL, SENTENCES);
    return s;
}

static void destroy_batch(side_by_side *s) {
    for (int i = 0; i < SENTENCES; i++) ct_caption_free(&s->caption[i]);
    ct_caption_batch_free(&s->batch);
    ct_encoder_destroy(s->encoder);
    ct_vocabulary_destroy(s->vocabulary);
}

/* A row: `expected`, and <pad> behind. */
static void assert_row(const int64_t *row, int64_t width, sequence expected) {
    for (int64_t i = 0; i < width; i++) {
        ck_assert_int_eq(row[i], i < expected.count ? expected.id[i] : PAD);
    }
}

START_TEST(pads_to_the_longest) {
    side_by_side s = make_batch((ct_encoding){.pad_target = true}, 5);
    ck_assert_int_eq(s.batch.size, 3);
    ck_assert_int_eq(s.batch.words, 7);
    ck_assert_int_eq(s.batch.target_words, 0); /* the ids are the targets */
    assert_row(s.batch.ids, 7, SEQUENCE(START, A, DOG, UNK, STOP, END));
    assert_row(s.batch.ids + 7, 7, SEQUENCE(START, MAN, END));
    assert_ids(s.batch.lengths, 3, SEQUENCE(6, 3, 7));
    /* a batch of some of them, in another order */
    ct_caption_batch_fill(&s.batch, s.encoder, s.caption, (int64_t[]){1, 0}, 2);
    ck_assert_int_eq(s.batch.size, 2);
    ck_assert_int_eq(s.batch.words, 6);
    assert_row(s.batch.ids, 6, SEQUENCE(START, MAN, END));
    assert_ids(s.batch.lengths, 2, SEQUENCE(3, 6));
    destroy_batch(&s);
}
END_TEST

START_TEST(pads_to_a_given_length) {
    side_by_side s = make_batch((ct_encoding){.pad_words = 87, .pad_target = true}, 5);
    ck_assert_int_eq(s.batch.words, 87);
    ck_assert_int_eq(s.batch.target_words, 61);
    for (int pass = 0; pass < 2; pass++) {
        const int64_t *rows = pass ? s.batch.targets : s.batch.ids;
        int64_t width = pass ? 61 : 87;
        assert_row(rows, width, SEQUENCE(START, A, DOG, UNK, STOP, END));
        assert_row(rows + width, width, SEQUENCE(START, MAN, END));
    }
    assert_ids(s.batch.lengths, 3, SEQUENCE(6, 3, 7));
    destroy_batch(&s);

    /* longer captions are cut, and so are those to be cut by max_words */
    s = make_batch((ct_encoding){.pad_words = 6}, 20);
    ck_assert_int_eq(s.batch.words, 6);
    ck_assert_int_eq(s.batch.target_words, 60);
    assert_row(s.batch.ids + 12, 6, SEQUENCE(START, DOG, DOGS, DOG, DOGS, END));
    assert_row(s.batch.targets + 120, 60, SEQUENCE(START, DOG, DOGS, DOG, DOGS, END));
    assert_ids(s.batch.lengths, 3, SEQUENCE(6, 3, 6));
    destroy_batch(&s);
    s = make_batch((ct_encoding){.pad_words = 6, .max_words = 2}, 20);
    assert_row(s.batch.ids + 12, 6, SEQUENCE(START, DOG, DOGS, END));
    assert_ids(s.batch.lengths, 3, SEQUENCE(4, 3, 4));
    destroy_batch(&s);
}
END_TEST

/* Lengths count what is dropped, the rest is padding; the decoder's tokens are the ids. */
START_TEST(reads_other_words_than_it_says) {
    for (int pad = 0; pad < 2; pad++) {
        side_by_side s =
            make_batch((ct_encoding){.drop_unknown = true, .known = known, .pad_target = pad}, 5);
        ck_assert_int_eq(s.batch.words, 7);
        ck_assert_int_eq(s.batch.target_words, 7 + pad);
        assert_row(s.batch.ids, 7, SEQUENCE(A, STOP));
        assert_row(s.batch.ids + 7, 7, SEQUENCE(MAN));
        assert_row(s.batch.ids + 14, 7, SEQUENCE(DOGS, DOGS));
        assert_ids(s.batch.lengths, 3, SEQUENCE(6, 3, 7));
        const int64_t *targets = s.batch.targets;
        assert_row(targets, 7 + pad, SEQUENCE(START, A, DOG, UNK, STOP, END));
        assert_row(targets + 7 + pad, 7 + pad, SEQUENCE(START, MAN, END));
        destroy_batch(&s);
    }
}
END_TEST

/* 60 tokens for the decoder, <end> among them; the encoder reads all. What is read may be longer
 * than the ids: it is cut to the batch. */
START_TEST(cuts_targets_as_released) {
    ct_encoding encoding = {.drop_unknown = true, .known = known, .pad_target = true};
    side_by_side s = make_batch(encoding, LONG_SENTENCE);
    ck_assert_int_eq(s.batch.words, LONG_SENTENCE + 2);
    ck_assert_int_eq(s.batch.target_words, 61);
    ck_assert_int_eq(s.batch.lengths[2], LONG_SENTENCE + 2);
    const int64_t *targets = s.batch.targets + 2 * 61;
    ck_assert_int_eq(targets[0], START);
    for (int i = 1; i < 59; i++) ck_assert_int_eq(targets[i], i % 2 ? DOG : DOGS);
    ck_assert_int_eq(targets[59], END);
    ck_assert_int_eq(targets[60], PAD);
    destroy_batch(&s);

    ct_vocabulary *v = make_vocabulary();
    encoding = (ct_encoding){.released_tokens = true, .known = known};
    ct_encoder *encoder = ct_encoder_create(v, encoding);
    ct_caption caption;
    ct_caption_batch batch;
    ck_assert(ct_encode(encoder, "x t-shirt t-shirt t-shirt", &caption));
    assert_ids(caption.ids, caption.length,
               SEQUENCE(START, B, QUOTE, UNK, T_SHIRT, T_SHIRT, T_SHIRT, QUOTE, END));
    ck_assert_int_eq(caption.read_count, 10);
    ck_assert(ct_caption_batch_create(&batch, encoder, 1, caption.length));
    ct_caption_batch_fill(&batch, encoder, &caption, NULL, 1);
    ck_assert_int_eq(batch.words, 9);
    assert_ids(batch.ids, 9, SEQUENCE(START, UNK, T, SHIRT, T, SHIRT, T, SHIRT, QUOTE));
    ct_caption_batch_free(&batch);
    ct_caption_free(&caption);
    ct_encoder_destroy(encoder);
    ct_vocabulary_destroy(v);
}
END_TEST

TEST_MAIN("encode", encodes_captions, encodes_as_released, drops_words_without_a_vector,
          drops_words_not_in_the_vocabulary, pads_to_the_longest, pads_to_a_given_length,
          reads_other_words_than_it_says, cuts_targets_as_released)
