/* SPDX-License-Identifier: Apache-2.0 */
/* Creation and reading. What is created belongs to the innermost scope; it is NULL with an error
 * for what is no shape of the dtype, a device that is not here, or without memory. */
#ifndef CT_OPS_CREATE_H
#define CT_OPS_CREATE_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* ---- creation --------------------------------------------------------------------------- */

/* Every element 0. */
ct_tensor *ct_zeros(ct_dtype dtype, ct_device device, ct_shape shape);
/* Every element `value`, converted to the dtype. */
ct_tensor *ct_full(ct_dtype dtype, ct_device device, ct_shape shape, double value);
ct_tensor *ct_scalar(ct_dtype dtype, ct_device device, double value);  /* shape () */
ct_tensor *ct_arange(ct_dtype dtype, ct_device device, int64_t count); /* 0, 1, ... count-1 */
/* ct_from_data of doubles, converted: handy for literals: ct_from_doubles(CT_F32, CT_CPU,
 * CT_SHAPE(2), (double[]){1, 2}). */
ct_tensor *ct_from_doubles(ct_dtype dtype, ct_device device, ct_shape shape, const double *data);

/* ---- reading ---------------------------------------------------------------------------- */

/* Value of a tensor with exactly one element, on any device. NaN and an error otherwise. */
double ct_item(const ct_tensor *x);
/* Element at a row-major position, on any device (slow: for tests and messages). NaN, false of
 * ct_set, and an error when out of range. */
double ct_get(const ct_tensor *x, int64_t position);
bool ct_set(ct_tensor *x, int64_t position, double value);
/* Copies all elements of x, of any shape and strides, row-major, to host memory of count*size
 * bytes. False and an error for NULL or if the device fails. */
bool ct_read(const ct_tensor *x, void *out);
/* The reverse: row-major elements to a contiguous x. False and an error for any other. */
bool ct_write(ct_tensor *x, const void *data);

CT_END_DECLS

#endif
