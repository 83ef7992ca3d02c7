/* SPDX-License-Identifier: Apache-2.0 */
/* What libraries read from the environment before main runs. */
#ifndef CT_RESTART_H
#define CT_RESTART_H

/* Sets the variables that let OpenMP's threads and OpenBLAS run well on this machine, and starts
 * the program again with them, once; returns where there is nothing to set. A variable that the
 * user has set stays as it is. The first thing in main. */
void ct_restart_well(char **argv);

#endif
