/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: Philox4x32-10 (Salmon et al., SC 2011), counter based.
 *
 * (seed, stream, offset) determines every bit, on any device and any number of threads. A draw
 * of n numbers uses the 128-bit counters offset, offset+1, ...: counter words (offset low,
 * offset high, stream low, stream high), key (seed low, seed high); four 32-bit words a
 * counter, in order; then offset advances by ceil(n/4) (by ceil(n/2) for 64-bit floats, which take
 * two words each). State is three integers: save it, set it, and the sequence goes on.
 * A tensor drawn belongs to the innermost scope; it is NULL with an error for a NULL generator,
 * another dtype, no shape, or without memory.
 */
#ifndef CT_RANDOM_H
#define CT_RANDOM_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

typedef struct ct_rng ct_rng;

/* What replaces drawing when recorded noise is replayed: fills `out` with the recorded values
 * for the draw called `name` ("img_enc.gumbel_u") and returns true, or fails. */
typedef bool (*ct_rng_replay)(void *context, const char *name, ct_tensor *out);

struct ct_rng {
    uint64_t seed, stream, offset;
    ct_rng_replay replay; /* NULL: draw */
    void *replay_context;
};

/* At offset 0, without replay. */
ct_rng ct_rng_create(uint64_t seed, uint64_t stream);

/* One Philox4x32-10 block. */
void ct_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Each returns a new tensor of f32 or f64; `name` says what is drawn, for replay and messages.
 * Replaying leaves the offset as it is.
 * f32: u = (word >> 8) * 2^-24 in [0,1); f64: the top 53 bits of two words, the first one high,
 * likewise in [0,1). */
ct_tensor *ct_random_uniform(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                             ct_shape shape);
/* Standard normal by Box-Muller: the uniforms u1, u2 of a pair give sqrt(-2 log(1-u1)) times
 * cos(2 pi u2) and sin(2 pi u2). 1-u1 is never 0, so no result is infinite: |z| <= 5.77 in f32,
 * 8.58 in f64. The functions are the library's own, so that the bits do not depend on a libm. */
ct_tensor *ct_random_normal(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                            ct_shape shape);
/* 1 with probability p, else 0, in a float dtype: 1 where u < p, u being the f32 uniform (f64 for
 * f64). Error unless 0 <= p <= 1. */
ct_tensor *ct_random_bernoulli(ct_rng *rng, const char *name, double p, ct_dtype dtype,
                               ct_device device, ct_shape shape);
/* Some rows of what those draw, numbered by the first `axes` axes of `shape`: (R,..) of rows (R)
 * i64 on the device. The bits, and where the generator goes on, are those of drawing
 * all; numbers of other rows are not made (but where a row begins within a counter, its size being
 * no multiple of 4, of 2 for f64, and where noise is replayed). A row that is not there is an
 * error, on the CPU always. */
ct_tensor *ct_random_uniform_rows(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                                  ct_shape shape, int axes, const ct_tensor *rows);
ct_tensor *ct_random_normal_rows(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                                 ct_shape shape, int axes, const ct_tensor *rows);
ct_tensor *ct_random_bernoulli_rows(ct_rng *rng, const char *name, double p, ct_dtype dtype,
                                    ct_device device, ct_shape shape, int axes,
                                    const ct_tensor *rows);
/* Host: one uniform integer in [0, bound), without modulo bias (bound 0: 0 and an error); a
 * Fisher-Yates permutation of 0..count-1 written to out; one uniform double in [0,1). They use one
 * counter a number, `below` one more for each rejected draw (probability below bound / 2^64). */
uint64_t ct_random_below(ct_rng *rng, uint64_t bound);
void ct_random_permutation(ct_rng *rng, int64_t count, int64_t *out);
double ct_random_double(ct_rng *rng);

CT_END_DECLS

#endif
