/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients over ranks: what a program calls. */
#include "nn/optim/reducer.h"

/* Whether there is anything to do; *done is what to return where there is not. */
static bool over_ranks(const char *op, const ct_optimizer *optimizer, bool *done) {
    *done = ct_check_pointer(op, "the optimizer", optimizer) && ct_ok();
    return *done && ct_ranks() > 1;
}

bool ct_optimizer_all_reduce_begin(ct_optimizer *optimizer) {
    bool done;
    if (!over_ranks("optimizer_all_reduce_begin", optimizer, &done)) return done;
    if (ct_optimizer_on_device(optimizer)) return true;
    ct_reducer *reducer = ct_reducer_of(optimizer);
    return reducer && ct_reducer_begin(reducer);
}

bool ct_optimizer_all_reduce(ct_optimizer *optimizer) {
    bool done;
    if (!over_ranks("optimizer_all_reduce", optimizer, &done)) return done;
    if (ct_optimizer_on_device(optimizer)) return ct_optimizer_all_reduce_on_device(optimizer);
    ct_reducer *reducer = ct_reducer_of(optimizer);
    return reducer && ct_reducer_end(reducer);
}

bool ct_optimizer_wire(ct_optimizer *optimizer, ct_dtype wire) {
    static const char op[] = "optimizer_wire";
    if (!ct_check_pointer(op, "the optimizer", optimizer)) return false;
    if (wire != CT_F64 && wire != CT_F32 && wire != CT_BF16) {
        return ct_fail_bool("%s: gradients travel as f64, f32 or bf16, not as %s", op,
                            ct_dtype_name(wire));
    }
    if (wire != CT_F64 && ct_optimizer_on_device(optimizer)) {
        return ct_fail_bool("%s: on cuda gradients travel as they are, not as %s", op,
                            ct_dtype_name(wire));
    }
    ct_reducer *reducer = ct_reducer_of(optimizer);
    if (reducer) ct_reducer_set_wire(reducer, wire);
    return reducer != NULL;
}

bool ct_optimizer_bucket(ct_optimizer *optimizer, int64_t bytes) {
    static const char op[] = "optimizer_bucket";
    enum { MOST = 1 << 30 };
    if (!ct_check_pointer(op, "the optimizer", optimizer) ||
        !ct_nn_option(op, "bytes", (double)bytes, bytes >= 1 && bytes <= MOST, "1 to 2^30")) {
        return false;
    }
    ct_reducer *reducer = ct_reducer_of(optimizer);
    if (reducer) ct_reducer_set_bucket(reducer, bytes);
    return reducer != NULL;
}
