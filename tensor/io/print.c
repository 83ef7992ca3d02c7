/* SPDX-License-Identifier: Apache-2.0 */
/* Printing tensors. The rules are numpy's (numpy/_core/arrayprint.py, its default options), so that
 * what both print can be compared by eye and by diff. */
#include "tensor/io/print.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/convert.h"
#include "tensor/io/text_stream.h"
#include "tensor/tensor.h"

enum {
    PRECISION = 8,    /* digits after the point, at most */
    WIDTH = 75,       /* of a line */
    EDGE = 3,         /* elements at each end of an axis that is cut */
    THRESHOLD = 1000, /* elements that are printed whole */
    ELEMENT = 48,     /* room for one element's text */
};

/* What is printed, and how wide its columns are. */
typedef struct {
    FILE *out;
    ct_dtype dtype;
    ct_shape shape;          /* of what is shown */
    bool cut[CT_MAX_DIMS];   /* the middle of this axis is left out */
    const double *reals;     /* of a float dtype, */
    const int64_t *integers; /* or of an integer one; row-major */
    bool scientific;
    int left, right;        /* characters before and after the point; integers: left alone */
    int fraction, exponent; /* scientific: digits of both */
    int spaces;             /* not written yet: those at the end of a line never are */
} printer;

/* ---- one number ------------------------------------------------------------------------------ */

static double rounded(ct_dtype dtype, double x) {
    switch (dtype) {
    case CT_F32: return (float)x;
    case CT_F16: return ct_f32_of_f16(ct_f16_of_f32(ct_round_to_odd(x)));
    case CT_BF16: return ct_f32_of_bf16(ct_bf16_of_f32(ct_round_to_odd(x)));
    default: return x;
    }
}

/* Digits of the shortest decimal number that the dtype rounds to x, and its exponent: of 1.25e-3
 * they are 3 and -3. */
static int digits_of(ct_dtype dtype, double x, int *exponent) {
    enum { ENOUGH = 17 }; /* for any f64 */
    char text[ELEMENT];
    int digits = 0;
    do snprintf(text, sizeof text, "%.*e", digits++, x);
    while (digits < ENOUGH && rounded(dtype, strtod(text, NULL)) != x);
    *exponent = atoi(strchr(text, 'e') + 1);
    return digits;
}

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

/* "12.5", "3.": no zeros at the end, always a point. */
static void write_positional(const printer *p, double x, char text[ELEMENT]) {
    int exponent, digits = digits_of(p->dtype, x, &exponent);
    int fraction = most(0, least(PRECISION, digits - 1 - exponent));
    snprintf(text, ELEMENT, "%#.*f", fraction, x);
    for (size_t end = strlen(text); text[end - 1] == '0' && fraction-- > 0;) text[--end] = 0;
}

/* "1.25e+00" */
static void write_scientific(const printer *p, double x, char text[ELEMENT]) {
    char mantissa[ELEMENT];
    snprintf(mantissa, sizeof mantissa, "%#.*e", p->fraction, x);
    char *e = strchr(mantissa, 'e');
    *e = 0;
    snprintf(text, ELEMENT, "%.30se%+0*d", mantissa, p->exponent + 1, atoi(e + 1));
}

/* Characters before the point. */
static int integer_part(const char *text) { return (int)strspn(text, "-0123456789"); }

/* ---- columns --------------------------------------------------------------------------------- */

static bool choose_scientific(const double *x, int64_t count) {
    double low = INFINITY, high = 0;
    for (int64_t i = 0; i < count; i++) {
        double size = fabs(x[i]);
        if (!isfinite(size) || size == 0) continue;
        low = fmin(low, size);
        high = fmax(high, size);
    }
    return high > 0 && (high >= 1e8 || low < 1e-4 || high / low > 1000);
}

/* Digits of mantissa and exponent, alike for all. */
static void measure_scientific(printer *p, int64_t count) {
    p->exponent = 2;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(p->reals[i])) continue;
        int exponent, digits = digits_of(p->dtype, p->reals[i], &exponent);
        p->fraction = most(p->fraction, least(PRECISION, digits - 1));
        if (abs(exponent) >= 100) p->exponent = 3;
    }
}

static void measure_reals(printer *p, int64_t count) {
    p->scientific = choose_scientific(p->reals, count);
    if (p->scientific) measure_scientific(p, count);
    for (int64_t i = 0; i < count; i++) {
        char text[ELEMENT];
        if (!isfinite(p->reals[i])) continue;
        (p->scientific ? write_scientific : write_positional)(p, p->reals[i], text);
        int left = integer_part(text);
        p->left = most(p->left, left);
        p->right = most(p->right, (int)strlen(text) - left - 1);
    }
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(p->reals[i])) continue;
        int length = p->reals[i] == -INFINITY ? 4 : 3; /* "-inf", "inf", "nan" */
        p->left = most(p->left, length - p->right - 1);
    }
}

static void measure_integers(printer *p, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        p->left = most(p->left, snprintf(NULL, 0, "%lld", (long long)p->integers[i]));
    }
}

/* An element, filled up to the width of its column. Returns that. */
static int write_element(const printer *p, int64_t i, char text[2 * ELEMENT]) {
    if (p->integers) return sprintf(text, "%*lld", p->left, (long long)p->integers[i]);
    char number[ELEMENT];
    double x = p->reals[i];
    int width = p->left + 1 + p->right;
    if (!isfinite(x)) {
        return sprintf(text, "%*s", width, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
    }
    (p->scientific ? write_scientific : write_positional)(p, x, number);
    int before = p->left - integer_part(number);
    return sprintf(text, "%*s%-*s", before, "", width - before, number);
}

/* ---- rows and what they are nested in -------------------------------------------------------- */

static void put(printer *p, const char *text) {
    for (; *text; text++) {
        if (*text == ' ') {
            p->spaces++;
            continue;
        }
        if (*text == '\n') p->spaces = 0;
        for (; p->spaces > 0; p->spaces--) fputc(' ', p->out);
        fputc(*text, p->out);
    }
}

/* A word in a line that has `column` characters, or at the beginning of the next. Returns how many
 * the line then has. */
static int put_word(printer *p, int column, int indent, int widest, const char *word, int length) {
    if (column > indent && column + length > widest) {
        put(p, "\n");
        p->spaces = column = indent;
    }
    put(p, word);
    p->spaces++;
    return column + length + 1;
}

static void put_row(printer *p, int axis, int64_t first) {
    int indent = axis + 1, column = indent, widest = WIDTH - axis - 1;
    for (int64_t i = 0; i < p->shape.dim[axis]; i++) {
        char text[2 * ELEMENT];
        if (i == EDGE && p->cut[axis]) column = put_word(p, column, indent, widest, "...", 3);
        int length = write_element(p, first + i, text);
        column = put_word(p, column, indent, widest, text, length);
    }
    p->spaces--; /* none behind the last */
}

/* Axis `axis` and those below it, from element `first`, which is number `first` of what is shown.
 */
static void put_axis(printer *p, int axis, int64_t first) {
    int below = p->shape.ndim - 1 - axis;
    int64_t step = 1;
    for (int i = axis + 1; i < p->shape.ndim; i++) step *= p->shape.dim[i];
    put(p, "[");
    if (below == 0) put_row(p, axis, first);
    for (int64_t i = 0; below > 0 && i < p->shape.dim[axis]; i++) {
        bool gap = i == EDGE && p->cut[axis];
        for (int part = gap ? 0 : 1; part < 2; part++) {
            for (int line = 0; i > 0 && line < below; line++) put(p, "\n");
            if (i > 0) p->spaces = axis + 1;
            if (part == 0) put(p, "...");
            else put_axis(p, axis + 1, first + i * step);
        }
    }
    put(p, "]");
}

/* ---- reading ----------------------------------------------------------------------------- */

/* The first and last EDGE along an axis, side by side. */
static ct_tensor *ends(const ct_tensor *x, int axis) {
    ct_shape shape = x->shape;
    shape.dim[axis] = 2 * EDGE;
    ct_tensor *y = ct_empty(x->dtype, x->device, shape);
    ct_tensor *first = y ? ct_tensor_slice(y, axis, 0, EDGE, 1) : NULL;
    ct_tensor *last = y ? ct_tensor_slice(y, axis, EDGE, 2 * EDGE, 1) : NULL;
    int64_t size = x->shape.dim[axis];
    bool copied = first && last && ct_tensor_copy_to(first, ct_tensor_slice(x, axis, 0, EDGE, 1)) &&
                  ct_tensor_copy_to(last, ct_tensor_slice(x, axis, size - EDGE, size, 1));
    return copied ? y : NULL;
}

/* What is shown of x, on the CPU, as f64 or i64. */
static ct_tensor *shown(printer *p, const ct_tensor *x) {
    ct_tensor *y = ct_tensor_expand(x, x->shape);
    if (ct_count(x) > THRESHOLD) {
        for (int axis = 0; y && axis < x->shape.ndim; axis++) {
            p->cut[axis] = x->shape.dim[axis] > 2 * EDGE;
            if (p->cut[axis]) y = ends(y, axis);
        }
    }
    y = y ? ct_tensor_to_device(y, CT_CPU) : NULL;
    return y ? ct_tensor_cast(y, ct_dtype_is_float(x->dtype) ? CT_F64 : CT_I64) : NULL;
}

static bool print_values(FILE *out, const ct_tensor *x) {
    printer p = {.out = out, .dtype = x->dtype};
    const ct_tensor *values = shown(&p, x);
    if (!values) return false;
    p.shape = values->shape;
    if (ct_dtype_is_float(x->dtype)) {
        p.reals = ct_data(values);
        measure_reals(&p, ct_count(values));
    } else {
        p.integers = ct_data(values);
        measure_integers(&p, ct_count(values));
    }
    char text[2 * ELEMENT];
    if (ct_count(x) == 0) fputs("[]", out);
    else if (x->shape.ndim > 0) put_axis(&p, 0, 0);
    else if (write_element(&p, 0, text)) put(&p, text);
    return true;
}

char *ct_print_text(const ct_tensor *x) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (!out) return ct_fail("print: out of memory");
    bool printed = true;
    CT_SCOPE {
        printed = !x || print_values(out, x);
        if (x) fprintf(out, "\n%s on %s\n", ct_tensor_text(x), ct_device_name(x->device));
        else fputs("NULL\n", out);
    }
    char *text = ct_text_stream_close(&stream, out);
    if (!text) ct_fail("print: out of memory");
    if (printed && ct_ok()) return text;
    free(text);
    return NULL;
}

bool ct_print(FILE *file, const ct_tensor *x) {
    if (!file) return ct_fail_bool("print: the file is NULL");
    char *text = ct_print_text(x);
    if (!text) return false;
    bool written = fputs(text, file) >= 0;
    free(text);
    return written || ct_fail_bool("print: %s", strerror(errno));
}
