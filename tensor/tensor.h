/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors: strided views on reference-counted storage, and the computations on them.
 *
 * This layer knows nothing of gradients. Names say so: `ct_tensor_add` computes, `ct_add`
 * (autograd/autograd.h) computes and can be differentiated.
 *
 * Lifetime. What a function returns belongs to the innermost open scope of its thread and goes
 * when that scope closes, unless kept:
 *
 *     CT_SCOPE {
 *         ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
 *         saved = ct_keep(x);                        // now also ours: ct_release(saved) later
 *     }
 *
 * With no scope open, a function that would return a tensor fails and says so.
 */
#ifndef CT_TENSOR_H
#define CT_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "tensor/core/error.h"

/* ---- types ------------------------------------------------------------------------------ */

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

/* A count of references: atomic, which C++ spells otherwise; there it is only looked at. */
#ifdef __cplusplus
typedef int ct_refs;
#else
typedef _Atomic int ct_refs;
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
    void *autograd; /* belongs to the autograd layer (ct_tensor_on_free) */
};

const char *ct_dtype_name(ct_dtype dtype); /* "f32" */
size_t ct_dtype_size(ct_dtype dtype);      /* bytes of one element */
bool ct_dtype_is_float(ct_dtype dtype);
bool ct_dtype_from_name(const char *name, ct_dtype *dtype); /* false if unknown; sets no error */
const char *ct_device_name(ct_device device);               /* "cpu" */
/* Whether tensors can be on a device here; false with an error that says what is missing. What
 * serves cuda is loaded when first asked for. */
bool ct_device_open(ct_device device);
/* Waits until all that was asked of a device is done. False with an error if the device is not
 * here or something has failed on it. */
bool ct_device_wait(ct_device device);

/* Number of elements; 1 for a scalar; 0 and an error for what is no shape (more than 8 dimensions,
 * a negative size, a product beyond int64). */
int64_t ct_shape_count(ct_shape shape);
bool ct_shape_equal(ct_shape a, ct_shape b); /* false for what is no shape */
/* "(2,3)". The text lives in one of eight per-thread buffers used in turn: for messages only. */
const char *ct_shape_text(ct_shape shape);
/* "f32 (2,3)", or "NULL"; the same buffers. */
const char *ct_tensor_text(const ct_tensor *x);

int ct_ndim(const ct_tensor *x);
/* Size of dimension `axis`; negative counts from the end. 0 and an error when out of range. */
int64_t ct_dim(const ct_tensor *x, int axis);
int64_t ct_count(const ct_tensor *x);      /* number of elements; 0 for NULL */
bool ct_is_contiguous(const ct_tensor *x); /* row-major without gaps */
/* True if the caller's reference is the only one to x and no other tensor shares its storage, so
 * that nobody can see x change. False on memory that the caller provided (ct_from_memory). */
bool ct_is_exclusive(const ct_tensor *x);

/* ---- scopes and references -------------------------------------------------------------- */

typedef struct ct_scope ct_scope;
ct_scope *ct_scope_open(void);
void ct_scope_close(ct_scope *scope); /* also closes scopes opened inside it and left open */

static inline void ct_scope_cleanup(ct_scope **scope) {
    if (*scope) ct_scope_close(*scope);
}
/* A block whose tensors go at its end; break, return and goto out of it close it too. */
#define CT_SCOPE CT_SCOPE_AT_(__LINE__) /* the line: nested ones have names of their own */
#define CT_SCOPE_AT_(line) CT_SCOPE_LINE_(line)
#define CT_SCOPE_LINE_(line) CT_SCOPE_NAMED_(ct_scope_##line, ct_scope_once_##line)
#define CT_SCOPE_NAMED_(here, once)                                                    \
    for (ct_scope * here __attribute__((cleanup(ct_scope_cleanup))) = ct_scope_open(), \
                         *once = here;                                                 \
         once; once = NULL)

/* Adds a reference that the caller owns, and returns x. NULL gives NULL. */
ct_tensor *ct_keep(ct_tensor *x);
/* Drops a reference that the caller owns. NULL is ignored. */
void ct_release(ct_tensor *x);
/* Hands a reference that the caller owns to the innermost scope, and returns x: how a function
 * with a CT_SCOPE of its own returns a tensor to its caller's scope. */
ct_tensor *ct_adopt(ct_tensor *x);

/* Called once with x->autograd when a tensor that has one is freed. Set by the autograd layer. */
void ct_tensor_on_free(void (*free_autograd)(void *autograd));

/* ---- creation --------------------------------------------------------------------------- */

ct_tensor *ct_empty(ct_dtype dtype, ct_device device, ct_shape shape); /* not initialised */
ct_tensor *ct_zeros(ct_dtype dtype, ct_device device, ct_shape shape);
ct_tensor *ct_full(ct_dtype dtype, ct_device device, ct_shape shape, double value);
ct_tensor *ct_scalar(ct_dtype dtype, ct_device device, double value);  /* shape () */
ct_tensor *ct_arange(ct_dtype dtype, ct_device device, int64_t count); /* 0, 1, ... count-1 */
/* Copies count(shape) row-major elements of `dtype` from host memory. */
ct_tensor *ct_from_data(ct_dtype dtype, ct_device device, ct_shape shape, const void *data);
/* The same from doubles, converted: handy for literals: ct_from_doubles(CT_F32, CT_CPU,
 * CT_SHAPE(2), (double[]){1, 2}). */
ct_tensor *ct_from_doubles(ct_dtype dtype, ct_device device, ct_shape shape, const double *data);
/* A CPU tensor on memory that the caller provides (a memory-mapped file). `release(context)` is
 * called when the last tensor on it is gone; also when this function fails. */
ct_tensor *ct_from_memory(ct_dtype dtype, ct_shape shape, void *data, void (*release)(void *),
                          void *context);

/* ---- reading ---------------------------------------------------------------------------- */

/* Pointer to element (0,0,...) of a CPU tensor; NULL and an error on another device. */
void *ct_data(const ct_tensor *x);
/* Value of a tensor with exactly one element, on any device. NaN and an error otherwise. */
double ct_item(const ct_tensor *x);
/* Element at a row-major position, on any device (slow: for tests and messages). */
double ct_get(const ct_tensor *x, int64_t position);
bool ct_set(ct_tensor *x, int64_t position, double value);
/* Copies all elements, row-major, to host memory of count*size bytes. */
bool ct_read(const ct_tensor *x, void *out);
/* The reverse: row-major elements to a contiguous x. */
bool ct_write(ct_tensor *x, const void *data);
/* Bytes of tensor storage now in use by the process on a device, and the largest it has been. */
int64_t ct_memory_in_use(ct_device device);
int64_t ct_memory_peak(ct_device device);
/* The most bytes of its memory that this process has held on a device: with what kernels needed
 * beside the tensors, what captures need and what is kept for the next time; of the CPU, those of
 * its tensors. */
int64_t ct_device_memory_peak(ct_device device);
/* Gives the device what is kept for the next time; waits. */
bool ct_memory_trim(ct_device device);

/* ---- views (nothing is copied) ---------------------------------------------------------- */

/* One dimension may be -1: what remains. Copies only if the strides cannot express it. */
ct_tensor *ct_tensor_reshape(const ct_tensor *x, ct_shape shape);
ct_tensor *ct_tensor_transpose(const ct_tensor *x, int axis_a, int axis_b);
ct_tensor *ct_tensor_permute(const ct_tensor *x, const int *axes); /* ndim axes */
/* Elements start, start+step, ... below stop along an axis. Negative start/stop count from the
 * end, stop is clamped to the size; step >= 1. */
ct_tensor *ct_tensor_slice(const ct_tensor *x, int axis, int64_t start, int64_t stop, int64_t step);
/* Broadcasting: dimensions of size 1 grow, new ones come in front. -1: the size that x has there
 * (of a dimension in front an error). */
ct_tensor *ct_tensor_expand(const ct_tensor *x, ct_shape shape);
ct_tensor *ct_tensor_squeeze(const ct_tensor *x, int axis);   /* a dimension of size 1 goes */
ct_tensor *ct_tensor_unsqueeze(const ct_tensor *x, int axis); /* one is put in at axis */
/* x itself (a new view) if contiguous, else a row-major copy. */
ct_tensor *ct_tensor_contiguous(const ct_tensor *x);

/* The shape that a and b broadcast to (numpy's rule); false and an error naming `what` if none. */
bool ct_broadcast_shape(const char *what, ct_shape a, ct_shape b, ct_shape *out);
/* Resolves a negative axis; -1 and an error naming `what` when out of range for ndim. */
int ct_axis(const char *what, int axis, int ndim);

#include "tensor/ops/ops.h"
#include "tensor/ops/random.h"
#include "tensor/device/capture.h"
#include "tensor/device/upload.h"
#include "tensor/io/files.h"
#include "tensor/io/print.h"

#ifdef __cplusplus
}
#endif
#endif
