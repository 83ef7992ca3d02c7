/* SPDX-License-Identifier: Apache-2.0 */
/* What a tensor is: dtypes, devices, shapes, strides. */
#ifndef CT_CORE_TYPES_H
#define CT_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/core/declarations.h"

CT_BEGIN_DECLS

/* f32 and f64 compute; bf16 and f16 are storage (cast to compute); integers index. */
typedef enum { CT_F32, CT_F64, CT_BF16, CT_F16, CT_I32, CT_I64, CT_U8, CT_DTYPE_COUNT } ct_dtype;

typedef enum { CT_CPU, CT_CUDA, CT_DEVICE_COUNT } ct_device;

enum { CT_MAX_DIMS = 8 };

/* A shape is passed by value: CT_SHAPE(2, 3), CT_SCALAR_SHAPE, x->shape. */
typedef struct {
    int ndim;
    int64_t dim[CT_MAX_DIMS];
} ct_shape;

#define CT_SHAPE(...) \
    ((ct_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define CT_SCALAR_SHAPE ((ct_shape){0, {0}})

/* Counts of references and of writes: atomic, which C++ spells otherwise; there they are only
 * looked at. */
#ifdef __cplusplus
typedef int ct_refs;
typedef uint64_t ct_writes;
#else
typedef _Atomic int ct_refs;
typedef _Atomic uint64_t ct_writes;
#endif

typedef struct ct_storage ct_storage;
typedef struct ct_tensor ct_tensor;

/* Fields may be read anywhere; only tensor/ writes them. Element (i0, i1, ...) lies at
 * offset + i0*stride[0] + i1*stride[1] + ... in the storage, all counted in elements. A
 * broadcast dimension has stride 0. */
struct ct_tensor {
    ct_dtype dtype;
    ct_device device;
    ct_shape shape;
    int64_t stride[CT_MAX_DIMS];
    int64_t offset;
    ct_storage *storage;
    ct_refs refs;
    int trace;      /* tensor/core/trace.h */
    void *autograd; /* belongs to the autograd layer (ct_tensor_on_free) */
};

/* These two: a literal, never NULL. */
const char *ct_dtype_name(ct_dtype dtype);    /* "f32"; "unknown dtype" for what is none */
const char *ct_device_name(ct_device device); /* "cpu", "cuda"; "unknown device" for what is none */
size_t ct_dtype_size(ct_dtype dtype);   /* bytes of one element; 0 and an error for no dtype */
bool ct_dtype_is_float(ct_dtype dtype); /* f32, f64, bf16, f16; else false */
bool ct_dtype_from_name(const char *name, ct_dtype *dtype); /* false if unknown; sets no error */

/* Number of elements; 1 for a scalar; 0 and an error for what is no shape (more than 8 dimensions,
 * a negative size, a product beyond int64). */
int64_t ct_shape_count(ct_shape shape);
bool ct_shape_equal(ct_shape a, ct_shape b); /* false for what is no shape */
/* "(2,3)", never NULL. The text lives in one of eight per-thread buffers used in turn: for messages
 * only. */
const char *ct_shape_text(ct_shape shape);
/* "f32 (2,3)", or "NULL"; the same buffers. */
const char *ct_tensor_text(const ct_tensor *x);

/* The shape that a and b broadcast to (numpy's rule); false and an error naming `what` if none. */
bool ct_broadcast_shape(const char *what, ct_shape a, ct_shape b, ct_shape *out);
/* Resolves a negative axis; -1 and an error naming `what` when out of range for ndim. */
int ct_axis(const char *what, int axis, int ndim);

CT_END_DECLS

#endif
