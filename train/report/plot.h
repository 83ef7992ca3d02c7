/* SPDX-License-Identifier: Apache-2.0 */
/* A figure of curves over steps, as SVG. Internal to train/report/. */
#ifndef CT_REPORT_PLOT_H
#define CT_REPORT_PLOT_H

#include <stdbool.h>
#include <stdio.h>

typedef struct {
    double x, y; /* finite */
} ct_point;

enum { CT_CURVE_COLOURS = 8 }; /* --c0 to --c7 of page.html */

typedef struct {
    const char *label;           /* NULL: there is but one curve */
    int colour;                  /* from 0 */
    bool dashed, faint, unnamed; /* unnamed: not in the legend */
    ct_point *point;             /* by x */
    int points;
} ct_curve;

typedef struct {
    const char *title, *unit; /* "" without */
    const ct_curve *curve;
    int curves;
    double last; /* the x axis' end, above 0; it begins at 0 */
    double mark; /* an x that is marked on each curve that has it; NaN: none */
    bool linear; /* else logarithmic where the values ask for it: */
} ct_plot;

/* "-- NAME", as a curve of this colour is named in a legend; without its end. */
void ct_plot_key(FILE *page, const ct_curve *curve);
/* Writes <figure>: title, legend with each curve's last value, axes in round numbers, and columns
 * that say a step's values to a pointer over them. The y axis is logarithmic where all values are
 * positive and the largest is more than 30 times the smallest, unless it is to be linear. Nothing
 * where no curve has a point. */
void ct_plot_write(FILE *page, const ct_plot *plot);

/* A value in at most `digits` digits: 0.00125, 1.2e-05, 12,345. */
void ct_plot_number(FILE *page, double value, int digits);

#endif
