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
} position;

/* word[j][i] is word j of counter `first + i` after the position's offset. */
static void draw_words(position p, int64_t first, uint32_t word[4][LANES]) {
    uint64_t counter = p.offset + (uint64_t)first;
    for (int i = 0; i < LANES; i++) {
        word[0][i] = (uint32_t)(counter + (uint64_t)i);
        word[1][i] = (uint32_t)((counter + (uint64_t)i) >> 32);
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

bool CT_CPU(uniform)(ct_tensor *y, uint64_t seed, uint64_t stream, uint64_t offset, uint64_t first,
                     uint64_t counters) {
    (void)counters;
    return fill_blocks(y, (position){seed, stream, offset + first},
                       y->dtype == CT_F64 ? uniform_block_f64 : uniform_block_f32);
}

bool CT_CPU(normal)(ct_tensor *y, uint64_t seed, uint64_t stream, uint64_t offset, uint64_t first,
                    uint64_t counters) {
    (void)counters;
    return fill_blocks(y, (position){seed, stream, offset + first},
                       y->dtype == CT_F64 ? normal_block_f64 : normal_block_f32);
}
