/* SPDX-License-Identifier: Apache-2.0 */
/* A capture: what a device was told to do, recorded once, to be done again and again.
 *
 * A step of training asks for thousands of small things, and asking takes longer than doing. A
 * capture (a CUDA graph) asks for all of them at once:
 *
 *     ct_capture_begin(CT_CUDA, &rng);
 *     CT_SCOPE {
 *         ... the step: reads and changes, in place, tensors that were there before ...
 *     }
 *     ct_capture *step = ct_capture_end();
 *     for (...) {
 *         ct_tensor_copy_to(input, next);       // the tensors that the step reads
 *         ct_capture_run(step, &rng);
 *     }
 *     ct_capture_destroy(step);
 *
 * What a run repeats is what reached the device: sizes, addresses and numbers of the host (a
 * learning rate, a choice that the code made) are those of the recording. Tensors from before
 * that the step uses must live as long as the capture; those made within are gone at the end of
 * each run. What the host computes meanwhile, it computes once, at the recording.
 */
#ifndef CT_CAPTURE_H
#define CT_CAPTURE_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

typedef struct ct_rng ct_rng; /* tensor/ops/random.h */
typedef struct ct_capture ct_capture;

/* Whether the device is here and can record; sets no error. */
bool ct_can_capture(ct_device device);

/* From here to ct_capture_end nothing that is asked of the device is done: it is recorded. One
 * capture at a time, begun and ended by the same thread; no other thread may use the device
 * meanwhile. `rng` is the one generator that may draw on the device; NULL: none may. False with an
 * error if the device cannot record or something is being recorded.
 *
 * An error within, and the capture fails, if the host needs the device (reading a tensor, looking
 * for values that are not finite), if the device needs the host (a tensor from host memory), or if
 * another generator draws. Code that runs for the first time is better run once before: libraries
 * and kernels are loaded when they are first used. */
bool ct_capture_begin(ct_device device, ct_rng *rng);

/* Whether this thread records. */
bool ct_capture_is_open(void);

/* The recording. NULL with an error if the thread has one, or if something within cannot be
 * repeated: tensors made within that are still held, numbers that rng drew on the host. Either way
 * the device works as before, rng stands where it stood at the beginning, and memory that was
 * released within is given back. What was made within a capture that failed was never computed and
 * has no memory: it can only be released. */
ct_capture *ct_capture_end(void);

/* Does it all once, after all that was asked before, and does not wait. Draws are those that the
 * step would have made with rng as it stands, which then advances as it would have; rng is of the
 * seed and stream recorded, or NULL if nothing was drawn. False with an error for NULL, another
 * generator, or if the device cannot begin. */
bool ct_capture_run(ct_capture *capture, ct_rng *rng);

/* A run that is under way is finished. NULL is ignored. */
void ct_capture_destroy(ct_capture *capture);

CT_END_DECLS

#endif
