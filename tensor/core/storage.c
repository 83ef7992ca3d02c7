/* SPDX-License-Identifier: Apache-2.0 */
/* Storage, and the references that keep it. */
#include "tensor/core/storage.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"
#include "tensor/core/scope.h"
#include "tensor/core/tensor.h"
#include "tensor/device/device.h"
#include "tensor/device/memory.h"

/* ---- storage ---------------------------------------------------------------------------- */

static _Atomic int64_t memory_in_use[CT_DEVICE_COUNT];
static _Atomic int64_t memory_peak[CT_DEVICE_COUNT];

static int64_t read_counter(_Atomic int64_t *counters, ct_device device) {
    bool known = ct_check_choice("memory", "the device", (int)device, CT_DEVICE_COUNT);
    return known ? atomic_load(&counters[device]) : 0;
}

int64_t ct_memory_in_use(ct_device device) { return read_counter(memory_in_use, device); }

int64_t ct_memory_peak(ct_device device) { return read_counter(memory_peak, device); }

static void count_memory(ct_device device, int64_t bytes) {
    int64_t now = atomic_fetch_add(&memory_in_use[device], bytes) + bytes;
    int64_t peak = atomic_load(&memory_peak[device]);
    while (now > peak && !atomic_compare_exchange_weak(&memory_peak[device], &peak, now)) {
    }
}

ct_storage *ct_storage_create(ct_device device, size_t bytes) {
    if (!ct_device_open(device)) return NULL;
    ct_storage *storage = calloc(1, sizeof *storage);
    if (!storage) return ct_fail("allocate: out of memory");
    atomic_init(&storage->refs, 1);
    storage->device = device;
    storage->bytes = bytes;
    if (bytes) {
        storage->data = ct_device_allocate(device, bytes);
        if (!storage->data) {
            free(storage);
            return NULL;
        }
    }
    count_memory(device, (int64_t)bytes);
    return storage;
}

void ct_storage_release(ct_storage *storage) {
    if (atomic_fetch_sub(&storage->refs, 1) != 1) return;
    if (storage->release) {
        storage->release(storage->release_context);
    } else {
        if (storage->data) ct_device_free(storage->device, storage->data, storage->bytes);
        count_memory(storage->device, -(int64_t)storage->bytes);
    }
    free(storage);
}

/* ---- references ------------------------------------------------------------------------- */

static void (*free_autograd)(void *autograd);

void ct_tensor_on_free(void (*function)(void *autograd)) { free_autograd = function; }

ct_tensor *ct_keep(ct_tensor *x) {
    if (x) atomic_fetch_add(&x->refs, 1);
    return x;
}

void ct_release(ct_tensor *x) {
    if (!x || atomic_fetch_sub(&x->refs, 1) != 1) return;
    if (x->autograd && free_autograd) free_autograd(x->autograd);
    ct_storage_release(x->storage);
    free(x);
}

bool ct_is_exclusive(const ct_tensor *x) {
    return x && atomic_load(&x->refs) == 1 && atomic_load(&x->storage->refs) == 1 &&
           !x->storage->release;
}
