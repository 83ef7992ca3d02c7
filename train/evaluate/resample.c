/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SINGLE = 6 }; /* the recalls that are no sum */
static const int64_t limits[] = {1, 5, 10};

/* What an image brings to the sums that recalls are made of. */
typedef struct {
    double hits[SINGLE];
    double asked[2]; /* images, captions */
} share;

typedef struct {
    double recall[CT_RECALLS];
} recalls;

/* ---- sums -------------------------------------------------------------------------------- */

/* (images), from malloc. */
static share *share_out(const ct_query_ranks *r) {
    share *shares = calloc((size_t)r->images + 1, sizeof *shares);
    if (!shares) return ct_fail("resample: out of memory");
    for (int64_t i = 0; i < r->images; i++) {
        if (r->i2t_rank[i] < 0) continue;
        shares[i].asked[0] = 1;
        for (int k = 0; k < 3; k++) shares[i].hits[k] = r->i2t_rank[i] < limits[k];
    }
    for (int64_t c = 0; c < r->captions; c++) {
        share *s = &shares[r->image_of[c]];
        s->asked[1]++;
        for (int k = 0; k < 3; k++) s->hits[3 + k] += r->t2i_rank[c] < limits[k];
    }
    return shares;
}

static void add_share(share *sum, const share *s) {
    for (int k = 0; k < SINGLE; k++) sum->hits[k] += s->hits[k];
    for (int k = 0; k < 2; k++) sum->asked[k] += s->asked[k];
}

static recalls recalls_of(const share *sum) {
    recalls r = {{0}};
    for (int k = 0; k < SINGLE; k++) {
        double asked = sum->asked[k / 3];
        r.recall[k] = asked > 0 ? 100 * sum->hits[k] / asked : 0;
        r.recall[SINGLE] += r.recall[k];
    }
    return r;
}

static recalls recalls_of_all(const share *shares, int64_t images) {
    share sum = {{0}, {0}};
    for (int64_t i = 0; i < images; i++) add_share(&sum, &shares[i]);
    return recalls_of(&sum);
}

/* ---- draws ------------------------------------------------------------------------------- */

/* For one resample: (images) f64 in [0,1), in the innermost scope. */
static const double *draw(ct_rng *rng, const char *name, int64_t images) {
    ct_tensor *u = ct_random_uniform(rng, name, CT_F64, CT_CPU, CT_SHAPE(images));
    return u ? ct_data(u) : NULL;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the nearest two of `count` sorted values, as numpy.percentile. */
static double percentile(const double *sorted, int64_t count, double part) {
    double at = part * (double)(count - 1);
    int64_t below = (int64_t)floor(at);
    double above = below + 1 < count ? sorted[below + 1] : sorted[below];
    return sorted[below] + (at - (double)below) * (above - sorted[below]);
}

/* values (CT_RECALLS,resamples), sorted in place. */
static void set_ends(ct_interval *interval, double *values, int64_t resamples) {
    qsort(values, (size_t)resamples, sizeof *values, compare);
    interval->low = percentile(values, resamples, 0.025);
    interval->high = percentile(values, resamples, 0.975);
}

/* Recalls of b less those of a (NULL: of b) in every bootstrap sample: (CT_RECALLS,resamples). */
static bool bootstrap(const share *a, const share *b, int64_t images, int64_t resamples,
                      uint64_t seed, double *values) {
    ct_rng rng = ct_rng_create(seed, 0);
    for (int64_t n = 0; n < resamples; n++) {
        CT_SCOPE {
            share sum[2] = {{{0}, {0}}, {{0}, {0}}};
            const double *u = draw(&rng, "images", images);
            if (!u) return false;
            for (int64_t i = 0; i < images; i++) {
                int64_t image = (int64_t)(u[i] * (double)images);
                if (a) add_share(&sum[0], &a[image]);
                add_share(&sum[1], &b[image]);
            }
            recalls of_a = recalls_of(&sum[0]), of_b = recalls_of(&sum[1]);
            for (int k = 0; k < CT_RECALLS; k++) {
                values[k * resamples + n] = of_b.recall[k] - of_a.recall[k];
            }
        }
    }
    return true;
}

static bool intervals_of(const share *a, const share *b, int64_t images, int64_t resamples,
                         uint64_t seed, ct_interval *intervals, size_t stride) {
    double *values = malloc((size_t)resamples * CT_RECALLS * sizeof *values);
    bool done = values ? bootstrap(a, b, images, resamples, seed, values)
                       : ct_fail_bool("resample: out of memory");
    for (int k = 0; k < CT_RECALLS && done; k++) {
        ct_interval *interval = (ct_interval *)((char *)intervals + (size_t)k * stride);
        set_ends(interval, values + k * resamples, resamples);
    }
    free(values);
    return done;
}

/* ---- one model --------------------------------------------------------------------------- */

bool ct_recall_intervals(const ct_query_ranks *ranks, int64_t resamples, uint64_t seed,
                         ct_interval intervals[CT_RECALLS]) {
    share *shares = share_out(ranks);
    if (!shares) return false;
    recalls all = recalls_of_all(shares, ranks->images);
    for (int k = 0; k < CT_RECALLS; k++) intervals[k].value = all.recall[k];
    bool done =
        intervals_of(NULL, shares, ranks->images, resamples, seed, intervals, sizeof *intervals);
    free(shares);
    return done;
}

/* ---- two models -------------------------------------------------------------------------- */

/* How often differences of exchanged models are as large as theirs, to rounding. */
static bool count_as_large(const share *a, const share *b, int64_t images, int64_t resamples,
                           uint64_t seed, const recalls *observed, int64_t count[CT_RECALLS]) {
    ct_rng rng = ct_rng_create(seed, 1);
    for (int64_t n = 0; n < resamples; n++) {
        CT_SCOPE {
            share sum[2] = {{{0}, {0}}, {{0}, {0}}};
            const double *u = draw(&rng, "exchanges", images);
            if (!u) return false;
            for (int64_t i = 0; i < images; i++) {
                bool exchanged = u[i] < 0.5;
                add_share(&sum[exchanged], &a[i]);
                add_share(&sum[!exchanged], &b[i]);
            }
            recalls of_a = recalls_of(&sum[0]), of_b = recalls_of(&sum[1]);
            for (int k = 0; k < CT_RECALLS; k++) {
                double d = of_b.recall[k] - of_a.recall[k];
                count[k] += fabs(d) >= fabs(observed->recall[k]) - 1e-9;
            }
        }
    }
    return true;
}

static bool change_all(const share *a, const share *b, int64_t images, int64_t resamples,
                       uint64_t seed, ct_recall_change *changes) {
    int64_t count[CT_RECALLS] = {0};
    recalls of_a = recalls_of_all(a, images), of_b = recalls_of_all(b, images), observed;
    for (int k = 0; k < CT_RECALLS; k++) observed.recall[k] = of_b.recall[k] - of_a.recall[k];
    if (!intervals_of(a, b, images, resamples, seed, &changes->difference, sizeof *changes) ||
        !count_as_large(a, b, images, resamples, seed, &observed, count)) {
        return false;
    }
    for (int k = 0; k < CT_RECALLS; k++) {
        changes[k].difference.value = observed.recall[k];
        changes[k].p = (1 + (double)count[k]) / (1 + (double)resamples);
    }
    return true;
}

bool ct_recall_changes(const ct_query_ranks *a, const ct_query_ranks *b, int64_t resamples,
                       uint64_t seed, ct_recall_change changes[CT_RECALLS]) {
    if (a->images != b->images || a->captions != b->captions) {
        return ct_fail_bool("resample: the models were not ranked on the same split");
    }
    share *of_a = share_out(a), *of_b = of_a ? share_out(b) : NULL;
    bool done = of_b && change_all(of_a, of_b, a->images, resamples, seed, changes);
    free(of_a);
    free(of_b);
    return done;
}
