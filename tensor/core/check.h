/* SPDX-License-Identifier: Apache-2.0 */
/* Checks shared by all operations. Internal to tensor/. */
#ifndef CT_CORE_CHECK_H
#define CT_CORE_CHECK_H

#include "tensor/core/types.h"

/* NULL input: fails with "op: input is NULL" unless an error is already set. True if x is
 * usable. */
bool ct_check_input(const char *op, const ct_tensor *x);
/* f32 or f64, else an error naming op and dtype. */
bool ct_check_float(const char *op, const ct_tensor *x);
/* Same dtype and device as `first`, else an error naming op, both tensors. */
bool ct_check_same(const char *op, const ct_tensor *first, const ct_tensor *other);

#endif
