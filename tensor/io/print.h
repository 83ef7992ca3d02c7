/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors for the eye, as numpy prints them:
 *
 *     [[ 1.    -2.5  ]
 *      [ 0.125     nan]]
 *     f32 (2,2) on cpu
 *
 * Nested by shape, columns aligned, as few digits as tell a value from its neighbours in its dtype
 * and at most 8 after the point; with an exponent from 1e8 on, below 1e-4, and where the largest
 * is more than 1000 times the smallest. Lines are 75 characters wide. Of more than 1000 elements
 * the first and last three along each axis are shown, the others are "...". A last line names
 * dtype, shape and device.
 */
#ifndef CT_PRINT_H
#define CT_PRINT_H

#include <stdio.h>

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* Prints x: any dtype, shape and strides, on any device (what is shown is read from there, for
 * which this waits). NULL prints "NULL". False and an error if it cannot be read or written. */
bool ct_print(FILE *file, const ct_tensor *x);
/* The same text, ended by a newline, in a block from malloc that is the caller's; NULL and an
 * error likewise. */
char *ct_print_text(const ct_tensor *x);

CT_END_DECLS

#endif
