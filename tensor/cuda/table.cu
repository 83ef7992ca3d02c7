/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels as a backend, and the library's one symbol. */
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/fused.h"

static char name[128] = "cuda";

static const ct_backend backend = {
    .name = name,
    .allocate = ct_cuda_allocate,
    .free = ct_cuda_free,
    .from_host = ct_cuda_from_host,
    .to_host = ct_cuda_to_host,
    .memory_peak = ct_cuda_memory_peak,
    .trim = ct_cuda_trim,
    .copy = ct_cuda_copy,
    .fill = ct_cuda_fill,
    .arange = ct_cuda_arange,
    .unary = ct_cuda_unary,
    .unary_grad = ct_cuda_unary_grad,
    .binary = ct_cuda_binary,
    .binary_grad = ct_cuda_binary_grad,
    .compare = ct_cuda_compare,
    .where = ct_cuda_where,
    .add_to = ct_cuda_add_to,
    .reduce = ct_cuda_reduce,
    .arg_reduce = ct_cuda_arg_reduce,
    .cumsum = ct_cuda_cumsum,
    .argsort = ct_cuda_argsort,
    .global_norm = ct_cuda_global_norm,
    .has_nonfinite = ct_cuda_has_nonfinite,
    .matmul = ct_cuda_matmul,
    .set_precision = ct_cuda_set_precision,
    .softmax = ct_cuda_softmax,
    .softmax_grad = ct_cuda_softmax_grad,
    .index_select = ct_cuda_index_select,
    .index_add = ct_cuda_index_add,
    .gather = ct_cuda_gather,
    .scatter_add = ct_cuda_scatter_add,
    .uniform = ct_cuda_uniform,
    .normal = ct_cuda_normal,
    .host_allocate = ct_cuda_host_allocate,
    .host_free = ct_cuda_host_free,
    .upload_create = ct_cuda_upload_create,
    .upload_destroy = ct_cuda_upload_destroy,
    .upload_begin = ct_cuda_upload_begin,
    .upload_copy = ct_cuda_upload_copy,
    .upload_end = ct_cuda_upload_end,
    .upload_wait = ct_cuda_upload_wait,
    .upload_receive = ct_cuda_upload_receive,
    .upload_done = ct_cuda_upload_done,
    .capture_begin = ct_cuda_capture_begin,
    .capture_end = ct_cuda_capture_end,
    .capture_run = ct_cuda_capture_run,
    .capture_destroy = ct_cuda_capture_destroy,
    .fused =
        {
            .gru_step = ct_cuda_gru_step,
            .gru_step_grad = ct_cuda_gru_step_grad,
            .lstm_step = ct_cuda_lstm_step,
            .lstm_step_grad = ct_cuda_lstm_step_grad,
            .batch_norm_statistics = ct_cuda_batch_norm_statistics,
            .batch_norm_apply = ct_cuda_batch_norm_apply,
            .batch_norm_grad = ct_cuda_batch_norm_grad,
            .layer_norm = ct_cuda_layer_norm,
            .layer_norm_grad = ct_cuda_layer_norm_grad,
            .l2_normalize = ct_cuda_l2_normalize,
            .l2_normalize_grad = ct_cuda_l2_normalize_grad,
            .cross_entropy = ct_cuda_cross_entropy,
            .cross_entropy_grad = ct_cuda_cross_entropy_grad,
            .hinge = ct_cuda_hinge,
            .hinge_grad = ct_cuda_hinge_grad,
            .diagonal_ranks = ct_cuda_diagonal_ranks,
            .order_similarity = ct_cuda_order_similarity,
            .order_similarity_grad = ct_cuda_order_similarity_grad,
            .policy_head = ct_cuda_policy_head,
            .policy_head_grad = ct_cuda_policy_head_grad,
            .unfold = ct_cuda_unfold,
            .fold = ct_cuda_fold,
            .adam = ct_cuda_adam,
            .sgd = ct_cuda_sgd,
        },
};

extern "C" __attribute__((visibility("default"))) ct_cuda_open_function ct_cuda_open;

const ct_backend *ct_cuda_open(const ct_host_functions *host) {
    if (host->version != CT_CUDA_LIBRARY_VERSION || host->backend_size != sizeof backend) {
        host->fail("cuda: the CUDA backend is of another version than this program");
        return nullptr;
    }
    ct_host = host;
    return ct_cuda_start(name, sizeof name) ? &backend : nullptr;
}
