/* SPDX-License-Identifier: Apache-2.0 */
/* Files underneath the formats: mapped for reading, atomically replaced on writing. Internal, for
 * all layers. Every failure is an error "path: what".
 */
#ifndef CT_FILE_H
#define CT_FILE_H

#include "tensor/tensor.h"

/* A regular file in memory. Private: what a tensor on it is overwritten with stays in this process.
 * Reference counted; each tensor on it holds one. */
typedef struct {
    _Atomic int refs;
    size_t bytes;
    uint8_t *data; /* NULL for an empty file */
} ct_mapping;

ct_mapping *ct_mapping_open(const char *path);
void ct_mapping_release(void *mapping); /* a ct_mapping; void for ct_from_memory */
/* Elements from byte `offset`, which the caller has checked to lie inside: on the mapping itself if
 * they are aligned for their dtype, else a copy. */
ct_tensor *ct_mapping_tensor(ct_mapping *mapping, size_t offset, ct_dtype dtype, ct_shape shape);

/* ct_file_read of a file's first `most` bytes at most: no more is read, whatever the file is. */
char *ct_file_read_start(const char *path, size_t most, size_t *bytes);

/* Whether an open file is the one at a path (1), which another or none may be (0) meanwhile; -1,
 * with errno, if that cannot be told. */
int ct_file_is_at(int file, const char *path);

/* A file that appears under its path, whole and on the disk, when it is committed. Until then it is
 * `path.partial` in the same folder, locked against a second writer; the file that was there
 * before stays. A failing write is remembered, and makes the commit fail. */
typedef struct ct_output ct_output;

ct_output *ct_output_open(const char *path);
const char *ct_output_path(const ct_output *output);
bool ct_output_write(ct_output *output, const void *data, size_t bytes);
/* All elements, row-major, from any device. */
bool ct_output_tensor(ct_output *output, const ct_tensor *x);
bool ct_output_commit(ct_output *output);  /* frees it either way; NULL: false */
void ct_output_discard(ct_output *output); /* removes what was written and frees it */

/* Whether a file that begins with these bytes (the more the better) is of a known other kind (a
 * pickle, an archive, a picture ...): then an error names that, what was expected ("an .npy file")
 * and the way out. */
bool ct_file_is_other(const char *path, const void *head, size_t bytes, const char *expected);

/* Bytes of a shape; false if a size is negative or if they do not fit in memory (no error set). */
bool ct_shape_bytes(ct_shape shape, ct_dtype dtype, size_t *bytes);

#endif
