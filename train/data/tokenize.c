/* SPDX-License-Identifier: Apache-2.0 */
/* NLTKWordTokenizer (nltk 3.8, tokenize/destructive.py): regular expressions applied in order,
 * then splitting at white space. Each is that of the source with Python's meaning of \s written
 * out, and with U+0131, which Python takes for an i when case does not matter. What two patterns
 * look for between a full stop and the text's end is possessive: were any of it given back, the
 * white space behind would only take it again, at a cost that grows with the run's square. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <unistr.h>

#include "train/data/data.h"

#define SPACE                                                                         \
    "[\\t-\\r\\x1c-\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}" \
    "\\x{202f}\\x{205f}\\x{3000}]"

/* `needs`: bytes of which a text must contain one, or else the pattern cannot match; a letter that
 * is there twice must be so in the text, in a row. A cheap test that spares most patterns on most
 * captions; texts are in lower case. */
typedef struct {
    const char *needs, *pattern, *replacement;
} rule;

static const rule rules_before_padding[] = {
    /* starting quotes */
    {"`\xc2\xe2", "([«“‘„]|[`]+)", " $1 "},
    {"\"", "^\"", "``"},
    {"`", "(``)", " $1 "},
    {"\"'", "([ \\(\\[{<])(\"|'{2})", "$1 `` "},
    {"'", "(?i)(')(?!re|ve|ll|m|t|s|d|n)(\\w)\\b", "$1 $2"},
    /* punctuation */
    {".", "([^\\.])(\\.)([\\]\\)}>\"'»”’ ]*+)" SPACE "*+$", "$1 $2 $3 "},
    {":,", "([:,])([^\\d])", " $1 $2"},
    {":,", "([:,])$", " $1 "},
    {".", "\\.{2,}", " $0 "},
    {";@#$%&", "[;@#$%&]", " $0 "},
    {".", "([^\\.])(\\.)([\\]\\)}>\"']*+)" SPACE "*+$", "$1 $2$3 "},
    {"?!", "[?!]", " $0 "},
    {"'", "([^'])' ", "$1 ' "},
    {"*", "[*]", " $0 "},
    /* brackets and dashes */
    {"[](){}<>", "[\\]\\[\\(\\)\\{\\}\\<\\>]", " $0 "},
    {"-", "--", " -- "},
};

/* These see the text between two spaces. */
static const rule rules_after_padding[] = {
    /* ending quotes */
    {"\xc2\xe2", "([»”’])", " $1 "},
    {"'", "''", " '' "},
    {"\"", "\"", " '' "},
    {"'", "([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "},
    {"'", "([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "},
    /* contractions */
    {"nn", "(?i)\\b(can)(not)\\b", " $1 $2 "},
    {"'", "(?i)\\b(d)('ye)\\b", " $1 $2 "},
    {"mm", "(?i)\\b(g[iı]m)(me)\\b", " $1 $2 "},
    {"nn", "(?i)\\b(gon)(na)\\b", " $1 $2 "},
    {"tt", "(?i)\\b(got)(ta)\\b", " $1 $2 "},
    {"mm", "(?i)\\b(lem)(me)\\b", " $1 $2 "},
    {"'", "(?i)\\b(more)('n)\\b", " $1 $2 "},
    {"nn", "(?i)\\b(wan)(na)(?=" SPACE ")", " $1 $2 "},
    {"'", "(?i) ('t)([iı]s)\\b", " $1 $2 "},
    {"'", "(?i) ('t)(was)\\b", " $1 $2 "},
};

enum {
    BEFORE = sizeof rules_before_padding / sizeof *rules_before_padding,
    AFTER = sizeof rules_after_padding / sizeof *rules_after_padding,
    /* No replacement makes its match more than four times longer. */
    GROWTH = 4,
};

/* Bytes that grow; with a NUL after them that `length` does not count. */
typedef struct {
    char *bytes;
    size_t length, capacity;
} text_buffer;

struct ct_tokenizer {
    ct_token_form form;
    pcre2_code *before[BEFORE], *after[AFTER];
    pcre2_match_data *match;
    text_buffer text, spare;
    bool contains[256], twice[256]; /* bytes of the text; those that stand twice in a row */
};

/* ---- the tokenizer ----------------------------------------------------------------------- */

/* What PCRE2 says of a pattern or a text. */
static bool fail_match(int error, const char *of) {
    PCRE2_UCHAR why[128];
    if (error == PCRE2_ERROR_HEAP_FAILED || error == PCRE2_ERROR_NOMEMORY)
        return ct_fail_bool("tokenize: out of memory");
    pcre2_get_error_message(error, why, sizeof why);
    return ct_fail_bool("tokenize: %s in '%.40s'", (const char *)why, of);
}

static bool compile_rules(const rule *rules, int count, pcre2_code **compiled) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return ct_fail_bool("tokenize: out of memory");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE offset;
    for (int i = 0; i < count && error >= 0; i++) {
        compiled[i] = pcre2_compile((PCRE2_SPTR)rules[i].pattern, PCRE2_ZERO_TERMINATED,
                                    PCRE2_UTF | PCRE2_UCP, &error, &offset, context);
        if (!compiled[i]) {
            fail_match(error, rules[i].pattern);
            break;
        }
        /* Where there is no just-in-time compiler, matching is slower but the same. */
        pcre2_jit_compile(compiled[i], PCRE2_JIT_COMPLETE);
    }
    pcre2_compile_context_free(context);
    return ct_ok();
}

ct_tokenizer *ct_tokenizer_create(ct_token_form form) {
    if (!ct_ok()) return NULL;
    ct_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return ct_fail("tokenize: out of memory");
    t->form = form;
    t->match = pcre2_match_data_create(8, NULL);
    if (!t->match) ct_fail("tokenize: out of memory");
    if (t->match && compile_rules(rules_before_padding, BEFORE, t->before) &&
        compile_rules(rules_after_padding, AFTER, t->after)) {
        return t;
    }
    ct_tokenizer_destroy(t);
    return NULL;
}

void ct_tokenizer_destroy(ct_tokenizer *t) {
    if (!t) return;
    for (int i = 0; i < BEFORE; i++) pcre2_code_free(t->before[i]);
    for (int i = 0; i < AFTER; i++) pcre2_code_free(t->after[i]);
    pcre2_match_data_free(t->match);
    free(t->text.bytes);
    free(t->spare.bytes);
    free(t);
}

/* ---- text -------------------------------------------------------------------------------- */

/* Room for `length` bytes and the NUL. Compiled patterns look at whole vectors of bytes, beyond the
 * text's end too: what they see there is never uninitialised. */
static bool reserve(text_buffer *buffer, size_t length) {
    enum { VECTOR = 64 };
    if (length + VECTOR <= buffer->capacity) return true;
    size_t capacity = (2 * length + 2 * VECTOR) / VECTOR * VECTOR;
    char *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) return ct_fail_bool("tokenize: out of memory");
    memset(bytes + buffer->capacity, 0, capacity - buffer->capacity);
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

static void swap_buffers(ct_tokenizer *t) {
    text_buffer text = t->text;
    t->text = t->spare;
    t->spare = text;
}

/* A character of valid UTF-8 and its size in bytes. */
static ucs4_t character(const char *at, const char *end, int *size) {
    ucs4_t c = (unsigned char)*at;
    *size = 1;
    if (c >= 0x80) *size = u8_mbtouc_unsafe(&c, (const uint8_t *)at, (size_t)(end - at));
    return c;
}

/* Whether a capital sigma at `sigma` ends its word (Unicode, Final_Sigma, as Python decides it):
 * the nearest character before it that is not case-ignorable is cased, the nearest after is not. */
static bool ends_word(const char *text, const char *sigma, const char *end) {
    ucs4_t c = 0;
    int size;
    const char *at = sigma;
    do {
        if (at == text) return false;
        do at--;
        while (((unsigned char)*at & 0xc0) == 0x80);
        c = character(at, end, &size);
    } while (uc_is_property_case_ignorable(c));
    if (!uc_is_property_cased(c)) return false;
    for (at = sigma + 2; at < end; at += size) {
        c = character(at, end, &size);
        if (!uc_is_property_case_ignorable(c)) return !uc_is_property_cased(c);
    }
    return true;
}

/* Python's str.lower(), the full mapping of Unicode: one character to one, but for the final
 * sigma and the capital I with a dot. u8_tolower of libunistring differs from Python where a
 * case-ignorable character follows a sigma. */
static bool set_lower_case(ct_tokenizer *t, const char *text) {
    enum { CAPITAL_I_DOT = 0x130, DOT_ABOVE = 0x307, CAPITAL_SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2 };
    size_t length = strlen(text);
    const char *end = text + length;
    const uint8_t *wrong = u8_check((const uint8_t *)text, length);
    if (wrong) {
        return ct_fail_bool("invalid UTF-8 at byte %td", wrong - (const uint8_t *)text + 1);
    }
    if (!reserve(&t->text, 2 * length)) return false; /* two bytes become three at most */
    uint8_t *out = (uint8_t *)t->text.bytes;
    for (int size; text < end; text += size) {
        ucs4_t c = character(text, end, &size);
        if (c < 0x80) {
            *out++ = (uint8_t)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
            continue;
        }
        ucs4_t lower = uc_tolower(c);
        if (c == CAPITAL_SIGMA && ends_word(end - length, text, end)) lower = FINAL_SIGMA;
        if (c == CAPITAL_I_DOT) {
            *out++ = 'i';
            lower = DOT_ABOVE;
        }
        out += u8_uctomb(out, lower, 4);
    }
    *out = 0;
    t->text.length = (size_t)(out - (uint8_t *)t->text.bytes);
    return true;
}

/* How Python 3 prints the bytes of a stripped line, lower-cased: b'a man.' */
static bool set_printed_bytes(ct_tokenizer *t, const char *text) {
    static const char white[] = " \t\n\r\v\f";
    text += strspn(text, white);
    size_t length = strlen(text);
    while (length && strchr(white, text[length - 1])) length--;
    if (!reserve(&t->text, 4 * length + 3)) return false;

    bool apostrophe = memchr(text, '\'', length), quotes = memchr(text, '"', length);
    char quote = apostrophe && !quotes ? '"' : '\'';
    char *out = t->text.bytes;
    *out++ = 'b';
    *out++ = quote;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        static const char hex[] = "0123456789abcdef";
        if (c == '\\' || c == (unsigned char)quote) {
            *out++ = '\\';
            *out++ = (char)c;
        } else if (c == '\t' || c == '\n' || c == '\r') {
            *out++ = '\\';
            *out++ = c == '\t' ? 't' : c == '\n' ? 'n' : 'r';
        } else if (c < 0x20 || c >= 0x7f) {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        } else {
            *out++ = (char)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
        }
    }
    *out++ = quote;
    *out = 0;
    t->text.length = (size_t)(out - t->text.bytes);
    return true;
}

/* As the released loader looks up vectors: every b' goes, also inside words, and - is a space. */
static void remove_bytes_prefixes(text_buffer *text) {
    char *out = text->bytes;
    for (const char *in = text->bytes; *in; in++) {
        if (in[0] == 'b' && in[1] == '\'') in++;
        else *out++ = (char)(*in == '-' ? ' ' : *in);
    }
    *out = 0;
    text->length = (size_t)(out - text->bytes);
}

/* ---- rules ------------------------------------------------------------------------------- */

/* To be called whenever the text is another. */
static void note_bytes(ct_tokenizer *t) {
    memset(t->contains, 0, sizeof t->contains);
    memset(t->twice, 0, sizeof t->twice);
    const uint8_t *text = (const uint8_t *)t->text.bytes;
    for (size_t i = 0; i < t->text.length; i++) {
        t->contains[text[i]] = true;
        if (i > 0 && text[i] == text[i - 1]) t->twice[text[i]] = true;
    }
}

static bool can_match(const ct_tokenizer *t, const rule *r) {
    if (r->needs[0] == r->needs[1]) return t->twice[(uint8_t)r->needs[0]];
    for (const char *byte = r->needs; *byte; byte++) {
        if (t->contains[(uint8_t)*byte]) return true;
    }
    return false;
}

static bool apply(ct_tokenizer *t, const rule *r, const pcre2_code *code) {
    if (!can_match(t, r)) return true;
    PCRE2_SPTR subject = (PCRE2_SPTR)t->text.bytes;
    int matched = pcre2_match(code, subject, t->text.length, 0, PCRE2_NO_UTF_CHECK, t->match, NULL);
    if (matched == PCRE2_ERROR_NOMATCH) return true;
    PCRE2_SIZE length = GROWTH * t->text.length + 1;
    if (matched > 0) {
        if (!reserve(&t->spare, length)) return false;
        matched = pcre2_substitute(code, subject, t->text.length, 0,
                                   PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_MATCHED |
                                       PCRE2_NO_UTF_CHECK,
                                   t->match, NULL, (PCRE2_SPTR)r->replacement,
                                   PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *)t->spare.bytes, &length);
    }
    if (matched < 0) return fail_match(matched, t->text.bytes);
    t->spare.length = length;
    swap_buffers(t);
    note_bytes(t);
    return true;
}

static bool apply_rules(ct_tokenizer *t) {
    note_bytes(t);
    for (int i = 0; i < BEFORE; i++) {
        if (!apply(t, &rules_before_padding[i], t->before[i])) return false;
    }
    if (!reserve(&t->spare, t->text.length + 2)) return false;
    t->spare.bytes[0] = ' ';
    memcpy(t->spare.bytes + 1, t->text.bytes, t->text.length);
    t->spare.length = t->text.length + 2;
    memcpy(t->spare.bytes + t->spare.length - 1, " ", 2);
    swap_buffers(t);
    note_bytes(t);
    for (int i = 0; i < AFTER; i++) {
        if (!apply(t, &rules_after_padding[i], t->after[i])) return false;
    }
    return true;
}

/* ---- splitting --------------------------------------------------------------------------- */

/* Python's str.isspace() of a character. */
static bool is_space(ucs4_t c) {
    if (c > 32 && c < 0x80) return false; /* most are */
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* Replaces each white space by NULs and counts the words between. */
static int cut_words(text_buffer *text) {
    int count = 0;
    bool inside = false;
    char *at = text->bytes, *end = at + text->length;
    for (int size; at < end; at += size) {
        bool space = is_space(character(at, end, &size));
        if (space) memset(at, 0, (size_t)size);
        else if (!inside) count++;
        inside = !space;
    }
    return count;
}

/* The pointers and, behind them, the text they point into: one block. */
static char **split_words(text_buffer *text, int *count) {
    *count = cut_words(text);
    size_t pointers = ((size_t)*count + 1) * sizeof(char *);
    char **tokens = malloc(pointers + text->length + 1);
    if (!tokens) return ct_fail("tokenize: out of memory");
    char *copy = (char *)tokens + pointers;
    memcpy(copy, text->bytes, text->length);
    copy[text->length] = 0;
    int found = 0;
    for (size_t i = 0; i < text->length; i++) {
        if (copy[i] && (i == 0 || !copy[i - 1])) tokens[found++] = copy + i;
    }
    tokens[found] = NULL;
    return tokens;
}

char **ct_tokenizer_split(ct_tokenizer *t, const char *text, int *count) {
    *count = 0;
    if (!t || !text) {
        if (ct_ok()) ct_fail("tokenize: no %s given", t ? "text" : "tokenizer");
        return NULL;
    }
    if (t->form == CT_TOKENS_PLAIN) {
        if (!set_lower_case(t, text)) return NULL;
    } else {
        if (!set_printed_bytes(t, text)) return NULL;
        if (t->form == CT_TOKENS_RELEASED_VECTORS) remove_bytes_prefixes(&t->text);
    }
    return apply_rules(t) ? split_words(&t->text, count) : NULL;
}

void ct_tokens_free(char **tokens) { free(tokens); }
