/* SPDX-License-Identifier: Apache-2.0 */
/* Relations between the regions of an image. What g, theta and phi give stands side by side, and so
 * do their gradients: products read and write the columns where they are. */
#include "autograd/check/samples.h"
#include "autograd/graph/graph.h"
#include "autograd/matching.h"

enum { G, THETA, PHI, PARTS };

/* The columns of one part of x (B,N,3C); a view. */
static ct_tensor *part(const ct_tensor *x, int i) {
    int64_t width = x->shape.dim[2] / PARTS;
    return ct_tensor_slice(x, 2, i * width, (i + 1) * width, 1);
}

static ct_tensor *turned(const ct_tensor *x) { return ct_tensor_transpose(x, 1, 2); }

/* One over the number of regions; of none nothing is computed. */
static double share(const ct_tensor *x) {
    int64_t regions = x->shape.dim[1];
    return regions ? 1.0 / (double)regions : 0;
}

/* Saved: x, relations (B,N,N). */
static bool relations_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor *x = ct_saved(node, 0), *relations = ct_saved(node, 1);
    ct_tensor *grad = ct_empty(x->dtype, x->device, x->shape);
    ct_tensor *to_relations = grad ? ct_tensor_matmul(g[0], turned(part(x, G))) : NULL;
    if (!to_relations) return false;
    gx[0] = grad;
    return ct_tensor_matmul_to(part(grad, G), 1, turned(relations), g[0], 0) &&
           ct_tensor_matmul_to(part(grad, THETA), share(x), to_relations, part(x, PHI), 0) &&
           ct_tensor_matmul_to(part(grad, PHI), share(x), turned(to_relations), part(x, THETA), 0);
}

static int call_relations(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_region_relations(x[0]));
}

static void relations_samples(ct_sampler *sampler) {
    ct_sample_1(sampler, "batch", call_relations, NULL, ct_sample_real(CT_SHAPE(2, 3, 12)));
    ct_sample_1(sampler, "one region", call_relations, NULL, ct_sample_real(CT_SHAPE(2, 1, 6)));
    ct_sample_1(sampler, "one number each", call_relations, NULL,
                ct_sample_real(CT_SHAPE(1, 1, 3)));
    ct_sample_1(sampler, "no images", call_relations, NULL, ct_sample_real(CT_SHAPE(0, 2, 3)));
    ct_sample_1(sampler, "no regions", call_relations, NULL, ct_sample_real(CT_SHAPE(2, 0, 3)));
}

static const ct_op relations_op = {"region_relations", relations_backward, relations_samples};

ct_tensor *ct_region_relations(ct_tensor *x) {
    if (!ct_given_float("region_relations", x)) return NULL;
    if (x->shape.ndim != 3 || x->shape.dim[2] % PARTS) {
        return ct_fail("region_relations: x is %s, expected (B,N,3C)", ct_tensor_text(x));
    }
    CT_SCOPE {
        int64_t batch = x->shape.dim[0], regions = x->shape.dim[1];
        ct_tensor *relations = ct_empty(x->dtype, x->device, CT_SHAPE(batch, regions, regions));
        if (!relations ||
            !ct_tensor_matmul_to(relations, share(x), part(x, THETA), turned(part(x, PHI)), 0)) {
            return NULL;
        }
        ct_tensor *y = ct_escape(ct_tensor_matmul(relations, part(x, G)));
        ct_node *node = ct_record(&relations_op, 1, &x, 1, &y);
        ct_save(node, x);
        ct_save(node, relations);
        return y;
    }
    return NULL;
}

const ct_op *ct_relations_op(int i) {
    static const ct_op *const ops[] = {&relations_op, NULL};
    return ops[i];
}
