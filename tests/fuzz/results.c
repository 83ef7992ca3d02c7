/* SPDX-License-Identifier: Apache-2.0 */
/* A run's results.json: train/report/run.c, and the tables of it. */
#include "tests/fuzz/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    if (!begun) put_run();
    begun = true;
    read_run(fuzz_put("results.json", data, size));
    return 0;
}
