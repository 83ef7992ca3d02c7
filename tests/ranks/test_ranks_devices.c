/* SPDX-License-Identifier: Apache-2.0 */
/* Three ranks where there are two devices. */
#include "tests/ranks/ranks_test.h"

START_TEST(each_rank_needs_a_device_of_its_own) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(2));
        ck_assert(!ct_tensor_all_reduce(x));
        assert_error("ranks: ranks 0 and 2 are on one GPU, where each needs its own: on ");
        ck_assert(!ct_tensor_all_reduce(x));
        assert_error(" are 3 ranks and 2 GPUs");
    }
}
END_TEST

RANKS_MAIN("ranks devices", {each_rank_needs_a_device_of_its_own, 1})
