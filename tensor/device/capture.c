/* SPDX-License-Identifier: Apache-2.0 */
/* Captures: whose turn it is, and the generator's state. The device's backend records. */
#include "tensor/device/capture.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "tensor/device/backend.h"

struct ct_capture {
    const ct_backend *backend;
    ct_recording *recording;
    uint64_t seed, stream, drawn; /* counters of the generator that a run uses */
};

static atomic_bool is_recording; /* one at a time in the process */

/* What this thread records. */
static _Thread_local struct {
    const ct_backend *backend; /* NULL: nothing */
    ct_rng *rng, at_begin;
} now;

static bool can_record(const ct_backend *backend) { return backend && backend->capture_begin; }

bool ct_can_capture(ct_device device) {
    bool was_ok = ct_ok(), can = can_record(ct_backend_of(device));
    if (was_ok) ct_error_clear();
    return can;
}

bool ct_capture_begin(ct_device device, ct_rng *rng) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return false;
    if (!can_record(backend)) {
        return ct_fail_bool("capture_begin: the %s cannot record what it is told",
                            ct_device_name(device));
    }
    if (atomic_exchange(&is_recording, true)) {
        return ct_fail_bool("capture_begin: a capture is being recorded, which must end first");
    }
    if (!backend->capture_begin(rng)) {
        atomic_store(&is_recording, false);
        return false;
    }
    now.backend = backend;
    now.rng = rng;
    if (rng) now.at_begin = *rng;
    return true;
}

bool ct_capture_is_open(void) { return now.backend != NULL; }

ct_capture *ct_capture_end(void) {
    const ct_backend *backend = now.backend;
    if (!backend) return ct_fail("capture_end: this thread records nothing");
    ct_capture *capture = calloc(1, sizeof *capture);
    if (!capture) ct_fail("capture_end: out of memory");
    ct_recording *recording = backend->capture_end(ct_ok(), now.rng);
    if (now.rng) {
        uint64_t drawn = now.rng->offset - now.at_begin.offset;
        *now.rng = now.at_begin;
        if (capture) {
            capture->seed = now.rng->seed;
            capture->stream = now.rng->stream;
            capture->drawn = drawn;
        }
    }
    now.backend = NULL;
    atomic_store(&is_recording, false);
    if (!recording) {
        free(capture);
        return NULL;
    }
    capture->backend = backend;
    capture->recording = recording;
    return capture;
}

/* Whether rng gives the numbers that the recording asks for. */
static bool check_draws(const ct_capture *capture, const ct_rng *rng) {
    if (!capture->drawn) return true;
    if (!rng || rng->seed != capture->seed || rng->stream != capture->stream) {
        return ct_fail_bool("capture_run: expected the generator that was recorded, of seed %llu "
                            "and stream %llu",
                            (unsigned long long)capture->seed, (unsigned long long)capture->stream);
    }
    return !rng->replay || ct_fail_bool("capture_run: the generator replays recorded numbers, "
                                        "which a capture does not read");
}

bool ct_capture_run(ct_capture *capture, ct_rng *rng) {
    if (!capture) return ct_fail_bool("capture_run: the capture is NULL");
    if (atomic_load(&is_recording)) {
        return ct_fail_bool("capture_run: a capture is being recorded, which must end first");
    }
    if (!check_draws(capture, rng)) return false;
    if (!capture->backend->capture_run(capture->recording, rng ? rng->offset : 0)) return false;
    if (rng) rng->offset += capture->drawn;
    return true;
}

void ct_capture_destroy(ct_capture *capture) {
    if (!capture) return;
    capture->backend->capture_destroy(capture->recording);
    free(capture);
}
