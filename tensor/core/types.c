/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sizes of dtypes and devices. */
#include "tensor/core/types.h"

#include <string.h>

#include "tensor/core/check.h"

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} dtypes[CT_DTYPE_COUNT] = {
    [CT_F32] = {"f32", 4, true}, [CT_F64] = {"f64", 8, true},  [CT_BF16] = {"bf16", 2, true},
    [CT_F16] = {"f16", 2, true}, [CT_I32] = {"i32", 4, false}, [CT_I64] = {"i64", 8, false},
    [CT_U8] = {"u8", 1, false},
};

const char *ct_dtype_name(ct_dtype dtype) {
    return (unsigned)dtype < CT_DTYPE_COUNT ? dtypes[dtype].name : "unknown dtype";
}

size_t ct_dtype_size(ct_dtype dtype) {
    return ct_check_choice("dtype_size", "the dtype", (int)dtype, CT_DTYPE_COUNT)
               ? dtypes[dtype].size
               : 0;
}

bool ct_dtype_is_float(ct_dtype dtype) {
    return (unsigned)dtype < CT_DTYPE_COUNT && dtypes[dtype].is_float;
}

bool ct_dtype_from_name(const char *name, ct_dtype *dtype) {
    if (!name || !dtype) return false;
    for (int i = 0; i < CT_DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (ct_dtype)i;
            return true;
        }
    }
    return false;
}

const char *ct_device_name(ct_device device) {
    return device == CT_CPU ? "cpu" : device == CT_CUDA ? "cuda" : "unknown device";
}
