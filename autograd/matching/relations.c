/* SPDX-License-Identifier: Apache-2.0 */
/* Relations between the regions of an image. What stands side by side in x does so in its gradient,
 * too: products read and write the columns where they are. */
#include "autograd/check/samples.h"
#include "autograd/graph/graph.h"
#include "autograd/matching.h"

/* The operands, or their gradients: views of x's columns, and phi where it comes by itself. */
typedef struct {
    ct_tensor *g, *theta, *phi;
    ct_tensor *shift; /* (B,N,1), or NULL: there is none */
} parts;

static ct_tensor *columns(const ct_tensor *x, int64_t start, int64_t stop) {
    return ct_tensor_slice(x, 2, start, stop, 1);
}

static parts parts_of(const ct_tensor *x, ct_tensor *phi) {
    int64_t width = phi ? phi->shape.dim[2] : x->shape.dim[2] / 3;
    return (parts){columns(x, 0, width), columns(x, width, 2 * width),
                   phi ? phi : columns(x, 2 * width, 3 * width),
                   phi ? columns(x, 2 * width, 2 * width + 1) : NULL};
}

static ct_tensor *turned(const ct_tensor *x) { return ct_tensor_transpose(x, 1, 2); }

/* One over the number of regions; of none nothing is computed. */
static double share(const ct_tensor *x) {
    int64_t regions = x->shape.dim[1];
    return regions ? 1.0 / (double)regions : 0;
}

/* The gradient of the shift, and 0 of the columns behind it. */
static bool shift_gradient(ct_tensor *grad, int64_t width, const ct_tensor *to_relations) {
    ct_tensor *rest = columns(grad, 2 * width, grad->shape.dim[2]);
    ct_tensor *sum = ct_tensor_reduce(CT_SUM, to_relations, 1u << 2, true);
    ct_tensor *shift = rest ? columns(rest, 0, 1) : NULL;
    return sum && shift && ct_tensor_fill(rest, 0) && ct_tensor_add_to(shift, share(grad), sum);
}

/* Saved: x, relations (B,N,N), phi or NULL. */
static bool relations_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor *x = ct_saved(node, 0), *relations = ct_saved(node, 1);
    ct_tensor *phi = ct_saved(node, 2);
    parts in = parts_of(x, phi);
    ct_tensor *grad = ct_empty(x->dtype, x->device, x->shape);
    ct_tensor *to_phi = phi ? ct_empty(phi->dtype, phi->device, phi->shape) : NULL;
    ct_tensor *to_relations = grad ? ct_tensor_matmul(g[0], turned(in.g)) : NULL;
    if (!to_relations || (phi && !to_phi)) return false;
    parts out = parts_of(grad, to_phi);
    gx[0] = grad;
    if (phi) gx[1] = to_phi;
    return (!phi || shift_gradient(grad, phi->shape.dim[2], to_relations)) &&
           ct_tensor_matmul_to(out.g, 1, turned(relations), g[0], 0) &&
           ct_tensor_matmul_to(out.theta, share(x), to_relations, in.phi, 0) &&
           ct_tensor_matmul_to(out.phi, share(x), turned(to_relations), in.theta, 0);
}

static int call_relations(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const bool *apart = options;
    return ct_sample_result(y, ct_region_relations(x[0], *apart ? x[1] : NULL));
}

static void relations_samples(ct_sampler *sampler) {
    static const bool within = false, apart = true;
    ct_sample_1(sampler, "batch", call_relations, &within, ct_sample_real(CT_SHAPE(2, 3, 12)));
    ct_sample_1(sampler, "one region", call_relations, &within, ct_sample_real(CT_SHAPE(2, 1, 6)));
    ct_sample_1(sampler, "one number each", call_relations, &within,
                ct_sample_real(CT_SHAPE(1, 1, 3)));
    ct_sample_1(sampler, "no images", call_relations, &within, ct_sample_real(CT_SHAPE(0, 2, 3)));
    ct_sample_1(sampler, "no regions", call_relations, &within, ct_sample_real(CT_SHAPE(2, 0, 3)));
    ct_sample_2(sampler, "phi by itself", call_relations, &apart,
                ct_sample_real(CT_SHAPE(2, 3, 8 + CT_RELATIONS_SHIFT)),
                ct_sample_real(CT_SHAPE(2, 3, 4)));
    ct_sample_2(sampler, "phi by itself, one number", call_relations, &apart,
                ct_sample_real(CT_SHAPE(1, 1, 2 + CT_RELATIONS_SHIFT)),
                ct_sample_real(CT_SHAPE(1, 1, 1)));
    ct_sample_2(sampler, "phi by itself, no images", call_relations, &apart,
                ct_sample_real(CT_SHAPE(0, 2, 2 + CT_RELATIONS_SHIFT)),
                ct_sample_real(CT_SHAPE(0, 2, 1)));
}

static const ct_op relations_op = {"region_relations", relations_backward, relations_samples};

static bool relations_fit(const ct_tensor *x, const ct_tensor *phi) {
    if (!ct_given_float("region_relations", x)) return false;
    if (!phi) {
        return (x->shape.ndim == 3 && x->shape.dim[2] % 3 == 0) ||
               ct_fail_bool("region_relations: x is %s, expected (B,N,3C)", ct_tensor_text(x));
    }
    return (x->shape.ndim == 3 && phi->shape.ndim == 3 && x->dtype == phi->dtype &&
            x->device == phi->device && x->shape.dim[0] == phi->shape.dim[0] &&
            x->shape.dim[1] == phi->shape.dim[1] &&
            x->shape.dim[2] == 2 * phi->shape.dim[2] + CT_RELATIONS_SHIFT) ||
           ct_fail_bool("region_relations: x is %s, phi %s: expected (B,N,2C+%d) and (B,N,C), of "
                        "one dtype",
                        ct_tensor_text(x), ct_tensor_text(phi), CT_RELATIONS_SHIFT);
}

/* theta phi^T / N, and the shift to each row of it. */
static ct_tensor *relate(const ct_tensor *x, parts in) {
    int64_t batch = x->shape.dim[0], regions = x->shape.dim[1];
    ct_tensor *relations = ct_empty(x->dtype, x->device, CT_SHAPE(batch, regions, regions));
    if (!relations || (in.shift && !ct_tensor_copy_to(relations, in.shift))) return NULL;
    return ct_tensor_matmul_to(relations, share(x), in.theta, turned(in.phi),
                               in.shift ? share(x) : 0)
               ? relations
               : NULL;
}

ct_tensor *ct_region_relations(ct_tensor *x, ct_tensor *phi) {
    if (!relations_fit(x, phi)) return NULL;
    CT_SCOPE {
        parts in = parts_of(x, phi);
        ct_tensor *relations = relate(x, in);
        ct_tensor *y = relations ? ct_escape(ct_tensor_matmul(relations, in.g)) : NULL;
        ct_node *node = ct_record(&relations_op, phi ? 2 : 1, (ct_tensor *[]){x, phi}, 1, &y);
        ct_save(node, x);
        ct_save(node, relations);
        ct_save(node, phi);
        return y;
    }
    return NULL;
}

const ct_op *ct_relations_op(int i) {
    static const ct_op *const ops[] = {&relations_op, NULL};
    return ops[i];
}
