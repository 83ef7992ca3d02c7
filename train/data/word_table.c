/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/word_table.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/core/error.h"

uint64_t ct_hash(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    hash ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

/* Slot of a word, or the empty one where it belongs. */
static int64_t find_slot(const ct_word_table *table, const char *word, size_t length) {
    uint64_t mask = (uint64_t)table->slot_count - 1;
    uint64_t slot = ct_hash(CT_HASH_START, word, length) & mask;
    for (; table->slots[slot] >= 0; slot = (slot + 1) & mask) {
        const char *known = table->words[table->slots[slot]];
        if (strncmp(known, word, length) == 0 && !known[length]) break;
    }
    return (int64_t)slot;
}

int64_t ct_word_table_find(const ct_word_table *table, const char *word, size_t length) {
    return table->slot_count ? table->slots[find_slot(table, word, length)] : -1;
}

static bool grow(ct_word_table *table) {
    int64_t capacity = table->capacity ? 2 * table->capacity : 256, slot_count = 2 * capacity;
    char **words = realloc(table->words, (size_t)capacity * sizeof *words);
    if (words) table->words = words;
    int64_t *slots = malloc((size_t)slot_count * sizeof *slots);
    if (!words || !slots) {
        free(slots);
        return ct_fail_bool("words: out of memory for %lld", (long long)capacity);
    }
    memset(slots, -1, (size_t)slot_count * sizeof *slots);
    free(table->slots);
    table->slots = slots;
    table->slot_count = slot_count;
    table->capacity = capacity;
    for (int64_t i = 0; i < table->count; i++) {
        slots[find_slot(table, words[i], strlen(words[i]))] = i;
    }
    return true;
}

int64_t ct_word_table_add(ct_word_table *table, const char *word) {
    if (table->count == table->capacity && !grow(table)) return -1;
    int64_t slot = find_slot(table, word, strlen(word));
    if (table->slots[slot] >= 0) return table->slots[slot];
    char *copy = strdup(word);
    if (!copy) {
        ct_fail("words: out of memory");
        return -1;
    }
    table->words[table->count] = copy;
    table->slots[slot] = table->count;
    return table->count++;
}

void ct_word_table_clear(ct_word_table *table) {
    for (int64_t i = 0; i < table->count; i++) free(table->words[i]);
    free(table->words);
    free(table->slots);
    *table = (ct_word_table){0};
}
