/* SPDX-License-Identifier: Apache-2.0 */
/* Checks and small helpers shared by tensor/fused/ and tensor/matching/. Internal to tensor/. */
#ifndef CT_FUSED_CHECK_H
#define CT_FUSED_CHECK_H

#include "tensor/device/backend.h"

/* x is there, f32 or f64, with `ndim` dimensions; else an error naming op, x and `name`. */
bool ct_check_ndim(const char *op, const char *name, const ct_tensor *x, int ndim);
/* x is there, has first's dtype and device, and this shape; else an error saying what is wrong. */
bool ct_check_shape(const char *op, const char *name, const ct_tensor *first, const ct_tensor *x,
                    ct_shape expected);
/* The same for an input that may be NULL. */
bool ct_check_optional(const char *op, const char *name, const ct_tensor *first, const ct_tensor *x,
                       ct_shape expected);
/* x (count) i64 on `device`. */
bool ct_check_index(const char *op, const char *name, const ct_tensor *x, int64_t count,
                    ct_device device);

/* Contiguous form of an input that may be NULL (then NULL). Sets *ok false if a copy failed. */
const ct_tensor *ct_dense(const ct_tensor *x, bool *ok);

/* An uninitialised tensor of x's dtype and device. */
ct_tensor *ct_empty_like(const ct_tensor *x, ct_shape shape);

/* Positions of a kernel of `kernel` steps, `dilation` apart, in `padded` steps, `stride` apart; 0
 * if there is room for none. */
int64_t ct_conv_positions(int64_t padded, int64_t kernel, int64_t stride, int64_t dilation);

/* x contiguous seen as (outer, size of axis, inner). */
ct_shape ct_around_axis(ct_shape shape, int axis);

/* ct_escape for all; NULLs stay NULL. */
void ct_escape_all(ct_tensor **const *tensors, int count);

#endif
