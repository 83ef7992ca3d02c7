/* SPDX-License-Identifier: Apache-2.0 */
/* After the first steps of a training hardly anything is asked of the system, also where batches
 * are of other lengths than those that came before: no large block is mapped, and few pages are
 * touched for the first time. */
#include <sys/resource.h>
#include <unistd.h>

#include "nn/nn.h"
#include "tests/test.h"

/* Sanitizers keep what is freed, so that nothing is used again. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS_FREED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KEEPS_FREED 1
#endif
#endif

/* Pages of address space, or of those the resident ones, from /proc; -1: there is none. */
static long pages(bool resident) {
    long all = -1, here = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return -1;
    if (fscanf(file, "%ld %ld", &all, &here) != 2) all = here = -1;
    fclose(file);
    return resident ? here : all;
}

static long mapped_pages(void) { return pages(false); }

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

typedef struct {
    ct_module *net, *rnn, *conv, *out;
    ct_optimizer *adam;
} training;

static void begin(training *t) {
    ct_seed(1);
    t->net = ct_module_create("net");
    t->rnn = ct_module_add(t->net, "rnn", ct_gru_create(64, 128, NULL));
    t->conv = ct_module_add(t->net, "conv", ct_conv1d_create(128, 96, 3, NULL));
    t->out = ct_module_add(t->net, "out", ct_linear_create(96, 200, true));
    t->adam = ct_adam_create(t->net, NULL);
    assert_no_error();
}

/* A batch of so many words each; its parts are from 64 KiB to some MiB. */
static void step(training *t, int64_t words) {
    CT_SCOPE {
        ct_rng *rng = ct_default_rng();
        ct_tensor *x = ct_random_normal(rng, "x", CT_F32, CT_CPU, CT_SHAPE(32, words, 64));
        ct_tensor *h = ct_relu(ct_conv1d(t->conv, ct_gru(t->rnn, x, NULL, NULL, NULL)));
        ck_assert(ct_backward(ct_mean_all(ct_square(ct_linear(t->out, h)))));
        ck_assert(ct_optimizer_step(t->adam));
    }
    assert_no_error();
}

START_TEST(asks_the_system_for_little) {
#ifdef KEEPS_FREED
    return;
#endif
    /* 1 MiB, of what is too small to be kept; blocks of other lengths would be some 1,700 pages */
    enum { FIRST = 16, MORE = 24, FEW_PAGES = 256 };
    if (mapped_pages() < 0 || getenv("CT_TEST_SMALL")) return; /* valgrind's memory is its own */
    ct_set_threads(2);
    training t;
    begin(&t);
    for (int i = 0; i < FIRST; i++) step(&t, i % 2 ? 24 : 30);
    long mapped = mapped_pages(), before = faults();
    for (int i = 0; i < MORE; i++) step(&t, 23 + i % 8);
    ck_assert_int_le(mapped_pages() - mapped, FEW_PAGES);
    ck_assert_int_le(faults() - before, FEW_PAGES);
    ct_optimizer_destroy(t.adam);
    ct_module_destroy(t.net);
}
END_TEST

static void fill_blocks(int count, int64_t mib) {
    CT_SCOPE {
        for (int i = 0; i < count; i++) ct_full(CT_U8, CT_CPU, CT_SHAPE(mib << 20), 1);
    }
    assert_no_error();
}

/* Many small blocks after a few large ones do not come on top of these. */
START_TEST(keeps_no_more_than_its_bound) {
#ifdef KEEPS_FREED
    return;
#endif
    enum { PEAK = 384, BOUND = PEAK + PEAK / 4 + 64 }; /* MiB */
    enum { BESIDE = 64 }; /* of each block up to 2, which malloc may fill (MALLOC_PERTURB_) */
    if (mapped_pages() < 0 || getenv("CT_TEST_SMALL")) return;
    long before = pages(true);
    CT_SCOPE {
        fill_blocks(PEAK / 64, 64);
        for (int i = 0; i < PEAK / 16; i++) ct_full(CT_U8, CT_CPU, CT_SHAPE(16 << 20), 1);
        long page = sysconf(_SC_PAGESIZE);
        ck_assert_int_le((pages(true) - before) * page >> 20, BOUND + BESIDE);
    }
    assert_no_error();
}
END_TEST

TEST_MAIN("nn_memory", asks_the_system_for_little, keeps_no_more_than_its_bound)
