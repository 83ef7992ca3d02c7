/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor files: .npy (NumPy format 1-3) and .safetensors, memory-mapped on reading. What is read
 * belongs to the innermost scope. Any malformed file is one clear error naming the file and what
 * was expected, and the result NULL or false; nothing is read out of bounds.
 *
 * Writing goes to PATH.partial, which is fsynced and renamed: at any instant the file under PATH is
 * the old one or the whole new one. A failing write (a full disk) is an error with path and reason
 * and removes PATH.partial; what a killed process left of it is taken over by the next writer; a
 * second writer at the same time is an error. Only a regular file is replaced; symbolic links are
 * followed.
 *
 * A mapped file that shrinks while in use raises SIGBUS, as with any mapping; sizes are checked
 * when it is opened.
 */
#ifndef CT_FILES_H
#define CT_FILES_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* ---- npy -------------------------------------------------------------------------------- */

/* A CPU tensor on the mapped file (private mapping, pages read when touched): f32, f64, f16,
 * i32, i64, u8, little-endian, C order. Overwriting it changes memory only. Data that the file does
 * not align for their dtype are copied. */
ct_tensor *ct_npy_open(const char *path);
bool ct_npy_save(const char *path, const ct_tensor *x); /* any of those dtypes, any device */

/* Row-wise writing without holding the whole array: open with the full shape, append rows
 * in order, close. Nothing appears under `path` until close succeeds. The writer is the caller's
 * until ct_npy_close frees it; NULL with an error if the file cannot be written. */
typedef struct ct_npy_writer ct_npy_writer;
ct_npy_writer *ct_npy_create(const char *path, ct_dtype dtype, ct_shape shape);
/* Any number of bytes; too many is an error, and then close fails. */
bool ct_npy_append(ct_npy_writer *writer, const void *data, size_t bytes);
bool ct_npy_close(ct_npy_writer *writer); /* fails, and removes the file, if rows are missing */

/* ---- safetensors ------------------------------------------------------------------------ */

typedef struct ct_safetensors ct_safetensors;

/* The caller closes it. NULL with an error naming the file if it cannot be read or is none. */
ct_safetensors *ct_safetensors_open(const char *path);
/* Tensors taken from it stay valid. NULL is ignored. */
void ct_safetensors_close(ct_safetensors *file);
int ct_safetensors_count(const ct_safetensors *file); /* of its tensors; 0 for NULL */
/* Name i, from 0, in file order: the file's until it is closed. NULL with an error when out of
 * range. */
const char *ct_safetensors_name(const ct_safetensors *file, int i);
/* Whether there is a tensor of that name; no error. */
bool ct_safetensors_has(const ct_safetensors *file, const char *name);
/* A CPU tensor on the mapped file (BOOL as u8), all of one name on the same memory; a copy if the
 * file does not align it. NULL with an error naming file and tensor if there is none. */
ct_tensor *ct_safetensors_get(ct_safetensors *file, const char *name);
/* A __metadata__ value, the file's until it is closed; NULL, no error, if there is none. */
const char *ct_safetensors_metadata(const ct_safetensors *file, const char *key);

typedef struct {
    const char *name;
    const ct_tensor *tensor;
} ct_named_tensor;
/* Tensors of any dtype, strides, device, in the given order but larger elements first, so that each
 * is aligned. `metadata` is a NULL-ended list key, value, key, value, ..., or NULL. Fails if a name
 * is NULL, not UTF-8, "__metadata__" or there twice, or a tensor NULL. */
bool ct_safetensors_save(const char *path, const ct_named_tensor *tensors, int count,
                         const char *const *metadata);

/* ---- any file --------------------------------------------------------------------------- */

/* Writes bytes to path as described above. */
bool ct_file_write(const char *path, const void *data, size_t bytes);
/* The whole file, NUL-terminated, from malloc; NULL and an error if it cannot be read. */
char *ct_file_read(const char *path, size_t *bytes);

CT_END_DECLS

#endif
