/* SPDX-License-Identifier: Apache-2.0 */
/* The order similarity whose gradient is NaN where the released code's is. */
#include "models/losses/loss.h"

/* Of plain operations, whose derivative at 0 is not defined away: that of the root is infinite,
 * that of the square 0, and their product NaN where a vector meets itself. */
ct_tensor *ct_released_order_similarity(ct_tensor *a, ct_tensor *b) {
    ct_tensor *over = ct_sub(ct_unsqueeze(b, 0), ct_unsqueeze(a, 1)); /* (N,M,D) */
    if (!over) return NULL;
    ct_tensor *zero = ct_scalar(over->dtype, over->device, 0);
    ct_tensor *below = ct_tensor_compare(CT_COMPARE_less, over, zero);
    ct_tensor *squares = ct_sum(ct_square(ct_masked_fill(over, below, 0)), 2);
    return ct_neg(ct_pow_scalar(squares, 0.5));
}
