/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/stop.h"

#include <signal.h>
#include <stddef.h>

/* A closed terminal and what batch systems send before the end; SIGXCPU comes again and again. */
static const int asking[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
enum { ASKING = sizeof asking / sizeof *asking };

static volatile sig_atomic_t asked;

static void ask(int signal_number) {
    (void)signal_number;
    asked = 1;
}

void ct_stop_watch(void) {
    asked = 0;
    for (int i = 0; i < ASKING; i++) {
        struct sigaction before, action = {.sa_handler = ask, .sa_flags = SA_RESTART};
        if (asking[i] == SIGINT) action.sa_flags |= (int)SA_RESETHAND;
        sigaction(asking[i], NULL, &before);
        bool stays_ignored = asking[i] == SIGHUP && before.sa_handler == SIG_IGN;
        if (!stays_ignored) sigaction(asking[i], &action, NULL);
    }
}

void ct_stop_unwatch(void) {
    for (int i = 0; i < ASKING; i++) {
        struct sigaction now;
        sigaction(asking[i], NULL, &now);
        if (now.sa_handler == ask) signal(asking[i], SIG_DFL);
    }
}

bool ct_stop_asked(void) { return asked != 0; }
