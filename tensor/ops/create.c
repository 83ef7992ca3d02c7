/* SPDX-License-Identifier: Apache-2.0 */
/* Creation and reading that are computations themselves. */
#include <math.h>

#include "tensor/core/shape.h"
#include "tensor/ops/overlap.h"
#include "tensor/device/backend.h"

/* ---- creation --------------------------------------------------------------------------- */

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

/* ---- reading ---------------------------------------------------------------------------- */

bool ct_read(const ct_tensor *x, void *out) {
    if (!ct_check_input("read", x)) return false;
    bool read = false;
    CT_SCOPE {
        const ct_tensor *c = ct_tensor_contiguous(x);
        if (!c || !ct_check_list("read", "where to read to", out, ct_count(c))) break;
        size_t size = ct_dtype_size(c->dtype), bytes = (size_t)ct_count(c) * size;
        const char *from = c->storage->data; /* NULL where there is nothing to read */
        read = !bytes ||
               ct_backend_of(c->device)->to_host(out, from + (size_t)c->offset * size, bytes);
    }
    return read;
}

bool ct_write(ct_tensor *x, const void *data) {
    if (!ct_check_input("write", x)) return false;
    if (!ct_check_list("write", "data", data, ct_count(x))) return false;
    if (!ct_is_contiguous(x)) {
        return ct_fail_bool("write: %s is not contiguous", ct_tensor_text(x));
    }
    size_t size = ct_dtype_size(x->dtype), bytes = (size_t)ct_count(x) * size;
    char *to = (char *)x->storage->data + (size_t)x->offset * size;
    ct_mark_written(x);
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
