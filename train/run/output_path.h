/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a command must not write over: those that it reads, and those of a run. */
#ifndef CT_OUTPUT_PATH_H
#define CT_OUTPUT_PATH_H

#include "train/config/config.h"

/* Whether a command may write `path`, which `option` gave. It is an error if that is, by its name
 * or by a link, the configuration, a file that it or the data folder's splits name, one of the
 * `inputs` (NULL-ended paths), or a file that belongs to a run in the run folder or in a folder
 * among the inputs. */
bool ct_output_may_be(const ct_config *config, const char *option, const char *path,
                      const char *const *inputs);

#endif
