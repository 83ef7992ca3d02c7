/* Captions, features and batches.
 *
 * A split is a folder's {split}_ims.npy (images, regions, width) f32 or f16, memory-mapped,
 * {split}_caps.txt one caption a line, and {split}_ids.txt one image row a caption; without an ids
 * file captions come k per image in image order, k = captions / images, which must divide.
 */
#ifndef CT_DATA_H
#define CT_DATA_H

#include "tensor/tensor.h"

/* ---- tokens: train/tokenize.c ------------------------------------------------------------- */

/* What a caption is split into.
 * PLAIN: lower-cased (Unicode) and split as NLTK 3.8's word_tokenize(text, preserve_line=True)
 * does. RELEASED (model.md 7, row 9): the same of the caption as Python 3 prints its bytes,
 * b'a man.', without white space at its ends. RELEASED_VECTORS: what the released code looks up
 * word vectors for: the same after every b' has been removed and every - made a space. */
typedef enum { CT_TOKENS_PLAIN, CT_TOKENS_RELEASED, CT_TOKENS_RELEASED_VECTORS } ct_token_form;

/* Holds compiled patterns and buffers: create one for many captions; for one thread at a time. */
typedef struct ct_tokenizer ct_tokenizer;
ct_tokenizer *ct_tokenizer_create(ct_token_form form);
void ct_tokenizer_destroy(ct_tokenizer *tokenizer);
/* A NULL-ended array of `count` strings in one block from malloc; ct_tokens_free frees it. NULL
 * and an error for invalid UTF-8 (in PLAIN form). */
char **ct_tokenizer_split(ct_tokenizer *tokenizer, const char *text, int *count);
void ct_tokens_free(char **tokens);

/* ct_tokenizer_split by a PLAIN tokenizer made for this one text (about a millisecond). */
char **ct_tokenize(const char *text, int *count);

/* ---- vocabulary: train/vocabulary.c ------------------------------------------------------- */

enum { CT_WORD_PAD = 0, CT_WORD_START = 1, CT_WORD_END = 2, CT_WORD_UNKNOWN = 3 };

typedef struct ct_vocabulary ct_vocabulary;
/* From JSON {"word2idx": {...}, "idx2word": {...}, "idx": n} with ids 0 to n-1; the four special
 * words are required at 0 to 3; idx2word and idx may be absent, and must agree if they are not. */
ct_vocabulary *ct_vocabulary_read(const char *path);
/* From captions: words with at least min_count occurrences, most frequent first, then by
 * bytes, after the four special words. */
ct_vocabulary *ct_vocabulary_build(const char *const *captions, int64_t count, int64_t min_count);
ct_vocabulary *ct_vocabulary_build_tokens(const char *const *captions, int64_t count,
                                          int64_t min_count, ct_token_form form);
/* How captions are split that are encoded with this vocabulary: PLAIN, or as it was built. A
 * vocabulary encodes for one thread at a time. */
void ct_vocabulary_set_tokens(ct_vocabulary *vocabulary, ct_token_form form);
bool ct_vocabulary_write(const ct_vocabulary *vocabulary, const char *path); /* the same JSON */
void ct_vocabulary_destroy(ct_vocabulary *vocabulary);
int64_t ct_vocabulary_size(const ct_vocabulary *vocabulary);
/* CT_WORD_UNKNOWN for a word that is not in it. */
int64_t ct_vocabulary_id(const ct_vocabulary *vocabulary, const char *word);
const char *ct_vocabulary_word(const ct_vocabulary *vocabulary, int64_t id);

/* Ids of a sentence between <start> and <end>, cut to max_words (0: not) before <end>; from
 * malloc. NULL and an error for a sentence without a word or of invalid UTF-8. */
int64_t *ct_encode_caption(const ct_vocabulary *vocabulary, const char *sentence,
                           int64_t max_words, int64_t *length);

/* Vectors of the vocabulary's words from a GloVe text file ("word v1 ... vE" a line; words may
 * contain spaces: the last E fields are numbers; of a word that is there twice the first counts; a
 * first line "words E" is passed over): (V,E) f32, kept (the caller releases), and known[V] flags
 * from malloc; zeros and 0 for words without a vector. The result is cached in `cache_folder`, if
 * that is not NULL and there, under the hash of file name, size, time and vocabulary; a second
 * call reads the cache. NULL and an error naming file and line otherwise. */
ct_tensor *ct_word_vectors_read(const char *path, const ct_vocabulary *vocabulary,
                                const char *cache_folder, uint8_t **known);

/* ---- splits: train/split.c ---------------------------------------------------------------- */

typedef struct {
    char *name;
    ct_tensor *images;   /* (images, regions, width), f32 or f16, mapped; kept */
    int64_t image_count, caption_count;
    char **captions;     /* the lines, as read */
    int64_t *image_of;   /* caption -> image row */
    int64_t **words;     /* caption -> ids with <start> and <end>; NULL until ct_split_encode */
    int64_t *lengths;    /* caption -> number of those ids */
    int64_t longest;
    char *folder, *caption_text; /* the captions point into caption_text */
    int file;                    /* {split}_ims.npy, opened for reading */
    int64_t file_start;          /* where its first feature lies */
} ct_split;

/* Errors name the file and line: features and captions that do not match, an empty caption, an
 * image without a caption. NaN features are found by ct_split_check. */
ct_split *ct_split_open(const char *folder, const char *name);
void ct_split_destroy(ct_split *split);
bool ct_split_encode(ct_split *split, const ct_vocabulary *vocabulary, int64_t max_words);
/* Looks at every feature: an error names image and region of the first NaN or infinity. */
bool ct_split_check(const ct_split *split);
/* Features of one image as regions x width floats. Reads the file, not the mapping: memory does
 * not grow with the images that were seen, and a file that has become shorter is an error. `raw`:
 * room for as many floats, used where the file is f16. */
bool ct_split_read_image(const ct_split *split, int64_t image, float *out, void *raw);
/* Keeps the first images whose captions number at most `captions`, and one image at least. */
bool ct_split_cut(ct_split *split, int64_t captions);

/* ---- batches: train/loader.c -------------------------------------------------------------- */

/* What a batch is made of, on the host. Captions' ids are padded with 0 to the batch's longest. */
typedef struct {
    int64_t size, words;   /* B, T */
    float *images;         /* (B,N,F) */
    int64_t *ids;          /* (B,T) */
    int64_t *lengths, *classes, *captions; /* (B): length, image row, caption number */
} ct_host_batch;

/* Batches of an epoch in the order drawn from (seed, epoch), made ahead by a thread. The last,
 * incomplete batch of an epoch is left out if `drop_last`. */
typedef struct ct_loader ct_loader;
ct_loader *ct_loader_create(const ct_split *split, int64_t batch, bool shuffle, bool drop_last,
                            uint64_t seed);
void ct_loader_destroy(ct_loader *loader);
int64_t ct_loader_batches(const ct_loader *loader); /* of an epoch */
/* Goes to batch `first` of `epoch`; needed before the first ct_loader_next of each epoch. */
bool ct_loader_start(ct_loader *loader, int64_t epoch, int64_t first);
/* The next batch, valid until the next call; NULL at the epoch's end (no error) or on error. */
const ct_host_batch *ct_loader_next(ct_loader *loader);

#endif
