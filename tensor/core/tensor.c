/* SPDX-License-Identifier: Apache-2.0 */
/* Storage, references, creation and reading. */
#include "tensor/tensor.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/overlap.h"
#include "tensor/core/shape.h"
#include "tensor/device/backend.h"

/* ---- names ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} dtypes[CT_DTYPE_COUNT] = {
    [CT_F32] = {"f32", 4, true}, [CT_F64] = {"f64", 8, true},  [CT_BF16] = {"bf16", 2, true},
    [CT_F16] = {"f16", 2, true}, [CT_I32] = {"i32", 4, false}, [CT_I64] = {"i64", 8, false},
    [CT_U8] = {"u8", 1, false},
};

const char *ct_dtype_name(ct_dtype dtype) {
    return (unsigned)dtype < CT_DTYPE_COUNT ? dtypes[dtype].name : "unknown dtype";
}

size_t ct_dtype_size(ct_dtype dtype) { return dtypes[dtype].size; }

bool ct_dtype_is_float(ct_dtype dtype) { return dtypes[dtype].is_float; }

bool ct_dtype_from_name(const char *name, ct_dtype *dtype) {
    for (int i = 0; i < CT_DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (ct_dtype)i;
            return true;
        }
    }
    return false;
}

const char *ct_device_name(ct_device device) { return device == CT_CUDA ? "cuda" : "cpu"; }

/* ---- sizes ----------------------------------------------------------------------------- */

int ct_ndim(const ct_tensor *x) { return x ? x->shape.ndim : 0; }

int64_t ct_dim(const ct_tensor *x, int axis) {
    if (!ct_check_input("dim", x)) return 0;
    axis = ct_axis("dim", axis, x->shape.ndim);
    return axis < 0 ? 0 : x->shape.dim[axis];
}

int64_t ct_count(const ct_tensor *x) { return x ? ct_shape_count(x->shape) : 0; }

bool ct_is_contiguous(const ct_tensor *x) {
    int64_t expected = 1;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        if (x->shape.dim[i] != 1 && x->stride[i] != expected) {
            return ct_shape_count(x->shape) == 0;
        }
        expected *= x->shape.dim[i];
    }
    return true;
}

bool ct_is_exclusive(const ct_tensor *x) {
    return x && atomic_load(&x->refs) == 1 && atomic_load(&x->storage->refs) == 1 &&
           !x->storage->release;
}

/* ---- storage ---------------------------------------------------------------------------- */

static _Atomic int64_t memory_in_use[CT_DEVICE_COUNT];
static _Atomic int64_t memory_peak[CT_DEVICE_COUNT];

int64_t ct_memory_in_use(ct_device device) { return atomic_load(&memory_in_use[device]); }

int64_t ct_memory_peak(ct_device device) { return atomic_load(&memory_peak[device]); }

int64_t ct_device_memory_peak(ct_device device) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return 0;
    return backend->memory_peak ? backend->memory_peak() : ct_memory_peak(device);
}

bool ct_memory_trim(ct_device device) {
    const ct_backend *backend = ct_backend_of(device);
    return backend && (!backend->trim || backend->trim());
}

static void count_memory(ct_device device, int64_t bytes) {
    int64_t now = atomic_fetch_add(&memory_in_use[device], bytes) + bytes;
    int64_t peak = atomic_load(&memory_peak[device]);
    while (now > peak && !atomic_compare_exchange_weak(&memory_peak[device], &peak, now)) {
    }
}

static ct_storage *storage_create(ct_device device, size_t bytes) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return NULL;
    ct_storage *storage = calloc(1, sizeof *storage);
    if (!storage) return ct_fail("allocate: out of memory");
    atomic_init(&storage->refs, 1);
    storage->device = device;
    storage->bytes = bytes;
    if (bytes) {
        storage->data = backend->allocate(bytes);
        if (!storage->data) {
            free(storage);
            return NULL;
        }
    }
    count_memory(device, (int64_t)bytes);
    return storage;
}

static void storage_release(ct_storage *storage) {
    if (atomic_fetch_sub(&storage->refs, 1) != 1) return;
    if (storage->release) {
        storage->release(storage->release_context);
    } else {
        if (storage->data) ct_backend_of(storage->device)->free(storage->data, storage->bytes);
        count_memory(storage->device, -(int64_t)storage->bytes);
    }
    free(storage);
}

/* ---- references ------------------------------------------------------------------------- */

static void (*free_autograd)(void *autograd);

void ct_tensor_on_free(void (*function)(void *autograd)) { free_autograd = function; }

ct_tensor *ct_keep(ct_tensor *x) {
    if (x) atomic_fetch_add(&x->refs, 1);
    return x;
}

void ct_release(ct_tensor *x) {
    if (!x || atomic_fetch_sub(&x->refs, 1) != 1) return;
    if (x->autograd && free_autograd) free_autograd(x->autograd);
    storage_release(x->storage);
    free(x);
}

/* A tensor on a storage whose reference it takes over, given to the innermost scope. */
static ct_tensor *tensor_on(ct_storage *storage, ct_dtype dtype, ct_shape shape,
                            const int64_t *stride, int64_t offset) {
    ct_tensor *x = calloc(1, sizeof *x);
    if (!x) {
        storage_release(storage);
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
    return tensor_on(x->storage, x->dtype, shape, stride, offset);
}

/* ---- creation --------------------------------------------------------------------------- */

ct_tensor *ct_empty(ct_dtype dtype, ct_device device, ct_shape shape) {
    if (!ct_check_sizes("empty", shape, dtype)) return NULL;
    size_t bytes = (size_t)ct_shape_count(shape) * ct_dtype_size(dtype);
    ct_storage *storage = storage_create(device, bytes);
    return storage ? tensor_on(storage, dtype, shape, NULL, 0) : NULL;
}

ct_tensor *ct_full(ct_dtype dtype, ct_device device, ct_shape shape, double value) {
    ct_tensor *x = ct_empty(dtype, device, shape);
    return x && ct_tensor_fill(x, value) ? x : NULL;
}

ct_tensor *ct_zeros(ct_dtype dtype, ct_device device, ct_shape shape) {
    return ct_full(dtype, device, shape, 0);
}

ct_tensor *ct_scalar(ct_dtype dtype, ct_device device, double value) {
    return ct_full(dtype, device, CT_SCALAR_SHAPE, value);
}

ct_tensor *ct_from_data(ct_dtype dtype, ct_device device, ct_shape shape, const void *data) {
    ct_tensor *x = ct_empty(dtype, device, shape);
    if (!x) return NULL;
    size_t bytes = (size_t)ct_count(x) * ct_dtype_size(dtype);
    if (bytes && !ct_backend_of(device)->from_host(x->storage->data, data, bytes)) return NULL;
    return x;
}

ct_tensor *ct_from_doubles(ct_dtype dtype, ct_device device, ct_shape shape, const double *data) {
    ct_tensor *x = ct_from_data(CT_F64, CT_CPU, shape, data);
    if (!x) return NULL;
    ct_tensor *y = ct_empty(dtype, device, shape);
    return y && ct_tensor_copy_to(y, x) ? y : NULL;
}

ct_tensor *ct_arange(ct_dtype dtype, ct_device device, int64_t count) {
    if (!ct_check_sizes("arange", CT_SHAPE(count), CT_I64)) return NULL;
    ct_tensor *x = ct_empty(CT_I64, device, CT_SHAPE(count));
    if (!x || !ct_backend_of(device)->arange(x)) return NULL;
    return dtype == CT_I64 ? x : ct_tensor_cast(x, dtype);
}

/* Memory that the caller keeps: marks the storage as not the backend's. */
static void borrowed(void *context) { (void)context; }

ct_tensor *ct_from_memory(ct_dtype dtype, ct_shape shape, void *data, void (*release)(void *),
                          void *context) {
    ct_storage *storage = NULL;
    if (ct_check_sizes("from_memory", shape, dtype)) {
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

/* ---- reading ---------------------------------------------------------------------------- */

void *ct_data(const ct_tensor *x) {
    if (!ct_check_input("data", x)) return NULL;
    if (x->device != CT_CPU) {
        return ct_fail("data: a pointer is only given for a cpu tensor; this one is on %s (see "
                       "ct_read, ct_tensor_to_device)",
                       ct_device_name(x->device));
    }
    return (char *)x->storage->data + (size_t)x->offset * ct_dtype_size(x->dtype);
}

bool ct_read(const ct_tensor *x, void *out) {
    if (!ct_check_input("read", x)) return false;
    bool read = false;
    CT_SCOPE {
        const ct_tensor *c = ct_tensor_contiguous(x);
        if (!c) break;
        size_t size = ct_dtype_size(c->dtype), bytes = (size_t)ct_count(c) * size;
        const char *from = (const char *)c->storage->data + (size_t)c->offset * size;
        read = !bytes || ct_backend_of(c->device)->to_host(out, from, bytes);
    }
    return read;
}

bool ct_write(ct_tensor *x, const void *data) {
    if (!ct_check_input("write", x)) return false;
    if (!ct_is_contiguous(x)) {
        return ct_fail_bool("write: %s is not contiguous", ct_tensor_text(x));
    }
    size_t size = ct_dtype_size(x->dtype), bytes = (size_t)ct_count(x) * size;
    char *to = (char *)x->storage->data + (size_t)x->offset * size;
    return !bytes || ct_backend_of(x->device)->from_host(to, data, bytes);
}

/* A view of the one element at a row-major position; NULL and an error when out of range. */
static ct_tensor *element(const char *op, const ct_tensor *x, int64_t position) {
    if (!ct_check_input(op, x)) return NULL;
    if (position < 0 || position >= ct_count(x)) {
        return ct_fail("%s: position %lld is outside %s", op, (long long)position,
                       ct_tensor_text(x));
    }
    int64_t offset = x->offset;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        offset += position % x->shape.dim[i] * x->stride[i];
        position /= x->shape.dim[i];
    }
    return ct_view(x, CT_SCALAR_SHAPE, NULL, offset);
}

double ct_get(const ct_tensor *x, int64_t position) {
    double value = NAN;
    CT_SCOPE {
        ct_tensor *one = element("get", x, position);
        ct_tensor *host = one ? ct_empty(CT_F64, CT_CPU, CT_SCALAR_SHAPE) : NULL;
        if (host && ct_tensor_copy_to(host, one)) value = *(double *)ct_data(host);
    }
    return value;
}

bool ct_set(ct_tensor *x, int64_t position, double value) {
    bool set = false;
    if (!ct_check_writable("set", x)) return false;
    CT_SCOPE {
        ct_tensor *one = element("set", x, position);
        set = one && ct_tensor_fill(one, value);
    }
    return set;
}

double ct_item(const ct_tensor *x) {
    if (!ct_check_input("item", x)) return NAN;
    if (ct_count(x) != 1) {
        ct_fail("item: expected a tensor of one element, got %s", ct_tensor_text(x));
        return NAN;
    }
    return ct_get(x, 0);
}

/* What is asked of a device is done in order: a number that is read comes after all of it. */
bool ct_device_wait(ct_device device) {
    bool done = device == CT_CPU;
    if (!done) CT_SCOPE {
            done = ct_item(ct_zeros(CT_F32, device, CT_SCALAR_SHAPE)) == 0;
        }
    return done;
}

/* ---- checks shared by all operations ---------------------------------------------------- */

bool ct_check_input(const char *op, const ct_tensor *x) {
    return x ? true : ct_fail_bool("%s: an input is NULL", op);
}

bool ct_check_float(const char *op, const ct_tensor *x) {
    if (!ct_check_input(op, x)) return false;
    if (x->dtype == CT_F32 || x->dtype == CT_F64) return true;
    return ct_fail_bool("%s: expected f32 or f64, got %s", op, ct_tensor_text(x));
}

bool ct_check_same(const char *op, const ct_tensor *first, const ct_tensor *other) {
    if (!ct_check_input(op, first) || !ct_check_input(op, other)) return false;
    if (first->dtype != other->dtype) {
        return ct_fail_bool("%s: dtypes differ: %s and %s (cast one of them)", op,
                            ct_tensor_text(first), ct_tensor_text(other));
    }
    if (first->device != other->device) {
        return ct_fail_bool("%s: devices differ: %s on %s and %s on %s", op, ct_tensor_text(first),
                            ct_device_name(first->device), ct_tensor_text(other),
                            ct_device_name(other->device));
    }
    return true;
}
