/* SPDX-License-Identifier: Apache-2.0 */
#include "train/pictures/passes.h"

#include <string.h>

enum { HALF = 1 << (CT_WEIGHT_BITS - 1), STRIP = 64 };

static uint8_t to_byte(int32_t sum) {
    int32_t value = sum >> CT_WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static int32_t weight_of(const ct_span *s, int k) {
    const ct_weight_pair *w = &s->pairs[k / 2];
    return w->high[k % 2] * (1 << CT_WEIGHT_LOW_BITS) + w->low[k % 2];
}

#ifdef __SSE2__ /* every x86-64 has it */

#include <emmintrin.h>

static __m128i load_four(const uint8_t *from) {
    int32_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    return _mm_cvtsi32_si128(bytes);
}

/* Four results in 32 bits each. */
static __m128i finished(__m128i low, __m128i high) {
    __m128i sum = _mm_add_epi32(_mm_slli_epi32(high, CT_WEIGHT_LOW_BITS), low);
    return _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(HALF)), CT_WEIGHT_BITS);
}

/* The two low and the two high weights, four times each. */
static __m128i low_of(const ct_weight_pair *w) {
    int32_t both;
    memcpy(&both, w->low, sizeof both);
    return _mm_set1_epi32(both);
}

static __m128i high_of(const ct_weight_pair *w) {
    int32_t both;
    memcpy(&both, w->high, sizeof both);
    return _mm_set1_epi32(both);
}

/* Two pixels of a row at a time: a byte of each beside the other, as 16 bits. */
void ct_pass_across(const uint8_t *from, const ct_span *spans, int results, uint8_t *to) {
    const __m128i zero = _mm_setzero_si128();
    for (int i = 0; i < results; i++, to += 3) {
        const uint8_t *pixel = from + (size_t)spans[i].first * 3;
        const ct_weight_pair *w = spans[i].pairs;
        __m128i low = zero, high = zero;
        for (int k = 0; k < spans[i].count; k += 2, pixel += 6, w++) {
            __m128i both = _mm_unpacklo_epi8(load_four(pixel), load_four(pixel + 3));
            both = _mm_unpacklo_epi8(both, zero);
            low = _mm_add_epi32(low, _mm_madd_epi16(both, low_of(w)));
            high = _mm_add_epi32(high, _mm_madd_epi16(both, high_of(w)));
        }
        __m128i sum = finished(low, high);
        sum = _mm_packs_epi32(sum, sum);
        int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
        memcpy(to, &bytes, 3);
    }
}

/* Eight bytes of two rows at a time. */
static void eight_down(const uint8_t *from, size_t row, const ct_span *s, uint8_t *to) {
    const __m128i zero = _mm_setzero_si128();
    __m128i low[2] = {zero, zero}, high[2] = {zero, zero};
    const ct_weight_pair *w = s->pairs;
    for (int k = 0; k < s->count; k += 2, w++, from += 2 * row) {
        const uint8_t *second = k + 1 < s->count ? from + row : from;
        __m128i both = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)from),
                                         _mm_loadl_epi64((const __m128i *)second));
        __m128i half[2] = {_mm_unpacklo_epi8(both, zero), _mm_unpackhi_epi8(both, zero)};
        for (int h = 0; h < 2; h++) {
            low[h] = _mm_add_epi32(low[h], _mm_madd_epi16(half[h], low_of(w)));
            high[h] = _mm_add_epi32(high[h], _mm_madd_epi16(half[h], high_of(w)));
        }
    }
    __m128i sum = _mm_packs_epi32(finished(low[0], high[0]), finished(low[1], high[1]));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(sum, sum));
}

/* Returns how many bytes are done. */
static size_t most_down(const uint8_t *from, size_t row, size_t bytes, const ct_span *s,
                        uint8_t *to) {
    size_t x = 0;
    for (; x + 8 <= bytes; x += 8) eight_down(from + x, row, s, to + x);
    return x;
}

#else

static size_t most_down(const uint8_t *from, size_t row, size_t bytes, const ct_span *s,
                        uint8_t *to) {
    (void)from, (void)row, (void)bytes, (void)s, (void)to;
    return 0;
}

void ct_pass_across(const uint8_t *from, const ct_span *spans, int results, uint8_t *to) {
    for (int i = 0; i < results; i++, to += 3) {
        const uint8_t *pixel = from + (size_t)spans[i].first * 3;
        int32_t sum[3] = {HALF, HALF, HALF};
        for (int k = 0; k < spans[i].count; k++, pixel += 3) {
            int32_t weight = weight_of(&spans[i], k);
            for (int c = 0; c < 3; c++) sum[c] += pixel[c] * weight;
        }
        for (int c = 0; c < 3; c++) to[c] = to_byte(sum[c]);
    }
}

#endif

static void strip_down(const uint8_t *from, size_t row, size_t bytes, const ct_span *s,
                       uint8_t *to) {
    int32_t sum[STRIP];
    for (size_t x = 0; x < bytes; x++) sum[x] = HALF;
    for (int k = 0; k < s->count; k++, from += row) {
        int32_t weight = weight_of(s, k);
        for (size_t x = 0; x < bytes; x++) sum[x] += from[x] * weight;
    }
    for (size_t x = 0; x < bytes; x++) to[x] = to_byte(sum[x]);
}

void ct_pass_down(const uint8_t *from, size_t row, size_t bytes, const ct_span *span, uint8_t *to) {
    from += (size_t)span->first * row;
    size_t x = most_down(from, row, bytes, span, to);
    for (; x < bytes; x += STRIP) {
        strip_down(from + x, row, bytes - x < STRIP ? bytes - x : STRIP, span, to + x);
    }
}
