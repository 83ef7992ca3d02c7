/* SPDX-License-Identifier: Apache-2.0 */
/* What operands of any shape are made fit with. Internal to tensor/ops/. */
#ifndef CT_OPS_OPERAND_H
#define CT_OPS_OPERAND_H

#include "tensor/device/backend.h"

/* A view of x in a shape that it broadcasts to, with x itself where nothing changes; NULL with an
 * error where it does not. */
const ct_tensor *ct_expanded(const ct_tensor *x, ct_shape shape);
/* x is there and broadcasts to y's shape; else an error naming op. */
bool ct_check_fits(const char *op, const ct_tensor *y, const ct_tensor *x);

/* x as it is read while y is written: a copy in the innermost scope where they overlap, else x. By
 * a pointwise kernel the same view needs none. NULL and an error if there is no memory. */
const ct_tensor *ct_read_apart(const ct_tensor *x, const ct_tensor *y);
const ct_tensor *ct_read_pointwise(const ct_tensor *x, const ct_tensor *y);

#endif
