/* SPDX-License-Identifier: Apache-2.0 */
/* One rank fails in the middle of backward, or stands still where the argument is "stops", and the
 * others wait for its gradients. Each ends as a program does: it says the error, and leaves.
 * tests/ranks/run_failing asks that all end. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "nn/nn.h"

static void fail_at_last(void *how, ct_tensor *leaf, ct_tensor *grad) {
    (void)leaf;
    (void)grad;
    if (ct_rank() < ct_ranks() - 1) return;
    if (strcmp(how, "stops") == 0) raise(SIGSTOP);
    else ct_fail("this rank fails on purpose");
}

/* The first step fails in no rank, so that the second one hands gradients over in buckets. */
static bool train(ct_module *net, ct_optimizer *optimizer, char *how) {
    for (int step = 0; step < 3; step++) {
        CT_SCOPE {
            ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(4, 8), 1);
            ct_tensor *loss = ct_mean_all(ct_square(ct_forward(net, x)));
            if (step == 1) ct_add_hook(ct_module_tensor(net, "1.weight"), fail_at_last, how);
            if (!ct_optimizer_all_reduce_begin(optimizer) || !ct_backward(loss) ||
                !ct_optimizer_all_reduce(optimizer) || !ct_optimizer_step(optimizer)) {
                return false;
            }
        }
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc != 2) return 1;
    if (!ct_ranks_start()) return 1;
    static const char *const names[] = {"0", "1", "2"};
    ct_module *net = ct_sequential_create();
    for (int i = 0; i < 3; i++) ct_module_add(net, names[i], ct_linear_create(8, 8, true));
    ct_optimizer *optimizer = ct_adam_create(net, NULL);
    bool done = ct_optimizer_bucket(optimizer, 64) && train(net, optimizer, argv[1]);
    if (!done) fprintf(stderr, "rank %d: %s\n", ct_rank(), ct_error());
    ct_optimizer_destroy(optimizer);
    ct_module_destroy(net);
    ct_ranks_end();
    return done ? 0 : 1;
}
