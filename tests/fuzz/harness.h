/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of tests/fuzz share. Each is one reader of files, as libFuzzer calls it;
 * replay.c has the main of those that any compiler builds, which read the seeds and changed ones.
 *
 * A reader gives a result without an error, or none and an error that names the file. */
#ifndef CT_FUZZ_HARNESS_H
#define CT_FUZZ_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

/* Always 0, as libFuzzer wants it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the inputs so far, how many gave a result. */
extern int64_t fuzz_results;

/* A folder of this process's own, empty at first, gone when it ends. */
const char *fuzz_folder(void);
/* Writes a file NAME there, over an earlier one; its path, valid until NAME is written again. */
const char *fuzz_put(const char *name, const void *data, size_t size);
/* Ends the program where something does not hold. */
void fuzz_must(bool holds, const char *what);
/* The end of each input: counts a result, and asks that an error is there where it is not, and
 * contains `named`. Clears the error. */
void fuzz_end(bool result, const char *named);
/* Reads every byte of a tensor, so that a sanitizer objects to those that are not the file's. */
void fuzz_read_all(const ct_tensor *x);

#endif
