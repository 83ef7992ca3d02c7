/* SPDX-License-Identifier: Apache-2.0 */
/* The two passes of resizing, whose sums are of integers: columns of a row, then rows. Internal to
 * train/pictures/. */
#ifndef CT_PICTURE_PASSES_H
#define CT_PICTURE_PASSES_H

#include <stddef.h>
#include <stdint.h>

/* A weight has 22 bits behind the point. It is split, w = high * 2^11 + low, so that the products
 * of a byte with each half add up in 16-bit multiplications. Weights stand two by two. */
enum { CT_WEIGHT_BITS = 22, CT_WEIGHT_LOW_BITS = 11 };

typedef struct {
    int16_t low[2], high[2];
} ct_weight_pair;

/* What one result is a sum of: `count` values from `first` on, the last pair's second weight 0 if
 * they are odd. */
typedef struct {
    int first, count;
    const ct_weight_pair *pairs;
} ct_span;

/* `from` holds pixels of three bytes and CT_ROW_SLACK bytes that may be read behind them. */
enum { CT_ROW_SLACK = 8 };
void ct_pass_across(const uint8_t *from, const ct_span *spans, int results, uint8_t *to);
/* One row of `bytes` bytes from rows that are `row` bytes apart. */
void ct_pass_down(const uint8_t *from, size_t row, size_t bytes, const ct_span *span, uint8_t *to);

#endif
