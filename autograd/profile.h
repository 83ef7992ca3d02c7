/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a step goes, by operation. Of the thread that asks.
 *
 *     ct_profile_start(CT_CPU);
 *     ... steps ...
 *     int count;
 *     ct_profile_row *rows = ct_profile_stop(&count);     // longest first; free(rows)
 *
 * An operation's forward time is the time since the operation before it (or since
 * ct_profile_mark): what a program does between two operations counts for the later one. Only
 * what is recorded is seen. Backward times are those of the operation alone. On a device that
 * computes by itself, each operation is waited for: its time is the device's and that of asking,
 * and all of them take longer than a step that does not wait.
 */
#ifndef CT_PROFILE_H
#define CT_PROFILE_H

#include "autograd/op.h"

CT_BEGIN_DECLS

typedef struct {
    const char *name;
    int64_t calls;            /* forward */
    int64_t bytes;            /* of the inputs and outputs of those calls */
    double forward, backward; /* seconds */
} ct_profile_row;

/* Of what is computed on `device`. */
void ct_profile_start(ct_device device);
/* Time up to here belongs to no operation (loading a batch, say). */
void ct_profile_mark(void);
/* Rows from malloc; NULL and an error if no profile was started or memory is short. */
ct_profile_row *ct_profile_stop(int *count);

/* Seconds of the clock that profiles are taken with, which only goes forward, since some instant.
 */
double ct_profile_clock(void);

CT_END_DECLS

#endif
