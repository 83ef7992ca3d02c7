/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing: state, replay, and the draws made on the host. */
#include "tensor/ops/random.h"

#include "tensor/core/shape.h"
#include "tensor/device/backend.h"
#include "tensor/ops/draws.h"
#include "tensor/ops/philox.h"
#include "tensor/ranks/ranks.h"

ct_rng ct_rng_create(uint64_t seed, uint64_t stream) {
    return (ct_rng){.seed = seed, .stream = stream};
}

void ct_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    if (!counter || !key || !out) {
        ct_fail("philox: counter, key or result is NULL");
        return;
    }
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < CT_PHILOX_ROUNDS; round++) {
        ct_philox_round(&c[0], &c[1], &c[2], &c[3], k0, k1);
        k0 += CT_PHILOX_W0;
        k1 += CT_PHILOX_W1;
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

/* ---- tensors ---------------------------------------------------------------------------- */

static bool check_rng(const char *op, const ct_rng *rng) {
    return rng ? true : ct_fail_bool("%s: the random number generator is NULL", op);
}

typedef enum { UNIFORM, NORMAL } distribution;

/* New numbers of a distribution: all, or of those of a batch that ranks share, which lie rank after
 * rank, this one's. The generator goes on behind all. */
static ct_tensor *draw(const char *op, ct_rng *rng, const char *name, distribution of,
                       ct_dtype dtype, ct_device device, ct_shape shape) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return NULL;
    if (dtype != CT_F32 && dtype != CT_F64) {
        return ct_fail("%s '%s': expected f32 or f64, got %s", op, name, ct_dtype_name(dtype));
    }
    bool shared = ct_over_ranks();
    if (shared && !ct_check_sizes(op, shape, dtype)) return NULL;
    int64_t count = ct_shape_count(shape), per_counter = dtype == CT_F64 ? 2 : 4;
    int64_t first = shared ? ct_rank() * count : 0, all = shared ? ct_ranks() * count : count;
    int64_t skipped = first % per_counter; /* of the first counter */
    ct_tensor *y = ct_empty(dtype, device, skipped ? CT_SHAPE(skipped + count) : shape);
    if (!y) return NULL;
    uint64_t counters = (uint64_t)((all + per_counter - 1) / per_counter);
    ct_rng at;
    if (!ct_draws_next(rng, counters, &at)) return NULL;
    if (!(of == NORMAL ? backend->normal : backend->uniform)(
            y, at.seed, at.stream, at.offset, (uint64_t)(first / per_counter), counters)) {
        return NULL;
    }
    ct_draws_taken(rng, &at, counters);
    return skipped ? ct_tensor_reshape(ct_tensor_slice(y, 0, skipped, skipped + count, 1), shape)
                   : y;
}

/* The recorded values of a draw. The state stays: nothing is drawn. */
static ct_tensor *replay(const char *op, ct_rng *rng, const char *name, ct_dtype dtype,
                         ct_device device, ct_shape shape) {
    ct_tensor *y = ct_empty(dtype, device, shape);
    if (!y || rng->replay(rng->replay_context, name, y)) return y;
    return ct_fail("%s '%s': no recorded values for %s", op, name, ct_tensor_text(y));
}

ct_tensor *ct_random_uniform(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                             ct_shape shape) {
    const char *op = "random_uniform";
    if (!check_rng(op, rng)) return NULL;
    if (rng->replay) return replay(op, rng, name, dtype, device, shape);
    return draw(op, rng, name, UNIFORM, dtype, device, shape);
}

ct_tensor *ct_random_normal(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                            ct_shape shape) {
    const char *op = "random_normal";
    if (!check_rng(op, rng)) return NULL;
    if (rng->replay) return replay(op, rng, name, dtype, device, shape);
    return draw(op, rng, name, NORMAL, dtype, device, shape);
}

ct_tensor *ct_random_bernoulli(ct_rng *rng, const char *name, double p, ct_dtype dtype,
                               ct_device device, ct_shape shape) {
    const char *op = "random_bernoulli";
    if (!check_rng(op, rng)) return NULL;
    if (!(p >= 0 && p <= 1)) {
        return ct_fail("%s '%s': probability %g, expected 0 to 1", op, name, p);
    }
    if ((unsigned)dtype >= CT_DTYPE_COUNT || !ct_dtype_is_float(dtype)) {
        return ct_fail("%s '%s': expected a float dtype, got %s", op, name, ct_dtype_name(dtype));
    }
    if (rng->replay) return replay(op, rng, name, dtype, device, shape);
    CT_SCOPE {
        ct_dtype drawn = dtype == CT_F64 ? CT_F64 : CT_F32;
        ct_tensor *u = draw(op, rng, name, UNIFORM, drawn, device, shape);
        ct_tensor *limit = u ? ct_scalar(drawn, device, p) : NULL;
        ct_tensor *below = limit ? ct_tensor_compare(CT_COMPARE_less, u, limit) : NULL;
        return ct_escape(below ? ct_tensor_cast(below, dtype) : NULL);
    }
    return NULL;
}

/* ---- numbers on the host ---------------------------------------------------------------- */

/* The first two words of the next counter, the first one high. */
static uint64_t draw_64(ct_rng *rng) {
    ct_rng at;
    bool given = ct_draws_next(rng, 1, &at); /* else an error, and any number */
    uint32_t counter[4] = {(uint32_t)at.offset, (uint32_t)(at.offset >> 32), (uint32_t)at.stream,
                           (uint32_t)(at.stream >> 32)};
    uint32_t key[2] = {(uint32_t)at.seed, (uint32_t)(at.seed >> 32)}, word[4];
    ct_philox(counter, key, word);
    if (given) ct_draws_taken(rng, &at, 1);
    else rng->offset++;
    return (uint64_t)word[0] << 32 | word[1];
}

/* floor(x bound / 2^64) for 64 random bits x, drawing again while the low half of the product is
 * one of the 2^64 mod bound values that would make some results likelier (Lemire, "Fast random
 * integer generation in an interval", 2019). */
uint64_t ct_random_below(ct_rng *rng, uint64_t bound) {
    if (!check_rng("random_below", rng)) return 0;
    if (bound == 0) {
        ct_fail("random_below: bound is 0, expected at least 1");
        return 0;
    }
    uint64_t threshold = -bound % bound;
    for (;;) {
        unsigned __int128 product = (unsigned __int128)draw_64(rng) * bound;
        if ((uint64_t)product >= threshold) return (uint64_t)(product >> 64);
    }
}

void ct_random_permutation(ct_rng *rng, int64_t count, int64_t *out) {
    if (!check_rng("random_permutation", rng) ||
        !ct_check_list("random_permutation", "numbers", out, count)) {
        return;
    }
    for (int64_t i = 0; i < count; i++) out[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)ct_random_below(rng, (uint64_t)i + 1);
        int64_t swapped = out[i];
        out[i] = out[j];
        out[j] = swapped;
    }
}

double ct_random_double(ct_rng *rng) {
    if (!check_rng("random_double", rng)) return 0;
    uint64_t bits = draw_64(rng);
    return ct_unit_f64((uint32_t)(bits >> 32), (uint32_t)bits);
}
