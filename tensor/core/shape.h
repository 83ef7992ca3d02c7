/* SPDX-License-Identifier: Apache-2.0 */
/* The one check of a shape that a caller gives or an operation computes. Internal to tensor/. */
#ifndef CT_CORE_SHAPE_H
#define CT_CORE_SHAPE_H

#include "tensor/core/types.h"

/* 0 to CT_MAX_DIMS, else an error naming op: before a dimension of a shape is looked at. */
bool ct_check_ndims(const char *op, int ndim);
/* A shape that tensors of `dtype` can have: that many dimensions, none negative, all of them
 * together (an empty one counted as 1, since strides are products) within int64 bytes. Else an
 * error naming op. */
bool ct_check_sizes(const char *op, ct_shape shape, ct_dtype dtype);

/* Of sizes, 0 or above; INT64_MAX where int64 is too small, which ct_check_sizes refuses. */
int64_t ct_size_sum(int64_t a, int64_t b);
int64_t ct_size_product(int64_t a, int64_t b);

#endif
