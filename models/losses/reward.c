/* SPDX-License-Identifier: Apache-2.0 */
/* Reward and advantage of the policies (docs/model.md, "Reward"). Constants: no gradient. Computed
 * on the device of the similarities, without a round trip. */
#include "models/losses/loss.h"

/* 1/(rank+1) of each query plus, for all alike, R@1 + R@5 + R@10 as fractions. */
static ct_tensor *one_way(const ct_tensor *ranks) {
    if (!ranks) return NULL;
    ct_dtype dtype = ranks->dtype;
    ct_device device = ranks->device;
    ct_tensor *one = ct_scalar(dtype, device, 1);
    ct_tensor *reward = ct_tensor_div(one, ct_tensor_add(ranks, one));
    static const double at[] = {1, 5, 10};
    for (int i = 0; i < 3; i++) {
        ct_tensor *hit = ct_tensor_compare(CT_COMPARE_less, ranks, ct_scalar(dtype, device, at[i]));
        hit = hit ? ct_tensor_cast(hit, dtype) : NULL;
        ct_tensor *recall = hit ? ct_tensor_reduce(CT_MEAN, hit, CT_ALL_AXES, false) : NULL;
        reward = recall && reward ? ct_tensor_add(reward, recall) : NULL;
    }
    return reward;
}

ct_tensor *ct_reward_of_ranks(const ct_tensor *to_captions, const ct_tensor *to_images) {
    ct_tensor *a = one_way(to_captions), *b = one_way(to_images);
    return a && b ? ct_tensor_add(a, b) : NULL;
}

static ct_tensor *ranks_of(const ct_tensor *similarity, bool by_column) {
    ct_tensor *ranks = ct_tensor_diagonal_ranks(similarity, by_column);
    return ranks ? ct_tensor_cast(ranks, similarity->dtype) : NULL;
}

ct_tensor *ct_retrieval_reward(const ct_tensor *similarity) {
    if (!similarity) return ct_ok() ? ct_fail("retrieval_reward: similarity is NULL") : NULL;
    if (ct_ndim(similarity) != 2 || ct_dim(similarity, 0) != ct_dim(similarity, 1))
        return ct_fail("retrieval_reward: similarity is %s, expected (B,B)",
                       ct_tensor_text(similarity));
    CT_SCOPE {
        return ct_escape(
            ct_reward_of_ranks(ranks_of(similarity, false), ranks_of(similarity, true)));
    }
    return NULL;
}

ct_tensor *ct_reward_advantage(const ct_tensor *reward, bool leave_one_out, double weight) {
    if (!reward) return ct_ok() ? ct_fail("reward_advantage: reward is NULL") : NULL;
    if (ct_ndim(reward) != 1)
        return ct_fail("reward_advantage: reward is %s, expected (B)", ct_tensor_text(reward));
    int64_t count = ct_count(reward);
    CT_SCOPE {
        ct_tensor *baseline = ct_tensor_reduce(CT_SUM, reward, CT_ALL_AXES, false);
        if (leave_one_out) baseline = ct_tensor_sub(baseline, reward);
        int64_t others = leave_one_out ? count - 1 : count;
        if (!baseline) return NULL;
        baseline = ct_tensor_scale(baseline, others > 0 ? weight / (double)others : 0);
        return ct_escape(ct_tensor_sub(reward, baseline));
    }
    return NULL;
}
