/* SPDX-License-Identifier: Apache-2.0 */
/* All operations, for those who walk them: the built-in ones, then those registered. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"

static const ct_op *(*const built_in[])(int) = {
    ct_pointwise_op, ct_select_op,     ct_reduce_op,  ct_matmul_op, ct_shape_op,
    ct_join_op,      ct_index_op,      ct_softmax_op, ct_norm_op,   ct_sequence_op,
    ct_loss_op,      ct_picture_op,    ct_ranking_op, ct_policy_op, ct_relations_op,
    ct_convert_op,   ct_checkpoint_op, ct_ranks_op};

/* Registering is for the whole process: what a library adds, a test in another thread finds. */
static struct {
    pthread_mutex_t lock;
    const ct_op **ops;
    int count, capacity;
} registered = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const ct_op *built_in_at(int i) {
    for (size_t file = 0; file < sizeof built_in / sizeof *built_in; file++) {
        int count = 0;
        for (const ct_op *op = built_in[file](0); op; op = built_in[file](++count)) {
            if (count == i) return op;
        }
        i -= count;
    }
    return NULL;
}

static int built_in_count(void) {
    int count = 0;
    while (built_in_at(count)) count++;
    return count;
}

static bool add(const ct_op *op) {
    if (registered.count == registered.capacity) {
        int capacity = registered.capacity ? 2 * registered.capacity : 16;
        const ct_op **ops = realloc(registered.ops, (size_t)capacity * sizeof *ops);
        if (!ops) return ct_fail_bool("register: out of memory");
        registered.ops = ops;
        registered.capacity = capacity;
    }
    registered.ops[registered.count++] = op;
    return true;
}

static const ct_op *find(const char *name) {
    const ct_op *op;
    for (int i = 0; (op = built_in_at(i)); i++) {
        if (strcmp(op->name, name) == 0) return op;
    }
    for (int i = 0; i < registered.count; i++) {
        if (strcmp(registered.ops[i]->name, name) == 0) return registered.ops[i];
    }
    return NULL;
}

bool ct_register_op(const ct_op *op) {
    if (!op || !op->name || !op->backward) {
        return ct_fail_bool("register: an operation needs a name and a backward function");
    }
    pthread_mutex_lock(&registered.lock);
    bool done = find(op->name)
                    ? ct_fail_bool("register: there is already an operation '%s'", op->name)
                    : add(op);
    pthread_mutex_unlock(&registered.lock);
    return done;
}

int ct_op_count(void) {
    pthread_mutex_lock(&registered.lock);
    int count = built_in_count() + registered.count;
    pthread_mutex_unlock(&registered.lock);
    return count;
}

const ct_op *ct_op_at(int i) {
    if (i < 0) return NULL;
    const ct_op *op = built_in_at(i);
    if (op) return op;
    i -= built_in_count();
    pthread_mutex_lock(&registered.lock);
    op = i < registered.count ? registered.ops[i] : NULL;
    pthread_mutex_unlock(&registered.lock);
    return op;
}

const ct_op *ct_find_op(const char *name) {
    if (!name) return NULL;
    pthread_mutex_lock(&registered.lock);
    const ct_op *op = find(name);
    pthread_mutex_unlock(&registered.lock);
    return op;
}
