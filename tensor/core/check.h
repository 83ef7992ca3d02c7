/* SPDX-License-Identifier: Apache-2.0 */
/* Checks shared by all functions of all layers. Not installed. */
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

/* What is no tensor: a pointer that has to be given, else an error "op: what is NULL". */
bool ct_check_pointer(const char *op, const char *what, const void *pointer);
/* A list of `count` things, 0 or more, that is there unless there are none. */
bool ct_check_list(const char *op, const char *what, const void *list, int64_t count);
/* An enumerator, one of 0 to count - 1. Before it is looked up in a table. */
bool ct_check_choice(const char *op, const char *what, int value, int count);
/* A finite number of 0 or more. */
bool ct_check_not_negative(const char *op, const char *what, double value);

#endif
