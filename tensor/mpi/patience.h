/* SPDX-License-Identifier: Apache-2.0 */
/* What ends a rank that waits in MPI for others which do not come: MPI itself waits for ever, for a
 * process that stands still and behind a network that is cut. Internal to tensor/mpi. */
#ifndef CT_PATIENCE_H
#define CT_PATIENCE_H

/* From here on whoever waits longer than CT_RANKS_PATIENCE seconds (600; 0: for ever) says so, as
 * "rank on host", and ends this process, whereupon mpirun ends all. Of rank 0 a little sooner, so
 * that it is said once. NULL, or what is wrong. */
const char *ct_patience_start(int rank, const char *host);

/* Around each call that may wait for what other ranks do in a step. */
void ct_patience_begin(void);
void ct_patience_end(void);

#endif
