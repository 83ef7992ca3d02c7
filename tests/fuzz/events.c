/* SPDX-License-Identifier: Apache-2.0 */
/* A run's event file, which a resumed run cuts: train/run/event_file.c. */
#include "tests/fuzz/harness.h"
#include "train/run/event_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put(CT_EVENT_FILE_NAME, data, size);
    ct_event_file *events = ct_event_file_open(fuzz_folder(), (ct_log_position){2, true});
    ct_event_file_close(events);
    fuzz_end(events != NULL, path);
    return 0;
}
