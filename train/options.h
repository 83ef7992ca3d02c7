/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `train`, as argp takes them. */
#ifndef CT_OPTIONS_H
#define CT_OPTIONS_H

#include <argp.h>
#include <stdbool.h>

enum {
    OPT_HELP_CONFIG = 256,
    OPT_TOP,
    OPT_SPLIT,
    OPT_WEIGHTS,
    OPT_EMBED,
    OPT_OUT,
    OPT_EXPORT,
    OPT_STEPS,
    OPT_DUMP_STEPS,
    OPT_OTHER_GRAPH,
    OPT_QUERY_IMAGE,
    OPT_REPORT,
    OPT_COMPARE,
    OPT_QUERIES,
    OPT_INTERACTIVE,
    OPT_INDEX,
    OPT_IN,
    OPT_JSON,
    OPT_JUDGMENTS,
    OPT_BOOTSTRAP,
    OPT_PAIRED,
    OPT_SWEEP,
    OPT_JOBS,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_SERVE,
    OPT_ADDRESS,
    OPT_HOST
};

/* Headings have neither name nor key. */
extern const struct argp_option ct_options[];
bool ct_option_is_end(const struct argp_option *option);

/* True if every long option of a command line is one of ct_options (or of argp's own), or begins
 * some of them; else an error that names the nearest. */
bool ct_options_known(char *const *argv);

#endif
