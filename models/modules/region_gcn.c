/* SPDX-License-Identifier: Apache-2.0 */
/* Relations between the regions of an image: VSRN's graph convolution. */
#include "models/matching.h"

#include <math.h>

#include "autograd/matching.h"

/* Gain and bias of the last norm 0: the layer starts as the identity. */
static bool start_as_identity(ct_module *norm) {
    return norm && ct_init_constant(ct_module_tensor(norm, "weight"), 0) &&
           ct_init_constant(ct_module_tensor(norm, "bias"), 0);
}

ct_module *ct_region_gcn_create(int64_t width, int64_t inner) {
    if (width < 1 || width > INT32_MAX || inner < 1 || inner > INT32_MAX) {
        return ct_fail("region_gcn: width %lld, inner %lld: expected 1 to %d", (long long)width,
                       (long long)inner, INT32_MAX);
    }
    ct_module *gcn = ct_module_create("region_gcn");
    ct_module_add(gcn, "g", ct_linear_create(width, inner, true));
    ct_module *w = ct_module_add(gcn, "W", ct_sequential_create());
    ct_module_add(w, "0", ct_linear_create(inner, width, true));
    ct_batch_norm_options options = ct_batch_norm_defaults();
    options.axis = -1;
    ct_module *norm = ct_module_add(w, "1", ct_batch_norm_create(width, &options));
    ct_module_add(gcn, "theta", ct_linear_create(width, inner, true));
    ct_module_add(gcn, "phi", ct_linear_create(width, inner, true));
    if (ct_ok() && start_as_identity(norm)) {
        ct_module_set_forward(gcn, ct_region_gcn);
        return gcn;
    }
    ct_module_destroy(gcn);
    return NULL;
}

static ct_tensor *weight_of(ct_module *layer) { return ct_module_tensor(layer, "weight"); }

static ct_tensor *bias_of(ct_module *layer) { return ct_module_tensor(layer, "bias"); }

/* ---- as it is written ---------------------------------------------------------------------- */

/* R g, from g, theta and phi of v: three layers that read the same, in one product. */
static ct_tensor *related(ct_module *gcn, ct_tensor *v) {
    static const char *const names[] = {"g", "theta", "phi"};
    ct_tensor *weight[3], *bias[3];
    for (int i = 0; i < 3; i++) {
        ct_module *layer = ct_module_child(gcn, names[i]);
        weight[i] = weight_of(layer);
        bias[i] = bias_of(layer);
    }
    return ct_region_relations(ct_linear_joined(v, weight, bias, 3), NULL);
}

/* ---- with less arithmetic ------------------------------------------------------------------ */
/* No nonlinearity stands between g and W, nor between theta and phi, so that each pair is one
 * layer:
 *
 *     W (R g(v)) = R (W g)(v) + b_W,    (W g)(v) = (W_W W_g) v + W_W b_g
 *     theta_i . phi_j = (W_phi^T theta_i) . v_j + b_phi . theta_i
 *
 * Two products of all regions instead of four, and two of weights alone. */

/* W_phi^T, below it b_phi, and zeros for the columns that ct_region_relations does not read. */
static ct_tensor *phi_turned(ct_module *phi) {
    ct_tensor *weight = weight_of(phi), *bias = bias_of(phi);
    if (!weight || !bias) return NULL;
    int64_t inner = bias->shape.dim[0];
    ct_tensor *part[] = {
        ct_transpose(weight, 0, 1), ct_reshape(bias, CT_SHAPE(1, inner)),
        ct_zeros(bias->dtype, bias->device, CT_SHAPE(CT_RELATIONS_SHIFT - 1, inner))};
    return ct_concat(part, 3, 0);
}

/* W (R g), from (W g)(v), theta as phi^T reads it, and v itself. */
static ct_tensor *related_in_fewer(ct_module *gcn, ct_tensor *v) {
    ct_module *w = ct_module_child(ct_module_child(gcn, "W"), "0");
    ct_module *inner[] = {ct_module_child(gcn, "g"), ct_module_child(gcn, "theta")};
    ct_tensor *outer[] = {weight_of(w), phi_turned(ct_module_child(gcn, "phi"))};
    ct_tensor *weight[2], *bias[2];
    for (int i = 0; i < 2; i++) {
        weight[i] = ct_matmul(outer[i], weight_of(inner[i]));
        bias[i] = ct_linear_with(bias_of(inner[i]), outer[i], NULL);
    }
    return ct_add(ct_region_relations(ct_linear_joined(v, weight, bias, 2), v), bias_of(w));
}

/* ---- either -------------------------------------------------------------------------------- */

/* Multiplications of rows regions with weights, and of weights. */
static double work_as_written(double rows, double width, double inner) {
    return 4 * rows * width * inner;
}

static double work_in_fewer(double rows, double width, double inner) {
    double columns = 2 * width + CT_RELATIONS_SHIFT;
    return rows * width * columns + inner * width * columns;
}

double ct_region_gcn_work(double rows, double width, double inner) {
    return fmin(work_as_written(rows, width, inner), work_in_fewer(rows, width, inner));
}

static bool has_fewer(ct_module *gcn, const ct_tensor *v) {
    const ct_tensor *g = weight_of(ct_module_child(gcn, "g"));
    if (!g) return false;
    double rows = (double)v->shape.dim[0] * (double)v->shape.dim[1];
    double width = (double)g->shape.dim[1], inner = (double)g->shape.dim[0];
    return work_in_fewer(rows, width, inner) < work_as_written(rows, width, inner);
}

ct_tensor *ct_region_gcn(ct_module *gcn, ct_tensor *v) {
    if (!ct_module_expect("region_gcn", gcn, ct_region_gcn)) return NULL;
    if (!v) return ct_ok() ? ct_fail("region_gcn: v is NULL") : NULL;
    if (ct_ndim(v) != 3) {
        return ct_fail("region_gcn: v is %s, expected 3 dimensions", ct_tensor_text(v));
    }
    CT_SCOPE {
        ct_module *w = ct_module_child(gcn, "W"), *norm = ct_module_child(w, "1");
        ct_tensor *y = has_fewer(gcn, v) ? ct_forward(norm, related_in_fewer(gcn, v))
                                         : ct_forward(w, related(gcn, v));
        return ct_escape(ct_add(v, y));
    }
    return NULL;
}
