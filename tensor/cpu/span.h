/* SPDX-License-Identifier: Apache-2.0 */
/* Which positions of a kernel see the picture and not what is around it. Internal to tensor/cpu/.
 */
#ifndef CT_CPU_SPAN_H
#define CT_CPU_SPAN_H

#include <stdint.h>

/* Those of `count` positions of a kernel, `stride` apart from `start` on, that are within
 * 0..size-1: first to end-1. */
typedef struct {
    int64_t first, end;
} span;

static inline span span_of(int64_t count, int64_t start, int64_t stride, int64_t size) {
    int64_t first = start < 0 ? (-start - 1) / stride + 1 : 0;
    int64_t end = start < size ? (size - 1 - start) / stride + 1 : 0;
    if (end > count) end = count;
    return first < end ? (span){first, end} : (span){0, 0};
}

#endif
