/* SPDX-License-Identifier: Apache-2.0 */
/* .npy: tensor/io/npy.c. */
#include "tests/fuzz/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("x.npy", data, size);
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(path);
        if (x) fuzz_read_all(x);
        fuzz_end(x != NULL, path);
    }
    return 0;
}
