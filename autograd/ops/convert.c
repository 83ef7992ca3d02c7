/* SPDX-License-Identifier: Apache-2.0 */
/* The same values elsewhere: constants, other dtypes, other devices. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"
#include "tensor/core/trace.h"

ct_tensor *ct_detach(ct_tensor *x) {
    ct_tensor *constant = ct_given("detach", x) ? ct_tensor_expand(x, x->shape) : NULL;
    ct_trace_end(constant);
    return constant;
}

/* ---- cast ------------------------------------------------------------------------------- */

static bool cast_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_cast(g[0], *(const ct_dtype *)ct_node_options(node));
    return gx[0] != NULL;
}

/* Differences need f64 on both sides; other dtypes are in the unit tests. */
static int call_cast(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_cast(x[0], CT_F64));
}

static void cast_samples(ct_sampler *sampler) {
    ct_sample_1(sampler, "matrix", call_cast, NULL, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "one element", call_cast, NULL, ct_sample_real(CT_SHAPE(1, 1)));
    ct_sample_1(sampler, "empty", call_cast, NULL, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op cast_op = {"cast", cast_backward, cast_samples};

ct_tensor *ct_cast(ct_tensor *x, ct_dtype dtype) {
    ct_tensor *y = ct_tensor_cast(x, dtype);
    ct_node *node = ct_record(&cast_op, 1, &x, 1, &y);
    if (node) ct_save_options(node, &x->dtype, sizeof x->dtype);
    return y;
}

/* ---- device ----------------------------------------------------------------------------- */

static bool to_device_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_to_device(g[0], *(const ct_device *)ct_node_options(node));
    return gx[0] != NULL;
}

static int call_to_device(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_to_device(x[0], CT_CPU));
}

static void to_device_samples(ct_sampler *sampler) {
    ct_sample_1(sampler, "matrix", call_to_device, NULL, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "one element", call_to_device, NULL, ct_sample_real(CT_SHAPE(1, 1)));
    ct_sample_1(sampler, "empty", call_to_device, NULL, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op to_device_op = {"to_device", to_device_backward, to_device_samples};

ct_tensor *ct_to_device(ct_tensor *x, ct_device device) {
    ct_tensor *y = ct_tensor_to_device(x, device);
    ct_node *node = ct_record(&to_device_op, 1, &x, 1, &y);
    if (node) ct_save_options(node, &x->device, sizeof x->device);
    return y;
}

const ct_op *ct_convert_op(int i) {
    static const ct_op *const ops[] = {&cast_op, &to_device_op, NULL};
    return ops[i];
}
