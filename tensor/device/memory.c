/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/device/memory.h"

#include "tensor/device/backend.h"

void *ct_device_allocate(ct_device device, size_t bytes) {
    return ct_backend_of(device)->allocate(bytes);
}

void ct_device_free(ct_device device, void *data, size_t bytes) {
    ct_backend_of(device)->free(data, bytes);
}

bool ct_device_from_host(ct_device device, void *to, const void *from, size_t bytes) {
    return ct_backend_of(device)->from_host(to, from, bytes);
}
