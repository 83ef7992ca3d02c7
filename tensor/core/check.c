/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/core/check.h"

#include <math.h>

#include "tensor/core/error.h"

bool ct_check_input(const char *op, const ct_tensor *x) {
    return x ? true : ct_fail_bool("%s: an input is NULL", op);
}

bool ct_check_pointer(const char *op, const char *what, const void *pointer) {
    return pointer ? true : ct_fail_bool("%s: %s is NULL", op, what);
}

bool ct_check_list(const char *op, const char *what, const void *list, int64_t count) {
    if (count < 0) {
        return ct_fail_bool("%s: %lld %s, expected 0 or more", op, (long long)count, what);
    }
    return count == 0 || ct_check_pointer(op, what, list);
}

bool ct_check_choice(const char *op, const char *what, int value, int count) {
    if (value >= 0 && value < count) return true;
    return ct_fail_bool("%s: %s is %d, expected 0 to %d", op, what, value, count - 1);
}

bool ct_check_not_negative(const char *op, const char *what, double value) {
    if (value >= 0 && isfinite(value)) return true;
    return ct_fail_bool("%s: %s is %.10g, expected 0 or more", op, what, value);
}

bool ct_check_float(const char *op, const ct_tensor *x) {
    if (!ct_check_input(op, x)) return false;
    if (x->dtype == CT_F32 || x->dtype == CT_F64) return true;
    return ct_fail_bool("%s: expected f32 or f64, got %s", op, ct_tensor_text(x));
}

bool ct_check_same(const char *op, const ct_tensor *first, const ct_tensor *other) {
    if (!ct_check_input(op, first) || !ct_check_input(op, other)) return false;
    if (first->dtype != other->dtype) {
        return ct_fail_bool("%s: dtypes differ: %s and %s (cast one of them)", op,
                            ct_tensor_text(first), ct_tensor_text(other));
    }
    if (first->device != other->device) {
        return ct_fail_bool("%s: devices differ: %s on %s and %s on %s", op, ct_tensor_text(first),
                            ct_device_name(first->device), ct_tensor_text(other),
                            ct_device_name(other->device));
    }
    return true;
}
