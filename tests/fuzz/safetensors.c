/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: tensor/io/safetensors.c. */
#include "tests/fuzz/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("x.safetensors", data, size);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        for (int i = 0; i < ct_safetensors_count(file); i++) {
            ct_tensor *x = ct_safetensors_get(file, ct_safetensors_name(file, i));
            fuzz_must(x != NULL, "a tensor that is listed is there");
            fuzz_read_all(x);
        }
        const char *version = ct_safetensors_metadata(file, "version");
        if (version) fuzz_must(strlen(version) < size, "metadata is of the file");
        ct_safetensors_close(file);
        fuzz_end(file != NULL, path);
    }
    return 0;
}
