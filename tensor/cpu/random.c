/* SPDX-License-Identifier: Apache-2.0 */
/* Uniform and normal numbers of Philox counters.
 *
 * Counters are worked through LANES at a time, word by word in arrays, which compilers turn into
 * vector code. Which counter makes which element depends on the position alone, so any number of
 * threads gives the same bits. Compiled with -ffp-contract=off: see tensor/ops/philox.h.
 */
#include "tensor/ops/philox.h"

#include <string.h>

#include "tensor/cpu/cpu.h"

enum { LANES = 64 };

typedef struct {
    uint64_t seed, stream, offset;
    const int64_t *row; /* NULL, or which rows, of `each` counters, are made */
    int64_t rows, each;
} position;

static void count_on(uint64_t from, int64_t count, uint32_t *low, uint32_t *high) {
    for (int64_t i = 0; i < count; i++) {
        low[i] = (uint32_t)(from + (uint64_t)i);
        high[i] = (uint32_t)((from + (uint64_t)i) >> 32);
    }
}

/* The counters of those that are made from the `first` on; behind the last row, any. */
static void find_counters(position p, int64_t first, uint32_t low[LANES], uint32_t high[LANES]) {
    int64_t row = first / p.each, within = first % p.each;
    for (int64_t i = 0; i < LANES; row++, within = 0) {
        int64_t count = p.each - within < LANES - i ? p.each - within : LANES - i;
        int64_t start = row < p.rows ? p.row[row] * p.each : 0;
        count_on(p.offset + (uint64_t)(start + within), count, low + i, high + i);
        i += count;
    }
}

/* word[j][i] is word j of counter `first + i` of those that are made. */
static void draw_words(position p, int64_t first, uint32_t word[4][LANES]) {
    if (p.row) find_counters(p, first, word[0], word[1]);
    else count_on(p.offset + (uint64_t)first, LANES, word[0], word[1]);
    for (int i = 0; i < LANES; i++) {
        word[2][i] = (uint32_t)p.stream;
        word[3][i] = (uint32_t)(p.stream >> 32);
    }
    uint32_t k0 = (uint32_t)p.seed, k1 = (uint32_t)(p.seed >> 32);
    for (int round = 0; round < CT_PHILOX_ROUNDS; round++) {
        for (int i = 0; i < LANES; i++) {
            ct_philox_round(&word[0][i], &word[1][i], &word[2][i], &word[3][i], k0, k1);
        }
        k0 += CT_PHILOX_W0;
        k1 += CT_PHILOX_W1;
    }
}

/* The elements that LANES counters make, in order: four f32 or two f64 each. */
typedef void block_function(position p, int64_t first, void *out);

static void uniform_block_f32(position p, int64_t first, void *out) {
    uint32_t word[4][LANES];
    float *y = out;
    draw_words(p, first, word);
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < 4; j++) y[4 * i + j] = ct_unit_f32(word[j][i]);
    }
}

static void uniform_block_f64(position p, int64_t first, void *out) {
    uint32_t word[4][LANES];
    double *y = out;
    draw_words(p, first, word);
    for (int i = 0; i < LANES; i++) {
        y[2 * i] = ct_unit_f64(word[0][i], word[1][i]);
        y[2 * i + 1] = ct_unit_f64(word[2][i], word[3][i]);
    }
}

static void normal_block_f32(position p, int64_t first, void *out) {
    uint32_t word[4][LANES];
    float z[4][LANES], *y = out;
    draw_words(p, first, word);
    for (int j = 0; j < 4; j += 2) {
        for (int i = 0; i < LANES; i++) {
            ct_box_muller_f32(ct_unit_f32(word[j][i]), ct_unit_f32(word[j + 1][i]), &z[j][i],
                              &z[j + 1][i]);
        }
    }
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < 4; j++) y[4 * i + j] = z[j][i];
    }
}

static void normal_block_f64(position p, int64_t first, void *out) {
    uint32_t word[4][LANES];
    double z[2][LANES], *y = out;
    draw_words(p, first, word);
    for (int i = 0; i < LANES; i++) {
        ct_box_muller_f64(ct_unit_f64(word[0][i], word[1][i]), ct_unit_f64(word[2][i], word[3][i]),
                          &z[0][i], &z[1][i]);
    }
    for (int i = 0; i < LANES; i++) {
        y[2 * i] = z[0][i];
        y[2 * i + 1] = z[1][i];
    }
}

enum { BLOCK_BYTES = LANES * 16 };

CT_PART fill_part(ct_part part, ct_tensor *y, int64_t bytes, position p, block_function *block) {
    char *data = ct_cpu_data(y);
    for (int64_t b = part.begin; b < part.end; b++) {
        int64_t begin = b * BLOCK_BYTES;
        if (bytes - begin >= BLOCK_BYTES) {
            block(p, b * LANES, data + begin);
        } else {
            double last[LANES * 2];
            block(p, b * LANES, last);
            memcpy(data + begin, last, (size_t)(bytes - begin));
        }
    }
}

static bool fill_blocks(ct_tensor *y, position p, block_function *block) {
    int64_t count = ct_count(y), bytes = count * (int64_t)ct_dtype_size(y->dtype);
    CT_IN_PARTS(ct_cpu_threads(count), (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES,
                fill_part(part, y, bytes, p, block));
    return true;
}

static position position_of(const ct_tensor *y, const ct_tensor *rows, uint64_t seed,
                            uint64_t stream, uint64_t offset) {
    position p = {.seed = seed, .stream = stream, .offset = offset};
    if (!rows || ct_count(rows) == 0) return p;
    p.row = ct_cpu_data(rows);
    p.rows = ct_count(rows);
    p.each = ct_count(y) / p.rows * (int64_t)ct_dtype_size(y->dtype) / 16;
    return p;
}

bool CT_CPU(uniform)(ct_tensor *y, const ct_tensor *rows, uint64_t seed, uint64_t stream,
                     uint64_t offset, uint64_t first, uint64_t counters) {
    (void)counters;
    return fill_blocks(y, position_of(y, rows, seed, stream, offset + first),
                       y->dtype == CT_F64 ? uniform_block_f64 : uniform_block_f32);
}

bool CT_CPU(normal)(ct_tensor *y, const ct_tensor *rows, uint64_t seed, uint64_t stream,
                    uint64_t offset, uint64_t first, uint64_t counters) {
    (void)counters;
    return fill_blocks(y, position_of(y, rows, seed, stream, offset + first),
                       y->dtype == CT_F64 ? normal_block_f64 : normal_block_f32);
}
