/* SPDX-License-Identifier: Apache-2.0 */
/* Scopes: a per-thread stack of references, dropped when the scope that holds them closes. */
#include "tensor/core/scope.h"

#include <stdlib.h>

#include "tensor/core/error.h"

struct ct_scope {
    ct_scope *outer;
    size_t first; /* where this scope's references begin in the stack */
};

/* So many scopes, more than are ever open in each other but by recursion, need no memory: what
 * stands in a CT_SCOPE is not done where there is none. */
enum { NEAR = 64 };

static _Thread_local struct {
    ct_scope *innermost;
    ct_tensor **items;
    size_t count, capacity;
    int depth;
    ct_scope near[NEAR];
} stack;

ct_scope *ct_scope_open(void) {
    ct_scope *scope = stack.depth < NEAR ? &stack.near[stack.depth] : malloc(sizeof *scope);
    if (!scope) return ct_fail("scope: out of memory");
    stack.depth++;
    scope->outer = stack.innermost;
    scope->first = stack.count;
    stack.innermost = scope;
    return scope;
}

static void close_innermost(void) {
    ct_scope *scope = stack.innermost;
    while (stack.count > scope->first) ct_release(stack.items[--stack.count]);
    stack.innermost = scope->outer;
    if (--stack.depth >= NEAR) free(scope);
    if (!stack.innermost) {
        free(stack.items);
        stack.items = NULL;
        stack.capacity = 0;
    }
}

void ct_scope_close(ct_scope *scope) {
    bool open = false;
    for (ct_scope *s = stack.innermost; s; s = s->outer) open = open || s == scope;
    if (!open) {
        ct_fail("scope: closed twice, or by a thread that did not open it");
        return;
    }
    while (stack.innermost != scope) close_innermost();
    close_innermost();
}

static ct_tensor *fail_without_scope(void) {
    return ct_fail("no scope is open on this thread: put the code that makes tensors inside "
                   "CT_SCOPE { ... }");
}

ct_tensor *ct_adopt(ct_tensor *x) {
    if (!x) return NULL;
    if (!stack.innermost) {
        ct_release(x);
        return fail_without_scope();
    }
    if (stack.count == stack.capacity) {
        size_t capacity = stack.capacity ? 2 * stack.capacity : 64;
        ct_tensor **items = realloc(stack.items, capacity * sizeof *items);
        if (!items) {
            ct_release(x);
            return ct_fail("scope: out of memory");
        }
        stack.items = items;
        stack.capacity = capacity;
    }
    return stack.items[stack.count++] = x;
}

/* The new reference changes places with the scope's first, which then is the last of the scope
 * around. */
ct_tensor *ct_escape(ct_tensor *x) {
    ct_scope *scope = stack.innermost;
    if (!x) return NULL;
    if (!scope) return fail_without_scope();
    if (!scope->outer) return ct_fail("no scope is open around the one that a tensor is to leave");
    if (!ct_adopt(ct_keep(x))) return NULL;
    stack.items[stack.count - 1] = stack.items[scope->first];
    stack.items[scope->first++] = x;
    return x;
}
