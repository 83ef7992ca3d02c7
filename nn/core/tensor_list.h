/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of tensors under names: what goes into a safetensors file. */
#ifndef CT_TENSOR_LIST_H
#define CT_TENSOR_LIST_H

#include "tensor/tensor.h"

typedef struct {
    ct_named_tensor *items; /* names from malloc, tensors kept */
    int count, capacity;
} ct_tensor_list;

/* Adds a tensor, kept, under PREFIXNAME; both texts are copied. False and an error for a NULL
 * tensor or when out of memory. */
bool ct_tensor_list_add(ct_tensor_list *list, const char *prefix, const char *name,
                        const ct_tensor *tensor);
/* Releases what was added; the list is empty then. */
void ct_tensor_list_clear(ct_tensor_list *list);

#endif
