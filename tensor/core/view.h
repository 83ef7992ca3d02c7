/* SPDX-License-Identifier: Apache-2.0 */
/* Views: other shapes and strides on the same storage; nothing is copied. x is of any dtype, shape,
 * strides and device. Each view is a new tensor in the innermost scope; NULL with an error that
 * names the operation for NULL, an axis out of range or sizes that do not fit. A negative axis
 * counts from the end. */
#ifndef CT_CORE_VIEW_H
#define CT_CORE_VIEW_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

ct_tensor *ct_tensor_transpose(const ct_tensor *x, int axis_a, int axis_b); /* change places */
/* Dimension i of the result is dimension axes[i] of x; ndim axes, each once. */
ct_tensor *ct_tensor_permute(const ct_tensor *x, const int *axes);
/* Elements start, start+step, ... below stop along an axis. Negative start/stop count from the
 * end, stop is clamped to the size; step >= 1. */
ct_tensor *ct_tensor_slice(const ct_tensor *x, int axis, int64_t start, int64_t stop, int64_t step);
/* Broadcasting: dimensions of size 1 grow, new ones come in front. -1: the size that x has there
 * (of a dimension in front an error). */
ct_tensor *ct_tensor_expand(const ct_tensor *x, ct_shape shape);
ct_tensor *ct_tensor_squeeze(const ct_tensor *x, int axis);   /* a dimension of size 1 goes */
ct_tensor *ct_tensor_unsqueeze(const ct_tensor *x, int axis); /* one is put in at axis */

CT_END_DECLS

#endif
