/* SPDX-License-Identifier: Apache-2.0 */
/* --serve: a page in the browser, and an API, that search by sentences and pictures. */
#ifndef CT_SERVE_H
#define CT_SERVE_H

#include "train/evaluate/trained.h"

typedef struct {
    const char *address; /* numbers: "127.0.0.1", "::1"; NULL: 127.0.0.1 */
    int port;            /* 0: one that is free */
    const char *const *hosts;
    int host_count; /* names under which it answers, too: beside localhost and the machine's own */
    const char *index; /* a file that --index wrote, or NULL: splits, */
    const char *const *splits;
    int split_count; /* 0: all of the data folder */
    int top;         /* answers, where a request does not say how many */
} ct_serve_options;

/* Serves one model until it is asked to stop (train/run/stop.h); says in a line where. False and an
 * error if it cannot, or where the build has no libmicrohttpd. */
bool ct_serve_command(ct_config *config, const ct_serve_options *options, ct_weights weights);

#endif
