/* SPDX-License-Identifier: Apache-2.0 */
/* Hinge, order similarity and ranks of similarity matrices. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/fused.h"

enum { ORDER_TILE = 8 };

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/matching_ranking_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/matching_ranking_kernels.h"

bool CT_CPU(hinge)(ct_tensor *loss, const ct_tensor *s, ct_hinge_options options) {
    if (s->dtype == CT_F32) {
        hinge_f32(loss, s, options);
    } else {
        hinge_f64(loss, s, options);
    }
    return true;
}

bool CT_CPU(hinge_grad)(ct_tensor *gs, const ct_tensor *g, const ct_tensor *s,
                        ct_hinge_options options) {
    if (s->dtype == CT_F32) {
        hinge_grad_f32(gs, g, s, options);
    } else {
        hinge_grad_f64(gs, g, s, options);
    }
    return true;
}

bool CT_CPU(diagonal_ranks)(ct_tensor *rank, const ct_tensor *s, bool by_column) {
    if (s->dtype == CT_F32) {
        diagonal_ranks_f32(ct_cpu_data(rank), s, by_column);
    } else {
        diagonal_ranks_f64(ct_cpu_data(rank), s, by_column);
    }
    return true;
}

bool CT_CPU(order_similarity)(ct_tensor *s, const ct_tensor *a, const ct_tensor *b) {
    if (s->dtype == CT_F32) {
        order_similarity_f32(s, a, b);
    } else {
        order_similarity_f64(s, a, b);
    }
    return true;
}

bool CT_CPU(order_similarity_grad)(ct_tensor *ga, ct_tensor *gb, const ct_tensor *g,
                                   const ct_tensor *a, const ct_tensor *b, const ct_tensor *s) {
    if (s->dtype == CT_F32) {
        order_similarity_grad_f32(ga, gb, g, a, b, s);
    } else {
        order_similarity_grad_f64(ga, gb, g, a, b, s);
    }
    return true;
}
