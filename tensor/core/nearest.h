/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest known word, for messages: "unknown option 'heds'; did you mean 'heads'?" */
#ifndef CT_NEAREST_H
#define CT_NEAREST_H

/* The known word with the smallest edit distance to `word` (insertion, deletion, substitution or
 * swap of two neighbours each count 1; case does not), the first of equals; NULL if none is
 * within a third of the longer word's length, at least 1. Sets no error. */
const char *ct_nearest(const char *word, const char *const *known, int count);

/* "; did you mean 'heads'?", or "" where nothing is near. The text lives in one of four
 * per-thread buffers used in turn. */
const char *ct_did_you_mean(const char *word, const char *const *known, int count);

#endif
