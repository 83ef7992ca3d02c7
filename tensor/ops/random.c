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

/* What is to be drawn. */
typedef struct {
    const char *op, *name;
    distribution of;
    ct_dtype dtype;
    ct_device device;
    ct_shape shape;
    const ct_tensor *rows; /* NULL, or which are made of the rows that the first `axes` number */
    int axes;
} drawing;

/* (n,..) of so many rows of what is drawn. */
static ct_shape rows_shape(const drawing *d, int64_t rows) {
    ct_shape shape = CT_SHAPE(rows);
    for (int i = d->axes; i < d->shape.ndim; i++) shape.dim[shape.ndim++] = d->shape.dim[i];
    return shape;
}

static int64_t rows_of_all(const drawing *d) {
    int64_t rows = 1;
    for (int i = 0; i < d->axes; i++) rows *= d->shape.dim[i];
    return rows;
}

static ct_tensor *take_rows(const drawing *d, const ct_tensor *all) {
    if (!all || !d->rows) return (ct_tensor *)all;
    ct_tensor *rows = ct_tensor_reshape(all, rows_shape(d, rows_of_all(d)));
    return rows ? ct_tensor_index_select(rows, 0, d->rows) : NULL;
}

/* New numbers of a distribution: all, or of those of a batch that ranks share, which lie rank after
 * rank, this one's. The generator goes on behind all. Of rows those alone are made, unless two
 * share a counter. */
static ct_tensor *draw(const drawing *d, ct_rng *rng) {
    const ct_backend *backend = ct_backend_of(d->device);
    if (!backend) return NULL;
    if (d->dtype != CT_F32 && d->dtype != CT_F64) {
        return ct_fail("%s '%s': expected f32 or f64, got %s", d->op, d->name,
                       ct_dtype_name(d->dtype));
    }
    bool shared = ct_over_ranks();
    if (shared && !ct_check_sizes(d->op, d->shape, d->dtype)) return NULL;
    int64_t count = ct_shape_count(d->shape), per_counter = d->dtype == CT_F64 ? 2 : 4;
    int64_t first = shared ? ct_rank() * count : 0, all = shared ? ct_ranks() * count : count;
    int64_t skipped = first % per_counter; /* of the first counter */
    bool alone = d->rows && !skipped && ct_shape_count(rows_shape(d, 1)) % per_counter == 0;
    ct_shape shape = skipped ? CT_SHAPE(skipped + count) : d->shape;
    if (alone) shape = rows_shape(d, ct_count(d->rows));
    ct_tensor *y = ct_empty(d->dtype, d->device, shape);
    if (!y) return NULL;
    uint64_t counters = (uint64_t)((all + per_counter - 1) / per_counter);
    ct_rng at;
    if (!ct_draws_next(rng, counters, &at)) return NULL;
    if (!(d->of == NORMAL ? backend->normal : backend->uniform)(
            y, alone ? d->rows : NULL, at.seed, at.stream, at.offset,
            (uint64_t)(first / per_counter), counters)) {
        return NULL;
    }
    ct_draws_taken(rng, &at, counters);
    if (alone) return y;
    if (skipped)
        y = ct_tensor_reshape(ct_tensor_slice(y, 0, skipped, skipped + count, 1), d->shape);
    return take_rows(d, y);
}

/* The recorded values of a draw. The state stays: nothing is drawn. */
static ct_tensor *replay(const drawing *d, ct_rng *rng) {
    ct_tensor *y = ct_empty(d->dtype, d->device, d->shape);
    if (!y || rng->replay(rng->replay_context, d->name, y)) return take_rows(d, y);
    return ct_fail("%s '%s': no recorded values for %s", d->op, d->name, ct_tensor_text(y));
}

static ct_tensor *drawn(const drawing *d, ct_rng *rng) {
    if (!check_rng(d->op, rng)) return NULL;
    return rng->replay ? replay(d, rng) : draw(d, rng);
}

static ct_tensor *below(const drawing *d, ct_rng *rng, double p) {
    if (!check_rng(d->op, rng)) return NULL;
    if (!(p >= 0 && p <= 1)) {
        return ct_fail("%s '%s': probability %g, expected 0 to 1", d->op, d->name, p);
    }
    if ((unsigned)d->dtype >= CT_DTYPE_COUNT || !ct_dtype_is_float(d->dtype)) {
        return ct_fail("%s '%s': expected a float dtype, got %s", d->op, d->name,
                       ct_dtype_name(d->dtype));
    }
    if (rng->replay) return replay(d, rng);
    CT_SCOPE {
        drawing real = *d;
        real.dtype = d->dtype == CT_F64 ? CT_F64 : CT_F32;
        ct_tensor *u = draw(&real, rng);
        ct_tensor *limit = u ? ct_scalar(real.dtype, d->device, p) : NULL;
        ct_tensor *less = limit ? ct_tensor_compare(CT_COMPARE_less, u, limit) : NULL;
        return ct_escape(less ? ct_tensor_cast(less, d->dtype) : NULL);
    }
    return NULL;
}

ct_tensor *ct_random_uniform(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                             ct_shape shape) {
    drawing d = {"random_uniform", name, UNIFORM, dtype, device, shape, NULL, 0};
    return drawn(&d, rng);
}

ct_tensor *ct_random_normal(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                            ct_shape shape) {
    drawing d = {"random_normal", name, NORMAL, dtype, device, shape, NULL, 0};
    return drawn(&d, rng);
}

ct_tensor *ct_random_bernoulli(ct_rng *rng, const char *name, double p, ct_dtype dtype,
                               ct_device device, ct_shape shape) {
    drawing d = {"random_bernoulli", name, UNIFORM, dtype, device, shape, NULL, 0};
    return below(&d, rng, p);
}

/* On the CPU they are looked at; elsewhere no memory is read by them. */
static bool check_rows(drawing *d) {
    const ct_tensor *rows = d->rows;
    if (!rows) return ct_fail_bool("%s '%s': the rows are NULL", d->op, d->name);
    if (d->axes < 0 || d->axes > d->shape.ndim || d->shape.ndim - d->axes >= CT_MAX_DIMS ||
        !ct_check_sizes(d->op, d->shape, CT_F64)) {
        return ct_fail_bool("%s '%s': rows are numbered by %d axes of %s", d->op, d->name, d->axes,
                            ct_shape_text(d->shape));
    }
    if (rows->dtype != CT_I64 || rows->shape.ndim != 1 || rows->device != d->device) {
        return ct_fail_bool("%s '%s': the rows are %s on %s, expected i64 (R) on %s", d->op,
                            d->name, ct_tensor_text(rows), ct_device_name(rows->device),
                            ct_device_name(d->device));
    }
    d->rows = rows = ct_tensor_contiguous(rows);
    if (!rows) return false;
    const int64_t *row = d->device == CT_CPU ? ct_data(rows) : NULL;
    int64_t all = rows_of_all(d);
    for (int64_t i = 0; row && i < ct_count(rows); i++) {
        if (row[i] < 0 || row[i] >= all) {
            return ct_fail_bool("%s '%s': row %lld, expected 0 to %lld", d->op, d->name,
                                (long long)row[i], (long long)all - 1);
        }
    }
    return true;
}

ct_tensor *ct_random_uniform_rows(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                                  ct_shape shape, int axes, const ct_tensor *rows) {
    drawing d = {"random_uniform_rows", name, UNIFORM, dtype, device, shape, rows, axes};
    return check_rows(&d) ? drawn(&d, rng) : NULL;
}

ct_tensor *ct_random_normal_rows(ct_rng *rng, const char *name, ct_dtype dtype, ct_device device,
                                 ct_shape shape, int axes, const ct_tensor *rows) {
    drawing d = {"random_normal_rows", name, NORMAL, dtype, device, shape, rows, axes};
    return check_rows(&d) ? drawn(&d, rng) : NULL;
}

ct_tensor *ct_random_bernoulli_rows(ct_rng *rng, const char *name, double p, ct_dtype dtype,
                                    ct_device device, ct_shape shape, int axes,
                                    const ct_tensor *rows) {
    drawing d = {"random_bernoulli_rows", name, UNIFORM, dtype, device, shape, rows, axes};
    return check_rows(&d) ? below(&d, rng, p) : NULL;
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
