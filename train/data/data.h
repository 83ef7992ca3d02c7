/* SPDX-License-Identifier: Apache-2.0 */
/* Captions, features and batches.
 *
 * A split is a folder's images (train/data/images.h: {split}_ims.npy or {split}_pictures.txt),
 * {split}_caps.txt one caption a line, and {split}_ids.txt one image row a caption; without an ids
 * file captions come k per image in image order, k = captions / images, which must divide.
 */
#ifndef CT_DATA_H
#define CT_DATA_H

#include "train/data/images.h"

/* ---- tokens: train/data/tokenize.c ------------------------------------------------------- */

/* What a caption is split into.
 * PLAIN: lower-cased (Unicode) and split as NLTK 3.8's word_tokenize(text, preserve_line=True)
 * does. RELEASED (docs/model.md, `tokens`): the same of the caption as Python 3 prints its bytes,
 * b'a man.', without white space at its ends. RELEASED_VECTORS: what the released code looks up
 * word vectors for: the same after every b' has been removed and every - made a space. */
typedef enum { CT_TOKENS_PLAIN, CT_TOKENS_RELEASED, CT_TOKENS_RELEASED_VECTORS } ct_token_form;

/* Holds patterns, compiled (half a millisecond), and buffers: create one for many captions; for
 * one thread at a time. */
typedef struct ct_tokenizer ct_tokenizer;
ct_tokenizer *ct_tokenizer_create(ct_token_form form);
void ct_tokenizer_destroy(ct_tokenizer *tokenizer);
/* A NULL-ended array of `count` strings in one block from malloc; ct_tokens_free frees it. NULL
 * and an error for invalid UTF-8 (in PLAIN form). */
char **ct_tokenizer_split(ct_tokenizer *tokenizer, const char *text, int *count);
void ct_tokens_free(char **tokens);

/* ---- vocabulary: train/data/vocabulary.c ------------------------------------------------- */

enum { CT_WORD_PAD = 0, CT_WORD_START = 1, CT_WORD_END = 2, CT_WORD_UNKNOWN = 3 };

typedef struct ct_vocabulary ct_vocabulary;
/* From JSON {"word2idx": {...}, "idx2word": {...}, "idx": n} with ids 0 to n-1; the four special
 * words are required at 0 to 3; idx2word and idx may be absent, and must agree if they are not. */
ct_vocabulary *ct_vocabulary_read(const char *path);
/* From captions split as PLAIN: words with at least min_count occurrences, most frequent first,
 * then by bytes, after the four special words. */
ct_vocabulary *ct_vocabulary_build(const char *const *captions, int64_t count, int64_t min_count);
bool ct_vocabulary_write(const ct_vocabulary *vocabulary, const char *path); /* the same JSON */
void ct_vocabulary_destroy(ct_vocabulary *vocabulary);
int64_t ct_vocabulary_size(const ct_vocabulary *vocabulary);
/* Words of the captions that it was built from and that occur less than min_count times. */
int64_t ct_vocabulary_rare(const ct_vocabulary *vocabulary);
/* CT_WORD_UNKNOWN for a word that is not in it. */
int64_t ct_vocabulary_id(const ct_vocabulary *vocabulary, const char *word);
const char *ct_vocabulary_word(const ct_vocabulary *vocabulary, int64_t id);

/* Vectors of the vocabulary's words from a GloVe text file ("word v1 ... vE" a line; words may
 * contain spaces: the last E fields are numbers; of a word that is there twice the first counts; a
 * first line "words E" is passed over): (V,E) f32, kept (the caller releases), and known[V] flags
 * from malloc; zeros and 0 for words without a vector. The result is cached in `cache_folder`, if
 * that is not NULL and there, under the hash of file name, size, time and vocabulary; a second
 * call reads the cache. NULL and an error naming file and line otherwise. */
ct_tensor *ct_word_vectors_read(const char *path, const ct_vocabulary *vocabulary,
                                const char *cache_folder, uint8_t **known);

/* ---- captions as a model reads them: train/data/encode.c --------------------------------- */

/* How captions are read. {0}: split PLAIN, every word, padded to a batch's longest. */
typedef struct {
    int64_t max_words;    /* captions are cut to so many words; 0: they are not */
    int64_t pad_words;    /* batches are padded to so many tokens, <start> and <end> counted, and
                           * longer captions are cut; 0: padded to a batch's longest. 3 or more */
    bool released_tokens; /* ids of CT_TOKENS_RELEASED (docs/model.md, `tokens`); where `known`
                           * is given, vectors are those of CT_TOKENS_RELEASED_VECTORS */
    const uint8_t *known; /* of word vectors from a file: V flags, borrowed; else NULL */
    bool drop_unknown;    /* words without a vector are dropped from those whose vectors are
                           * read, but lengths count them (`unknown_words`); needs `known` */
    bool pad_target;      /* the decoder is to say one <pad> after <end> (`decoder_targets`) */
} ct_encoding;

/* Keeps the vocabulary, which outlives it. For one thread at a time. */
typedef struct ct_encoder ct_encoder;
ct_encoder *ct_encoder_create(const ct_vocabulary *vocabulary, ct_encoding encoding);
void ct_encoder_destroy(ct_encoder *encoder);

typedef struct {
    int64_t *ids, length;      /* of all words, between <start> and <end> */
    int64_t *read, read_count; /* of those whose vectors are read; NULL: the ids */
    bool cut;                  /* it had more words */
} ct_caption;

/* False and an error for a sentence without a word or of invalid UTF-8. */
bool ct_encode(const ct_encoder *encoder, const char *sentence, ct_caption *caption);
void ct_caption_free(ct_caption *caption);
/* The words of a sentence (split PLAIN) that a model cannot tell from each other: those that are
 * not in the vocabulary, and of word vectors from a file those without one. A NULL-ended list for
 * ct_tokens_free, their number and that of all words that are read; NULL and an error for invalid
 * UTF-8. */
char **ct_encoder_unknown(const ct_encoder *encoder, const char *sentence, int *unknown,
                          int *words);

/* Which of them a model reads alike. */
bool ct_captions_distinct(const ct_caption *captions, int64_t count, ct_distinct *distinct);

/* Captions side by side, filled up with <pad>. Targets are there where the decoder's tokens are not
 * what is read: the ids, cut to 60 with <end> kept, as the released code does. */
typedef struct {
    int64_t size, words, target_words; /* B; T; M, 0: no targets */
    int64_t most_words, most_targets;  /* there is room for */
    int64_t
        longest;  /* caption that is elsewhere, and of the same batch: T and M are as for it, too */
    int64_t *ids; /* (B,T): read */
    int64_t *lengths; /* (B): 3..T */
    int64_t *targets; /* (B,M), or NULL */
} ct_caption_batch;

/* Room for `size` captions of at most `longest` tokens. False and an error without memory. */
bool ct_caption_batch_create(ct_caption_batch *batch, const ct_encoder *encoder, int64_t size,
                             int64_t longest);
void ct_caption_batch_free(ct_caption_batch *batch);
/* Fills it with captions[which[0]], captions[which[1]], ..., or the first ones if which is NULL. */
void ct_caption_batch_fill(ct_caption_batch *batch, const ct_encoder *encoder,
                           const ct_caption *captions, const int64_t *which, int64_t count);

/* ---- splits: train/data/split.c ---------------------------------------------------------- */

/* What the name of a split's images ends with, features or pictures: "_ims.npy". */
const char *ct_split_end(bool pictures);
/* The splits of a folder by the alphabet, those with a file of such an end. False and an error if
 * it cannot be read, or without memory; freed by ct_split_names_free either way. */
bool ct_split_names(const char *folder, bool pictures, char ***names, int *count);
void ct_split_names_free(char **names, int count);

typedef struct {
    int64_t images_repeated; /* how often each image stands, in rows next to each other, in a split
                              * that has as many rows as captions, or whose rows do; 0 and 1: once,
                              * and a split in which all stand several times is an error */
    bool ids_are_names;      /* {split}_ids.txt has the data set's own numbers: it is not read */
    bool captions_if_any;    /* images alone are a split, too */
    double smallest;         /* that the largest feature of an image may be, if it is not 0 */
    const ct_picture_view *view; /* images are pictures, and seen so; NULL: they are features */
    int threads;                 /* that decode pictures */
} ct_split_options;

typedef struct {
    char *name;
    ct_images *images;
    int64_t image_count, caption_count;
    int64_t images_left_out, captions_left_out; /* by ct_split_cut */
    int64_t without_caption;   /* of the images of a split that has captions, when it was opened */
    char **captions;           /* the lines, as read; NULL: there is no such file */
    int64_t *image_of;         /* caption -> image */
    const ct_encoder *encoder; /* of ct_split_encode, borrowed */
    ct_caption *encoded;       /* caption by caption; NULL until ct_split_encode */
    int64_t longest;           /* of their lengths */
    char *folder, *caption_text; /* the captions point into caption_text */
    ct_distinct same_images;     /* which images have the same features; of ct_split_check */
} ct_split;

/* Errors name the file and line: features and captions that do not match, an empty caption, rows
 * that are to repeat an image and do not. Images may be without a caption: in training they are
 * passed over, in rankings they distract. */
ct_split *ct_split_open(const char *folder, const char *name, ct_split_options options);
/* Pictures without captions, of no data folder: a file, or those of a folder (ct_images_find). */
ct_split *ct_split_find(const char *path, ct_split_options options);
void ct_split_destroy(ct_split *split);
/* Regions and numbers a region of a split, of which no more is read. */
bool ct_split_sizes(const char *folder, const char *name, int64_t *regions, int64_t *features);
/* Again, if it is encoded already. The encoder outlives the split. */
bool ct_split_encode(ct_split *split, const ct_encoder *encoder);
/* Reads every image, and finds those that are the same: for splits that are small and needed whole.
 * The training split's are looked at as they are read: COCO's are 33 GB. */
bool ct_split_check(ct_split *split);
/* What tells a split from another one: a hash of its captions and which image each is of, and one
 * of up to 64 images spread over its features. */
bool ct_split_fingerprint(const ct_split *split, uint64_t *captions, uint64_t *features);
/* Keeps the first images whose captions number at most `captions`, and one image at least. */
bool ct_split_cut(ct_split *split, int64_t captions);
/* Keeps the pictures of `keep`, a flag each, and their captions. */
bool ct_split_keep(ct_split *split, const bool *keep);
/* Takes what was made of its pictures in their place; the images are then the split's. */
void ct_split_replace_images(ct_split *split, ct_images *images);

/* ---- batches: train/data/loader.c -------------------------------------------------------- */

/* What a batch is made of, on the host. */
typedef struct {
    int64_t size;  /* B */
    float *images; /* (B,N,F) */
    ct_caption_batch text;
    int64_t *classes, *captions; /* (B): image, caption number */
} ct_host_batch;

/* Batches of an epoch in the order drawn from (seed, epoch), made ahead by a thread. The last,
 * incomplete batch of an epoch is left out if `drop_last`. Features lie where `device` can copy
 * them from by itself (tensor/device/upload.h). */
typedef struct ct_loader ct_loader;
ct_loader *ct_loader_create(const ct_split *split, int64_t batch, bool shuffle, bool drop_last,
                            uint64_t seed, ct_device device);
/* The same of a batch that `ranks` share in equal parts, of which this is part `rank`: its captions
 * and images alone are read, padded as in the whole batch. `batch` is a multiple of `ranks`, and
 * incomplete batches are left out. */
ct_loader *ct_loader_create_part(const ct_split *split, int64_t batch, bool shuffle, uint64_t seed,
                                 ct_device device, int rank, int ranks);
void ct_loader_destroy(ct_loader *loader);
int64_t ct_loader_batches(const ct_loader *loader); /* of an epoch */
/* Goes to batch `first` of `epoch`; needed before the first ct_loader_next of each epoch. */
bool ct_loader_start(ct_loader *loader, int64_t epoch, int64_t first);
/* The next batch, valid until the next call; NULL at the epoch's end (no error) or on error. */
const ct_host_batch *ct_loader_next(ct_loader *loader);

#endif
