/* SPDX-License-Identifier: Apache-2.0 */
/* The windows that average pooling takes means over. Internal to tensor/; shared by the devices. */
#ifndef CT_WINDOW_H
#define CT_WINDOW_H

#include "tensor/core/bits.h"
#include "tensor/fused/fused.h"

/* Along one side of a picture: elements first to end-1, of a window that is `extent` long with what
 * it sees of the padding. */
typedef struct {
    int64_t first, end, extent;
} ct_window;

/* Window i of `count` over `size` elements. Kernel 0: as many windows as there are to be, each
 * from floor(i size/count) to ceil((i+1) size/count). */
CT_BOTH ct_window ct_window_at(ct_tensor_avg_pool2d_options options, int64_t i, int64_t size,
                               int64_t count) {
    ct_window w;
    if (options.kernel == 0) {
        w.first = i * size / count;
        w.end = ((i + 1) * size + count - 1) / count;
        w.extent = w.end - w.first;
        return w;
    }
    w.first = i * options.stride - options.padding;
    w.end = w.first + options.kernel;
    if (w.end > size + options.padding) w.end = size + options.padding;
    w.extent = w.end - w.first;
    if (w.first < 0) w.first = 0;
    if (w.end > size) w.end = size;
    return w;
}

/* What the sum over a window of rows and one of columns is divided by. */
CT_BOTH int64_t ct_window_divisor(ct_tensor_avg_pool2d_options options, ct_window rows,
                                  ct_window columns) {
    return options.count_include_pad ? rows.extent * columns.extent
                                     : (rows.end - rows.first) * (columns.end - columns.first);
}

#endif
