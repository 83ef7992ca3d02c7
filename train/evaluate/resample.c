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

/* What is drawn for a split, so many times; `take` is given each: (images) f64 in [0,1). */
typedef struct {
    const share *a, *b;
    int64_t images, resamples;
    uint64_t seed;
} resampling;

static bool each_resample(const resampling *r, uint64_t stream, const char *name,
                          void (*take)(const resampling *r, int64_t n, const double *u, void *to),
                          void *to) {
    enum { AT_ONCE = 1 << 16 };
    int64_t stride = r->images + r->images % 2; /* a resample begins with a counter: two f64 */
    int64_t block = AT_ONCE / (stride + 1) + 1;
    ct_rng rng = ct_rng_create(r->seed, stream);
    for (int64_t first = 0; first < r->resamples; first += block) {
        int64_t left = r->resamples - first, count = left < block ? left : block;
        CT_SCOPE {
            ct_tensor *u = ct_random_uniform(&rng, name, CT_F64, CT_CPU, CT_SHAPE(count, stride));
            if (!u) return false;
            const double *drawn = ct_data(u);
            for (int64_t i = 0; i < count; i++) take(r, first + i, drawn + i * stride, to);
        }
    }
    return true;
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

/* Recalls of b less those of a (NULL: of b) in a bootstrap sample, to (CT_RECALLS,resamples). */
static void take_sample(const resampling *r, int64_t n, const double *u, void *to) {
    double *values = to;
    share sum[2] = {{{0}, {0}}, {{0}, {0}}};
    for (int64_t i = 0; i < r->images; i++) {
        int64_t image = (int64_t)(u[i] * (double)r->images);
        if (r->a) add_share(&sum[0], &r->a[image]);
        add_share(&sum[1], &r->b[image]);
    }
    recalls of_a = recalls_of(&sum[0]), of_b = recalls_of(&sum[1]);
    for (int k = 0; k < CT_RECALLS; k++) {
        values[k * r->resamples + n] = of_b.recall[k] - of_a.recall[k];
    }
}

static bool intervals_of(const resampling *r, ct_interval *intervals, size_t stride) {
    double *values = malloc((size_t)r->resamples * CT_RECALLS * sizeof *values);
    bool done = values ? each_resample(r, 0, "images", take_sample, values)
                       : ct_fail_bool("resample: out of memory");
    for (int k = 0; k < CT_RECALLS && done; k++) {
        ct_interval *interval = (ct_interval *)((char *)intervals + (size_t)k * stride);
        set_ends(interval, values + k * r->resamples, r->resamples);
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
    const resampling r = {NULL, shares, ranks->images, resamples, seed};
    bool done = intervals_of(&r, intervals, sizeof *intervals);
    free(shares);
    return done;
}

/* ---- two models -------------------------------------------------------------------------- */

typedef struct {
    recalls observed; /* differences */
    int64_t count[CT_RECALLS];
} as_large;

/* Whether differences of exchanged models are as large as theirs, to rounding. */
static void take_exchange(const resampling *r, int64_t n, const double *u, void *to) {
    (void)n;
    as_large *large = to;
    share sum[2] = {{{0}, {0}}, {{0}, {0}}};
    for (int64_t i = 0; i < r->images; i++) {
        bool exchanged = u[i] < 0.5;
        add_share(&sum[exchanged], &r->a[i]);
        add_share(&sum[!exchanged], &r->b[i]);
    }
    recalls of_a = recalls_of(&sum[0]), of_b = recalls_of(&sum[1]);
    for (int k = 0; k < CT_RECALLS; k++) {
        double d = of_b.recall[k] - of_a.recall[k];
        large->count[k] += fabs(d) >= fabs(large->observed.recall[k]) - 1e-9;
    }
}

static bool change_all(const resampling *r, ct_recall_change *changes) {
    as_large large = {.count = {0}};
    recalls of_a = recalls_of_all(r->a, r->images), of_b = recalls_of_all(r->b, r->images);
    for (int k = 0; k < CT_RECALLS; k++) {
        large.observed.recall[k] = of_b.recall[k] - of_a.recall[k];
    }
    if (!intervals_of(r, &changes->difference, sizeof *changes) ||
        !each_resample(r, 1, "exchanges", take_exchange, &large)) {
        return false;
    }
    for (int k = 0; k < CT_RECALLS; k++) {
        changes[k].difference.value = large.observed.recall[k];
        changes[k].p = (1 + (double)large.count[k]) / (1 + (double)r->resamples);
    }
    return true;
}

bool ct_recall_changes(const ct_query_ranks *a, const ct_query_ranks *b, int64_t resamples,
                       uint64_t seed, ct_recall_change changes[CT_RECALLS]) {
    if (a->images != b->images || a->captions != b->captions) {
        return ct_fail_bool("resample: the models were not ranked on the same split");
    }
    share *of_a = share_out(a), *of_b = of_a ? share_out(b) : NULL;
    const resampling r = {of_a, of_b, a->images, resamples, seed};
    bool done = of_b && change_all(&r, changes);
    free(of_a);
    free(of_b);
    return done;
}
