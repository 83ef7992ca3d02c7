/* SPDX-License-Identifier: Apache-2.0 */
/* Mistyped options of `train`, of which argp says that they are none and no more. */
#ifndef CT_OPTIONS_H
#define CT_OPTIONS_H

#include <argp.h>
#include <stdbool.h>

/* True if every long option of a command line is one of `options` (or of argp's own), or begins
 * some of them; else an error that names the nearest. */
bool ct_options_known(const struct argp_option *options, char *const *argv);

#endif
