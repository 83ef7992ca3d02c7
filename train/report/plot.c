/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/plot.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "train/report/html.h"

/* In the units of the SVG's viewBox. */
enum { WIDTH = 400, HEIGHT = 220, LEFT = 52, RIGHT = 12, TOP = 8, BOTTOM = 34, MOST_POINTS = 600 };

/* ---- numbers ----------------------------------------------------------------------------- */

void ct_plot_number(FILE *page, double value, int digits) {
    double size = fabs(value);
    if (size >= 1000 && size < 1e7) ct_html_whole(page, llround(value));
    else if (size >= 1 && size < 1000 && floor(log10(size)) >= digits) fprintf(page, "%.0f", value);
    else fprintf(page, "%.*g", digits, value);
}

/* A curve's value in words. */
static void write_value(FILE *page, const ct_plot *plot, double value) {
    if (!strcmp(plot->unit, "%")) fprintf(page, "%.1f", value);
    else ct_plot_number(page, value, 4);
}

/* 1, 2 or 5 times a power of ten: about `parts` of them in `span`. */
static double round_step(double span, int parts) {
    double raw = span / parts, power = pow(10, floor(log10(raw)));
    double lead = raw / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* ---- axes -------------------------------------------------------------------------------- */

/* Within these, sums and differences of an axis neither overflow nor vanish; what lies outside is
 * drawn at the axis' end. */
static const double largest = 1e307, smallest = 1e-307;

typedef struct {
    double low, high, step;
    bool logarithmic;
    double from, to; /* in the SVG */
} axis;

static double place(const axis *a, double value) {
    double low = a->low, high = a->high;
    value = fmin(fmax(value, low), high);
    if (a->logarithmic) low = log10(low), high = log10(high), value = log10(value);
    return a->from + (value - low) / (high - low) * (a->to - a->from);
}

static axis linear_axis(double low, double high, int parts, double from, double to) {
    double size = fmax(fabs(low), fabs(high));
    if (size < smallest) low = high = size = 0;
    if (high - low <= 1e-12 * size) { /* no ticks would tell them apart */
        double room = size > 0 ? 0.1 * size : 1;
        low -= room, high += room;
    }
    double step = round_step(high - low, parts);
    return (axis){
        floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, step, false, from, to};
}

static axis y_axis(double low, double high, bool linear) {
    if (low > 0) low = fmax(low, smallest), high = fmax(high, smallest);
    if (linear || low <= 0 || high <= 30 * low) {
        if (low > 0 && low < 0.5 * high) low = 0; /* most of the way down: the rest too */
        return linear_axis(low, high, 5, HEIGHT - BOTTOM, TOP);
    }
    double first = pow(10, floor(log10(low))), last = pow(10, ceil(log10(high)));
    return (axis){first, last, 0, true, HEIGHT - BOTTOM, TOP};
}

/* Whether there is a point at all, and the values between which all that are drawn lie. */
static bool range(const ct_plot *plot, double y[2]) {
    y[0] = INFINITY;
    y[1] = -INFINITY;
    for (int c = 0; c < plot->curves; c++) {
        for (int i = 0; i < plot->curve[c].points; i++) {
            y[0] = fmin(y[0], plot->curve[c].point[i].y);
            y[1] = fmax(y[1], plot->curve[c].point[i].y);
        }
    }
    bool any = y[0] <= y[1];
    for (int end = 0; end < 2; end++) y[end] = fmin(fmax(y[end], -largest), largest);
    return any;
}

/* How many digits tell a tick from the next. */
static void write_tick(FILE *page, double value, double step) {
    if (fabs(value) < 1e-9 * step) value = 0;
    double size = fabs(value);
    int digits =
        size > 0 && step > 0 ? (int)(floor(log10(size) + 1e-9) - floor(log10(step) + 1e-9)) + 1 : 1;
    ct_plot_number(page, value, digits < 1 ? 1 : digits);
}

static void write_y_tick(FILE *page, const axis *y, double value) {
    double at = place(y, value);
    fprintf(page, "<path class=\"rule\" d=\"M%d %.1fH%d\"/><text class=\"y\" x=\"%d\" y=\"%.1f\">",
            LEFT, at, WIDTH - RIGHT, LEFT - 6, at + 3.5);
    write_tick(page, value, y->logarithmic ? value : y->step);
    fputs("</text>", page);
}

static void write_y_axis(FILE *page, const axis *y) {
    if (y->logarithmic) {
        int first = (int)lround(log10(y->low)), last = (int)lround(log10(y->high));
        int each = last - first > 5 ? (last - first + 4) / 5 : 1;
        for (int d = first; d <= last; d += each) write_y_tick(page, y, pow(10, d));
        return;
    }
    int ticks = (int)lround((y->high - y->low) / y->step);
    for (int i = 0; i <= ticks; i++) write_y_tick(page, y, y->low + i * y->step);
}

static void write_x_axis(FILE *page, const axis *x) {
    fprintf(page, "<path class=\"axis\" d=\"M%d %dH%d\"/>", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT);
    int ticks = (int)(x->high / x->step + 1e-9);
    for (int i = 0; i <= ticks; i++) {
        double v = i * x->step, at = place(x, v);
        fprintf(page,
                "<path class=\"axis\" d=\"M%.1f %dv4\"/><text class=\"x\" x=\"%.1f\" y=\"%d\">", at,
                HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 16);
        write_tick(page, v, x->step);
        fputs("</text>", page);
    }
    fprintf(page, "<text class=\"x label\" x=\"%d\" y=\"%d\">step</text>",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3);
}

/* ---- curves ------------------------------------------------------------------------------ */

/* Of many points the lowest and the highest of each few, so that no peak is lost. */
static void write_line(FILE *page, const ct_curve *c, const axis *x, const axis *y) {
    int each = (c->points + MOST_POINTS - 1) / MOST_POINTS;
    char command = 'M';
    for (int first = 0; first < c->points; first += 2 * each) {
        int end = first + 2 * each < c->points ? first + 2 * each : c->points;
        int low = first, high = first;
        for (int i = first; i < end; i++) {
            if (c->point[i].y < c->point[low].y) low = i;
            if (c->point[i].y >= c->point[high].y) high = i;
        }
        int pair[2] = {low < high ? low : high, low < high ? high : low};
        for (int k = pair[0] == pair[1]; k < 2; k++, command = 'L') {
            const ct_point *p = &c->point[pair[k]];
            fprintf(page, "%c%.1f %.1f", command, place(x, p->x), place(y, p->y));
        }
    }
}

static void write_dot(FILE *page, const ct_curve *c, ct_point p, const axis *x, const axis *y) {
    fprintf(page, "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>",
            c->colour % CT_CURVE_COLOURS, place(x, p.x), place(y, p.y));
}

static void write_curve(FILE *page, const ct_plot *plot, const ct_curve *c, const axis *x,
                        const axis *y) {
    if (!c->points) return;
    fprintf(page, "<path class=\"curve c%d%s%s\" d=\"", c->colour % CT_CURVE_COLOURS,
            c->dashed ? " dashed" : "", c->faint ? " faint" : "");
    write_line(page, c, x, y);
    fputs("\"/>", page);
    if (c->points == 1) write_dot(page, c, c->point[0], x, y);
    for (int i = 0; c->points > 1 && i < c->points; i++) {
        if (c->point[i].x == plot->mark) write_dot(page, c, c->point[i], x, y);
    }
}

/* ---- what a pointer over the curves is told ------------------------------------------------ */

enum { MOST_READINGS = 50, MOST_READ = 12 };

static const ct_curve *longest(const ct_plot *plot) {
    const ct_curve *found = plot->curve;
    for (int c = 1; c < plot->curves; c++) {
        if (plot->curve[c].points > found->points) found = &plot->curve[c];
    }
    return found;
}

/* NULL: the curve has no point there. */
static const ct_point *point_at(const ct_curve *c, double x) {
    for (int i = 0; i < c->points; i++) {
        if (c->point[i].x == x) return &c->point[i];
    }
    return NULL;
}

/* Each curve's value at step x; of those that stand behind their mean, the mean's. */
static void write_values(FILE *page, const ct_plot *plot, double x) {
    int read = 0;
    fputs("<title>step ", page);
    ct_plot_number(page, x, 6);
    for (int c = 0; c < plot->curves && read < MOST_READ; c++) {
        const ct_curve *curve = &plot->curve[c];
        const ct_point *p = curve->faint ? NULL : point_at(curve, x);
        if (!p) continue;
        fputs(read++ || curve->label ? "\n" : ": ", page);
        if (curve->label) ct_htmlf(page, "%s ", curve->label);
        write_value(page, plot, p->y);
    }
    fputs("</title>", page);
}

/* Columns side by side, from half-way to the step before to half-way to the one behind. */
static void write_readings(FILE *page, const ct_plot *plot, const axis *across) {
    const ct_curve *c = longest(plot);
    int count = c->points < MOST_READINGS ? c->points : MOST_READINGS;
    double left = LEFT;
    for (int i = 0; i < count; i++) {
        int at = count > 1 ? (int)((int64_t)i * (c->points - 1) / (count - 1)) : 0;
        int next = count > 1 ? (int)((int64_t)(i + 1) * (c->points - 1) / (count - 1)) : 0;
        double here = place(across, c->point[at].x), right = WIDTH - RIGHT;
        if (i + 1 < count) right = (here + place(across, c->point[next].x)) / 2;
        fprintf(page, "<rect class=\"reading\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\">",
                left, TOP, fmax(right - left, 0), HEIGHT - BOTTOM - TOP);
        write_values(page, plot, c->point[at].x);
        fputs("</rect>", page);
        left = fmax(left, right);
    }
}

/* ---- the figure -------------------------------------------------------------------------- */

void ct_plot_key(FILE *page, const ct_curve *c) {
    fprintf(page,
            "<li><svg class=\"key\" viewBox=\"0 0 22 8\"><path class=\"curve c%d%s%s\" "
            "d=\"M1 4H21\"/></svg>",
            c->colour % CT_CURVE_COLOURS, c->dashed ? " dashed" : "", c->faint ? " faint" : "");
    ct_html(page, c->label);
}

static void write_legend(FILE *page, const ct_plot *plot) {
    fputs("<ul class=\"legend\">", page);
    for (int i = 0; i < plot->curves; i++) {
        const ct_curve *c = &plot->curve[i];
        if (!c->points || c->unnamed) continue;
        if (c->label) ct_plot_key(page, c);
        else fputs("<li>last", page);
        fputs(" <b>", page);
        write_value(page, plot, c->point[c->points - 1].y);
        fputs("</b></li>", page);
    }
    fputs("</ul>", page);
}

void ct_plot_write(FILE *page, const ct_plot *plot) {
    double y[2];
    if (!range(plot, y)) return;
    double last = fmin(plot->last, largest);
    axis across = linear_axis(0, last, 5, LEFT, WIDTH - RIGHT),
         up = y_axis(y[0], y[1], plot->linear);
    across.high = last;
    ct_htmlf(page, "<figure class=\"plot\"><figcaption><h3>%s", plot->title);
    if (*plot->unit) ct_htmlf(page, " <small>%s</small>", plot->unit);
    if (up.logarithmic) fputs(" <small>logarithmic</small>", page);
    fputs("</h3>", page);
    write_legend(page, plot);
    ct_htmlf(page,
             "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s over steps\">",
             WIDTH, HEIGHT, plot->title);
    write_y_axis(page, &up);
    write_x_axis(page, &across);
    write_readings(page, plot, &across);
    for (int i = 0; i < plot->curves; i++) write_curve(page, plot, &plot->curve[i], &across, &up);
    fputs("</svg></figure>\n", page);
}
