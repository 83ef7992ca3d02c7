/* SPDX-License-Identifier: Apache-2.0 */
/* Recalls: against the published code's recorded evaluation, and against counting by hand. */
#include "tests/golden.h"
#include "train/evaluate/ranking.h"

/* ---- recorded evaluations ------------------------------------------------------------------- */

static ct_embeddings embeddings_of(const golden *g, const char *prefix, ct_measure measure) {
    char images[64], captions[64];
    snprintf(images, sizeof images, "%sin.images", prefix);
    snprintf(captions, sizeof captions, "%sin.captions", prefix);
    return (ct_embeddings){golden_get(g, images), golden_get(g, captions), measure};
}

static void evenly(int64_t *image_of, int64_t captions, int64_t each) {
    for (int64_t c = 0; c < captions; c++) image_of[c] = c / each;
}

static void check_recalls(const ct_recalls *got, const double *want) {
    const double have[5] = {got->r1, got->r5, got->r10, got->medr, got->meanr};
    for (int i = 0; i < 5; i++) ck_assert_double_eq_tol(have[i], want[i], 1e-9);
}

static void check_integers(const golden *g, const char *prefix, const char *what,
                           const int64_t *got) {
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, what);
    const ct_tensor *want = golden_stored(g, name);
    const int64_t *value = ct_data(want);
    for (int64_t i = 0; i < ct_count(want); i++)
        ck_assert_msg(got[i] == value[i], "%s[%lld] is %lld, expected %lld", name, (long long)i,
                      (long long)got[i], (long long)value[i]);
}

enum { MOST_IMAGES = 100, MOST_CAPTIONS = 500 };
static int64_t i2t_rank[MOST_IMAGES], i2t_top[MOST_IMAGES];
static int64_t t2i_rank[MOST_CAPTIONS], t2i_top[MOST_CAPTIONS], image_of[MOST_CAPTIONS];
static const ct_retrieval_details all = {i2t_rank, i2t_top, t2i_rank, t2i_top};

static void check_metrics(const golden *g, const char *prefix, const ct_retrieval *got) {
    const char *const ways[] = {"i2t", "t2i"};
    for (int i = 0; i < 2; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s.out.metrics", prefix, ways[i]);
        check_recalls(i ? &got->t2i : &got->i2t, ct_data(golden_stored(g, name)));
    }
}

static void check_evaluation(const golden *g, const ct_embeddings *models, int count,
                             const char *prefix) {
    ct_retrieval metrics;
    ck_assert(ct_evaluate_retrieval(models, count, image_of, &metrics, all));
    check_metrics(g, prefix, &metrics);
    check_integers(g, prefix, "i2t.out.ranks", i2t_rank);
    check_integers(g, prefix, "i2t.out.top1", i2t_top);
    check_integers(g, prefix, "t2i.out.ranks", t2i_rank);
    check_integers(g, prefix, "t2i.out.top1", t2i_top);
}

/* Both settings of evaluation_report, by the function that the program calls. */
static ct_retrieval evaluated(const ct_embeddings *models, int count, int folds, bool released) {
    ct_retrieval metrics;
    ck_assert(ct_evaluate(models, count, image_of, (ct_evaluation){folds, released}, &metrics));
    return metrics;
}

START_TEST(recorded_metrics) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) CT_SCOPE {
            golden g = golden_open("eval_metrics", dtype);
            ct_embeddings cosine[2] = {embeddings_of(&g, "a.", CT_COSINE),
                                       embeddings_of(&g, "b.", CT_COSINE)};
            ct_embeddings order[2] = {embeddings_of(&g, "a.", CT_ORDER),
                                      embeddings_of(&g, "b.", CT_ORDER)};
            evenly(image_of, ct_dim(cosine[0].captions, 0), 5);
            check_evaluation(&g, cosine, 1, "cosine.");
            check_evaluation(&g, order, 1, "order.");
            check_evaluation(&g, cosine, 2, "ensemble.cosine.");
            ct_retrieval right = evaluated(order, 2, 1, false),
                         released = evaluated(order, 2, 1, true);
            check_metrics(&g, "ensemble.order.", &released);
            ck_assert_double_ne(right.rsum, released.rsum);
            released = evaluated(cosine, 2, 1, true);
            check_metrics(&g, "ensemble.cosine.", &released);
            golden_close(&g);
        }
}
END_TEST

/* A device's model may compute in bf16; its similarities are compared in fp32. */
START_TEST(recorded_metrics_whatever_the_precision) {
    ct_device device = test_device();
    ct_precision precision = CT_PRECISION_BF16;
    if (device == CT_CPU && !ct_set_precision(device, precision)) {
        fprintf(stderr, "skipped: %s\n", ct_error());
        ct_error_clear();
        return;
    }
    ck_assert(ct_set_precision(device, precision));
    CT_SCOPE {
        golden g = golden_open("eval_metrics", CT_F32);
        ct_embeddings cosine = embeddings_of(&g, "a.", CT_COSINE);
        evenly(image_of, ct_dim(cosine.captions, 0), 5);
        check_evaluation(&g, &cosine, 1, "cosine.");
        golden_close(&g);
    }
    ck_assert_int_eq(ct_precision_of(device), precision);
    ck_assert(ct_set_precision(device, CT_PRECISION_FP32));
}
END_TEST

START_TEST(recorded_folds) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) CT_SCOPE {
            golden g = golden_open("eval_fold5", dtype);
            ct_embeddings model = embeddings_of(&g, "", CT_COSINE);
            evenly(image_of, ct_dim(model.captions, 0), 5);
            ct_retrieval right = evaluated(&model, 1, 5, false);
            ct_retrieval released = evaluated(&model, 1, 5, true);
            const double *mean = ct_data(golden_stored(&g, "fold5.out.mean_metrics"));
            check_recalls(&right.i2t, mean);
            check_recalls(&right.t2i, mean + 5);
            check_recalls(&released.i2t, mean);
            check_recalls(&released.t2i, mean + 5);
            ck_assert_double_eq_tol(right.rsum, mean[12], 1e-9);
            double printed = ct_item(golden_stored(&g, "fold5.out.printed_rsum"));
            ck_assert_double_eq_tol(released.rsum, printed, 1e-9);
            ck_assert_double_ne(printed, mean[12]);
            check_evaluation(&g, &model, 1, "full.");
            right = evaluated(&model, 1, 1, false), released = evaluated(&model, 1, 1, true);
            ck_assert_double_eq(right.rsum, released.rsum);
            golden_close(&g);
        }
}
END_TEST

/* ---- counting by hand ----------------------------------------------------------------------- */

/* Small whole numbers: their products are exact, so that scores tie and no rounding decides. */
static ct_tensor *whole_numbers(ct_rng *rng, int64_t rows, int64_t width, ct_dtype dtype) {
    ct_tensor *x = ct_empty(dtype, CT_CPU, CT_SHAPE(rows, width));
    for (int64_t i = 0; i < rows * width; i++) ct_set(x, i, (double)ct_random_below(rng, 5) - 2);
    return x;
}

/* The definition in evaluate.h, entry by entry. */
typedef struct {
    int64_t images, captions;
    const int64_t *image_of;
    double *score; /* (I,C) */
    int64_t *i2t_rank, *i2t_top, *t2i_rank, *t2i_top;
} by_hand;

static void count_by_hand(const by_hand *h) {
    double *best = malloc((size_t)h->images * sizeof *best);
    for (int64_t i = 0; i < h->images; i++) best[i] = -INFINITY;
    for (int64_t c = 0; c < h->captions; c++) {
        double own = h->score[h->image_of[c] * h->captions + c];
        best[h->image_of[c]] = fmax(best[h->image_of[c]], own);
    }
    for (int64_t i = 0; i < h->images; i++) {
        for (int64_t c = 0; c < h->captions; c++) {
            double s = h->score[i * h->captions + c];
            double own = h->score[h->image_of[c] * h->captions + c];
            h->i2t_rank[i] += h->image_of[c] != i && s >= best[i];
            h->t2i_rank[c] += h->image_of[c] != i && s >= own;
            if (s > h->score[i * h->captions + h->i2t_top[i]]) h->i2t_top[i] = c;
            if (s > h->score[h->t2i_top[c] * h->captions + c]) h->t2i_top[c] = i;
        }
    }
    free(best);
}

/* Scores of one model, or the mean over two. */
static double *scores_by_hand(const ct_embeddings *models, int count) {
    int64_t images = ct_dim(models[0].images, 0), captions = ct_dim(models[0].captions, 0);
    double *score = calloc((size_t)(images * captions), sizeof *score);
    for (int m = 0; m < count; m++) CT_SCOPE {
            const double *a = ct_data(ct_tensor_cast(models[m].images, CT_F64));
            const double *b = ct_data(ct_tensor_cast(models[m].captions, CT_F64));
            int64_t width = ct_dim(models[m].images, 1);
            for (int64_t i = 0; i < images; i++)
                for (int64_t c = 0; c < captions; c++)
                    for (int64_t k = 0; k < width; k++)
                        score[i * captions + c] += a[i * width + k] * b[c * width + k] / count;
        }
    return score;
}

static void same_integers(const int64_t *got, const int64_t *want, int64_t count,
                          const char *what) {
    for (int64_t i = 0; i < count; i++)
        if (got[i] != want[i])
            ck_abort_msg("%s[%lld] is %lld, expected %lld", what, (long long)i, (long long)got[i],
                         (long long)want[i]);
}

/* `spread`: captions an image at most; `shuffled`: not in the order of the images. In tiles of
 * every kind: all in one, some, one an image and its captions. */
static void check_by_hand(int64_t images, int64_t spread, bool shuffled, int count,
                          ct_dtype dtype) {
    ct_rng rng = ct_rng_create(17, 0);
    int64_t captions = 0, *of = calloc((size_t)(images * spread) + 1, sizeof *of);
    for (int64_t i = 0; i < images; i++)
        for (uint64_t k = ct_random_below(&rng, (uint64_t)spread) + 1; k > 0; k--)
            of[captions++] = i;
    for (int64_t c = captions - 1; shuffled && c > 0; c--) {
        int64_t other = (int64_t)ct_random_below(&rng, (uint64_t)c + 1), swap = of[c];
        of[c] = of[other];
        of[other] = swap;
    }
    size_t size = (size_t)(images + captions);
    int64_t *want = calloc(4 * size, sizeof *want), *got = want + 2 * size;
    CT_SCOPE {
        ct_embeddings models[2];
        for (int m = 0; m < 2; m++)
            models[m] = (ct_embeddings){whole_numbers(&rng, images, 3 + m, dtype),
                                        whole_numbers(&rng, captions, 3 + m, dtype), CT_COSINE};
        by_hand h = {images,
                     captions,
                     of,
                     scores_by_hand(models, count),
                     want,
                     want + images,
                     want + 2 * images,
                     want + 2 * images + captions};
        ct_retrieval_details mine = {got, got + images, got + 2 * images,
                                     got + 2 * images + captions};
        count_by_hand(&h);
        for (int64_t tile = 1; tile <= CT_TILE_SCORES; tile *= 8) {
            memset(got, 0, 2 * size * sizeof *got);
            ck_assert(ct_rank_split(models, count, of, tile, mine));
            same_integers(mine.i2t_rank, h.i2t_rank, images, "i2t rank");
            same_integers(mine.i2t_top, h.i2t_top, images, "i2t top");
            same_integers(mine.t2i_rank, h.t2i_rank, captions, "t2i rank");
            same_integers(mine.t2i_top, h.t2i_top, captions, "t2i top");
        }
        free(h.score);
    }
    free(want);
    free(of);
}

START_TEST(ranks_by_hand) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++)
        for (int shuffled = 0; shuffled < 2; shuffled++)
            for (int count = 1; count <= 2; count++) {
                check_by_hand(1, 1, shuffled, count, dtype);
                check_by_hand(7, 1, shuffled, count, dtype);
                check_by_hand(40, 9, shuffled, count, dtype);
            }
}
END_TEST

START_TEST(equal_scores_count_against_the_model) {
    int64_t of[6] = {0, 0, 1, 1, 2, 2};
    CT_SCOPE {
        ct_embeddings model = {ct_full(CT_F32, CT_CPU, CT_SHAPE(3, 2), 1),
                               ct_full(CT_F32, CT_CPU, CT_SHAPE(6, 2), 1), CT_COSINE};
        ct_retrieval metrics;
        ck_assert(ct_evaluate_retrieval(&model, 1, of, &metrics, all));
        ck_assert_double_eq(metrics.i2t.r1, 0);
        for (int i = 0; i < 3; i++) ck_assert_int_eq(i2t_rank[i], 4);
        for (int c = 0; c < 6; c++) ck_assert_int_eq(t2i_rank[c], 2);
    }
}
END_TEST

/* Rows that are equal in each model, of random numbers: products of other shapes round them
 * otherwise. */
static ct_tensor *repeated_rows(ct_rng *rng, int64_t rows, int64_t distinct, int64_t width,
                                ct_dtype dtype) {
    ct_tensor *x = ct_random_normal(rng, "x", dtype, CT_CPU, CT_SHAPE(distinct, width));
    int64_t *from = malloc((size_t)rows * sizeof *from);
    for (int64_t i = 0; i < rows; i++) from[i] = i * 7 % distinct;
    ct_tensor *index = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(rows), from);
    free(from);
    return ct_l2_normalize(ct_tensor_index_select(x, 0, index), 1);
}

/* Each image and each caption stands there about three times: whoever finds one finds them all. */
START_TEST(equal_rows_tie_in_every_tile) {
    enum { IMAGES = 61, CAPTIONS = 211, WIDTH = 37 };
    int64_t of[CAPTIONS], want_i2t[IMAGES], want_t2i[CAPTIONS], got_i2t[IMAGES], got_t2i[CAPTIONS];
    ct_rng rng = ct_rng_create(5, 0);
    for (int64_t c = 0; c < CAPTIONS; c++) of[c] = c < IMAGES ? c : c * 31 % IMAGES;
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) CT_SCOPE {
            ct_embeddings model = {repeated_rows(&rng, IMAGES, 20, WIDTH, dtype),
                                   repeated_rows(&rng, CAPTIONS, 70, WIDTH, dtype), CT_COSINE};
            ct_retrieval_details want = {want_i2t, NULL, want_t2i, NULL};
            ct_retrieval_details got = {got_i2t, NULL, got_t2i, NULL};
            ck_assert(ct_rank_split(&model, 1, of, CT_TILE_SCORES, want));
            /* equal images tie with one another: two others of each at least */
            for (int64_t c = 0; c < CAPTIONS; c++) ck_assert_int_ge(want_t2i[c], 2);
            for (int64_t tile = 1; tile < CAPTIONS * IMAGES; tile = tile * 3 + 1) {
                ck_assert(ct_rank_split(&model, 1, of, tile, got));
                same_integers(got_i2t, want_i2t, IMAGES, "i2t rank");
                same_integers(got_t2i, want_t2i, CAPTIONS, "t2i rank");
            }
        }
}
END_TEST

/* Image 1 has no caption: captions find it, and it asks for none. */
START_TEST(images_without_captions_distract) {
    int64_t of[2] = {0, 2};
    CT_SCOPE {
        const double images[] = {1, 0, 0, 1, 0, 1}, captions[] = {1, 0, 0, 1};
        ct_embeddings model = {ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(3, 2), images),
                               ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2, 2), captions),
                               CT_COSINE};
        ct_retrieval m;
        ck_assert(ct_evaluate_retrieval(&model, 1, of, &m, all));
        ck_assert_int_eq(i2t_rank[0], 0);
        ck_assert_int_eq(i2t_rank[1], -1);
        ck_assert_int_eq(i2t_rank[2], 0);
        ck_assert_int_eq(t2i_rank[0], 0);
        ck_assert_int_eq(t2i_rank[1], 1);
        ck_assert_double_eq(m.i2t.r1, 100);
        ck_assert_double_eq(m.i2t.meanr, 1);
        ck_assert_double_eq(m.t2i.r1, 50);
        ck_assert_int_eq(m.images, 3);
        ck_assert_int_eq(m.captions, 2);
        ck_assert_int_eq(m.distractors, 1);
    }
}
END_TEST

/* ---- errors --------------------------------------------------------------------------------- */

START_TEST(what_does_not_fit) {
    int64_t of[4] = {0, 0, 1, 1};
    CT_SCOPE {
        ct_embeddings model[2];
        for (int m = 0; m < 2; m++)
            model[m] = (ct_embeddings){ct_full(CT_F32, CT_CPU, CT_SHAPE(2 + m, 3), 1),
                                       ct_full(CT_F32, CT_CPU, CT_SHAPE(4, 3), 1), CT_COSINE};
        ct_retrieval metrics;
        ck_assert(!ct_evaluate_retrieval(model, 2, of, &metrics, (ct_retrieval_details){0}));
        assert_error("model 2 has 3 images");
        int64_t all_of_first[4] = {0};
        ck_assert(!ct_evaluate_folds(model, 1, all_of_first, 2, &metrics));
        assert_error("images 1 to 1, one of the folds, have no caption");
        ck_assert(!ct_evaluate_folds(model, 1, of, 3, &metrics));
        assert_error("2 images do not divide into 3 folds");
        ct_set(model[0].captions, 3, NAN);
        ck_assert(!ct_evaluate_retrieval(model, 1, of, &metrics, (ct_retrieval_details){0}));
        assert_error("model 1 gives NaN or infinite similarities");
        of[1] = 2;
        ck_assert(!ct_evaluate_retrieval(model, 1, of, &metrics, (ct_retrieval_details){0}));
        assert_error("outside 0..1");
    }
}
END_TEST

TEST_MAIN("evaluate", recorded_metrics, recorded_metrics_whatever_the_precision, recorded_folds,
          ranks_by_hand, equal_scores_count_against_the_model, equal_rows_tie_in_every_tile,
          images_without_captions_distract, what_does_not_fit)
