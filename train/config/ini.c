/* SPDX-License-Identifier: Apache-2.0 */
#include "train/config/ini.h"

#include <ctype.h>
#include <string.h>

static char *strip(char *text) {
    while (isspace((unsigned char)*text)) text++;
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1])) length--;
    text[length] = '\0';
    return text;
}

/* Where a comment begins, or the end. A quote that is not closed is a character. */
static const char *find_comment(const char *text) {
    bool after_space = false;
    for (; *text && !(*text == ';' && after_space); text++) {
        after_space = isspace((unsigned char)*text);
        const char *closing = *text == '"' ? strchr(text + 1, '"') : NULL;
        if (closing) text = closing;
    }
    return text;
}

ct_ini_line ct_ini_parse(char *line) {
    line = strip(line);
    if (!*line || *line == ';' || *line == '#') return (ct_ini_line){CT_INI_NOTHING, NULL, NULL};
    line[find_comment(line) - line] = '\0';
    bool section = *line == '[';
    char *end = section ? strchr(line, ']') : strpbrk(line, "=:");
    if (!end) return (ct_ini_line){CT_INI_WRONG, NULL, NULL};
    *end = '\0';
    if (section) return (ct_ini_line){CT_INI_SECTION, strip(line + 1), NULL};
    char *value = strip(end + 1);
    if (*value == ';') *value = '\0'; /* a comment, too, without white space before it */
    char *key = strip(line);
    return (ct_ini_line){*key ? CT_INI_SETTING : CT_INI_WRONG, key, value};
}

bool ct_ini_comes_back(const char *value) {
    size_t length = strlen(value);
    if (!length) return true;
    return *value != ';' && !*find_comment(value) && !strpbrk(value, "\r\n") &&
           !isspace((unsigned char)value[0]) && !isspace((unsigned char)value[length - 1]);
}

char *ct_ini_unquoted(const char *value) {
    const char *closing = *value == '"' ? strchr(value + 1, '"') : NULL;
    bool quoted = closing && !closing[1];
    return quoted ? strndup(value + 1, closing - value - 1) : strdup(value);
}
