/* SPDX-License-Identifier: Apache-2.0 */
#include "train/search/dialogue.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef CT_HAS_LIBEDIT
#include <editline/readline.h>
#endif

static char *plain_line(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t length = getline(&line, &size, stdin);
    if (length < 0) {
        free(line);
        return NULL;
    }
    if (length > 0 && line[length - 1] == '\n') line[--length] = '\0';
    if (length > 0 && line[length - 1] == '\r') line[--length] = '\0';
    return line;
}

char *ct_dialogue_line(const char *prompt) {
    if (!isatty(STDIN_FILENO)) return plain_line();
#ifdef CT_HAS_LIBEDIT
    rl_outstream = stderr;
    char *line = readline(prompt);
    if (line && *line) add_history(line);
#else
    fputs(prompt, stderr);
    fflush(stderr);
    char *line = plain_line();
#endif
    if (!line) fputc('\n', stderr);
    return line;
}
