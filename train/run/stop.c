/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/stop.h"

#include <signal.h>

static volatile sig_atomic_t asked;

static void ask(int signal_number) {
    (void)signal_number;
    asked = 1;
}

void ct_stop_watch(void) {
    struct sigaction action = {.sa_handler = ask, .sa_flags = SA_RESETHAND};
    asked = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void ct_stop_unwatch(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

bool ct_stop_asked(void) { return asked != 0; }
