/* SPDX-License-Identifier: Apache-2.0 */
/* Being asked to stop: SIGINT (Ctrl-C) and SIGTERM. */
#ifndef CT_STOP_H
#define CT_STOP_H

#include <stdbool.h>

/* From now on a first signal only asks (ct_stop_asked); a second one ends the program at once, as
 * one expects. */
void ct_stop_watch(void);
void ct_stop_unwatch(void);
bool ct_stop_asked(void); /* since ct_stop_watch */

#endif
