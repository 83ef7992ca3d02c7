/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels as a backend, and the library's one symbol. */
#include "tensor/cuda/cuda.h"

#define CT_REAL_KERNEL(name, of, parameters, arguments)                   \
    bool ct_cuda_##name parameters {                                      \
        if (of->dtype == CT_F32) return ct_cuda_##name<float> arguments;  \
        if (of->dtype == CT_F64) return ct_cuda_##name<double> arguments; \
        return ct_host->fail_bool(#name ": expected f32 or f64, got %s",  \
                                  ct_host->tensor_text(of));              \
    }
#include "tensor/device/kernels.def"

static char name[128] = "cuda";

static const ct_backend backend = {
    .name = name,
    .allocate = ct_cuda_allocate,
    .free = ct_cuda_free,
    .from_host = ct_cuda_from_host,
    .to_host = ct_cuda_to_host,
    .memory_peak = ct_cuda_memory_peak,
    .trim = ct_cuda_trim,
    .set_precision = ct_cuda_set_precision,
#define CT_KERNEL(name, parameters, arguments) .name = ct_cuda_##name,
#define CT_REAL_KERNEL(name, of, parameters, arguments) .name = ct_cuda_##name,
#include "tensor/device/kernels.def"
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
    .all_gather = ct_cuda_all_gather,
    .all_reduce = ct_cuda_all_reduce,
    .reduce_scatter = ct_cuda_reduce_scatter,
    .broadcast = ct_cuda_broadcast,
    .ranks_end = ct_cuda_ranks_end,
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
