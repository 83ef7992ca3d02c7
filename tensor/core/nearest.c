/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/core/nearest.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 63 }; /* longer words are compared by their beginnings */

static int smallest(int a, int b) { return a < b ? a : b; }

/* Optimal string alignment distance: row i of `d` is the prefix of length i of a. */
static int edit_distance(const char *a, int na, const char *b, int nb) {
    int d[3][LONGEST + 1];
    for (int j = 0; j <= nb; j++) d[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *row = d[i % 3], *above = d[(i + 2) % 3], *two_above = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            row[j] = smallest(smallest(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                row[j] = smallest(row[j], two_above[j - 2] + 1);
        }
    }
    return d[na % 3][nb];
}

const char *ct_nearest(const char *word, const char *const *known, int count) {
    const char *best = NULL;
    int best_distance = 0;
    int length = (int)strnlen(word, LONGEST);
    for (int i = 0; i < count; i++) {
        int other = (int)strnlen(known[i], LONGEST);
        int allowed = (length > other ? length : other) / 3;
        int distance = edit_distance(word, length, known[i], other);
        if (distance > (allowed > 1 ? allowed : 1)) continue;
        if (!best || distance < best_distance) {
            best = known[i];
            best_distance = distance;
        }
    }
    return best;
}

const char *ct_did_you_mean(const char *word, const char *const *known, int count) {
    static _Thread_local char buffers[4][LONGEST + 32];
    static _Thread_local int turn;
    const char *near = ct_nearest(word, known, count);
    if (!near) return "";
    char *out = buffers[turn++ % 4];
    snprintf(out, sizeof buffers[0], "; did you mean '%.*s'?", LONGEST, near);
    return out;
}
