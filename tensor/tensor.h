/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors: strided views on reference-counted storage, and the computations on them.
 *
 * This layer knows nothing of gradients. Names say so: `ct_tensor_add` computes, `ct_add`
 * (autograd/autograd.h) computes and can be differentiated.
 *
 * Lifetime. What a function returns belongs to the innermost open scope of its thread and goes
 * when that scope closes, unless kept:
 *
 *     CT_SCOPE {
 *         ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
 *         saved = ct_keep(x);                        // now also ours: ct_release(saved) later
 *     }
 *
 * With no scope open, a function that would return a tensor fails and says so.
 */
#ifndef CT_TENSOR_H
#define CT_TENSOR_H

#include "tensor/core/error.h"
#include "tensor/core/types.h"
#include "tensor/core/scope.h"
#include "tensor/core/tensor.h"
#include "tensor/core/version.h"
#include "tensor/core/view.h"
#include "tensor/ops/create.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/random.h"
#include "tensor/fused/fused.h"
#include "tensor/device/device.h"
#include "tensor/device/capture.h"
#include "tensor/device/upload.h"
#include "tensor/io/files.h"
#include "tensor/io/print.h"
#include "tensor/ranks/ranks.h"

#endif
