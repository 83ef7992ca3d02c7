/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling of pictures: a plane (a channel of a picture) is one thread's. */
#include <math.h>

#include "tensor/cpu/cpu.h"
#include "tensor/cpu/span.h"
#include "tensor/fused/window.h"

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_pool_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_pool_kernels.h"
