/* SPDX-License-Identifier: Apache-2.0 */
/* Being asked to stop: by SIGINT (Ctrl-C), SIGTERM, SIGHUP (a closed terminal), SIGUSR1, SIGUSR2
 * (what batch systems can be told to send before a job's time is over) and SIGXCPU (the limit of
 * processor time). */
#ifndef CT_STOP_H
#define CT_STOP_H

#include <stdbool.h>

/* From now on these signals only ask (ct_stop_asked); a second Ctrl-C ends the program at once, as
 * one expects. A SIGHUP that the program was started to ignore (nohup) stays ignored. */
void ct_stop_watch(void);
void ct_stop_unwatch(void);
bool ct_stop_asked(void); /* since ct_stop_watch */

#endif
