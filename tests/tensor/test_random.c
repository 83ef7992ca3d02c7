/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: published vectors, the documented use of counters, the same bits on any number of
 * threads and with any instruction set, distributions. */
#include "tests/test.h"

#include "tensor/ops/philox.h"

/* ---- the generator ---------------------------------------------------------------------- */

/* philox4x32 10 of Random123's kat_vectors: counter, key, result. */
static const uint32_t known_answers[][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
     0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
     0x5001e420, 0x24126ea1},
};

START_TEST(gives_the_published_vectors) {
    for (size_t i = 0; i < sizeof known_answers / sizeof *known_answers; i++) {
        const uint32_t *known = known_answers[i];
        uint32_t out[4];
        ct_philox(known, known + 4, out);
        for (int j = 0; j < 4; j++) ck_assert_uint_eq(out[j], known[6 + j]);
    }
}
END_TEST

/* Word `i` of the sequence of a state, by the definition in random.h. */
static uint32_t word_at(const ct_rng *rng, uint64_t i) {
    uint64_t c = rng->offset + i / 4;
    uint32_t counter[4] = {(uint32_t)c, (uint32_t)(c >> 32), (uint32_t)rng->stream,
                           (uint32_t)(rng->stream >> 32)};
    uint32_t key[2] = {(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32)}, out[4];
    ct_philox(counter, key, out);
    return out[i % 4];
}

/* A state whose every word counts; the offset crosses 2^32. */
static ct_rng far_state(void) {
    ct_rng rng = ct_rng_create(0x123456789abcdef0u, 0xfedcba9876543210u);
    rng.offset = 0xfffffff0u;
    return rng;
}

static const int64_t sizes[] = {0, 1, 2, 3, 4, 5, 127, 128, 129, 255, 256, 257, 1000};
enum { SIZES = sizeof sizes / sizeof *sizes };

START_TEST(uniform_f32_is_made_of_the_counters_words) {
    for (int s = 0; s < SIZES; s++) {
        CT_SCOPE {
            ct_rng rng = far_state(), before = rng;
            ct_tensor *x = ct_random_uniform(&rng, "u", CT_F32, CT_CPU, CT_SHAPE(sizes[s]));
            assert_no_error();
            const float *u = ct_data(x);
            for (int64_t i = 0; i < sizes[s]; i++) {
                double expected = (word_at(&before, (uint64_t)i) >> 8) / 16777216.0;
                ck_assert_double_eq(u[i], expected);
            }
            ck_assert_uint_eq(rng.offset, before.offset + (uint64_t)(sizes[s] + 3) / 4);
        }
    }
}
END_TEST

START_TEST(uniform_f64_is_made_of_two_words_each) {
    for (int s = 0; s < SIZES; s++) {
        CT_SCOPE {
            ct_rng rng = far_state(), before = rng;
            ct_tensor *x = ct_random_uniform(&rng, "u", CT_F64, CT_CPU, CT_SHAPE(sizes[s]));
            assert_no_error();
            const double *u = ct_data(x);
            for (int64_t i = 0; i < sizes[s]; i++) {
                uint64_t high = word_at(&before, 2 * (uint64_t)i);
                uint64_t low = word_at(&before, 2 * (uint64_t)i + 1);
                double expected = (double)((high << 32 | low) >> 11) / 9007199254740992.0;
                ck_assert_double_eq(u[i], expected);
            }
            ck_assert_uint_eq(rng.offset, before.offset + (uint64_t)(sizes[s] + 1) / 2);
        }
    }
}
END_TEST

/* Largest difference from Box-Muller in long double on the uniforms of the same state. */
static double normal_error(ct_dtype dtype, int64_t count) {
    long double largest = 0, two_pi = 6.283185307179586476925286766559L;
    CT_SCOPE {
        ct_rng rng = ct_rng_create(7, 1), same = rng;
        ct_tensor *u = ct_random_uniform(&rng, "u", dtype, CT_CPU, CT_SHAPE(count));
        ct_tensor *z = ct_random_normal(&same, "z", dtype, CT_CPU, CT_SHAPE(count));
        const double *uniform = ct_data(ct_tensor_cast(u, CT_F64));
        const double *normal = ct_data(ct_tensor_cast(z, CT_F64));
        assert_no_error();
        ck_assert_uint_eq(rng.offset, same.offset);
        for (int64_t i = 0; i < count; i += 2) {
            long double radius = sqrtl(-2 * log1pl(-(long double)uniform[i]));
            long double angle = two_pi * uniform[i + 1];
            largest = fmaxl(largest, fabsl(normal[i] - radius * cosl(angle)));
            largest = fmaxl(largest, fabsl(normal[i + 1] - radius * sinl(angle)));
        }
    }
    return (double)largest;
}

/* |z| <= 6 (9 in f64); radius, sine and their product are each within about 2 units of 2^-24
 * (2^-53) relatively: some 6 * 4 * 2^-24 = 1.4e-6 and 9 * 4 * 2^-53 = 4e-15. */
START_TEST(normal_is_box_muller) {
    double f32 = normal_error(CT_F32, 400000), f64 = normal_error(CT_F64, 400000);
    ck_assert_double_lt(f32, 1.4e-6);
    ck_assert_double_lt(f64, 4e-15);
}
END_TEST

START_TEST(normal_is_finite_at_the_ends) {
    float a, b;
    double c, d;
    ct_box_muller_f32(0, 0.3f, &a, &b);
    ck_assert(a == 0 && b == 0);
    ct_box_muller_f64(0, 0.3, &c, &d);
    ck_assert(c == 0 && d == 0);
    ct_box_muller_f32(1 - 0x1p-24f, 0, &a, &b);
    ck_assert_double_eq_tol(a, sqrt(48 * log(2)), 1e-6);
    ck_assert(b == 0);
    ct_box_muller_f64(1 - 0x1p-53, 0.75, &c, &d);
    ck_assert_double_eq_tol(c, 0, 1e-14);
    ck_assert_double_eq_tol(d, -sqrt(106 * log(2)), 1e-14);
    ct_box_muller_f32(0.5f, 1 - 0x1p-24f, &a, &b); /* the angle rounds up to the last quarter */
    ck_assert_double_eq_tol(a, sqrt(2 * log(2)), 1e-6);
    ck_assert_double_eq_tol(b, 0, 1e-6);
}
END_TEST

/* ---- the same bits ---------------------------------------------------------------------- */

static ct_tensor *draw(ct_rng *rng, bool normal, ct_dtype dtype, int64_t count) {
    ct_tensor *x =
        (normal ? ct_random_normal : ct_random_uniform)(rng, "x", dtype, CT_CPU, CT_SHAPE(count));
    assert_no_error();
    return x;
}

static void check_same_bits(const ct_tensor *a, const ct_tensor *b) {
    size_t bytes = (size_t)ct_count(a) * ct_dtype_size(a->dtype);
    ck_assert(bytes == 0 || memcmp(ct_data(a), ct_data(b), bytes) == 0);
}

START_TEST(threads_do_not_change_bits) {
    for (int kind = 0; kind < 4; kind++) {
        CT_SCOPE {
            ct_tensor *x[3];
            for (int t = 0; t < 3; t++) {
                ct_rng rng = ct_rng_create(3, 4);
                ct_set_threads(t + 1);
                x[t] = draw(&rng, kind & 1, kind & 2 ? CT_F64 : CT_F32, 200003);
            }
            check_same_bits(x[0], x[1]);
            check_same_bits(x[0], x[2]);
        }
    }
    ct_set_threads(0);
}
END_TEST

static uint64_t hash(const ct_tensor *x) { /* FNV-1a */
    const uint8_t *byte = ct_data(x);
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < (size_t)ct_count(x) * ct_dtype_size(x->dtype); i++) {
        h = (h ^ byte[i]) * 0x100000001b3u;
    }
    return h;
}

/* This test runs once per instruction set: each must give these bits. They were computed by another
 * implementation of random.h and philox.h, on whole arrays, an operation at a time. */
START_TEST(instruction_sets_do_not_change_bits) {
    static const uint64_t expected[4] = {0xf61c30934a261d5b, 0x5563c238f8b67cb0, 0x80da04c35d287f04,
                                         0xa435777cdaf85f6a};
    for (int kind = 0; kind < 4; kind++) {
        CT_SCOPE {
            ct_rng rng = ct_rng_create(11, 12);
            uint64_t got = hash(draw(&rng, kind & 1, kind & 2 ? CT_F64 : CT_F32, 100001));
            ck_assert_msg(got == expected[kind], "kind %d: hash %#llx, expected %#llx", kind,
                          (unsigned long long)got, (unsigned long long)expected[kind]);
        }
    }
}
END_TEST

/* ---- state ------------------------------------------------------------------------------ */

START_TEST(draws_follow_one_another) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(5, 6), start = rng;
        ct_tensor *a = draw(&rng, false, CT_F32, 5); /* counters 0, 1 */
        ct_tensor *b = draw(&rng, false, CT_F32, 4); /* counter 2 */
        ct_tensor *c = draw(&rng, false, CT_F64, 3); /* counters 3, 4 */
        double d = ct_random_double(&rng);           /* counter 5 */
        ck_assert_uint_eq(rng.offset, 6);
        ck_assert_double_eq(ct_get(a, 4), (word_at(&start, 4) >> 8) * 0x1p-24);
        ck_assert_double_eq(ct_get(b, 0), (word_at(&start, 8) >> 8) * 0x1p-24);
        ck_assert_double_eq(ct_get(c, 0), ct_unit_f64(word_at(&start, 12), word_at(&start, 13)));
        ck_assert_double_eq(d, ct_unit_f64(word_at(&start, 20), word_at(&start, 21)));
    }
}
END_TEST

START_TEST(a_saved_state_continues) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(5, 6);
        draw(&rng, true, CT_F32, 777);
        ct_rng restored = ct_rng_create(rng.seed, rng.stream);
        restored.offset = rng.offset;
        check_same_bits(draw(&rng, true, CT_F32, 99), draw(&restored, true, CT_F32, 99));
        ck_assert_uint_eq(ct_random_below(&rng, 1000000), ct_random_below(&restored, 1000000));
        ck_assert_double_eq(ct_random_double(&rng), ct_random_double(&restored));
    }
}
END_TEST

START_TEST(seeds_and_streams_differ) {
    CT_SCOPE {
        ct_rng rng[3] = {ct_rng_create(1, 1), ct_rng_create(2, 1), ct_rng_create(1, 2)};
        enum { N = 100000 };
        const float *z[3];
        for (int i = 0; i < 3; i++) z[i] = ct_data(draw(&rng[i], true, CT_F32, N));
        for (int i = 0; i < 3; i++) {
            double sum = 0; /* standard deviation sqrt N */
            for (int k = 0; k < N; k++) sum += (double)z[i][k] * z[(i + 1) % 3][k];
            ck_assert_double_lt(fabs(sum), 4 * sqrt(N));
        }
    }
}
END_TEST

/* ---- distributions ---------------------------------------------------------------------- */

enum { BINS = 256 };

/* Chi-square of values that should be uniform in [0,1): mean 255, standard deviation 22.6. */
static double chi_square(const double *u, int64_t count) {
    int64_t in_bin[BINS] = {0};
    for (int64_t i = 0; i < count; i++) in_bin[(int)fmin(u[i] * BINS, BINS - 1)]++;
    double expected = (double)count / BINS, sum = 0;
    for (int i = 0; i < BINS; i++) sum += pow((double)in_bin[i] - expected, 2) / expected;
    return sum;
}

enum { DRAWN = 1000000 };

START_TEST(uniform_is_uniform) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_rng rng = ct_rng_create(42, 0);
            ct_tensor *x = draw(&rng, false, d ? CT_F64 : CT_F32, DRAWN);
            const double *u = ct_data(ct_tensor_cast(x, CT_F64));
            double sum = 0, squares = 0, lag = 0, lowest = 1, highest = 0;
            for (int i = 0; i < DRAWN; i++) {
                double c = u[i] - 0.5;
                sum += c, squares += c * c;
                if (i) lag += c * (u[i - 1] - 0.5);
                lowest = fmin(lowest, u[i]), highest = fmax(highest, u[i]);
            }
            ck_assert(lowest >= 0 && highest < 1);
            ck_assert_double_lt(fabs(sum), 4 * sqrt(DRAWN / 12.0));
            ck_assert_double_lt(fabs(squares - DRAWN / 12.0), 4 * sqrt(DRAWN / 180.0));
            ck_assert_double_lt(fabs(lag), 4 * sqrt(DRAWN / 144.0));
            double chi = chi_square(u, DRAWN);
            ck_assert_msg(chi > 170 && chi < 345, "chi-square %g", chi);
        }
    }
}
END_TEST

START_TEST(normal_is_normal) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_rng rng = ct_rng_create(43, 0);
            ct_tensor *x = draw(&rng, true, d ? CT_F64 : CT_F32, DRAWN);
            double *z = ct_data(ct_tensor_cast(x, CT_F64));
            double power[5] = {0}, pairs = 0;
            for (int i = 0; i < DRAWN; i++) {
                double p = 1;
                for (int k = 0; k < 5; k++, p *= z[i]) power[k] += p;
                if (i % 2) pairs += z[i] * z[i - 1];
                z[i] = 0.5 * erfc(-z[i] / sqrt(2));
            }
            /* moments 0, 1, 0, 3 with variances 1, 2, 15, 96 over DRAWN */
            ck_assert_double_lt(fabs(power[1]), 4 * sqrt(DRAWN));
            ck_assert_double_lt(fabs(power[2] - DRAWN), 4 * sqrt(2.0 * DRAWN));
            ck_assert_double_lt(fabs(power[3]), 4 * sqrt(15.0 * DRAWN));
            ck_assert_double_lt(fabs(power[4] - 3.0 * DRAWN), 4 * sqrt(96.0 * DRAWN));
            ck_assert_double_lt(fabs(pairs), 4 * sqrt(DRAWN / 2.0));
            double chi = chi_square(z, DRAWN);
            ck_assert_msg(chi > 170 && chi < 345, "chi-square %g", chi);
        }
    }
}
END_TEST

START_TEST(bernoulli_is_one_below_p) {
    static const ct_dtype dtypes[] = {CT_F32, CT_F64, CT_BF16, CT_F16};
    for (int d = 0; d < 4; d++) {
        CT_SCOPE {
            enum { N = 40000 };
            ct_rng rng = ct_rng_create(8, 0), same = rng;
            ct_tensor *b = ct_random_bernoulli(&rng, "drop", 0.3, dtypes[d], CT_CPU, CT_SHAPE(N));
            ct_tensor *u = draw(&same, false, d == 1 ? CT_F64 : CT_F32, N);
            assert_no_error();
            ck_assert_int_eq(b->dtype, dtypes[d]);
            ck_assert_uint_eq(rng.offset, same.offset);
            const double *one = ct_data(ct_tensor_cast(b, CT_F64));
            const double *uniform = ct_data(ct_tensor_cast(u, CT_F64));
            double limit = d == 1 ? 0.3 : (double)0.3f, ones = 0;
            int different = 0;
            for (int i = 0; i < N; i++) {
                different += one[i] != (uniform[i] < limit);
                ones += one[i];
            }
            ck_assert_int_eq(different, 0);
            ck_assert_double_lt(fabs(ones - 0.3 * N), 4 * sqrt(0.21 * N));
        }
    }
}
END_TEST

/* Below p, not up to it: with p a value that is drawn. */
START_TEST(bernoulli_leaves_p_itself_out) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(8, 0), same = rng;
        double p = ct_get(draw(&rng, false, CT_F64, 10), 7);
        ct_tensor *b = ct_random_bernoulli(&same, "drop", p, CT_F64, CT_CPU, CT_SHAPE(10));
        ck_assert_double_eq(ct_get(b, 7), 0);
    }
    assert_no_error();
}
END_TEST

START_TEST(bernoulli_of_0_and_1_is_certain) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(8, 0);
        ct_tensor *never = ct_random_bernoulli(&rng, "p", 0, CT_F32, CT_CPU, CT_SHAPE(100, 50));
        ct_tensor *always = ct_random_bernoulli(&rng, "p", 1, CT_F32, CT_CPU, CT_SHAPE(100, 50));
        ck_assert_double_eq(ct_item(ct_tensor_reduce(CT_SUM, never, CT_ALL_AXES, false)), 0);
        ck_assert_double_eq(ct_item(ct_tensor_reduce(CT_SUM, always, CT_ALL_AXES, false)), 5000);
    }
}
END_TEST

START_TEST(below_is_uniform) {
    ct_rng rng = ct_rng_create(9, 9);
    int seen[6] = {0};
    for (int i = 0; i < 60000; i++) seen[ct_random_below(&rng, 6)]++;
    double chi = 0; /* 5 degrees of freedom: above 20.5 once in 1000 */
    for (int i = 0; i < 6; i++) chi += pow(seen[i] - 10000, 2) / 10000;
    ck_assert_double_lt(chi, 20.5);
    ck_assert_uint_eq(ct_random_below(&rng, 1), 0);
    for (int i = 0; i < 1000; i++) ck_assert_uint_lt(ct_random_below(&rng, 7), 7);
    assert_no_error();
}
END_TEST

/* Of 2^64 values, a quarter must be rejected for 3 * 2^62: modulo or a plain multiplication would
 * make the lowest third of the results twice as likely, or every fourth. */
START_TEST(below_has_no_bias_for_large_bounds) {
    ct_rng rng = ct_rng_create(10, 0);
    uint64_t third = (uint64_t)1 << 62;
    enum { N = 30000 };
    int in_third[3] = {0}, multiple_of_3 = 0;
    for (int i = 0; i < N; i++) {
        uint64_t x = ct_random_below(&rng, 3 * third);
        if (x >= 3 * third) ck_abort_msg("%llu is not below", (unsigned long long)x);
        in_third[x / third]++;
        multiple_of_3 += x % 3 == 0;
    }
    for (int i = 0; i < 3; i++) ck_assert_double_lt(fabs(in_third[i] - N / 3.0), 4 * sqrt(N / 4.5));
    ck_assert_double_lt(fabs(multiple_of_3 - N / 3.0), 4 * sqrt(N / 4.5));
    double drawn = (double)rng.offset; /* N / (3/4) on average */
    ck_assert_double_lt(fabs(drawn - N * 4 / 3.0), 4 * sqrt(N * 4 / 9.0));
}
END_TEST

START_TEST(permutation_is_a_permutation) {
    ct_rng rng = ct_rng_create(1, 2);
    enum { N = 1000 };
    int64_t order[N];
    bool seen[N] = {false};
    ct_random_permutation(&rng, N, order);
    ck_assert_uint_ge(rng.offset, N - 1);
    for (int i = 0; i < N; i++) {
        ck_assert(order[i] >= 0 && order[i] < N && !seen[order[i]]);
        seen[order[i]] = true;
    }
    ct_random_permutation(&rng, 0, NULL);
    ct_random_permutation(&rng, 1, order);
    ck_assert_int_eq(order[0], 0);
    assert_no_error();
}
END_TEST

START_TEST(permutations_are_equally_likely) {
    ct_rng rng = ct_rng_create(2, 2);
    int seen[256] = {0};
    int64_t p[4];
    for (int i = 0; i < 24000; i++) {
        ct_random_permutation(&rng, 4, p);
        seen[p[0] << 6 | p[1] << 4 | p[2] << 2 | p[3]]++;
    }
    double chi = 0; /* 23 degrees of freedom: above 49.7 once in 1000 */
    int kinds = 0;
    for (int i = 0; i < 256; i++) {
        if (!seen[i]) continue;
        kinds++;
        chi += pow(seen[i] - 1000, 2) / 1000;
    }
    ck_assert_int_eq(kinds, 24);
    ck_assert_double_lt(chi, 49.7);
}
END_TEST

/* ---- replay and bad input --------------------------------------------------------------- */

typedef struct {
    char name[32];
    int calls;
} recorded;

static bool give_recorded(void *context, const char *name, ct_tensor *out) {
    recorded *r = context;
    snprintf(r->name, sizeof r->name, "%s", name);
    r->calls++;
    return strcmp(name, "unknown") != 0 && ct_tensor_fill(out, 0.25);
}

START_TEST(replay_takes_the_place_of_drawing) {
    CT_SCOPE {
        recorded r = {0};
        ct_rng rng = ct_rng_create(1, 1);
        rng.replay = give_recorded;
        rng.replay_context = &r;
        ct_tensor *u = ct_random_uniform(&rng, "img_enc.u", CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ck_assert_str_eq(r.name, "img_enc.u");
        ck_assert_double_eq(ct_get(u, 5), 0.25);
        ct_tensor *z = ct_random_normal(&rng, "z1", CT_F64, CT_CPU, CT_SHAPE(2));
        ck_assert_str_eq(r.name, "z1");
        ck_assert_double_eq(ct_get(z, 1), 0.25);
        ct_tensor *b = ct_random_bernoulli(&rng, "drop", 0.5, CT_F32, CT_CPU, CT_SHAPE(2));
        ck_assert_str_eq(r.name, "drop");
        ck_assert_double_eq(ct_get(b, 0), 0.25);
        ck_assert_int_eq(r.calls, 3);
        ck_assert_uint_eq(rng.offset, 0);
        ck_assert_ptr_null(ct_random_normal(&rng, "unknown", CT_F32, CT_CPU, CT_SHAPE(2, 3)));
        assert_error("random_normal 'unknown': no recorded values for f32 (2,3)");
    }
}
END_TEST

/* ---- some rows ------------------------------------------------------------------------------ */

typedef enum { UNIFORM, NORMAL, BERNOULLI } drawn;

static ct_tensor *draw_all(drawn what, ct_rng *rng, ct_dtype dtype, ct_shape shape) {
    if (what == BERNOULLI) return ct_random_bernoulli(rng, "r", 0.3, dtype, CT_CPU, shape);
    return (what == NORMAL ? ct_random_normal : ct_random_uniform)(rng, "r", dtype, CT_CPU, shape);
}

static ct_tensor *draw_rows(drawn what, ct_rng *rng, ct_dtype dtype, ct_shape shape, int axes,
                            const ct_tensor *rows) {
    if (what == BERNOULLI)
        return ct_random_bernoulli_rows(rng, "r", 0.3, dtype, CT_CPU, shape, axes, rows);
    return (what == NORMAL ? ct_random_normal_rows
                           : ct_random_uniform_rows)(rng, "r", dtype, CT_CPU, shape, axes, rows);
}

static void check_rows(drawn what, ct_dtype dtype, int64_t width) {
    static const int64_t chosen[] = {14, 3, 3, 0, 9};
    ct_shape shape = CT_SHAPE(3, 5, width);
    ct_tensor *rows = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(5), chosen);
    ct_rng rng = ct_rng_create(3, 0), same = rng;
    for (int again = 0; again < 2; again++) { /* the second begins behind the first */
        ct_tensor *all = draw_all(what, &rng, dtype, shape);
        all = ct_tensor_reshape(all, CT_SHAPE(15, width));
        ct_tensor *some = draw_rows(what, &same, dtype, shape, 2, rows);
        assert_no_error();
        check_same_bits(some, ct_tensor_index_select(all, 0, rows));
        ck_assert_uint_eq(rng.offset, same.offset);
    }
    ct_tensor *none = ct_tensor_slice(rows, 0, 0, 0, 1);
    none = draw_rows(what, &same, dtype, shape, 2, none);
    ck_assert(none && ct_shape_equal(none->shape, CT_SHAPE(0, width)));
}

/* Rows that are made alone, where they are of whole counters, and that are not. */
START_TEST(rows_are_those_of_all) {
    static const int64_t widths[] = {0, 1, 2, 4, 6, 12, 256, 260, 1000};
    for (int w = 0; w < 9; w++) {
        for (drawn what = UNIFORM; what <= BERNOULLI; what++) {
            CT_SCOPE {
                check_rows(what, CT_F32, widths[w]);
                check_rows(what, CT_F64, widths[w]);
            }
        }
    }
}
END_TEST

START_TEST(rows_refused) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_tensor *rows = ct_full(CT_I64, CT_CPU, CT_SHAPE(2), 15);
        ck_assert_ptr_null(draw_rows(UNIFORM, &rng, CT_F32, CT_SHAPE(3, 5, 4), 2, rows));
        assert_error("random_uniform_rows 'r': row 15, expected 0 to 14");
        ck_assert_ptr_null(draw_rows(NORMAL, &rng, CT_F32, CT_SHAPE(3, 5, 4), 4, rows));
        assert_error("random_normal_rows 'r': rows are numbered by 4 axes of (3,5,4)");
        ck_assert_ptr_null(draw_rows(BERNOULLI, &rng, CT_F32, CT_SHAPE(3, 5, 4), 2, NULL));
        assert_error("random_bernoulli_rows 'r': the rows are NULL");
        rows = ct_tensor_cast(rows, CT_I32);
        ck_assert_ptr_null(draw_rows(UNIFORM, &rng, CT_F32, CT_SHAPE(3, 5, 4), 2, rows));
        assert_error("the rows are i32 (2) on cpu, expected i64 (R) on cpu");
        ck_assert_uint_eq(rng.offset, 0);
    }
}
END_TEST

START_TEST(bad_input_is_named) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(1, 1);
        ck_assert_ptr_null(ct_random_uniform(&rng, "noise", CT_I32, CT_CPU, CT_SHAPE(2)));
        assert_error("random_uniform 'noise': expected f32 or f64, got i32");
        ck_assert_ptr_null(ct_random_normal(&rng, "noise", CT_F16, CT_CPU, CT_SHAPE(2)));
        assert_error("random_normal 'noise': expected f32 or f64, got f16");
        ck_assert_ptr_null(ct_random_bernoulli(&rng, "drop", 1.5, CT_F32, CT_CPU, CT_SHAPE(2)));
        assert_error("random_bernoulli 'drop': probability 1.5, expected 0 to 1");
        ck_assert_ptr_null(ct_random_bernoulli(&rng, "drop", NAN, CT_F32, CT_CPU, CT_SHAPE(2)));
        assert_error("expected 0 to 1");
        ck_assert_ptr_null(ct_random_bernoulli(&rng, "drop", 0.5, CT_U8, CT_CPU, CT_SHAPE(2)));
        assert_error("random_bernoulli 'drop': expected a float dtype, got u8");
        ck_assert_ptr_null(ct_random_normal(&rng, "noise", CT_F32, CT_CPU, CT_SHAPE(-1)));
        assert_error("negative size");
        ck_assert_ptr_null(ct_random_normal(NULL, "noise", CT_F32, CT_CPU, CT_SHAPE(1)));
        assert_error("random_normal: the random number generator is NULL");
        ck_assert_uint_eq(rng.offset, 0);
    }
    ct_rng rng = ct_rng_create(1, 1);
    ck_assert_uint_eq(ct_random_below(&rng, 0), 0);
    assert_error("bound is 0");
    ck_assert_uint_eq(ct_random_below(NULL, 5), 0);
    assert_error("random_below");
    ct_random_permutation(NULL, 3, NULL);
    assert_error("random_permutation");
    ct_random_double(NULL);
    assert_error("random_double");
}
END_TEST

TEST_MAIN("random", gives_the_published_vectors, uniform_f32_is_made_of_the_counters_words,
          uniform_f64_is_made_of_two_words_each, normal_is_box_muller, normal_is_finite_at_the_ends,
          threads_do_not_change_bits, instruction_sets_do_not_change_bits, draws_follow_one_another,
          a_saved_state_continues, seeds_and_streams_differ, uniform_is_uniform, normal_is_normal,
          bernoulli_is_one_below_p, bernoulli_leaves_p_itself_out, bernoulli_of_0_and_1_is_certain,
          below_is_uniform, below_has_no_bias_for_large_bounds, permutation_is_a_permutation,
          permutations_are_equally_likely, replay_takes_the_place_of_drawing, rows_are_those_of_all,
          rows_refused, bad_input_is_named)
