/* SPDX-License-Identifier: Apache-2.0 */
/* Hinge, order similarity and ranks of similarity matrices. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

enum { ORDER_TILE = 8 };

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/matching_ranking_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/matching_ranking_kernels.h"
