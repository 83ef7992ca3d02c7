/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a device, for tensor/core, which knows no kernels. Internal to tensor/. */
#ifndef CT_DEVICE_MEMORY_H
#define CT_DEVICE_MEMORY_H

#include "tensor/core/types.h"

/* 64-byte aligned at least; NULL with an error. The device is open (ct_device_open). */
void *ct_device_allocate(ct_device device, size_t bytes);
void ct_device_free(ct_device device, void *data, size_t bytes);
bool ct_device_from_host(ct_device device, void *to, const void *from, size_t bytes);

#endif
