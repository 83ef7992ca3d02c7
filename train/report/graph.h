/* SPDX-License-Identifier: Apache-2.0 */
/* The configured graph as a picture. Internal to train/report/. */
#ifndef CT_REPORT_GRAPH_H
#define CT_REPORT_GRAPH_H

#include <stdio.h>

#include "train/run/experiment.h"

/* Writes the two chains side by side, each module with what the configuration says of it, the shape
 * that it gives and its parameters, and below them the losses. False and an error when out of
 * memory. */
bool ct_graph_write(FILE *page, const ct_experiment *experiment);

#endif
