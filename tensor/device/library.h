/* SPDX-License-Identifier: Apache-2.0 */
/* Where the libraries are that are loaded when they are first needed: CUDA's backend, and MPI's
 * transport. Internal to tensor/. */
#ifndef CT_LIBRARY_H
#define CT_LIBRARY_H

enum { CT_LIBRARY_PATH = 4096 };

/* What dlopen is to open: the file that the environment variable `variable` names, else `name`
 * beside the program; in the build folder, for the programs in its folders; where it was installed;
 * else where the loader looks. `path` is room for it. */
const char *ct_library_find(const char *name, const char *variable, char path[CT_LIBRARY_PATH]);

#endif
