/* SPDX-License-Identifier: Apache-2.0 */
/* Words and their numbers: a hash table from word to 0, 1, 2, ... in the order they were added. */
#ifndef CT_WORD_TABLE_H
#define CT_WORD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char **words; /* by number; owned by the table */
    int64_t count;
    int64_t capacity;   /* of words */
    int64_t *slots;     /* number of the word, or -1; open addressing, linear probing */
    int64_t slot_count; /* a power of two, at least twice count */
} ct_word_table;        /* {0} is an empty table */

uint64_t ct_hash(uint64_t hash, const void *bytes, size_t size); /* FNV-1a, continued from hash */
enum { CT_HASH_START = 0 }; /* any value starts a hash; this one is used throughout */

/* Number of a word of `length` bytes; -1 if it is not there. */
int64_t ct_word_table_find(const ct_word_table *table, const char *word, size_t length);
/* The same, adding the word if it is not there; -1 and an error when out of memory. */
int64_t ct_word_table_add(ct_word_table *table, const char *word);
void ct_word_table_clear(ct_word_table *table);

#endif
