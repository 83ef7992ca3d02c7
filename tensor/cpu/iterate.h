/* SPDX-License-Identifier: Apache-2.0 */
/* Strided tensors as blocks of contiguous elements. Internal to tensor/cpu/.
 *
 * A kernel is written for contiguous elements only. What a tensor's strides make of row-major order
 * is hidden here: a block of elements is either in place already, and used there, or copied to a
 * small buffer that stays in the first-level cache.
 */
#ifndef CT_CPU_ITERATE_H
#define CT_CPU_ITERATE_H

#include "tensor/cpu/cpu.h"

enum {
    CT_BLOCK = 512,   /* elements of a block that goes through a buffer */
    CT_CHUNK = 16384, /* elements that one thread takes at a time: fixed, so that how a tensor
                       * is cut does not depend on the number of threads */
};

/* A tensor's elements in row-major order, with dimensions merged where strides allow it. */
typedef struct {
    char *data;  /* first element */
    size_t size; /* bytes of one element */
    int ndim;    /* at least 1 */
    int64_t dim[CT_MAX_DIMS], stride[CT_MAX_DIMS];
} ct_walk;

static inline ct_walk ct_walk_of(const ct_tensor *x) {
    ct_walk w = {.data = ct_cpu_data(x), .size = ct_dtype_size(x->dtype)};
    for (int i = 0; i < x->shape.ndim; i++) {
        int64_t dim = x->shape.dim[i], stride = x->stride[i];
        if (dim == 1) continue;
        if (w.ndim && w.stride[w.ndim - 1] == stride * dim) {
            w.dim[w.ndim - 1] *= dim;
            w.stride[w.ndim - 1] = stride;
        } else {
            w.dim[w.ndim] = dim;
            w.stride[w.ndim++] = stride;
        }
    }
    if (!w.ndim) {
        w.dim[0] = w.stride[0] = 1;
        w.ndim = 1;
    }
    return w;
}

/* Elements start .. start+n-1, contiguous: where they lie, or copied to `buffer`. */
const void *CT_CPU(load)(const ct_walk *w, int64_t start, int64_t n, void *buffer);

/* Where elements start .. start+n-1 lie contiguously, or NULL if they do not. */
void *CT_CPU(in_place)(const ct_walk *w, int64_t start, int64_t n);

/* Copies n contiguous elements to elements start .. start+n-1. */
void CT_CPU(store)(const ct_walk *w, int64_t start, int64_t n, const void *from);

/* Whether rows of x are columns of its memory (cpu/copy.c). */
bool CT_CPU(is_transposed)(const ct_walk *x);

/* y[i] = f(x[0][i], x[1][i], ...) for n contiguous elements; y may be one of x. */
typedef void (*ct_map_kernel)(void *y, const void *const *x, int64_t n, const double *params);

/* Runs a kernel over all elements of y and as many `inputs` (at most 4) of y's shape. `cost` is
 * the time of one element relative to an addition: it decides about threads. */
void CT_CPU(map)(ct_map_kernel kernel, ct_tensor *y, int inputs, const ct_tensor *const *x,
                 const double *params, int cost);

#endif
