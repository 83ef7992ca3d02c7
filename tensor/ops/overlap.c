/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/ops/overlap.h"

#include "tensor/device/backend.h"

/* The place of a tensor that is not empty, in bytes: its dimensions that move, the largest step
 * first. */
typedef struct {
    const char *first;
    int64_t step[CT_MAX_DIMS], size[CT_MAX_DIMS];
    int ndim;
    int64_t element, extent; /* from the first byte to behind the last */
} layout;

static layout layout_of(const ct_tensor *x) {
    int64_t element = (int64_t)ct_dtype_size(x->dtype);
    layout l = {.first = (const char *)x->storage->data + x->offset * element, .element = element};
    l.extent = element;
    for (int i = 0; i < x->shape.ndim; i++) {
        int64_t size = x->shape.dim[i], step = x->stride[i] * element;
        if (size < 2 || step == 0) continue;
        int at = l.ndim++;
        for (; at > 0 && l.step[at - 1] < step; at--) {
            l.step[at] = l.step[at - 1];
            l.size[at] = l.size[at - 1];
        }
        l.step[at] = step;
        l.size[at] = size;
        l.extent += (size - 1) * step;
    }
    return l;
}

/* Each step beyond all that the smaller ones reach. */
static bool is_injective(const ct_tensor *x) {
    for (int i = 0; i < x->shape.ndim; i++) {
        if (x->shape.dim[i] > 1 && x->stride[i] == 0) return false;
    }
    layout l = layout_of(x);
    int64_t reach = l.element;
    for (int i = l.ndim - 1; i >= 0; i--) {
        if (l.step[i] < reach) return false;
        reach += (l.size[i] - 1) * l.step[i];
    }
    return true;
}

bool ct_check_writable(const char *op, const ct_tensor *y) {
    if (!ct_check_input(op, y)) return false;
    if (ct_count(y) == 0 || ct_is_contiguous(y) || is_injective(y)) return true;
    return ct_fail_bool("%s: cannot write to %s, a view (broadcast, perhaps) in which elements "
                        "share their place",
                        op, ct_tensor_text(y));
}

bool ct_is_same_view(const ct_tensor *a, const ct_tensor *b) {
    if (a == b) return true;
    if (a->dtype != b->dtype || a->device != b->device || !ct_shape_equal(a->shape, b->shape)) {
        return false;
    }
    for (int i = 0; i < a->shape.ndim; i++) {
        if (a->shape.dim[i] > 1 && a->stride[i] != b->stride[i]) return false;
    }
    return ct_count(a) == 0 || layout_of(a).first == layout_of(b).first;
}

/* Memory cut into rows of `width` bytes: whether l is the same columns of some rows, and from its
 * first byte on how many. */
static bool is_columns(const layout *l, int64_t width, int64_t *columns) {
    *columns = l->element;
    for (int i = 0; i < l->ndim; i++) {
        if (l->step[i] >= width && l->step[i] % width != 0) return false;
        if (l->step[i] < width) *columns += (l->size[i] - 1) * l->step[i];
    }
    return *columns <= width;
}

/* Two blocks of columns of one matrix, neither in the other's. */
static bool in_other_columns(const layout *a, const layout *b, int64_t width) {
    int64_t in_a, in_b;
    if (!is_columns(a, width, &in_a) || !is_columns(b, width, &in_b)) return false;
    int64_t distance = (b->first - a->first) % width;
    if (distance < 0) distance += width;
    return distance >= in_a && distance + in_b <= width;
}

bool ct_overlaps(const ct_tensor *a, const ct_tensor *b) {
    if (a->device != b->device || ct_count(a) == 0 || ct_count(b) == 0) return false;
    layout l = layout_of(a), m = layout_of(b);
    if (l.first + l.extent <= m.first || m.first + m.extent <= l.first) return false;
    for (int i = 0; i < l.ndim; i++) {
        if (in_other_columns(&l, &m, l.step[i])) return false;
    }
    for (int i = 0; i < m.ndim; i++) {
        if (in_other_columns(&l, &m, m.step[i])) return false;
    }
    return true;
}
