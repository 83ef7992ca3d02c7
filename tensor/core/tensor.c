/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors on storage: sizes, views, creation from memory. */
#include "tensor/core/tensor.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"
#include "tensor/core/scope.h"
#include "tensor/core/shape.h"
#include "tensor/core/storage.h"
#include "tensor/core/trace.h"
#include "tensor/device/memory.h"

/* ---- sizes ------------------------------------------------------------------------------ */

int ct_ndim(const ct_tensor *x) { return x ? x->shape.ndim : 0; }

int64_t ct_dim(const ct_tensor *x, int axis) {
    if (!ct_check_input("dim", x)) return 0;
    axis = ct_axis("dim", axis, x->shape.ndim);
    return axis < 0 ? 0 : x->shape.dim[axis];
}

int64_t ct_count(const ct_tensor *x) { return x ? ct_shape_count(x->shape) : 0; }

bool ct_is_contiguous(const ct_tensor *x) {
    if (!ct_check_input("is_contiguous", x)) return false;
    int64_t expected = 1;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        if (x->shape.dim[i] != 1 && x->stride[i] != expected) {
            return ct_shape_count(x->shape) == 0;
        }
        expected *= x->shape.dim[i];
    }
    return true;
}

/* ---- writes ----------------------------------------------------------------------------- */

/* Threads may write to places of their own in one storage. */
uint64_t ct_write_count(const ct_tensor *x) {
    return x ? atomic_load_explicit(&x->storage->writes, memory_order_relaxed) : 0;
}

void ct_mark_written(ct_tensor *x) {
    if (x) atomic_fetch_add_explicit(&x->storage->writes, 1, memory_order_relaxed);
}

/* ---- on a storage ----------------------------------------------------------------------- */

/* A tensor on a storage whose reference it takes over, given to the innermost scope. */
static ct_tensor *tensor_on(ct_storage *storage, ct_dtype dtype, ct_shape shape,
                            const int64_t *stride, int64_t offset) {
    ct_tensor *x = calloc(1, sizeof *x);
    if (!x) {
        ct_storage_release(storage);
        return ct_fail("allocate: out of memory");
    }
    atomic_init(&x->refs, 1);
    x->dtype = dtype;
    x->device = storage->device;
    x->shape = shape;
    x->offset = offset;
    x->storage = storage;
    int64_t step = 1;
    for (int i = shape.ndim - 1; i >= 0; i--) {
        x->stride[i] = stride ? stride[i] : step;
        step *= shape.dim[i] > 1 ? shape.dim[i] : 1;
    }
    return ct_adopt(x);
}

ct_tensor *ct_view(const ct_tensor *x, ct_shape shape, const int64_t *stride, int64_t offset) {
    atomic_fetch_add(&x->storage->refs, 1);
    ct_tensor *view = tensor_on(x->storage, x->dtype, shape, stride, offset);
    if (view) ct_trace_view(view, x);
    return view;
}

/* ---- creation --------------------------------------------------------------------------- */

ct_tensor *ct_empty(ct_dtype dtype, ct_device device, ct_shape shape) {
    if (!ct_check_sizes("empty", shape, dtype)) return NULL;
    size_t bytes = (size_t)ct_shape_count(shape) * ct_dtype_size(dtype);
    ct_storage *storage = ct_storage_create(device, bytes);
    return storage ? tensor_on(storage, dtype, shape, NULL, 0) : NULL;
}

ct_tensor *ct_from_data(ct_dtype dtype, ct_device device, ct_shape shape, const void *data) {
    ct_tensor *x = ct_empty(dtype, device, shape);
    if (!x) return NULL;
    size_t bytes = (size_t)ct_count(x) * ct_dtype_size(dtype);
    if (!ct_check_list("from_data", "data", data, ct_count(x))) return NULL;
    if (bytes && !ct_device_from_host(device, x->storage->data, data, bytes)) return NULL;
    return x;
}

/* Memory that the caller keeps: marks the storage as not the backend's. */
static void borrowed(void *context) { (void)context; }

ct_tensor *ct_from_memory(ct_dtype dtype, ct_shape shape, void *data, void (*release)(void *),
                          void *context) {
    ct_storage *storage = NULL;
    if (ct_check_sizes("from_memory", shape, dtype) &&
        ct_check_list("from_memory", "data", data, ct_shape_count(shape))) {
        storage = calloc(1, sizeof *storage);
        if (!storage) ct_fail("allocate: out of memory");
    }
    if (!storage) {
        if (release) release(context);
        return NULL;
    }
    atomic_init(&storage->refs, 1);
    storage->device = CT_CPU;
    storage->bytes = (size_t)ct_shape_count(shape) * ct_dtype_size(dtype);
    storage->data = data;
    storage->release = release ? release : borrowed;
    storage->release_context = context;
    return tensor_on(storage, dtype, shape, NULL, 0);
}

void *ct_data(const ct_tensor *x) {
    if (!ct_check_input("data", x)) return NULL;
    if (x->device != CT_CPU) {
        return ct_fail("data: a pointer is only given for a cpu tensor; this one is on %s (see "
                       "ct_read, ct_tensor_to_device)",
                       ct_device_name(x->device));
    }
    return (char *)x->storage->data + (size_t)x->offset * ct_dtype_size(x->dtype);
}
