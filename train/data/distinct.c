/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/distinct.h"

#include <stdlib.h>
#include <string.h>

uint64_t ct_hash_words(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    hash ^= 0xcbf29ce484222325u ^ size;
    for (uint64_t word; size > 0;) {
        size_t part = size < sizeof word ? size : sizeof word;
        word = 0;
        memcpy(&word, at, part);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
        at += part;
        size -= part;
    }
    return hash;
}

static bool make_room(ct_distinct *d, int64_t rows) {
    size_t n = (size_t)rows;
    *d = (ct_distinct){.rows = rows};
    d->of = malloc((4 * n + 1) * sizeof *d->of + 1);
    if (!d->of) return ct_fail_bool("rows: out of memory for %lld", (long long)rows);
    d->first = d->of + n;
    d->place = d->first + n;
    d->begin = d->place + n;
    return true;
}

void ct_distinct_free(ct_distinct *d) {
    free(d->of);
    *d = (ct_distinct){0};
}

/* Rows in the order of what they are, by counting. */
static void place_rows(ct_distinct *d) {
    memset(d->begin, 0, ((size_t)d->count + 1) * sizeof *d->begin);
    for (int64_t row = 0; row < d->rows; row++) d->begin[d->of[row] + 1]++;
    for (int64_t i = 0; i < d->count; i++) d->begin[i + 1] += d->begin[i];
    for (int64_t row = 0; row < d->rows; row++) d->place[d->begin[d->of[row]]++] = row;
    for (int64_t i = d->count; i > 0; i--) d->begin[i] = d->begin[i - 1];
    d->begin[0] = 0;
}

/* Open addressing: a slot holds a distinct row's number, or -1. */
typedef struct {
    int64_t *slot;
    uint64_t *hash; /* of the distinct rows */
    uint64_t mask;
} table;

static bool insert(ct_distinct *d, ct_distinct_by by, table *t, int64_t row) {
    uint64_t hash = by.hash(by.context, row);
    if (!ct_ok()) return false;
    uint64_t at = hash & t->mask;
    for (; t->slot[at] >= 0; at = (at + 1) & t->mask) {
        int64_t known = t->slot[at];
        if (t->hash[known] == hash && by.equal(by.context, d->first[known], row)) break;
        if (!ct_ok()) return false;
    }
    if (t->slot[at] < 0) {
        t->slot[at] = d->count;
        t->hash[d->count] = hash;
        d->first[d->count++] = row;
    }
    d->of[row] = t->slot[at];
    return true;
}

bool ct_distinct_find(ct_distinct *d, int64_t rows, ct_distinct_by by) {
    if (!make_room(d, rows)) return false;
    size_t slots = 16;
    while (slots < 2 * (size_t)rows) slots *= 2;
    table t = {malloc(slots * sizeof *t.slot), malloc(((size_t)rows + 1) * sizeof *t.hash),
               slots - 1};
    bool done = t.slot && t.hash;
    if (!done) ct_fail("rows: out of memory for %lld", (long long)rows);
    if (t.slot) memset(t.slot, -1, slots * sizeof *t.slot);
    for (int64_t row = 0; done && row < rows; row++) done = insert(d, by, &t, row);
    if (done) place_rows(d);
    free(t.slot);
    free(t.hash);
    return done;
}

bool ct_distinct_none(ct_distinct *d, int64_t rows) {
    if (!make_room(d, rows)) return false;
    d->count = rows;
    for (int64_t row = 0; row < rows; row++) d->of[row] = d->first[row] = row;
    place_rows(d);
    return true;
}

/* ---- tensors ----------------------------------------------------------------------------- */

typedef struct {
    const char **rows; /* of each tensor */
    size_t *bytes;     /* a row */
    int count;
} row_set;

static uint64_t hash_row(const void *context, int64_t row) {
    const row_set *set = context;
    uint64_t hash = 0;
    for (int i = 0; i < set->count; i++) {
        hash = ct_hash_words(hash, set->rows[i] + (size_t)row * set->bytes[i], set->bytes[i]);
    }
    return hash;
}

static bool rows_equal(const void *context, int64_t a, int64_t b) {
    const row_set *set = context;
    bool equal = true;
    for (int i = 0; i < set->count && equal; i++) {
        size_t bytes = set->bytes[i];
        equal =
            memcmp(set->rows[i] + (size_t)a * bytes, set->rows[i] + (size_t)b * bytes, bytes) == 0;
    }
    return equal;
}

static bool look_at(row_set *set, int i, const ct_tensor *x) {
    x = x ? ct_tensor_contiguous(x) : NULL;
    if (x && x->device != CT_CPU) x = ct_tensor_to_device(x, CT_CPU);
    if (!x) return false;
    set->rows[i] = ct_data(x);
    set->bytes[i] = (size_t)x->shape.dim[1] * ct_dtype_size(x->dtype);
    return true;
}

bool ct_distinct_tensors(ct_distinct *d, const ct_tensor *const *tensors, int count) {
    row_set set = {.count = count,
                   .rows = calloc((size_t)count + 1, sizeof *set.rows),
                   .bytes = calloc((size_t)count + 1, sizeof *set.bytes)};
    bool found = set.rows && set.bytes;
    if (!found) ct_fail("rows: out of memory");
    CT_SCOPE {
        for (int i = 0; found && i < count; i++) found = look_at(&set, i, tensors[i]);
        ct_distinct_by by = {&set, hash_row, rows_equal};
        found = found && ct_distinct_find(d, ct_dim(tensors[0], 0), by);
    }
    free(set.rows);
    free(set.bytes);
    return found;
}

static ct_tensor *pick(ct_tensor *x, const int64_t *rows, int64_t count) {
    ct_tensor *index = x ? ct_from_data(CT_I64, x->device, CT_SHAPE(count), rows) : NULL;
    return index ? ct_tensor_index_select(x, 0, index) : NULL;
}

ct_tensor *ct_distinct_take(const ct_distinct *d, ct_tensor *x) {
    return d->count == d->rows ? x : pick(x, d->first, d->count);
}

ct_tensor *ct_distinct_spread(const ct_distinct *d, ct_tensor *x) {
    return d->count == d->rows ? x : pick(x, d->of, d->rows);
}
