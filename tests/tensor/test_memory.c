/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of CPU tensors: large blocks are cut from what was freed and joined again, and never
 * overlap; and work that a team of threads does in parts, each with tensors of its own. */
#include "tensor/device/team.h"
#include "tests/tensor/fused_test.h"

enum { BLOCKS = 40 };

typedef struct {
    ct_tensor *block[BLOCKS];
    uint8_t filled[BLOCKS];
} blocks;

/* Its first and its last bytes, which neighbours would be the first to overwrite. */
static void check_block(const blocks *b, int i) {
    const ct_tensor *block = b->block[i];
    if (!block) return;
    const uint8_t *bytes = ct_data(block);
    int64_t count = ct_count(block);
    ck_assert_int_eq((intptr_t)bytes % 64, 0);
    for (int64_t k = 0; k < 64 && k < count; k++) {
        ck_assert_int_eq(bytes[k], b->filled[i]);
        ck_assert_int_eq(bytes[count - 1 - k], b->filled[i]);
    }
}

static void renew(blocks *b, int i, int64_t bytes, uint8_t with) {
    check_block(b, i);
    ct_release(b->block[i]);
    CT_SCOPE { b->block[i] = ct_keep(ct_full(CT_U8, CT_CPU, CT_SHAPE(bytes), with)); }
    assert_no_error();
    b->filled[i] = with;
}

/* Sizes from below what is large to several huge pages, freed in any order. */
static bool use_blocks(uint64_t state) {
    enum { TIMES = 1500 };
    blocks b;
    memset(&b, 0, sizeof b);
    for (int t = 0; t < TIMES; t++) {
        double octaves = test_random(&state, 10, 23.5);
        renew(&b, (int)test_random(&state, 0, BLOCKS), (int64_t)exp2(octaves), (uint8_t)t);
    }
    for (int i = 0; i < BLOCKS; i++) {
        check_block(&b, i);
        ct_release(b.block[i]);
    }
    return ct_ok();
}

START_TEST(blocks_do_not_overlap) {
    int64_t before = ct_memory_in_use(CT_CPU);
    ck_assert(use_blocks(1));
    ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
}
END_TEST

static bool use_blocks_of_part(void *context, int part) {
    (void)context;
    return use_blocks((uint64_t)part);
}

START_TEST(nor_those_of_threads) {
    ct_set_threads(3);
    ck_assert(ct_team(3, use_blocks_of_part, NULL));
    assert_no_error();
}
END_TEST

/* Each part with a scope of its own, kernels on its own thread; `done` by part. */
static bool fail_in_two(void *context, int part) {
    int *done = context;
    done[part] = ct_team_size() == 1;
    ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(part, 2));
    return part % 2 == 0 || (ct_tensor_add(x, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(7, 3))) != NULL);
}

START_TEST(the_first_part_that_fails_is_told) {
    int done[5] = {0};
    ct_set_threads(2);
    ck_assert(!ct_team(5, fail_in_two, done));
    assert_error("(1,2)");
    for (int i = 0; i < 5; i++) ck_assert(done[i]);
    ck_assert(ct_team(1, fail_in_two, done));
    assert_no_error();
}
END_TEST

TEST_MAIN("memory", blocks_do_not_overlap, nor_those_of_threads, the_first_part_that_fails_is_told)
