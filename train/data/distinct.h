/* SPDX-License-Identifier: Apache-2.0 */
/* Which of many rows are the same: captions of the same words, images of the same features,
 * embeddings of the same bits. Two products of different shapes may round equal rows differently;
 * so what is the same is computed once. */
#ifndef CT_DISTINCT_H
#define CT_DISTINCT_H

#include "tensor/tensor.h"

/* Distinct rows are numbered in the order in which they first appear. */
typedef struct {
    int64_t rows, count; /* all, and how many are distinct */
    int64_t *of;         /* (rows): the distinct row that it is */
    int64_t *first;      /* (count): the row where it first appears */
    int64_t *begin;      /* (count+1), with `place` (rows): its rows in their order are */
    int64_t *place;      /* place[begin[d]] to place[begin[d + 1] - 1] */
} ct_distinct;

/* How rows are told apart. Both may fail, with an error set. */
typedef struct {
    const void *context;
    uint64_t (*hash)(const void *context, int64_t row);
    bool (*equal)(const void *context, int64_t a, int64_t b);
} ct_distinct_by;

/* Every row is hashed once, and compared where hashes are equal. False and an error otherwise;
 * freed by ct_distinct_free either way. */
bool ct_distinct_find(ct_distinct *distinct, int64_t rows, ct_distinct_by by);
/* All rows taken as they come, each for another. */
bool ct_distinct_none(ct_distinct *distinct, int64_t rows);
/* Rows that are equal in each of `count` tensors (rows,width), to the last bit; on any device. */
bool ct_distinct_tensors(ct_distinct *distinct, const ct_tensor *const *tensors, int count);
void ct_distinct_free(ct_distinct *distinct);

/* The rows of x (rows,...) that are distinct; and, of those, all. x itself where all are. */
ct_tensor *ct_distinct_take(const ct_distinct *distinct, ct_tensor *x);
ct_tensor *ct_distinct_spread(const ct_distinct *distinct, ct_tensor *x);

/* A hash of bytes, eight at a time. */
uint64_t ct_hash_words(uint64_t hash, const void *bytes, size_t size);

#endif
