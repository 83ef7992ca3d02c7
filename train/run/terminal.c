/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool none;

void ct_terminal_is_none(void) { none = true; }

static bool is_capable(int file) {
    const char *kind = getenv("TERM");
    return !none && kind && *kind && strcmp(kind, "dumb") != 0 && isatty(file);
}

bool ct_terminal_redraws(void) { return is_capable(STDOUT_FILENO); }

int ct_terminal_width(void) {
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

const char *ct_terminal_colour(int file, ct_colour colour) {
    static const char *const codes[] = {"\033[0m", "\033[32m", "\033[1;33m", "\033[1;31m"};
    const char *unwanted = getenv("NO_COLOR");
    return is_capable(file) && !(unwanted && *unwanted) ? codes[colour] : "";
}
